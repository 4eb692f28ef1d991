// A large document over a link on which it takes longer than the 30 s after which y-websocket gives up.
// 10 MB over a quarter of a megabyte a second; with SLOW_LINK=1 80 MB over 1 MB a second, twice as long.
import assert from 'node:assert/strict'
import crypto from 'node:crypto'
import net from 'node:net'
import { test } from 'node:test'
import * as Y from 'yjs'
import { Client } from './lib/client.js'
import { Server } from './lib/server.js'
import { sleep, until } from './lib/wait.js'

const MB = 1_000_000
const WHOLE = process.env.SLOW_LINK !== undefined
const [SIZE, RATE] = WHOLE ? [80 * MB, MB] : [10 * MB, MB / 4]
const TICK = 50

/// A way to the server on which so many bytes a second come back. What the server sends faster waits in
/// the system's buffers, as it does in front of a slow link.
async function slowWay (server) {
  const way = { passed: 0, connections: 0 }
  const listener = net.createServer((client) => {
    way.connections++
    const upstream = net.connect(server.port, '127.0.0.1')
    client.pipe(upstream)
    upstream.pause()
    let credit = 0
    let last = performance.now()
    const timer = setInterval(() => {
      const now = performance.now()
      credit = Math.min(credit + (now - last) * RATE / 1000, RATE / 4)
      last = now
      while (credit >= 1 && client.writableLength < RATE / 4) {
        const piece = upstream.read(Math.max(1, Math.min(Math.floor(credit), upstream.readableLength)))
        if (piece === null) break
        credit -= piece.length
        way.passed += piece.length
        client.write(piece)
      }
    }, TICK)
    const end = () => { clearInterval(timer); client.destroy(); upstream.destroy() }
    for (const socket of [client, upstream]) socket.on('error', end).on('close', end)
  })
  await new Promise((resolve) => listener.listen(0, '127.0.0.1', resolve))
  way.url = `ws://127.0.0.1:${listener.address().port}`
  way.close = () => listener.close()
  return way
}

/// So much text, in strings of a kilobyte that are not alike.
function fill (doc) {
  const random = crypto.createHash('shake256', { outputLength: SIZE / 2 }).update('80 MB').digest('hex')
  for (let at = 0; at < random.length; at += 500_000) {
    doc.transact(() => {
      const pieces = []
      for (let i = at; i < at + 500_000; i += 1_000) pieces.push(random.slice(i, i + 1_000))
      doc.getArray('array').push(pieces)
    })
  }
}

test('a document that takes longer than 30 s to come over the link comes once', { timeout: 400_000 }, async () => {
  const server = await new Server().start()
  const way = await slowWay(server)
  try {
    const ann = new Client(server, 'large')
    await ann.synced()
    fill(ann.doc)
    const bob = new Client(server, 'large')
    await until(() => bob.array().length === SIZE / 1_000, 'Bob to have it', { ms: 120_000 })
    await bob.destroy()

    const began = performance.now()
    const cy = new Client({ url: way.url }, 'large')
    let [frames, silence, heard] = [0, 0, began]
    cy.doc.on('update', () => { frames++ })
    const watch = setInterval(() => {
      if (cy.provider.wsLastMessageReceived > 0) silence = Math.max(silence, Date.now() - cy.provider.wsLastMessageReceived)
    }, 100)
    await cy.synced(300_000)
    clearInterval(watch)
    const seconds = (performance.now() - began) / 1000
    // What is typed meanwhile arrives as well.
    ann.text().insert(0, 'after')
    await until(() => cy.text().toString() === 'after', 'an edit after it', { ms: 30_000 })
    console.log(`${(way.passed / MB).toFixed(1)} MB in ${seconds.toFixed(1)} s, ${frames} updates, ` +
      `longest silence ${(silence / 1000).toFixed(1)} s, connections ${way.connections}, ` +
      `statuses ${cy.statuses.join(' ')}, closes [${cy.closes.join(' ')}]`)
    assert.equal(way.connections, 1, 'it came back')
    assert.deepEqual(cy.statuses, ['connecting', 'connected'])
    assert.deepEqual(cy.closes, [])
    assert.ok(seconds > 35, `the way is not slow: ${seconds} s`)
    assert.equal(cy.doc.store.pendingStructs, null)
    assert.deepEqual(Y.encodeStateVector(cy.doc), Y.encodeStateVector(ann.doc))
    assert.equal(cy.array().toArray().join(''), ann.array().toArray().join(''))
    await Promise.all([ann.destroy(), cy.destroy()])
  } finally {
    way.close()
    await sleep(100)
    if (server.runs) await server.kill()
  }
})
