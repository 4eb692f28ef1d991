// The referee: real Yjs judges what the update algebra makes.
//
// It talks in frames over stdin and stdout: [u32 length][u8 operation][payload], little-endian; an
// answer has no operation. A list of byte strings is [u32 n] and n times [u32 length][bytes].
//
//   1  generate(u32 seed, u8 flavour)   -> list: the log of a random history, every update as it was
//                                          made; flavour 14 by @y/y 14
//   2  go on(snapshot)                  -> list: the log, made longer by those who held the document
//                                          before and by two who join from the snapshot
//   3  load(list)                       -> "": the log to judge by is this one
//   4  judge(u8 version, list)          -> verdict: whether a document that gets these updates in
//                                          turn holds what one holds that gets the log; with the
//                                          version's high bit, surrogate pairs may be cut or whole
//   5  size()                           -> u32: how long the log's document is, loaded and encoded
//   6  state vectors(u32 seed)          -> list: state vectors of prefixes of the log, each followed
//                                          by the number of updates, and random ones, followed by ""
//   7  same update(list of two)         -> verdict: whether two updates have the same structs
//   8  throws(list)                     -> "": applying these threw nothing; or what it threw
//   9  diff(list of update, state vector) -> what Yjs' diffUpdate makes of them
//  10  converged()                      -> verdict: whether all who wrote the history hold the same
//
// A verdict is "" or says what differs.
import * as Y from 'yjs'
import * as Y14 from '@y/y'
import { generate, goOn } from './histories.mjs'
import { generate14 } from './histories14.mjs'
import { stateOf, difference } from './state.mjs'

const versions = { 13: Y, 14: Y14 }
let history = null
let log = []
let expected = {}

const load = (version, updates) => {
  const lib = versions[version]
  // Cleaning up formats, which a document does by itself after a remote change, depends on how the
  // changes were batched, not on what they are. It is kept out of the comparison.
  const doc = version === 13 ? new Y.Doc() : new lib.Doc({ isSuggestionDoc: true })
  doc.on('afterTransaction', tr => { tr._needFormattingCleanup = false })
  doc.transact(() => updates.forEach(update => lib.applyUpdate(doc, update)))
  return doc
}

const expectedOf = version => {
  expected[version] ??= stateOf(versions[version], load(version, log))
  return expected[version]
}

const operations = {
  1: payload => {
    history = payload[4] === 14 ? generate14(payload.readUInt32LE(0)) : generate(payload.readUInt32LE(0), payload[4])
    return setLog(history.log)
  },
  2: payload => {
    goOn(history, payload)
    return setLog(history.log)
  },
  3: payload => {
    history = null
    setLog(readList(payload))
    return Buffer.alloc(0)
  },
  4: payload => {
    const version = payload[0] & 0x7f
    const view = payload[0] & 0x80 ? withoutPairs : state => state
    const updates = readList(payload.subarray(1))
    try {
      const doc = load(version, updates)
      return text(difference(view(expectedOf(version)), view(stateOf(versions[version], doc))))
    } catch (e) {
      return text('it throws: ' + e.stack)
    }
  },
  5: () => {
    const fresh = load(13, [Y.encodeStateAsUpdate(load(13, log))])
    return number(Y.encodeStateAsUpdate(fresh).length)
  },
  6: payload => writeList(stateVectors(payload.readUInt32LE(0))),
  7: payload => {
    const [ours, theirs] = readList(payload).map(update => plain(Y.decodeUpdate(update)))
    return text(ours === theirs ? '' : `ours\n${ours}\ntheirs\n${theirs}`)
  },
  8: payload => {
    const thrown = [Y, Y14].map(lib => {
      try {
        const doc = new lib.Doc()
        readList(payload).forEach(update => lib.applyUpdate(doc, update))
        lib.applyUpdate(new lib.Doc(), lib.encodeStateAsUpdate(doc))
        return ''
      } catch (e) {
        return e.stack.slice(0, 500)
      }
    })
    return text(thrown.join(''))
  },
  9: payload => {
    const [update, sv] = readList(payload)
    return Buffer.from(Y.diffUpdate(update, sv))
  },
  10: () => text(converged())
}

