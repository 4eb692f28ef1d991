// A bare WebSocket that speaks the protocol by hand: for what no well-behaved client sends, and to
// see each frame that a server sends.
import WebSocket from 'ws'
import * as decoding from 'lib0/decoding'
import * as encoding from 'lib0/encoding'
import { until } from './wait.js'

export const SYNC = 0
export const AWARENESS = 1
export const QUERY_AWARENESS = 3
export const STEP1 = 0
export const STEP2 = 1
export const UPDATE = 2

const encoded = (write) => { const encoder = encoding.createEncoder(); write(encoder); return encoding.toUint8Array(encoder) }

export const fromHex = (hex) => new Uint8Array(Buffer.from(hex, 'hex'))

/// A sync message around these bytes.
export const syncMessage = (step, bytes) => encoded((encoder) => {
  encoding.writeVarUint(encoder, SYNC)
  encoding.writeVarUint(encoder, step)
  encoding.writeVarUint8Array(encoder, bytes)
})

/// An awareness message around these bytes.
export const awarenessMessage = (bytes) => encoded((encoder) => {
  encoding.writeVarUint(encoder, AWARENESS)
  encoding.writeVarUint8Array(encoder, bytes)
})

/// The inside of an awareness message; `states` has [client id, clock, state].
export const awarenessUpdate = (states) => encoded((encoder) => {
  encoding.writeVarUint(encoder, states.length)
  for (const [id, clock, state] of states) {
    encoding.writeVarUint(encoder, id)
    encoding.writeVarUint(encoder, clock)
    encoding.writeVarString(encoder, JSON.stringify(state))
  }
})

/// Reads a frame that holds one message; `rest` counts what stands behind it.
export function readFrame (bytes) {
  const decoder = decoding.createDecoder(bytes)
  const type = decoding.readVarUint(decoder)
  const message = { type }
  if (type === SYNC) {
    message.step = decoding.readVarUint(decoder)
    message.bytes = decoding.readVarUint8Array(decoder)
  } else if (type === AWARENESS) {
    const inner = decoding.createDecoder(decoding.readVarUint8Array(decoder))
    const count = decoding.readVarUint(inner)
    message.states = Array.from({ length: count }, () =>
      [decoding.readVarUint(inner), decoding.readVarUint(inner), JSON.parse(decoding.readVarString(inner))])
  }
  message.rest = bytes.length - decoder.pos
  return message
}

export class Raw {
  /// Every frame so far, read.
  frames = []
  /// `{code, reason}` once the connection is closed.
  closed = null

  constructor (server, room) {
    this.socket = new WebSocket(`${server.url}/${room}`, { perMessageDeflate: false })
    this.socket.on('message', (data, isBinary) => this.frames.push(isBinary ? readFrame(new Uint8Array(data)) : { text: String(data) }))
    this.socket.on('close', (code, reason) => { this.closed = { code, reason: String(reason) } })
    this.socket.on('error', (error) => { this.error = error })
  }

  async opened () {
    await until(() => this.socket.readyState !== WebSocket.CONNECTING, 'the raw socket to open')
    if (this.socket.readyState !== WebSocket.OPEN) throw this.error ?? new Error('the raw socket did not open')
  }

  send (bytes) { this.socket.send(bytes) }
  sendText (text) { this.socket.send(text) }
  terminate () { this.socket.terminate() }

  /// Waits for a frame of which `wanted` is true, from the `from`th on.
  async frame (wanted, what, { from = 0, ms = 5_000 } = {}) {
    let found
    await until(() => (found = this.frames.slice(from).find(wanted)) !== undefined, what, { ms, details: () => this.describe() })
    return found
  }

  /// Waits for the end of the connection.
  async end (ms = 5_000) {
    await until(() => this.closed !== null, 'the server to close the connection', { ms, details: () => this.describe() })
    return this.closed
  }

  describe () {
    const last = this.frames.slice(-5).map((frame) => JSON.stringify({ ...frame, bytes: frame.bytes?.length }))
    return `${this.frames.length} frames, the last ${last.join(' ')}; closed: ${JSON.stringify(this.closed)}`
  }
}
