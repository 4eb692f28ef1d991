// Every line of every file in tests/corpus/hostile, in each frame that can carry it.
import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { assertSameContent, converge } from './lib/client.js'
import { STEP1, STEP2, UPDATE, awarenessMessage, fromHex, syncMessage } from './lib/raw.js'
import { scenario } from './lib/scenario.js'
import { until } from './lib/wait.js'

const corpus = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../corpus/hostile')
const files = fs.readdirSync(corpus).filter((name) => name.endsWith('.hex')).sort()
const FRAMES = {
  'an update': (bytes) => syncMessage(UPDATE, bytes),
  'a second step': (bytes) => syncMessage(STEP2, bytes),
  'a first step': (bytes) => syncMessage(STEP1, bytes),
  'an awareness message': (bytes) => awarenessMessage(bytes),
  'a bare frame': (bytes) => bytes
}
/// Sent last on a connection that is still open: its echo says that all before it has been dealt with.
const PROBE = syncMessage(STEP1, new Uint8Array([0]))

/// Sends all lines in order, on a new connection whenever the server has closed the last one. Waits
/// until they have been dealt with: 20,000 new client ids are read no faster than 1,000 a second.
async function attack (world, room, frames) {
  let raw = await world.raw(room)
  for (const frame of frames) {
    if (raw.closed !== null) raw = await world.raw(room)
    raw.send(frame)
  }
  const from = raw.frames.length
  raw.send(PROBE)
  await until(() => raw.closed !== null || raw.frames.slice(from).some(({ step }) => step === STEP2),
    'the last line to be dealt with', { ms: 60_000, details: () => raw.describe() })
  raw.terminate()
}

for (const file of files) {
  scenario(`${file}: nobody else is harmed`, { ours: true }, async (world) => {
    const lines = fs.readFileSync(path.join(corpus, file), 'utf8').split('\n').map((line) => line.trim()).filter(Boolean)
    assert.ok(lines.length > 0, 'the file has lines')
    const before = world.server.pid
    await Promise.all(Object.entries(FRAMES).map(async ([form, frame]) => {
      const room = `${file}/${form.replaceAll(' ', '-')}`
      const [ann, bob] = await Promise.all([world.join(room), world.join(room)])
      ann.map('safe').set('before', form)
      await converge([ann, bob])
      await attack(world, room, lines.map((line) => frame(fromHex(line))))
      assert.ok(world.server.runs, `the server runs on after ${form}`)
      bob.map('safe').set('after', form)
      await until(() => ann.map('safe').get('after') === form, `Ann to see Bob's edit after ${form}`, { details: () => ann.describe() })
      await converge([ann, bob], `Ann and Bob to be in sync after ${form}`)
      assertSameContent([ann, bob])
      assert.deepStrictEqual([ann.closes, bob.closes], [[], []], 'nobody else was closed')
    }))
    await world.everybodyLeaves()
    assert.equal(world.server.pid, before)
    await world.server.kill()
    await world.server.start()
    for (const form of Object.keys(FRAMES)) {
      const cy = await world.join(`${file}/${form.replaceAll(' ', '-')}`)
      assert.deepStrictEqual(cy.map('safe').toJSON(), { before: form, after: form }, `the room is whole after ${form}`)
      assert.equal(cy.doc.store.pendingStructs, null, 'with nothing pending')
    }
  })
}
