// Much text, and many people.
import assert from 'node:assert/strict'
import { assertSameContent, converge } from './lib/client.js'
import { scenario } from './lib/scenario.js'
import { sleep } from './lib/wait.js'

const MB = 1_000_000

scenario('a document of 5 MB in one update arrives, live and at a joiner', { timeout: 90_000 }, async (world) => {
  const [ann, bob] = await Promise.all([world.join('large'), world.join('large')])
  ann.text().insert(0, 'x'.repeat(5 * MB))
  await converge([ann, bob], 'Bob to have it', 30_000)
  const cy = await world.join('large')
  await converge([ann, cy], 'the joiner to have it', 30_000)
  assert.equal(cy.text().length, 5 * MB)
})

scenario('a document of 5 MB in many updates is back after kill -9', { ours: true, timeout: 90_000 }, async (world) => {
  const [ann, bob] = await Promise.all([world.join('large'), world.join('large')])
  for (let i = 0; i < 500; i++) {
    ann.array().push([`${i}: ${'y'.repeat(5_000)}`])
    ann.map().set(`k${i}`, 'z'.repeat(5_000))
  }
  await converge([ann, bob], 'Bob to have it', 30_000)
  await world.everybodyLeaves()
  await world.server.kill()
  await world.server.start()
  const cy = await world.client('large').synced(30_000)
  assert.equal(cy.array().length, 500)
  assert.equal([...cy.map().values()].reduce((sum, value) => sum + value.length, 0), 500 * 5_000)
})

scenario('5 MB made offline arrive with the first connection', { timeout: 90_000 }, async (world) => {
  const ann = world.client('large', { connect: false })
  for (let i = 0; i < 50; i++) ann.text().insert(i * 50_000, String(i % 10).repeat(100_000))
  ann.connect()
  await ann.synced(30_000)
  const bob = await world.join('large')
  await converge([ann, bob], 'Bob to have it', 30_000)
  assert.equal(bob.text().length, 5 * MB)
})

scenario('50 clients that type at once converge', { timeout: 120_000 }, async (world) => {
  const clients = await Promise.all(Array.from({ length: 50 }, (_, i) => world.join('crowd', { presence: { i } })))
  for (let key = 0; key < 20; key++) {
    for (const [i, client] of clients.entries()) {
      const text = client.text()
      const at = (i * 7919 + key * 104729) % (text.length + 1)
      if (key % 5 === 4 && text.length > at) text.delete(at, 1)
      else text.insert(at, String.fromCharCode(97 + (i % 26)))
      client.map().set(`k${(i + key) % 10}`, i)
    }
    await sleep(5)
  }
  await converge(clients, 'all 50 to hold the same', 60_000)
  const late = await world.join('crowd')
  await converge([clients[0], late])
  assertSameContent([...clients, late])
})
