// Our provider (the example `notes`) against y-websocket's server, pycrdt-websocket's and ours, each
// time beside an unchanged y-websocket client, whose Yjs judges what the document holds.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { World, servers, until } from './lib.mjs'

for (const [name, start] of Object.entries(servers)) {
  const scenario = (what, run) => test(`${name}: ${what}`, async () => {
    const world = new World(start)
    await world.open()
    try { await run(world) } finally { await world.close() }
  })

  scenario('text and map go both ways between Rust and JavaScript', async (world) => {
    const rust = await world.notes().synced()
    const js = world.client()
    rust.say('from Rust')
    await until(() => js.text.toString() === 'from Rust\n', 'the line in JavaScript')
    js.text.insert(js.text.length, 'from JavaScript ü 😀\n')
    await until(async () => await rust.text() === js.text.toString(), 'the line in Rust')
    rust.say('/set rust a value')
    js.map.set('js', 'another')
    await until(() => js.map.get('rust') === 'a value', 'the value in JavaScript')
    await until(async () => await rust.value('js') === 'another', 'the value in Rust')
    js.text.delete(0, 5)
    await until(async () => await rust.text() === js.text.toString(), 'the deletion in Rust')
    const second = await world.notes('second').synced()
    await until(async () => await second.text() === js.text.toString(), 'everything at a newcomer')
    await rust.quit()
  })

  scenario('awareness goes both ways', async (world) => {
    const rust = await world.notes('Ann').synced()
    const js = world.client()
    js.provider.awareness.setLocalState({ name: 'Bob' })
    const others = () => [...js.provider.awareness.getStates().values()].map((state) => state.name)
    await until(() => others().includes('Ann'), 'Ann in JavaScript')
    await until(async () => (await rust.who()).includes('{"name":"Bob"}'), 'Bob in Rust')
    js.provider.awareness.setLocalState(null)
    // pycrdt-websocket's server is itself somebody who is here.
    await until(async () => !(await rust.who()).includes('{"name":"Bob"}'), 'Bob to be gone in Rust')
    await rust.quit()
    await until(() => !others().includes('Ann'), 'Ann to be gone in JavaScript', 40_000)
  })

  scenario('the server restarts in mid-edit', async (world) => {
    const rust = await world.notes().synced()
    const js = world.client()
    await until(() => js.provider.synced, 'JavaScript to be synced')
    for (let i = 0; i < 100; i++) {
      rust.say(`rust ${i}`)
      if (i === 50) {
        await world.server.kill()
        await rust.hears('phase Waiting')
      }
      if (i === 80) await world.serve()
    }
    await rust.ask('/flush', 'flushed')
    js.text.insert(0, 'javascript\n')
    await until(async () => js.text.toString().split('\n').length === 102, 'all lines in JavaScript', 30_000)
    await until(async () => await rust.text() === js.text.toString(), 'equal texts')
    for (let i = 0; i < 100; i++) assert.equal(js.text.toString().split(`rust ${i}\n`).length, 2, `line ${i} once`)
  })

  scenario('10,000 edits made offline arrive once', async (world) => {
    const rust = await world.notes().synced()
    await world.server.kill()
    await rust.hears('phase Waiting')
    for (let i = 0; i < 10_000; i++) rust.say('x')
    await until(async () => (await rust.text()).length === 20_000, 'the edits in Rust')
    await world.serve()
    const flushed = await rust.ask('/flush', 'flushed')
    assert.equal(flushed, name === 'yroom' ? 'flushed Acknowledged' : 'flushed Received')
    const js = world.client()
    await until(() => js.text.length > 0, 'the edits in JavaScript')
    await sleep(500)
    assert.equal(js.text.toString(), 'x\n'.repeat(10_000))
  })

  scenario('the JavaScript counter answers a program of ours', async (world) => {
    // As in ypy-websocket's test, with our provider in the place of ypy's.
    const js = world.client()
    const clock = js.doc.getMap('_test')
    let mine = -1
    clock.observe((event) => {
      const now = clock.get('clock')
      if (!event.keysChanged.has('clock') || now <= mine) return
      js.map.set('out', js.map.get('in') + 1)
      mine = now + 1
      clock.set('clock', mine)
    })
    await until(() => js.provider.synced, 'JavaScript to be synced')
    const rust = world.counter(10)
    assert.equal(await rust.ended, 0)
    assert.deepEqual(rust.lines, Array.from({ length: 10 }, (_, turn) => `${turn} -> ${turn + 1}`))
    assert.equal(js.map.get('out'), 10)
  })

  scenario('a client alone for 40 seconds is not disconnected', async (world) => {
    const rust = await world.notes().synced()
    await sleep(40_000)
    assert.deepEqual(rust.lines.filter((line) => line.startsWith('phase Waiting')), [])
  })
}
