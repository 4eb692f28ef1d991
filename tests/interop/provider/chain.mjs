// A room of our server (the example `chain`) follows a room of y-websocket's server, pycrdt-websocket's and
// ours: an unchanged y-websocket client at either end, whose Yjs judges what the document holds.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import * as Y from 'yjs'
import { Chained, World, freePort, listens, servers, until } from './lib.mjs'

class Chain extends World {
  async open () {
    await super.open()
    this.herePort = await freePort()
    this.hereUrl = `ws://127.0.0.1:${this.herePort}`
    await this.follow()
  }

  async follow () {
    this.here = new Chained(this.herePort, this.url)
    this.programs.push(this.here)
    await listens(this.herePort)
    await this.here.hears('page Linked')
  }

  /// A client at our end, and one at the other.
  async ends () {
    const ends = [this.client(this.hereUrl), this.client()]
    await until(() => ends.every((end) => end.provider.synced), 'both ends to be synced')
    return ends
  }
}

function same (one, other) {
  const vector = (end) => JSON.stringify([...Y.decodeStateVector(Y.encodeStateVector(end.doc))].sort())
  return vector(one) === vector(other) && one.text.toString() === other.text.toString() &&
    Y.equalSnapshots(Y.snapshot(one.doc), Y.snapshot(other.doc))
}

for (const [name, start] of Object.entries(servers)) {
  const scenario = (what, run) => test(`a chain to ${name}: ${what}`, async () => {
    const world = new Chain(start)
    await world.open()
    try { await run(world) } finally { await world.close() }
  })

  scenario('text and maps go both ways, bytes as they are', async (world) => {
    const [here, there] = await world.ends()
    here.text.insert(0, 'from here ü 😀\n')
    there.text.insert(0, 'from there\n')
    await until(() => same(here, there) && here.text.length === 26, 'equal texts')
    here.text.delete(0, 3)
    here.map.set('big', 2n ** 62n + 1n)
    there.map.set('minus', -0)
    there.map.set('bytes', new Uint8Array([0, 255]))
    here.doc.getArray('list').push([new Y.Map([['n', -0], ['b', -1n]])])
    await until(() => same(here, there) && there.map.has('big') && here.map.has('minus'), 'equal maps')
    // pycrdt's server passes on what its own document, one of yrs, makes of an update.
    const faithful = !name.startsWith('pycrdt')
    for (const end of faithful ? [here, there] : []) {
      assert.equal(end.map.get('big'), 2n ** 62n + 1n)
      assert.ok(Object.is(end.map.get('minus'), -0))
      assert.deepEqual([...end.map.get('bytes')], [0, 255])
      assert.equal(end.doc.getArray('list').get(0).get('b'), -1n)
    }
    const late = [world.client(world.hereUrl), ...(faithful ? [world.client()] : [])]
    for (const end of late) {
      await until(() => same(end, here), 'everything at a newcomer')
      assert.equal(end.map.get('big'), 2n ** 62n + 1n)
      assert.ok(!faithful || Object.is(end.map.get('minus'), -0))
    }
  })

  scenario('everybody sees everybody', async (world) => {
    const [here, there] = await world.ends()
    const people = [here, there, world.client(world.hereUrl), world.client()]
    people.forEach((one, at) => one.provider.awareness.setLocalState({ name: `P${at}` }))
    const names = (one) => [...one.provider.awareness.getStates().values()].map((state) => state.name)
    const all = (one) => people.every((_, at) => names(one).includes(`P${at}`))
    await until(() => people.every(all), 'everybody everywhere')
    here.provider.awareness.setLocalState(null)
    await until(() => !names(there).includes('P0'), 'who left here to be gone there')
    there.provider.awareness.setLocalState(null)
    await until(() => !names(here).includes('P1'), 'who left there to be gone here')
  })

  scenario('the upstream server is killed in mid-edit', async (world) => {
    const [here, there] = await world.ends()
    for (let i = 0; i < 100; i++) {
      here.text.insert(0, `here ${i}\n`)
      there.text.insert(there.text.length, `there ${i}\n`)
      if (i === 40) await world.server.kill()
      if (i === 70) await world.serve()
      await sleep(5)
    }
    await until(() => same(here, there) && here.text.toString().split('\n').length === 201, 'all lines on both ends', 40_000)
  })

  scenario('the server with the chain is killed in mid-edit', async (world) => {
    const [here, there] = await world.ends()
    for (let i = 0; i < 100; i++) {
      here.text.insert(0, `here ${i}\n`)
      there.text.insert(there.text.length, `there ${i}\n`)
      if (i === 40) await world.here.kill()
      if (i === 70) {
        // pycrdt-websocket's server sometimes goes down with a peer that it loses.
        if (world.server.process.exitCode !== null) await world.serve()
        await world.follow()
      }
      await sleep(5)
    }
    await until(() => same(here, there) && here.text.toString().split('\n').length === 201, 'all lines on both ends', 40_000)
    await world.here.quit()
  })

  scenario('a quiet chain stays linked for 40 seconds', async (world) => {
    await sleep(40_000)
    assert.deepEqual(world.here.lines.filter((line) => line.startsWith('page Waiting')), [])
  })
}
