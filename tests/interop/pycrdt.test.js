// The Python provider beside unchanged JavaScript clients.
import assert from 'node:assert/strict'
import { content } from './lib/client.js'
import { pythonPart } from './lib/python.js'
import { scenario } from './lib/scenario.js'
import { cells, counter } from './lib/seed.js'
import { until } from './lib/wait.js'

scenario('the counter of ypy-websocket, with a Python driver', {}, async (world) => {
  counter(await world.join('my-roomname'))
  assert.deepStrictEqual(await pythonPart(world.server, 'my-roomname', 'counter'), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10])
})

scenario('the notebook of ypy-websocket, with a Python driver', {}, async (world) => {
  cells(await world.join('my-roomname'))
  assert.deepStrictEqual(await pythonPart(world.server, 'my-roomname', 'cells'), {
    cells: [{ source: '1 + 2', metadata: { foo: 'bar' } }], state: { state: { dirty: false } }
  })
})

scenario('text, map, array and XML go both ways between Python and JavaScript', {}, async (world) => {
  const ann = await world.join('page')
  ann.text().insert(0, 'from yjs')
  const python = pythonPart(world.server, 'page', 'both_ways')
  await Promise.race([until(() => ann.xml().length === 1, "Python's edits", { details: () => ann.describe() }), python])
  ann.map().set('done', true)
  assert.deepStrictEqual(await python, { ...content(ann), text: ann.text().toString() })
  assert.equal(ann.text().toString(), 'from yjs and python')
  assert.deepStrictEqual(ann.map().toJSON(), { python: { nested: [1, 'two', null, true] }, done: true })
  assert.equal(ann.xml().toString(), '<p class="lead">inside</p>')
})

scenario('awareness goes both ways between Python and JavaScript', {}, async (world) => {
  const ann = await world.join('page', { presence: { name: 'JavaScript' } })
  const python = pythonPart(world.server, 'page', 'presence')
  await Promise.race([until(() => ann.others().length === 1, "Python's state", { details: () => ann.describe() }), python])
  const [[id, state]] = ann.others()
  assert.deepStrictEqual(state, { name: 'Python' })
  ann.map().set('done', true)
  assert.deepStrictEqual(await python, { client: id, others: [{ name: 'JavaScript' }] })
  await until(() => ann.others().length === 0, 'Python to be gone', { ms: 2_000 })
})

scenario('what Python wrote right before it left is there after kill -9', { ours: true, args: ['--unload-after', '0'] }, async (world) => {
  const written = await pythonPart(world.server, 'page', 'write')
  const ann = await world.join('page')
  await until(() => ann.array().length === 3, 'all that was written', { details: () => ann.describe() })
  await world.everybodyLeaves()
  await world.server.kill()
  await world.server.start()
  assert.deepStrictEqual(await pythonPart(world.server, 'page', 'read'), written)
})
