// What two people see of each other, and what a third finds.
import assert from 'node:assert/strict'
import * as Y from 'yjs'
import { assertSameContent, content, converge } from './lib/client.js'
import { scenario } from './lib/scenario.js'
import { until } from './lib/wait.js'

scenario('text, map, array and XML go both ways', {}, async (world) => {
  const [ann, bob] = await Promise.all([world.join('page'), world.join('page')])
  ann.text().insert(0, 'Hello')
  ann.map().set('ann', { nested: [1, 'two', null, true] })
  ann.array().push(['a', 1])
  ann.xml().insert(0, [new Y.XmlElement('p')])
  await converge([ann, bob])
  bob.text().insert(5, ' world')
  bob.text().format(0, 5, { bold: true })
  bob.map().set('bob', 2.5)
  bob.array().insert(1, [new Y.Map([['in', 'a map in an array']])])
  const paragraph = bob.xml().get(0)
  paragraph.setAttribute('class', 'lead')
  paragraph.insert(0, [new Y.XmlText('inside')])
  await converge([ann, bob])
  ann.text().delete(0, 1)
  ann.map().delete('ann')
  await converge([ann, bob])
  assertSameContent([ann, bob])
  assert.deepStrictEqual(content(bob), {
    text: [{ insert: 'ello', attributes: { bold: true } }, { insert: ' world' }],
    map: { bob: 2.5 },
    array: ['a', { in: 'a map in an array' }, 1],
    xml: '<p class="lead">inside</p>'
  })
})

scenario('awareness goes both ways', {}, async (world) => {
  const [ann, bob] = await Promise.all([
    world.join('page', { presence: { name: 'Ann' } }), world.join('page', { presence: { name: 'Bob' } })
  ])
  await until(() => ann.others().length === 1 && bob.others().length === 1, 'both to see each other')
  assert.deepStrictEqual(ann.others(), [[bob.id, { name: 'Bob' }]])
  assert.deepStrictEqual(bob.others(), [[ann.id, { name: 'Ann' }]])
  ann.awareness.setLocalStateField('cursor', { at: 7 })
  bob.awareness.setLocalStateField('cursor', { at: 9 })
  await until(() => bob.others()[0][1].cursor?.at === 7, "Bob to see Ann's cursor")
  await until(() => ann.others()[0][1].cursor?.at === 9, "Ann to see Bob's cursor")
  ann.awareness.setLocalState(null)
  await until(() => bob.others().length === 0, 'Ann to be hidden after her explicit null')
})

scenario('a joiner gets the document and the presence of those who are there', {}, async (world) => {
  const [ann, bob] = await Promise.all([
    world.join('page', { presence: { name: 'Ann' } }), world.join('page', { presence: { name: 'Bob' } })
  ])
  ann.text().insert(0, 'written before')
  bob.map().set('k', 'v')
  await converge([ann, bob])
  const cy = await world.join('page', { presence: { name: 'Cy' } })
  await converge([ann, bob, cy])
  assertSameContent([ann, cy])
  await until(() => cy.others().length === 2, 'the joiner to see both')
  assert.deepStrictEqual(new Map(cy.others()), new Map([[ann.id, { name: 'Ann' }], [bob.id, { name: 'Bob' }]]))
  await until(() => ann.others().length === 2 && bob.others().length === 2, 'both to see the joiner')
})

const VALUES = {
  bigint: 9007199254740993n,
  negativeBigint: -(2n ** 63n),
  minusZero: -0,
  float: 0.1,
  large: Number.MAX_SAFE_INTEGER,
  undefined,
  null: null,
  bytes: new Uint8Array([0, 1, 254, 255]),
  text: 'ä – 字 – \u{1f600}',
  nested: { list: [1n, { deep: [-0, new Uint8Array(0)] }], empty: {} }
}
const LIST = [{ big: 1n, none: undefined }, -0, null, [1n], new Uint8Array([7])]
const DELTA = [
  { insert: 'bold', attributes: { bold: true, link: { href: 'x' } } },
  { insert: { image: { width: 3 } } },
  { insert: ' and a picture' }
]

