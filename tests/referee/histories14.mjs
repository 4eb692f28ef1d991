// Random editing histories as @y/y 14 makes them: one kind of type with text, values, formats,
// children and attributes in it, and client ids of 53 bits.
import * as Y from '@y/y'
import { randomOf, generateValue, pieces } from './histories.mjs'

const text = r => Array.from({ length: 1 + r.below(4) }, () => r.pick(r.pieces)).join('')

const values = r => Array.from({ length: 1 + r.below(3) }, () => r.pick([r.below(9), 'x', true, { z: 1, a: [r.below(9)] }, null]))

const attribute = r => {
  for (;;) {
    const v = generateValue(r)
    if (v !== undefined) return v
  }
}

const edit = (r, root) => {
  let type = root
  for (let i = 0; i < 3; i++) {
    const below = [...type.toArray(), ...type.attrValues()].filter(c => c instanceof Y.Type)
    if (below.length > 0 && r.chance(0.5)) type = r.pick(below)
  }
  const at = r.below(type.length + 1)
  switch (r.below(9)) {
    case 0: case 1: return type.insert(at, text(r))
    case 2: return type.insert(at, values(r))
    case 3: return type.insert(at, text(r), { [r.pick(['bold', 'color'])]: r.pick([true, 'red', { a: 1 }]) })
    case 4: return type.length > 0 && type.format(r.below(type.length), 1, { bold: r.pick([true, null]) })
    case 5: return type.insert(at, [new Y.Type(r.pick(['p', null, 'é']))])
    case 6: return type.setAttr(r.pick(['k', 'é', 'class']), r.chance(0.7) ? attribute(r) : new Y.Type())
    case 7: return type.deleteAttr(r.pick(['k', 'é', 'class']))
    default: {
      if (type.length === 0) return
      const start = r.below(type.length)
      return type.delete(start, 1 + r.below(Math.min(r.pick([3, 30]), type.length - start)))
    }
  }
}

export const generate14 = seed => {
  const r = randomOf(seed)
  r.pieces = pieces.filter(piece => !/[\ud800-\udfff]/.test(piece))
  const log = []
  const clients = Array.from({ length: 1 + r.below(4) }, () => ({ doc: new Y.Doc(), inbox: [] }))
  clients.forEach((client, i) => {
    client.doc.clientID = r.chance(0.7) ? 2 ** 52 + r.below(2 ** 32) * 4 + i : r.below(1000) * 4 + i
    client.doc.on('update', (update, origin) => {
      if (origin === 'remote') return
      log.push(Buffer.from(update))
      clients.forEach(c => c === client || c.inbox.push(update))
    })
  })
  const deliver = (c, n) => c.inbox.splice(0, n).forEach(u => Y.applyUpdate(c.doc, u, 'remote'))
  for (let n = 20 + r.below(80); n > 0; n--) {
    const c = r.pick(clients)
    if (r.chance(0.3)) deliver(c, 1 + r.below(6))
    else if (r.chance(0.15)) c.doc.transact(() => { for (let i = r.below(5); i >= 0; i--) edit(r, c.doc.get('root')) })
    else edit(r, c.doc.get(r.pick(['root', 'other'])))
  }
  return { log, clients: [] }
}
