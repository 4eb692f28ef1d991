// Edits made while there was no connection.
import assert from 'node:assert/strict'
import { assertSameContent, converge } from './lib/client.js'
import { scenario } from './lib/scenario.js'

/// Edits of two clients that touch the same places.
function conflict (ann, bob) {
  ann.text().delete(2, 4)
  ann.text().insert(2, 'ANN')
  bob.text().insert(4, 'BOB')
  bob.text().delete(0, 3)
  ann.map().set('same', 'ann')
  bob.map().set('same', 'bob')
  ann.map().delete('shared')
  bob.map().set('shared', 'kept by bob')
  ann.array().insert(0, ['ann'])
  bob.array().insert(0, ['bob'])
}

async function prepare (world) {
  const [ann, bob] = await Promise.all([world.join('page'), world.join('page')])
  ann.text().insert(0, '0123456789')
  ann.map().set('shared', 1)
  ann.array().push(['base'])
  await converge([ann, bob])
  return [ann, bob]
}

function check (clients) {
  assertSameContent(clients)
  const text = clients[0].text().toString()
  assert.ok(text.includes('ANN') && text.includes('BOB') && text.endsWith('6789'), `both edits are in "${text}"`)
  assert.deepStrictEqual([...clients[0].array().toArray()].sort(), ['ann', 'base', 'bob'])
}

scenario('conflicting edits of two clients that were both offline arrive at both', {}, async (world) => {
  const [ann, bob] = await prepare(world)
  await Promise.all([ann.disconnect(), bob.disconnect()])
  conflict(ann, bob)
  ann.connect()
  await ann.synced()
  bob.connect()
  await bob.synced()
  await converge([ann, bob])
  const cy = await world.join('page')
  await converge([ann, bob, cy])
  check([ann, bob, cy])
})

scenario('edits of one side only arrive, whichever side was offline', {}, async (world) => {
  const [ann, bob] = await prepare(world)
  await ann.disconnect()
  bob.text().insert(0, 'online ')
  ann.text().insert(10, ' offline')
  ann.connect()
  await converge([ann, bob])
  assert.equal(ann.text().toString(), 'online 0123456789 offline')
})

scenario('edits made while the server was away arrive', {}, async (world) => {
  const [ann, bob] = await prepare(world)
  await world.server.stop()
  conflict(ann, bob)
  await world.server.start()
  await converge([ann, bob], 'both to be in sync again', 20_000)
  const cy = await world.join('page')
  await converge([ann, bob, cy])
  check([ann, bob, cy])
})

scenario('a document begun offline arrives with the first connection', {}, async (world) => {
  const ann = world.client('page', { connect: false })
  for (let i = 0; i < 200; i++) ann.text().insert(i, 'x')
  ann.text().delete(50, 100)
  ann.connect()
  await ann.synced()
  const bob = await world.join('page')
  await converge([ann, bob])
  assert.equal(bob.text().length, 100)
})

scenario('edits made during a reconnect after a cut connection arrive', {}, async (world) => {
  const [ann, bob] = await prepare(world)
  for (let round = 0; round < 10; round++) {
    ann.text().insert(0, 'a')
    ann.cut()
    ann.text().insert(0, 'A')
    bob.text().insert(0, 'b')
    await converge([ann, bob], `round ${round} to be in sync`)
  }
  assert.equal(ann.text().length, 10 + 30)
})
