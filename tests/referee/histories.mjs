// Random editing histories of several clients, as real Yjs makes them.
import * as Y from 'yjs'

// What a flavour does more often than others; each does everything now and then.
const flavours = [
  {}, { text: 12 }, { rich: 12 }, { map: 12 }, { array: 12 }, { xml: 12 }, { undo: 6, rich: 4, map: 4, xml: 3 },
  { docs: 4, bigDelete: 2, array: 4 }, { spot: 12, text: 2 }, { after: 20, oldJson: 1 }
]

export const randomOf = seed => {
  let a = seed >>> 0
  const next = () => {
    a = (a + 0x6d2b79f5) >>> 0
    let t = a
    t = Math.imul(t ^ (t >>> 15), t | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
  const below = n => Math.floor(next() * n)
  const r = { next, below, chance: p => next() < p, pick: list => list[below(list.length)] }
  // Who edits in the middle of surrogate pairs does not converge, with or without a server.
  r.pieces = r.chance(0.5) ? pieces : pieces.filter(piece => !/[\ud800-\udfff]/.test(piece))
  return r
}

// A lone half of a pair is typed nowhere: Yjs takes the next character along when it splits there,
// and so the same clocks have two contents.
export const pieces = ['a', 'b', 'xyz', ' ', '\n', 'é', 'ß', '語', '😀', '👩‍👩‍👧', '😀😀', 'word ', 'longer text ', '\u0000', '\ufeff']
const keys = ['k', 'key', '', 'ключ', '😀', '__proto__', 'constructor', 'a b']

export const generateValue = (r, depth = 0) => {
  switch (r.below(depth > 3 ? 12 : 14)) {
    case 0: return r.below(1000)
    case 1: return -0
    case 2: return -r.below(1e6)
    case 3: return r.next()
    case 4: return 2 ** 40 + r.below(100)
    case 5: return null
    case 6: return undefined
    case 7: return r.chance(0.5)
    case 8: return BigInt(r.below(1e9)) * (r.chance(0.5) ? 2n ** 30n : -1n)
    case 9: return r.pick([...pieces, '\ud800']) + r.pick(pieces)
    case 10: return r.pick([NaN, Infinity, 1e300, 0.1, 2 ** 53, -(2 ** 31)])
    case 11: return new Uint8Array([r.below(256), 2, 3])
    case 12: return Array.from({ length: r.below(4) }, () => generateValue(r, depth + 1))
    default: {
      const o = {}
      for (let i = r.below(4); i > 0; i--) o[r.pick(['z', 'a', '10', '2', 'é'])] = generateValue(r, depth + 1)
      return o
    }
  }
}

// A list takes these only inside of others.
const listValue = r => {
  for (;;) {
    const v = generateValue(r)
    if (v !== undefined && typeof v !== 'bigint') return v
  }
}

const json = r => r.pick([true, null, 1, -1.5, 'x', '\ud800', '"\\', { z: 1, a: [{}, 'é'] }, [], 'red'])

const some = r => {
  let s = ''
  for (let i = 1 + r.below(4); i > 0; i--) s += r.pick(r.pieces)
  return s
}

const insertText = (r, t) => t.insert(r.below(t.length + 1), some(r))

const remove = (r, t, most = 5) => {
  if (t.length === 0) return
  const at = r.below(t.length)
  t.delete(at, 1 + r.below(Math.min(most, t.length - at)))
}

const nested = r => {
  switch (r.below(5)) {
    case 0: { const m = new Y.Map(); m.set('n', r.below(9)); return m }
    case 1: return Y.Array.from([1, 'two', null])
    case 2: return new Y.Text(some(r))
    case 3: return new Y.Map()
    default: return new Y.Array()
  }
}

// A random type somewhere below the roots, of those that `wanted` accepts.
const descend = (r, type, wanted) => {
  let found = type
  for (let i = 0; i < 4; i++) {
    const children = found instanceof Y.Map ? [...found.values()] : found instanceof Y.Array ? found.toArray() : []
    const types = children.filter(c => c instanceof Y.AbstractType)
    if (types.length === 0 || r.chance(0.3)) break
    found = r.pick(types)
  }
  return wanted(found) ? found : type
}

const actions = {
  text: (r, c) => r.chance(0.65) ? insertText(r, c.t) : remove(r, c.t),
  type: (r, c) => {
    // Keystrokes in a row, in transactions of their own.
    let at = r.below(c.t.length + 1)
    for (let i = r.below(12); i > 0; i--) {
      const key = r.pick(r.pieces)
      c.t.insert(at, key)
      at += key.length
    }
  },
  // Behind what one has written last, where others may have written too: the origin goes on, the
  // right origin is another.
  after: (r, c) => {
    const own = c.doc.clientID
    const last = Y.getState(c.doc.store, own) - 1
    for (const type of [c.a, c.t]) {
      let index = 0
      for (let item = type._start; item !== null; item = item.right) {
        if (!item.deleted && item.countable) index += item.length
        if (item.id.client === own && item.id.clock + item.length - 1 === last) {
          if (r.chance(0.1)) remove(r, type)
          else type === c.a ? type.insert(index, [listValue(r)]) : type.insert(index, some(r))
          return
        }
      }
    }
    c.a.insert(Math.min(1, c.a.length), [r.below(9)])
  },
  spot: (r, c) => { for (let i = r.below(4); i >= 0; i--) c.t.insert(Math.min(2, c.t.length), some(r)) },
  rich: (r, c) => {
    const t = c.r
    switch (r.below(7)) {
      case 0: case 1: return insertText(r, t)
      case 2: return t.insert(r.below(t.length + 1), some(r), { [r.pick(['bold', 'color'])]: json(r) })
      case 3: case 4: {
        if (t.length === 0) return
        const at = r.below(t.length)
        return t.format(at, 1 + r.below(t.length - at), { [r.pick(['bold', 'color', 'i'])]: r.chance(0.4) ? null : json(r) })
      }
      case 5: return t.insertEmbed(r.below(t.length + 1), r.chance(0.7) ? { image: json(r) } : nested(r))
      default: return remove(r, t, 8)
    }
  },
  map: (r, c) => {
    const m = descend(r, c.m, t => t instanceof Y.Map)
    const key = r.pick(keys.slice(0, 4 + r.below(5)))
    switch (r.below(6)) {
      case 0: return m.delete(key)
      case 1: case 2: return m.set(key, nested(r))
      default: return m.set(key, generateValue(r))
    }
  },
  array: (r, c) => {
    const a = descend(r, c.a, t => t instanceof Y.Array)
    switch (r.below(6)) {
      case 0: return remove(r, a)
      case 1: return a.insert(r.below(a.length + 1), [nested(r)])
      case 2: return a.push([r.below(9), r.below(9)])
      default: return a.insert(r.below(a.length + 1), Array.from({ length: 1 + r.below(4) }, () => listValue(r)))
    }
  },
  inner: (r, c) => {
    const t = descend(r, r.chance(0.5) ? c.m : c.a, t => t instanceof Y.Text)
    if (t instanceof Y.Text) r.chance(0.7) ? insertText(r, t) : remove(r, t)
  },
  xml: (r, c) => {
    let x = c.x
    for (let i = 0; i < 3; i++) {
      const below = x.toArray().filter(n => n instanceof Y.XmlFragment)
      if (below.length > 0 && r.chance(0.6)) x = r.pick(below)
    }
    switch (r.below(7)) {
      case 0: return remove(r, x, 3)
      case 1: return x.insert(r.below(x.length + 1), [new Y.XmlText(some(r))])
      case 2: {
        const texts = x.toArray().filter(n => n instanceof Y.XmlText)
        if (texts.length === 0) return
        const t = r.pick(texts)
        return r.chance(0.5) ? insertText(r, t) : t.format(0, t.length, { b: json(r) })
      }
      case 3: return x.insert(r.below(x.length + 1), [new Y.XmlHook(r.pick(['hook', 'é']))])
      case 4: return x instanceof Y.XmlElement ? x.setAttribute(r.pick(['href', 'class']), r.pick(pieces)) : undefined
      default: return x.insert(r.below(x.length + 1), [new Y.XmlElement(r.pick(['p', 'div', 'é']))])
    }
  },
  docs: (r, c) => {
    const sub = new Y.Doc({ guid: `sub-${r.below(1e6)}`, autoLoad: r.chance(0.3), gc: r.chance(0.7), meta: r.chance(0.5) ? { z: 1, a: generateValue(r) } : null })
    return r.chance(0.5) ? c.m.set(r.pick(keys), sub) : c.a.insert(r.below(c.a.length + 1), [sub])
  },
  bigDelete: (r, c) => {
    const t = r.pick([c.t, c.r, c.a, c.x])
    if (t.length > 0) t.delete(0, Math.ceil(t.length * r.next()))
  },
  oldJson: (r, c) => c.doc.transact(tr => {
    let left = c.a._start
    while (left && left.right) left = left.right
    const id = Y.createID(c.doc.clientID, Y.getState(c.doc.store, c.doc.clientID))
    const values = [json(r), undefined, { b: 1, a: '\ud800' }].slice(0, 1 + r.below(3))
    new Y.Item(id, left, left && left.lastId, null, null, c.a, null, new Y.ContentJSON(values)).integrate(tr, 0)
  }),
  undo: (r, c) => c.undo && (r.chance(0.6) ? c.undo.undo() : c.undo.redo()),
  many: (r, c) => c.doc.transact(() => {
    for (let i = r.below(6); i >= 0; i--) actions[r.pick(['text', 'rich', 'map', 'array', 'xml', 'inner'])](r, c)
  })
}

const common = { after: 3, text: 3, type: 2, rich: 2, map: 2, array: 2, inner: 2, xml: 2, docs: 0.3, bigDelete: 0.4, oldJson: 0.3, undo: 1, many: 1, spot: 1 }

class Client {
  constructor (history, { gc, undo }) {
    const r = history.r
    this.doc = new Y.Doc({ gc })
    this.doc.clientID = r.chance(0.2) ? r.below(200) + 1 : r.chance(0.2) ? 2 ** 32 + r.below(2 ** 31) * 2 ** 21 : r.below(2 ** 32)
    this.history = history
    this.inbox = []
    this.t = this.doc.getText('t')
    this.r = this.doc.getText('rich ⚡')
    this.m = this.doc.getMap('m')
    this.a = this.doc.getArray('')
    this.x = this.doc.getXmlFragment('x')
    this.undo = undo ? new Y.UndoManager([this.t, this.r, this.m, this.a, this.x], { captureTimeout: 0 }) : null
    this.doc.on('update', (update, origin) => origin === 'remote' || history.send(this, update))
  }

  receive (update) { Y.applyUpdate(this.doc, update, 'remote') }

  deliver (n) {
    const batch = this.inbox.splice(0, n)
    if (batch.length > 2 && this.history.r.chance(0.3)) this.receive(Y.mergeUpdates(batch))
    else batch.forEach(update => this.receive(update))
  }
}

class History {
  constructor (seed, flavour) {
    this.r = randomOf(seed)
    this.log = []
    this.clients = []
    const weights = { ...common, ...flavours[flavour % flavours.length] }
    this.actions = Object.entries(weights)
    this.total = this.actions.reduce((sum, [, weight]) => sum + weight, 0)
    for (let n = 1 + this.r.below(5); n > 0; n--) this.join()
  }

  join (snapshot) {
    const client = new Client(this, { gc: this.r.chance(0.75), undo: this.r.chance(0.4) })
    while (this.clients.some(c => c.doc.clientID === client.doc.clientID)) client.doc.clientID++
    if (snapshot) client.receive(snapshot)
    this.clients.push(client)
    return client
  }

  send (from, update) {
    this.log.push(Buffer.from(update))
    this.clients.forEach(c => c === from || c.inbox.push(update))
  }

  step () {
    const { r } = this
    const c = r.pick(this.clients)
    if (r.chance(0.35)) return c.deliver(1 + r.below(8))
    if (r.chance(0.03)) return this.sync(c, r.pick(this.clients))
    if (this.clients.length < 6 && r.chance(0.02)) {
      // Somebody joins who has all that one of the others has, and misses nothing after it.
      const from = r.pick(this.clients)
      const inbox = [...from.inbox]
      return void (this.join(Y.encodeStateAsUpdate(from.doc)).inbox = inbox)
    }
    let at = r.next() * this.total
    const [name] = this.actions.find(([, weight]) => (at -= weight) < 0) ?? this.actions[0]
    actions[name](r, c)
  }

  // One gets from another what it lacks: such an answer overlaps with single updates.
  sync (to, from) {
    if (to === from) return
    const answer = Y.encodeStateAsUpdate(from.doc, Y.encodeStateVector(to.doc))
    to.receive(answer)
    if (this.r.chance(0.5)) this.log.push(Buffer.from(answer))
  }

  settle () {
    // Cleaning up formats after a remote change is a change of one's own: until there are none.
    for (let i = 0; i < 20 && this.clients.some(c => c.inbox.length > 0); i++) {
      this.clients.forEach(c => c.deliver(Infinity))
    }
  }
}

export const generate = (seed, flavour) => {
  const history = new History(seed, flavour)
  for (let n = 20 + history.r.below(100); n > 0; n--) history.step()
  history.settle()
  return history
}

// Two join from a snapshot of all that was, with and without garbage collection, and all go on.
export const goOn = (history, snapshot) => {
  history.join(snapshot)
  history.join(snapshot)
  for (let n = 20 + history.r.below(60); n > 0; n--) history.step()
  history.settle()
}
