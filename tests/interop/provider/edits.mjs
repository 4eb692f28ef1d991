// The application edits a room of its own server (the example `edits`), a thousand edits at once, while
// fifty unchanged y-websocket clients type in it: Yjs judges that all of it arrives, once and everywhere.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import * as Y from 'yjs'
import { Program, World, programs, until } from './lib.mjs'

test('a thousand edits of the application at once, beside fifty clients who type', async () => {
  const world = new World((port) => new Program(programs.edits, [`127.0.0.1:${port}`]))
  await world.open()
  try {
    const clients = Array.from({ length: 50 }, () => world.client())
    await until(() => clients.every((one) => one.provider.synced), 'everybody to be synced')
    let typed = 0
    let typing = true
    const typists = clients.map(async (one, who) => {
      while (typing) {
        one.text.insert(0, `client ${who}\n`)
        typed++
        await sleep(20 + who)
      }
    })
    await sleep(300)
    await world.server.ask('1000', 'done 1000')
    await sleep(300)
    typing = false
    await Promise.all(typists)

    const lines = (one) => one.text.toString().trimEnd().split('\n')
    await until(() => clients.every((one) => lines(one).length === 1000 + typed), 'every line at everybody')
    const [first, ...others] = clients
    const newcomer = world.client()
    await until(() => newcomer.provider.synced, 'a newcomer to be synced')
    for (const other of [...others, newcomer]) {
      assert.ok(Y.equalSnapshots(Y.snapshot(first.doc), Y.snapshot(other.doc)))
      assert.equal(other.text.toString(), first.text.toString())
      assert.equal(other.map.get('edits'), 1000, 'each edit saw the one before it')
    }
    const edits = lines(first).filter((line) => line.startsWith('edit '))
    assert.deepEqual(edits.sort(), Array.from({ length: 1000 }, (_, nth) => `edit ${nth}`).sort(), 'each once')
    world.server.process.stdin.end()
    assert.equal(await world.server.ended, 0)
  } finally {
    await world.close()
  }
})
