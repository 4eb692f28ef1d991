// Programs, servers of three makings and JavaScript clients, started and ended by a test.
//
// NOTES, COUNTER, CHAIN, EDITS and YROOM name the programs, PYTHON an interpreter with requirements.txt installed,
// where they are not where `.ci/run provider` puts them.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import net from 'node:net'
import path from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import WebSocket from 'ws'
import * as Y from 'yjs'
import { WebsocketProvider } from 'y-websocket'

const here = path.dirname(fileURLToPath(import.meta.url))
const target = path.join(here, '../../../target/release')
const NOTES = process.env.NOTES ?? path.join(target, 'examples/notes')
const COUNTER = process.env.COUNTER ?? path.join(target, 'examples/counter')
const CHAIN = process.env.CHAIN ?? path.join(target, 'examples/chain')
const YROOM = process.env.YROOM ?? path.join(target, 'yroom')
export const programs = { edits: process.env.EDITS ?? path.join(target, 'examples/edits') }
const PYTHON = process.env.PYTHON ?? path.join(here, '.venv/bin/python')

export async function until (done, what, ms = 20_000) {
  const end = Date.now() + ms
  while (!await done()) {
    if (Date.now() > end) assert.fail(`not in time: ${what}`)
    await sleep(20)
  }
}

export async function freePort () {
  const server = net.createServer().listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  const { port } = server.address()
  await new Promise((resolve) => server.close(resolve))
  return port
}

export class Program {
  lines = []
  constructor (command, args, options = {}) {
    this.process = spawn(command, args, { stdio: ['pipe', 'pipe', 'inherit'], ...options })
    this.ended = new Promise((resolve) => this.process.once('exit', resolve))
    createInterface({ input: this.process.stdout }).on('line', (line) => this.lines.push(line))
  }

  say (line) { this.process.stdin.write(`${line}\n`) }

  async hears (start, from = 0) {
    const find = () => this.lines.slice(from).find((line) => line.startsWith(start))
    await until(find, `"${start}" from the program, which said: ${this.lines.slice(-5)}`)
    return find()
  }

  async ask (line, start) {
    const from = this.lines.length
    this.say(line)
    return await this.hears(start, from)
  }

  async kill (signal = 'SIGKILL') {
    this.process.kill(signal)
    await this.ended
  }
}

export class Notes extends Program {
  constructor (url, name) { super(NOTES, [url, name]) }
  async text () { return JSON.parse((await this.ask('/show', 'text')).slice(5)) }
  async value (key) { return JSON.parse((await this.ask(`/get ${key}`, 'value')).slice(6)) }
  async who () {
    const from = this.lines.length
    await this.ask('/who', 'that is all')
    return this.lines.slice(from).filter((line) => line.startsWith('here')).map((line) => line.replace(/^here \d+ /, ''))
  }

  async synced () { await this.hears('phase Synced'); return this }
  async quit () { this.say('/quit'); assert.equal(await this.ended, 0) }
}

export const servers = {
  'y-websocket-server 0.1.1': (port) => {
    const bin = path.join(here, 'node_modules/@y/websocket-server/src/server.js')
    return new Program(process.execPath, [bin], { env: { ...process.env, HOST: '127.0.0.1', PORT: `${port}` } })
  },
  'pycrdt-websocket 0.16.5': (port) => new Program(PYTHON, [path.join(here, 'pycrdt_server.py'), `${port}`]),
  yroom: (port) => new Program(YROOM, ['--store', 'memory', '--listen', `127.0.0.1:${port}`])
}

export async function listens (port) {
  await until(() => new Promise((resolve) => {
    const socket = net.connect(port, '127.0.0.1')
    socket.once('connect', () => { socket.destroy(); resolve(true) })
    socket.once('error', () => resolve(false))
  }), 'the server to listen')
}

/// A server of whose rooms one, `page`, follows the room of another.
export class Chained extends Program {
  constructor (port, upstream) { super(CHAIN, [`127.0.0.1:${port}`, 'page', `${upstream}/page`]) }
  async quit () { this.process.stdin.end(); assert.equal(await this.ended, 0) }
}

export class World {
  programs = []
  clients = []
  constructor (start) { this.start = start }

  async open () {
    this.port = await freePort()
    this.url = `ws://127.0.0.1:${this.port}`
    await this.serve()
  }

  async serve () {
    this.server = this.start(this.port)
    await listens(this.port)
  }

  notes (name = 'Rust') {
    const program = new Notes(`${this.url}/page`, name)
    this.programs.push(program)
    return program
  }

  counter (turns) {
    const program = new Program(COUNTER, [`${this.url}/page`, `${turns}`])
    this.programs.push(program)
    return program
  }

  client (url = this.url) {
    const doc = new Y.Doc()
    const provider = new WebsocketProvider(url, 'page', doc, { disableBc: true, WebSocketPolyfill: WebSocket })
    const client = { doc, provider, text: doc.getText('text'), map: doc.getMap('map') }
    this.clients.push(client)
    return client
  }

  async close () {
    for (const { provider, doc } of this.clients) { provider.destroy(); doc.destroy() }
    for (const program of this.programs) await program.kill()
    await this.server.kill()
  }
}
