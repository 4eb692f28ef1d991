// The next generation of Yjs: @y/websocket and @y/y with 53-bit client ids and one unified type.
import assert from 'node:assert/strict'
import { YJS, YJS14, converge } from './lib/client.js'
import { scenario } from './lib/scenario.js'
import { until } from './lib/wait.js'

const kit = YJS14
const type = (client, name) => client.doc.get(name)
const plain = (client) => ({
  text: type(client, 'text').toString(),
  map: type(client, 'map').getAttrs(),
  array: type(client, 'array').toArray()
})

function write (ann, bob) {
  type(ann, 'text').insert(0, 'fourteen')
  type(ann, 'map').setAttr('ann', { big: 2n ** 60n, list: [1, 'two'] })
  type(bob, 'array').push(['from', 'bob'])
  type(bob, 'map').setAttr('bob', -0)
}

scenario('two clients with 53-bit ids see each other, document and awareness', {}, async (world) => {
  const [ann, bob] = await Promise.all([
    world.join('page', { kit, presence: { name: 'Ann' } }), world.join('page', { kit, presence: { name: 'Bob' } })
  ])
  assert.ok(ann.id > 2 ** 32 || bob.id > 2 ** 32, `53-bit ids: ${ann.id} and ${bob.id}`)
  write(ann, bob)
  await converge([ann, bob])
  type(bob, 'text').delete(0, 4)
  type(ann, 'text').format(0, 2, { bold: true })
  await converge([ann, bob])
  assert.deepStrictEqual(plain(bob), plain(ann))
  assert.deepStrictEqual(plain(bob), {
    text: 'teen', map: { ann: { big: 2n ** 60n, list: [1, 'two'] }, bob: -0 }, array: ['from', 'bob']
  })
  await until(() => ann.others().length === 1 && bob.others().length === 1, 'both to see each other')
  assert.deepStrictEqual(ann.others(), [[bob.id, { name: 'Bob' }]])
  await bob.disconnect()
  await until(() => ann.others().length === 0, 'Bob to be gone', { ms: 2_000 })
})

scenario('offline edits with 53-bit ids arrive after a reconnect', {}, async (world) => {
  const [ann, bob] = await Promise.all([world.join('page', { kit }), world.join('page', { kit })])
  type(ann, 'text').insert(0, '0123456789')
  await converge([ann, bob])
  await Promise.all([ann.disconnect(), bob.disconnect()])
  type(ann, 'text').delete(2, 5)
  type(ann, 'text').insert(2, 'ANN')
  type(bob, 'text').insert(4, 'BOB')
  ann.connect()
  bob.connect()
  await converge([ann, bob])
  const text = type(bob, 'text').toString()
  assert.equal(type(ann, 'text').toString(), text)
  assert.ok(text.includes('ANN') && text.includes('BOB'), text)
})

scenario('a document with 53-bit ids is back after kill -9', { ours: true }, async (world) => {
  const [ann, bob] = await Promise.all([world.join('page', { kit }), world.join('page', { kit })])
  write(ann, bob)
  await converge([ann, bob])
  const before = plain(ann)
  await world.everybodyLeaves()
  await world.server.kill()
  await world.server.start()
  assert.deepStrictEqual(plain(await world.join('page', { kit })), before)
})

scenario('yjs 13 and @y/y 14 share a room', {}, async (world) => {
  const [ann, old] = await Promise.all([world.join('page', { kit }), world.join('page', { kit: YJS })])
  type(ann, 'text').insert(0, 'new ')
  await converge([ann, old])
  old.text().insert(4, 'and old')
  old.map().set('k', [1, { a: true }])
  await converge([ann, old])
  type(ann, 'text').insert(0, 'both: ')
  await converge([ann, old])
  assert.equal(old.text().toString(), 'both: new and old')
  assert.equal(type(ann, 'text').toString(), 'both: new and old')
  assert.deepStrictEqual(type(ann, 'map').getAttr('k'), [1, { a: true }])
})
