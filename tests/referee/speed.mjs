// How long yjs takes for what `cargo bench --bench update` measures here: `node speed.mjs B4`, with
// the path of an unpacked trace ([u32 n] and n times [u32 length][bytes]).
import * as Y from 'yjs'
import { readFileSync } from 'node:fs'

const bytes = readFileSync(process.argv[2])
const log = []
for (let at = 4, n = bytes.readUInt32LE(0); n > 0; n--) {
  const end = at + 4 + bytes.readUInt32LE(at)
  log.push(bytes.subarray(at + 4, end))
  at = end
}

const time = (what, runs, work) => {
  let least = Infinity
  for (let i = 0; i < runs; i++) {
    const start = performance.now()
    work()
    least = Math.min(least, performance.now() - start)
  }
  console.log(`${what}: ${least.toFixed(3)} ms`)
}

const load = updates => {
  const doc = new Y.Doc()
  updates.forEach(update => Y.applyUpdate(doc, update))
  return doc
}

time('decode 10,000 keystrokes', 5, () => log.slice(0, 10_000).forEach(update => Y.decodeUpdate(update)))
for (const n of [10, 100, 1_000]) time(`merge ${n} keystrokes`, 5, () => Y.mergeUpdates(log.slice(0, n)))
time('merge 10,000 keystrokes', 1, () => Y.mergeUpdates(log.slice(0, 10_000)))
time('apply all', 1, () => load(log))
const doc = load(log)
const snapshot = Y.encodeStateAsUpdate(doc)
const stateVector = Y.encodeStateVector(doc)
time('load the snapshot', 10, () => load([snapshot]))
time('diff for one who is up to date', 10, () => Y.diffUpdate(snapshot, stateVector))
console.log(`snapshot: ${snapshot.length} bytes`)
