// Unchanged Yjs clients: y-websocket with yjs 13, and the @y packages with their 53-bit client ids.
import assert from 'node:assert/strict'
import WebSocket from 'ws'
import * as Y13 from 'yjs'
import { WebsocketProvider as Provider13 } from 'y-websocket'
import * as Y14 from '@y/y'
import { WebsocketProvider as Provider14 } from '@y/websocket'
import { until } from './wait.js'

// Each provider listens for the end of the process.
process.setMaxListeners(0)

export const YJS = { name: 'yjs 13', Y: Y13, Provider: Provider13 }
export const YJS14 = { name: '@y/y 14', Y: Y14, Provider: Provider14 }

export class Client {
  /// What the provider said of its connection, in order: connecting, connected, disconnected.
  statuses = []
  /// The close codes of the connections that the server ended.
  closes = []

  constructor (server, room, { kit = YJS, doc = new kit.Y.Doc(), connect = true, presence, ...options } = {}) {
    this.kit = kit
    this.doc = doc
    // Without `disableBc` two clients of one process would find each other past the server.
    this.provider = new kit.Provider(server.url, room, doc, {
      connect: false, disableBc: true, WebSocketPolyfill: WebSocket, ...options
    })
    this.awareness = this.provider.awareness
    if (presence !== undefined) this.awareness.setLocalState(presence)
    this.provider.on('status', ({ status }) => this.statuses.push(status))
    this.provider.on('connection-close', (event) => { if (event !== null) this.closes.push(event.code) })
    if (connect) this.provider.connect()
  }

  get id () { return this.doc.clientID }
  text (name = 'text') { return this.doc.getText(name) }
  map (name = 'map') { return this.doc.getMap(name) }
  array (name = 'array') { return this.doc.getArray(name) }
  xml (name = 'xml') { return this.doc.getXmlFragment(name) }

  /// Waits for the answer to this client's first step.
  async synced (ms = 10_000) {
    await until(() => this.provider.synced, `client ${this.id} to be synced`, { ms, details: () => this.describe() })
    return this
  }

  connect () { this.provider.connect() }

  /// Leaves with a close frame, and can come back.
  async disconnect () {
    const socket = this.provider.ws
    this.provider.disconnect()
    await until(() => socket === null || socket.readyState === WebSocket.CLOSED, 'the socket to close')
  }

  /// Cuts the connection without a close frame. The provider will come back by itself.
  cut () { this.provider.ws._socket.destroy() }

  /// Leaves for good.
  async destroy () {
    const socket = this.provider.ws
    this.provider.destroy()
    this.doc.destroy()
    await until(() => socket === null || socket.readyState === WebSocket.CLOSED, 'the socket to close')
  }

  /// Whom this client sees, without itself.
  others () {
    return [...this.awareness.getStates()].filter(([id]) => id !== this.id)
  }

  describe () {
    const connection = this.provider.wsconnected ? 'connected' : 'not connected'
    return `client ${this.id} (${this.kit.name}): ${connection}, ${describeDoc(this.kit, this.doc)}; ` +
      `statuses ${this.statuses.join(' ')}; closes ${this.closes.join(' ')}`
  }
}

function describeDoc ({ Y }, doc) {
  const clocks = [...Y.decodeStateVector(Y.encodeStateVector(doc))].sort(([a], [b]) => a - b).map((entry) => entry.join(':'))
  const pending = doc.store.pendingStructs === null && doc.store.pendingDs === null ? '' : ', something pending'
  const shown = clocks.length > 20 ? [...clocks.slice(0, 20), `… ${clocks.length} in all`] : clocks
  return `clocks {${shown.join(', ')}}${pending}`
}

/// A form of the whole document that two equal documents share: clocks, deletes, and nothing pending.
function state ({ Y }, doc) {
  const clocks = [...Y.decodeStateVector(Y.encodeStateVector(doc))].sort(([a], [b]) => a - b)
  const deletes = Y.createDeleteSetFromStructStore(doc.store)
  const ranges = [...deletes.clients].sort(([a], [b]) => a - b)
    .map(([id, list]) => [id, (Array.isArray(list) ? list : list.getIds()).map(({ clock, len }) => [clock, len])])
  return JSON.stringify({ clocks, ranges, pending: doc.store.pendingStructs !== null || doc.store.pendingDs !== null })
}

/// Waits until all these clients hold the same, with nothing pending.
export async function converge (clients, what = 'all clients to hold the same', ms = 10_000) {
  const states = () => clients.map(({ kit, doc }) => state(kit, doc))
  await until(() => {
    const [first, ...rest] = states()
    return rest.every((other) => other === first) && first.endsWith('"pending":false}')
  }, what, { ms, details: () => clients.map((client) => client.describe()).join('\n') })
}

/// The roots of a document of the scenarios, as plain values.
export function content (client) {
  return {
    text: client.text().toDelta(),
    map: client.map().toJSON(),
    array: client.array().toJSON(),
    xml: client.xml().toString()
  }
}

/// Asserts that these clients show the same content: clocks alone do not prove it.
export function assertSameContent (clients) {
  const [first, ...rest] = clients.map(content)
  for (const other of rest) assert.deepStrictEqual(other, first)
}