function writeValues (client) {
  client.doc.transact(() => {
    for (const [key, value] of Object.entries(VALUES)) client.map().set(key, value)
    client.array().push(LIST)
    client.text().insert(0, 'bold and a picture')
    client.text().format(0, 4, { bold: true, link: { href: 'x' } })
    client.text().insertEmbed(4, { image: { width: 3 } })
  })
}

function checkValues (client) {
  assert.deepStrictEqual(Object.fromEntries(client.map().entries()), VALUES)
  assert.deepStrictEqual(client.array().toArray(), LIST)
  assert.deepStrictEqual(client.text().toDelta(), DELTA)
}

scenario('values arrive as they were sent, at those who are there and at those who come', {}, async (world) => {
  const [ann, bob] = await Promise.all([world.join('values'), world.join('values')])
  writeValues(ann)
  await converge([ann, bob])
  checkValues(bob)
  checkValues(await world.join('values'))
})

scenario('values come back from the store as they were sent', { ours: true }, async (world) => {
  const [ann, bob] = await Promise.all([world.join('values'), world.join('values')])
  writeValues(ann)
  await converge([ann, bob])
  await world.everybodyLeaves()
  await world.server.kill()
  await world.server.start()
  checkValues(await world.join('values'))
})

scenario('sub-documents and XML hooks arrive with all that they are', {}, async (world) => {
  const [ann, bob] = await Promise.all([world.join('parent'), world.join('parent')])
  const child = new Y.Doc({ guid: 'parent/child', meta: { title: 'Chapter' }, autoLoad: true })
  ann.map().set('chapter', child)
  ann.array().push([1, 2, new Y.Doc({ guid: 'gone' }), 3])
  await converge([ann, bob])
  // This range holds a sub-document: what frees memory twice in yrs 0.28.
  ann.array().delete(0, 3)
  const hook = new Y.XmlHook('chart')
  ann.xml().insert(0, [hook])
  hook.set('kind', 'bar')
  await converge([ann, bob])
  const check = (client) => {
    const chapter = client.map().get('chapter')
    assert.ok(chapter instanceof Y.Doc, 'a Y.Doc')
    assert.deepStrictEqual(
      { guid: chapter.guid, meta: chapter.meta, autoLoad: chapter.autoLoad },
      { guid: 'parent/child', meta: { title: 'Chapter' }, autoLoad: true })
    assert.deepStrictEqual(client.array().toArray(), [3])
    const found = client.xml().get(0)
    assert.ok(found instanceof Y.XmlHook, 'a Y.XmlHook')
    assert.deepStrictEqual([found.hookName, found.get('kind')], ['chart', 'bar'])
    return chapter
  }
  // A sub-document is a document of its own, in the room of its guid.
  const here = await world.join('parent/child', { doc: child })
  const there = await world.join('parent/child', { doc: check(bob) })
  here.text().insert(0, 'in the chapter')
  await converge([here, there])
  assert.equal(there.text().toString(), 'in the chapter')
  check(await world.join('parent'))
})

scenario('a room is the path as it stands, without the query', { ours: true }, async (world) => {
  const rooms = ['a', 'a/b', 'a/', 'A', 'a%2Fb', 'a%20b', '%C3%A4', 'a/b/c.d-e_f~1']
  const first = await Promise.all(rooms.map((room) => world.join(room)))
  first.forEach((client, i) => client.text().insert(0, rooms[i]))
  const second = await Promise.all(rooms.map((room) => world.join(room, { params: { token: 'secret', room: 'x' } })))
  await Promise.all(rooms.map((room, i) => converge([first[i], second[i]], `room ${room} to be in sync`)))
  assert.deepStrictEqual(second.map((client) => client.text().toString()), rooms)
})
