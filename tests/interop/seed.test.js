// The two scenarios in which ypy-websocket met real JavaScript clients, told anew: there the other
// side was a Python client or the server's own document, here it is any second client.
import assert from 'node:assert/strict'
import * as Y from 'yjs'
import { scenario } from './lib/scenario.js'
import { cells, counter } from './lib/seed.js'
import { until } from './lib/wait.js'

scenario('the counter: one side sets map.in, the other answers in map.out', {}, async (world) => {
  const driver = await world.join('my-roomname')
  counter(await world.join('my-roomname'))
  const clock = driver.doc.getMap('_test')
  let turn = 0
  for (let input = 0; input < 10; input++) {
    driver.doc.transact(() => driver.map().set('in', input))
    driver.doc.transact(() => clock.set('clock', turn))
    await until(() => clock.get('clock') > turn, `the answer to ${input}`)
    turn = clock.get('clock') + 1
    assert.equal(driver.map().get('out'), input + 1)
  }
})

scenario('the notebook: cells with text and metadata, and a state beside them', {}, async (world) => {
  const driver = await world.join('my-roomname')
  cells(await world.join('my-roomname'))
  const clock = driver.doc.getMap('_test')
  clock.set('clock', 0)
  await until(() => clock.get('clock') === 1, 'the cells to be there')
  assert.deepStrictEqual(driver.array('cells').toJSON(), [{ source: '1 + 2', metadata: { foo: 'bar' } }])
  assert.deepStrictEqual(driver.map('state').toJSON(), { state: { dirty: false } })
  assert.ok(driver.array('cells').get(0).get('source') instanceof Y.Text, 'the source is a text that can be edited')
})
