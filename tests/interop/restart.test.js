// What a stopped or killed server knows when it is back.
import assert from 'node:assert/strict'
import { content, converge } from './lib/client.js'
import { scenario } from './lib/scenario.js'
import { until } from './lib/wait.js'

/// Fills two rooms; returns what stands in them.
async function fill (world) {
  const [ann, bob, other] = await Promise.all([world.join('page'), world.join('page'), world.join('other/room')])
  for (let i = 0; i < 100; i++) {
    ann.text().insert(i, String(i % 10))
    bob.map().set(`k${i % 7}`, i)
  }
  await converge([ann, bob])
  bob.text().delete(10, 30)
  ann.array().push([1, { a: [true, 2n] }])
  await converge([ann, bob])
  other.text().insert(0, 'somewhere else')
  const watcher = await world.join('other/room')
  await converge([other, watcher])
  return { page: content(ann), other: content(other) }
}

async function expect (world, { page, other }) {
  const [cy, dee] = await Promise.all([world.join('page'), world.join('other/room')])
  assert.deepStrictEqual(content(cy), page)
  assert.deepStrictEqual(content(dee), other)
}

for (const store of ['sqlite', 'file']) {
  scenario(`everything is back after SIGTERM (${store})`, { store, ours: true }, async (world) => {
    const before = await fill(world)
    const watcher = await world.join('page')
    const { code, ms } = await world.server.stop()
    assert.equal(code, 0, 'the exit code')
    assert.ok(ms < 5_000, `ended after ${ms} ms`)
    await until(() => watcher.closes.includes(1012), 'the close code 1012', { details: () => watcher.describe() })
    await world.everybodyLeaves()
    await world.server.start()
    await expect(world, before)
  })

  scenario(`everything is back after kill -9 (${store})`, { store, ours: true }, async (world) => {
    const before = await fill(world)
    await world.server.kill()
    await world.everybodyLeaves()
    await world.server.start()
    await expect(world, before)
  })

  scenario(`three restarts with edits in between lose nothing (${store})`, { store, ours: true }, async (world) => {
    for (let round = 0; round < 3; round++) {
      const [ann, bob] = await Promise.all([world.join('page'), world.join('page')])
      assert.equal(ann.text().toString(), 'x'.repeat(round * 50))
      for (let i = 0; i < 50; i++) ann.text().insert(ann.text().length, 'x')
      await converge([ann, bob])
      await world.everybodyLeaves()
      await world.server.kill()
      await world.server.start()
    }
    assert.equal((await world.join('page')).text().length, 150)
  })
}

scenario('connected clients find back by themselves', {}, async (world) => {
  const [ann, bob] = await Promise.all([
    world.join('page', { presence: { name: 'Ann' } }), world.join('page', { presence: { name: 'Bob' } })
  ])
  ann.text().insert(0, 'before')
  await converge([ann, bob])
  await world.server.kill()
  await until(() => !ann.provider.wsconnected && !bob.provider.wsconnected, 'both to notice')
  await world.server.start()
  await until(() => ann.provider.synced && bob.provider.synced, 'both to be back', { ms: 20_000 })
  bob.text().insert(6, ' and after')
  await converge([ann, bob])
  assert.equal(ann.text().toString(), 'before and after')
  // Not sooner than their next renewal, after 15 s: a client forgets the others' states when it loses
  // its connection, but not their clocks, and so ignores the same state with the same clock.
  await until(() => ann.others().length === 1 && bob.others().length === 1, 'both to see each other again', { ms: 20_000 })
})

scenario('a memory store forgets with its process, and says so by an empty room', { store: 'memory' }, async (world) => {
  const ann = await world.join('page')
  ann.text().insert(0, 'gone')
  const bob = await world.join('page')
  await converge([ann, bob])
  await world.everybodyLeaves()
  await world.server.kill()
  await world.server.start()
  assert.equal((await world.join('page')).text().length, 0)
})