// Where the same text came both whole and cut in the middle of a surrogate pair, it depends on which
// came first whether the pair is whole, with Yjs as well.
const withoutPairs = state => ({ ...state, content: state.content.replaceAll(/[\ud800-\udfff]/g, '\ufffd') })

const converged = () => {
  const visible = doc => ({ ...stateOf(Y, doc), deletes: '' })
  const [first, ...others] = history.clients.map(c => visible(c.doc))
  const pairs = [first, ...others].some(state => /[\ud800-\udfff\ufffd]|\\ud/.test(state.content))
  return pairs ? '' : others.map(other => difference(first, other)).filter(d => d !== '').join('\n')
}

const setLog = updates => {
  log = updates
  expected = {}
  return writeList(log)
}

const stateVectors = seed => {
  const random = () => (seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0) / 2 ** 32
  const out = []
  for (let i = 0; i < 3; i++) {
    const n = Math.floor(random() * (log.length + 1))
    out.push(Buffer.from(Y.encodeStateVector(load(13, log.slice(0, n)))), number(n))
  }
  const full = Y.decodeStateVector(Y.encodeStateVector(load(13, log)))
  for (let i = 0; i < 3; i++) {
    const some = new Map([...full].filter(() => random() < 0.8).map(([client, clock]) => [client, Math.floor(random() * (clock + 1))]))
    out.push(Buffer.from(Y.encodeStateVector(some)), Buffer.alloc(0))
  }
  return out
}

// What two updates must have in common to be the same: not the bytes, but all structs.
const plain = ({ structs, ds }) => {
  const id = id => id && `${id.client}:${id.clock}`
  const lines = structs.map(s => {
    if (s.constructor !== Y.Item) return `${id(s.id)} ${s.constructor.name} ${s.length}`
    const parent = s.origin || s.rightOrigin ? '' : typeof s.parent === 'string' ? `"${s.parent}"` : id(s.parent)
    const key = s.origin || s.rightOrigin ? '' : s.parentSub
    return `${id(s.id)} ${id(s.origin)} ${id(s.rightOrigin)} ${parent} ${key} ${s.content.constructor.name} ${s.length} ${contentText(s.content)}`
  })
  const deletes = [...ds.clients].sort((a, b) => b[0] - a[0]).map(([client, items]) => `${client}: ${items.map(d => `${d.clock}+${d.len}`)}`)
  return lines.concat(deletes).join('\n')
}

const contentText = content => {
  const json = v => JSON.stringify(v, (_, x) => typeof x === 'bigint' ? `${x}n` : x === undefined ? 'undefined' : x)
  return json(content.str ?? content.arr ?? content.embed ?? content.key ?? content.len ?? content.doc?.guid ?? content.type?.constructor.name ?? '')
}

const text = s => Buffer.from(s)
const number = n => { const b = Buffer.alloc(4); b.writeUInt32LE(n); return b }
const writeList = list => Buffer.concat([number(list.length), ...list.flatMap(bytes => [number(bytes.length), bytes])])
const readList = bytes => {
  const list = []
  let at = 4
  for (let n = bytes.readUInt32LE(0); n > 0; n--) {
    const end = at + 4 + bytes.readUInt32LE(at)
    list.push(bytes.subarray(at + 4, end))
    at = end
  }
  return list
}

// Answers are written whole before the next request is read: stdout may be a pipe.
const input = process.stdin[Symbol.asyncIterator]()
let held = []
let size = 0
const read = async n => {
  while (size < n) {
    const { value, done } = await input.next()
    if (done) process.exit(0)
    held.push(value)
    size += value.length
  }
  const all = held.length === 1 ? held[0] : Buffer.concat(held)
  held = [all.subarray(n)]
  size -= n
  return all.subarray(0, n)
}

for (;;) {
  const request = await read((await read(4)).readUInt32LE(0))
  const answer = operations[request[0]](request.subarray(1))
  await new Promise(resolve => process.stdout.write(Buffer.concat([number(answer.length), answer]), resolve))
}
