// What a document holds, written out so that two can be compared: every live item of every type in
// its order, whatever the types are called, the state vector, the delete set, and what is pending.

const value = v => {
  switch (typeof v) {
    case 'bigint': return `${v}n`
    case 'undefined': return 'undefined'
    case 'number': return Object.is(v, -0) ? '-0' : String(v)
    case 'string': return JSON.stringify(v)
    case 'object': {
      if (v === null) return 'null'
      if (Array.isArray(v)) return `[${v.map(value).join()}]`
      if (v instanceof Uint8Array) return `bytes(${[...v]})`
      // The order of keys is part of it.
      return `{${Object.keys(v).map(k => `${JSON.stringify(k)}:${value(v[k])}`).join()}}`
    }
    default: return String(v)
  }
}

const content = (lib, c) => {
  switch (c.constructor) {
    case lib.ContentString: return c.str
    case lib.ContentType: return typeName(c.type) + type(lib, c.type)
    case lib.ContentDoc: return `doc(${JSON.stringify(c.doc.guid)},${value(c.opts)})`
    case lib.ContentFormat: return `format(${c.key}=${value(c.value)})`
    case lib.ContentEmbed: return `embed(${value(c.embed)})`
    case lib.ContentBinary: return `binary(${[...c.content]})`
    case lib.ContentAny: return c.arr.map(v => `any(${value(v)})`).join('')
    case lib.ContentJSON: return c.arr.map(v => `json(${value(v)})`).join('')
    default: return c.constructor.name
  }
}

const typeName = t => `${t._legacyTypeRef ?? t.constructor.name}:${t.nodeName ?? t.hookName ?? t.name ?? ''}`

const type = (lib, t) => {
  let out = '<'
  for (let item = t._start; item !== null; item = item.right) {
    if (!item.deleted) out += content(lib, item.content)
  }
  for (const key of [...t._map.keys()].sort()) {
    const item = t._map.get(key)
    // What a map shows is the last value of its last item.
    if (!item.deleted) out += `|${JSON.stringify(key)}=${content(lib, item.content)}`
  }
  return out + '>'
}

export const stateOf = (lib, doc) => {
  const ds = lib.createDeleteSetFromStructStore(doc.store)
  const deletes = [...ds.clients].sort((a, b) => a[0] - b[0]).map(([client, d]) => {
    const ranges = Array.isArray(d) ? d : d.getIds()
    return `${client}:${ranges.map(r => `${r.clock}+${r.len}`)}`
  })
  const structs = doc.store.clients
  return {
    content: [...doc.share.keys()].sort().map(name => `${name}${type(lib, doc.share.get(name))}`)
      // A root that was only named has no content.
      .filter(t => !t.endsWith('<>')).join('\n'),
    stateVector: [...structs].map(([client, s]) => {
      const last = s[s.length - 1]
      return [client, last.id.clock + last.length]
    }).sort((a, b) => a[0] - b[0]).join(),
    deletes: deletes.join('; '),
    pending: doc.store.pendingStructs || doc.store.pendingDs ? 'yes' : 'no'
  }
}

export const difference = (expected, found) => {
  const differing = Object.keys(expected).filter(part => expected[part] !== found[part])
  return differing.map(part => {
    const [a, b] = [expected[part], found[part]]
    let i = 0
    while (i < a.length && a[i] === b[i]) i++
    const from = Math.max(0, i - 80)
    return `${part} differs at ${i} of ${a.length}/${b.length}:\n  expected ${JSON.stringify(a.slice(from, i + 120))}\n  found    ${JSON.stringify(b.slice(from, i + 120))}`
  }).join('\n')
}
