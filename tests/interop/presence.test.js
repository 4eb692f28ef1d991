// Awareness of those who left, politely or not.
import assert from 'node:assert/strict'
import { scenario } from './lib/scenario.js'
import { AWARENESS, QUERY_AWARENESS, awarenessMessage, awarenessUpdate } from './lib/raw.js'
import { sleep, until } from './lib/wait.js'

scenario('a closed client is gone at once', {}, async (world) => {
  const [ann, bob] = await Promise.all([
    world.join('page', { presence: { name: 'Ann' } }), world.join('page', { presence: { name: 'Bob' } })
  ])
  await until(() => bob.others().length === 1, 'Bob to see Ann')
  await ann.disconnect()
  await until(() => bob.others().length === 0, 'Ann to be gone', { ms: 1_000 })
})

scenario('a client whose connection is cut is gone at once, and nobody finds a ghost of it', {}, async (world) => {
  const [ann, bob] = await Promise.all([
    world.join('page', { presence: { name: 'Ann' } }), world.join('page', { presence: { name: 'Bob' } })
  ])
  await until(() => bob.others().length === 1, 'Bob to see Ann')
  ann.provider.shouldConnect = false
  ann.cut()
  await until(() => bob.others().length === 0, 'Ann to be gone', { ms: 2_000 })
  const cy = await world.join('page')
  await sleep(300)
  assert.deepStrictEqual(cy.others().map(([id]) => id), [bob.id])
})

// The reference server takes a client that returns for "updated", not "added", and so does not
// know whose the state is when it leaves for the second time.
scenario('no ghost stays after a second and a third reconnect', { ours: true }, async (world) => {
  const bob = await world.join('page', { presence: { name: 'Bob' } })
  const ann = await world.join('page', { presence: { name: 'Ann' } })
  for (let round = 0; round < 3; round++) {
    await until(() => bob.others().length === 1, `Bob to see Ann in round ${round}`)
    ann.provider.shouldConnect = false
    ann.cut()
    await until(() => bob.others().length === 0, `Ann to be gone in round ${round}`, { ms: 2_000 })
    const cy = await world.join('page')
    await sleep(200)
    assert.deepStrictEqual(cy.others().map(([id]) => id), [bob.id], `no ghost in round ${round}`)
    await cy.destroy()
    ann.connect()
    await ann.synced()
  }
})

scenario('a client that is connected but dead is gone within 35 s', {}, async (world) => {
  const silent = await world.raw('page')
  silent.send(awarenessMessage(awarenessUpdate([[4242, 1, { name: 'silent' }]])))
  const began = performance.now()
  const watcher = await world.raw('page')
  await watcher.frame(({ type, states }) => type === AWARENESS && states.some(([id, , state]) => id === 4242 && state !== null),
    'the joiner to be told of the silent client')
  await watcher.frame(({ type, states }) => type === AWARENESS && states.some(([id, , state]) => id === 4242 && state === null),
    'the silent client to be reported gone', { ms: 36_000 })
  const seconds = (performance.now() - began) / 1000
  assert.ok(seconds > 25 && seconds < 35, `gone after ${seconds} s`)
  const late = await world.join('page')
  await sleep(200)
  assert.deepStrictEqual(late.others(), [], 'a late joiner finds no ghost')
})

scenario('whoever asks for awareness is answered with all states', { ours: true }, async (world) => {
  const ann = await world.join('page', { presence: { name: 'Ann' } })
  const asks = await world.raw('page')
  await asks.frame(({ type }) => type === AWARENESS, 'the snapshot for the joiner')
  const from = asks.frames.length
  asks.send(new Uint8Array([QUERY_AWARENESS]))
  const { states } = await asks.frame(({ type }) => type === AWARENESS, 'the answer', { from })
  assert.deepStrictEqual(states.map(([id, , state]) => [id, state]), [[ann.id, { name: 'Ann' }]])
})

scenario("nobody can take another's state away or speak in its name", { ours: true }, async (world) => {
  const ann = await world.join('page', { presence: { name: 'Ann' } })
  const bob = await world.join('page', { presence: { name: 'Bob' } })
  await until(() => bob.others().length === 1, 'Bob to see Ann')
  const mallory = await world.raw('page')
  mallory.send(awarenessMessage(awarenessUpdate([[ann.id, 1000, { name: 'not Ann' }]])))
  mallory.send(awarenessMessage(awarenessUpdate([[ann.id, 1001, null]])))
  // Bob's next state comes behind those two, if they were passed on.
  mallory.send(awarenessMessage(awarenessUpdate([[77, 1, { name: 'Mallory' }]])))
  await until(() => bob.others().some(([id]) => id === 77), 'Bob to see Mallory')
  assert.deepStrictEqual(new Map(bob.others()).get(ann.id), { name: 'Ann' })
  assert.equal(mallory.closed, null, 'a foreign id is ignored, not punished')
})
