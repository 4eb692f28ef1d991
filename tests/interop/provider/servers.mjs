// Our provider (the example `notes`) against y-websocket's server, pycrdt-websocket's and ours, each
// time beside an unchanged y-websocket client, whose Yjs judges what the document holds.
//
// NOTES and YROOM name the two programs, PYTHON an interpreter with requirements.txt installed, where
// they are not where `.ci/run provider` puts them.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import net from 'node:net'
import path from 'node:path'
import { createInterface } from 'node:readline'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import WebSocket from 'ws'
import * as Y from 'yjs'
import { WebsocketProvider } from 'y-websocket'

const here = path.dirname(fileURLToPath(import.meta.url))
const target = path.join(here, '../../../target/release')
const NOTES = process.env.NOTES ?? path.join(target, 'examples/notes')
const YROOM = process.env.YROOM ?? path.join(target, 'yroom')
const PYTHON = process.env.PYTHON ?? path.join(here, '.venv/bin/python')

async function until (done, what, ms = 20_000) {
  const end = Date.now() + ms
  while (!await done()) {
    if (Date.now() > end) assert.fail(`not in time: ${what}`)
    await sleep(20)
  }
}

async function freePort () {
  const server = net.createServer().listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  const { port } = server.address()
  await new Promise((resolve) => server.close(resolve))
  return port
}

class Program {
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

class Notes extends Program {
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

const servers = {
  'y-websocket-server 0.1.1': (port) => {
    const bin = path.join(here, 'node_modules/@y/websocket-server/src/server.js')
    return new Program(process.execPath, [bin], { env: { ...process.env, HOST: '127.0.0.1', PORT: `${port}` } })
  },
  'pycrdt-websocket 0.16.5': (port) => new Program(PYTHON, [path.join(here, 'pycrdt_server.py'), `${port}`]),
  yroom: (port) => new Program(YROOM, ['--store', 'memory', '--listen', `127.0.0.1:${port}`])
}

async function listens (port) {
  await until(() => new Promise((resolve) => {
    const socket = net.connect(port, '127.0.0.1')
    socket.once('connect', () => { socket.destroy(); resolve(true) })
    socket.once('error', () => resolve(false))
  }), 'the server to listen')
}

class World {
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

  client () {
    const doc = new Y.Doc()
    const provider = new WebsocketProvider(this.url, 'page', doc, { disableBc: true, WebSocketPolyfill: WebSocket })
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

for (const [name, start] of Object.entries(servers)) {
  const scenario = (what, run) => test(`${name}: ${what}`, async () => {
    const world = new World(start)
    await world.open()
    try { await run(world) } finally { await world.close() }
  })

  scenario('text and map go both ways between Rust and JavaScript', async (world) => {
    const rust = await world.notes().synced()
    const js = world.client()
    rust.say('from Rust')
    await until(() => js.text.toString() === 'from Rust\n', 'the line in JavaScript')
    js.text.insert(js.text.length, 'from JavaScript ü 😀\n')
    await until(async () => await rust.text() === js.text.toString(), 'the line in Rust')
    rust.say('/set rust a value')
    js.map.set('js', 'another')
    await until(() => js.map.get('rust') === 'a value', 'the value in JavaScript')
    await until(async () => await rust.value('js') === 'another', 'the value in Rust')
    js.text.delete(0, 5)
    await until(async () => await rust.text() === js.text.toString(), 'the deletion in Rust')
    const second = await world.notes('second').synced()
    await until(async () => await second.text() === js.text.toString(), 'everything at a newcomer')
    await rust.quit()
  })

  scenario('awareness goes both ways', async (world) => {
    const rust = await world.notes('Ann').synced()
    const js = world.client()
    js.provider.awareness.setLocalState({ name: 'Bob' })
    const others = () => [...js.provider.awareness.getStates().values()].map((state) => state.name)
    await until(() => others().includes('Ann'), 'Ann in JavaScript')
    await until(async () => (await rust.who()).includes('{"name":"Bob"}'), 'Bob in Rust')
    js.provider.awareness.setLocalState(null)
    // pycrdt-websocket's server is itself somebody who is here.
    await until(async () => !(await rust.who()).includes('{"name":"Bob"}'), 'Bob to be gone in Rust')
    await rust.quit()
    await until(() => !others().includes('Ann'), 'Ann to be gone in JavaScript', 40_000)
  })

  scenario('the server restarts in mid-edit', async (world) => {
    const rust = await world.notes().synced()
    const js = world.client()
    await until(() => js.provider.synced, 'JavaScript to be synced')
    for (let i = 0; i < 100; i++) {
      rust.say(`rust ${i}`)
      if (i === 50) {
        await world.server.kill()
        await rust.hears('phase Waiting')
      }
      if (i === 80) await world.serve()
    }
    await rust.ask('/flush', 'flushed')
    js.text.insert(0, 'javascript\n')
    await until(async () => js.text.toString().split('\n').length === 102, 'all lines in JavaScript', 30_000)
    await until(async () => await rust.text() === js.text.toString(), 'equal texts')
    for (let i = 0; i < 100; i++) assert.equal(js.text.toString().split(`rust ${i}\n`).length, 2, `line ${i} once`)
  })

  scenario('10,000 edits made offline arrive once', async (world) => {
    const rust = await world.notes().synced()
    await world.server.kill()
    await rust.hears('phase Waiting')
    for (let i = 0; i < 10_000; i++) rust.say('x')
    await until(async () => (await rust.text()).length === 20_000, 'the edits in Rust')
    await world.serve()
    const flushed = await rust.ask('/flush', 'flushed')
    assert.equal(flushed, name === 'yroom' ? 'flushed Acknowledged' : 'flushed Received')
    const js = world.client()
    await until(() => js.text.length > 0, 'the edits in JavaScript')
    await sleep(500)
    assert.equal(js.text.toString(), 'x\n'.repeat(10_000))
  })

  scenario('a client alone for 70 seconds is not disconnected', async (world) => {
    const rust = await world.notes().synced()
    await sleep(70_000)
    assert.deepEqual(rust.lines.filter((line) => line.startsWith('phase Waiting')), [])
  })
}
