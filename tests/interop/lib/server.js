// Starts, stops and kills the server under test, each on a free port with its own data directory.
//
// The server is the release build of `yroom`, or what YROOM_BIN names. With INTEROP_REFERENCE set to
// a directory where `@y/websocket-server@0.1.1` is installed, that one is started in its place: a
// scenario that fails there is a fault of the scenario. INTEROP_STORE names the store of the scenarios
// that do not choose one.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import fs from 'node:fs'
import net from 'node:net'
import os from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { until } from './wait.js'

export const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../../..')
const target = process.env.CARGO_TARGET_DIR ?? path.join(root, 'target')
export const binary = process.env.YROOM_BIN ?? path.join(target, 'release', 'yroom')

const defaultStore = process.env.INTEROP_STORE ?? 'sqlite'

export const reference = process.env.INTEROP_REFERENCE ?? null

const running = new Set()
const scratch = new Set()
process.on('exit', () => {
  running.forEach((child) => child.kill('SIGKILL'))
  scratch.forEach((dir) => fs.rmSync(dir, { recursive: true, force: true }))
})

/// A directory that is removed when the test process ends.
export function scratchDir () {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'yroom-interop-'))
  scratch.add(dir)
  return dir
}

/// A port that nobody has, outside the range that the system gives to outgoing connections.
export async function freePort () {
  for (;;) {
    const port = 10240 + Math.floor(Math.random() * 20000)
    const probe = net.createServer()
    const free = await new Promise((resolve) => {
      probe.once('error', () => resolve(false))
      probe.listen(port, '127.0.0.1', () => probe.close(() => resolve(true)))
    })
    if (free) return port
  }
}

/// Runs the program to its end, for what it says and how it exits.
export async function runProgram (args, env = {}) {
  const child = spawn(binary, args, { env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'] })
  running.add(child)
  const output = { stdout: '', stderr: '' }
  child.stdout.on('data', (data) => { output.stdout += data })
  child.stderr.on('data', (data) => { output.stderr += data })
  const timer = setTimeout(() => child.kill('SIGKILL'), 10_000)
  const [code, signal] = await once(child, 'close')
  clearTimeout(timer)
  running.delete(child)
  return { code, signal, ...output }
}

export class Server {
  #child = null
  #options
  stdout = ''
  stderr = ''

  constructor ({ store = defaultStore, dataDir = scratchDir(), args = [], env = {} } = {}) {
    this.#options = { store, args, env }
    this.dataDir = dataDir
  }

  get url () { return `ws://127.0.0.1:${this.port}` }
  get pid () { return this.#child.pid }
  get runs () { return this.#child !== null && this.#child.exitCode === null && this.#child.signalCode === null }

  #command () {
    const { store, args, env } = this.#options
    if (reference !== null) {
      const persistence = store === 'memory' ? {} : { YPERSISTENCE: this.dataDir }
      return {
        program: process.execPath,
        args: [path.join(reference, 'node_modules/@y/websocket-server/src/server.js')],
        env: { HOST: '127.0.0.1', PORT: String(this.port), ...persistence },
        ready: 'running at'
      }
    }
    return {
      program: binary,
      args: ['--listen', `127.0.0.1:${this.port}`, '--data-dir', this.dataDir, '--store', store, ...args],
      env,
      ready: 'yroom listens on'
    }
  }

  /// Starts the server, the first time on a new port, later on the same one.
  async start () {
    this.port ??= await freePort()
    const { program, args, env, ready } = this.#command()
    if (!fs.existsSync(program)) throw new Error(`there is no ${program}: run \`cargo build --release\` first`)
    this.stdout = ''
    const child = spawn(program, args, { env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'] })
    child.stdout.on('data', (data) => { this.stdout += data })
    child.stderr.on('data', (data) => { this.stderr += data })
    child.on('exit', () => running.delete(child))
    running.add(child)
    this.#child = child
    await until(() => this.stdout.includes(ready) || !this.runs, 'the server to listen')
    if (!this.runs) throw new Error(`the server ended at once (${child.exitCode ?? child.signalCode}): ${this.stderr}`)
    return this
  }

  /// Sends a signal and waits for the end; returns how it ended and after how long.
  async end (signal) {
    const child = this.#child
    if (!this.runs) throw new Error(`the server is gone already (${child?.exitCode ?? child?.signalCode})`)
    const began = performance.now()
    const closed = once(child, 'close')
    child.kill(signal)
    const late = setTimeout(() => child.kill('SIGKILL'), 20_000)
    const [code, by] = await closed
    clearTimeout(late)
    return { code, signal: by, ms: performance.now() - began }
  }

  /// As an operator stops it.
  stop () { return this.end('SIGTERM') }

  /// As a crash stops it.
  kill () { return this.end('SIGKILL') }
}
