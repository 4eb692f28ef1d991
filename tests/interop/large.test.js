// Much text, and many people.
import assert from 'node:assert/strict'
import fs from 'node:fs'
import { test } from 'node:test'
import { Client, assertSameContent, converge } from './lib/client.js'
import { scenario } from './lib/scenario.js'
import { Server, reference } from './lib/server.js'
import { sleep, until } from './lib/wait.js'

const MB = 1_000_000

scenario('a document of 5 MB in one update arrives, live and at a joiner', { timeout: 90_000 }, async (world) => {
  const [ann, bob] = await Promise.all([world.join('large'), world.join('large')])
  ann.text().insert(0, 'x'.repeat(5 * MB))
  await converge([ann, bob], 'Bob to have it', 30_000)
  const cy = await world.join('large')
  await converge([ann, cy], 'the joiner to have it', 30_000)
  assert.equal(cy.text().length, 5 * MB)
})

scenario('a document of 5 MB in many updates is back after kill -9', { ours: true, timeout: 90_000 }, async (world) => {
  const [ann, bob] = await Promise.all([world.join('large'), world.join('large')])
  for (let i = 0; i < 500; i++) {
    ann.array().push([`${i}: ${'y'.repeat(5_000)}`])
    ann.map().set(`k${i}`, 'z'.repeat(5_000))
  }
  await converge([ann, bob], 'Bob to have it', 30_000)
  await world.everybodyLeaves()
  await world.server.kill()
  await world.server.start()
  const cy = await world.client('large').synced(30_000)
  assert.equal(cy.array().length, 500)
  assert.equal([...cy.map().values()].reduce((sum, value) => sum + value.length, 0), 500 * 5_000)
})

scenario('5 MB made offline arrive with the first connection', { timeout: 90_000 }, async (world) => {
  const ann = world.client('large', { connect: false })
  for (let i = 0; i < 50; i++) ann.text().insert(i * 50_000, String(i % 10).repeat(100_000))
  ann.connect()
  await ann.synced(30_000)
  const bob = await world.join('large')
  await converge([ann, bob], 'Bob to have it', 30_000)
  assert.equal(bob.text().length, 5 * MB)
})

scenario('50 clients that type at once converge', { timeout: 120_000 }, async (world) => {
  const clients = await Promise.all(Array.from({ length: 50 }, (_, i) => world.join('crowd', { presence: { i } })))
  for (let key = 0; key < 20; key++) {
    for (const [i, client] of clients.entries()) {
      const text = client.text()
      const at = (i * 7919 + key * 104729) % (text.length + 1)
      if (key % 5 === 4 && text.length > at) text.delete(at, 1)
      else text.insert(at, String.fromCharCode(97 + (i % 26)))
      client.map().set(`k${(i + key) % 10}`, i)
    }
    await sleep(5)
  }
  await converge(clients, 'all 50 to hold the same', 60_000)
  const late = await world.join('crowd')
  await converge([clients[0], late])
  assertSameContent([...clients, late])
})

/// What a process has in memory, in bytes; without the pages of its program.
function anonymous (pid) {
  const [, kib] = /^RssAnon:\s*(\d+) kB$/m.exec(fs.readFileSync(`/proc/${pid}/status`, 'utf8'))
  return Number(kib) * 1024
}

// Elsewhere the program has the system's allocator: adapters/server/Cargo.toml.
const hasJemalloc = process.platform === 'linux' && process.arch === 'x64'
const skip = reference !== null || !hasJemalloc ? 'this is about our program on x86-64 Linux' : false

test('what many large documents had in memory goes back when all have left', { skip, timeout: 240_000 }, async (t) => {
  const server = await new Server({ args: ['--unload-after', '1s', '--threads', '2'] }).start()
  const clients = []
  t.after(async () => {
    await Promise.all(clients.map((client) => client.destroy()))
    if (server.runs) await server.kill()
  })
  const join = async (room) => {
    const client = new Client(server, room)
    clients.push(client)
    return client.synced(30_000)
  }
  const before = anonymous(server.pid)
  for (let i = 0; i < 200; i++) {
    const ann = await join(`room-${i}`)
    ann.text().insert(0, String(i).padStart(4).repeat(75_000))
    const bob = await join(`room-${i}`)
    await converge([ann, bob], 'Bob to have it', 30_000)
    await Promise.all(clients.splice(0).map((client) => client.destroy()))
  }
  const most = anonymous(server.pid)
  let now = most
  // jemalloc takes 10 to 20 s for it; glibc's allocator kept 35 MB of 40.
  await until(() => (now = anonymous(server.pid)) < before + 16 * MB, 'the memory to go back', {
    ms: 60_000, details: () => `${before} bytes before, ${most} then, ${now} in the end`
  })
})
