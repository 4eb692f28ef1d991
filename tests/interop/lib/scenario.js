// One named test with its own server, whose clients and server are gone when it ends.
import { test } from 'node:test'
import { Client } from './client.js'
import { Raw } from './raw.js'
import { Server, reference } from './server.js'

class World {
  #clients = []
  #raws = []

  constructor (options) {
    this.server = new Server(options)
  }

  /// A Yjs client in a room; `options` as in `Client`.
  client (room, options) {
    const client = new Client(this.server, room, options)
    this.#clients.push(client)
    return client
  }

  /// A Yjs client that has been answered.
  join (room, options) { return this.client(room, options).synced() }

  /// A bare WebSocket in a room.
  async raw (room) {
    const raw = new Raw(this.server, room)
    this.#raws.push(raw)
    await raw.opened()
    return raw
  }

  /// Sends all clients away, so that what comes next can only come from the server.
  async everybodyLeaves () {
    await Promise.all(this.#clients.splice(0).map((client) => client.destroy()))
    this.#raws.splice(0).forEach((raw) => raw.terminate())
  }

  async end () {
    await this.everybodyLeaves().catch(() => {})
    if (this.server.runs) await this.server.kill()
  }
}

/// A test of this name. `ours`: asks for more than the reference server gives.
export function scenario (name, options, body) {
  const { timeout = 60_000, ours = false, ...server } = options
  const skip = ours && reference !== null ? 'the reference server does not do this' : false
  test(name, { timeout, skip }, async () => {
    const world = new World(server)
    try {
      await world.server.start()
      await body(world)
      if (!world.server.runs) throw new Error('the server is gone')
    } catch (error) {
      const said = world.server.stderr.trim()
      console.error(`--- ${name}: what the server said\n${said === '' ? '(nothing)' : said.slice(-4000)}\n---`)
      throw error
    } finally {
      await world.end()
    }
  })
}
