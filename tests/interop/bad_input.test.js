// What the server answers to what no client should send.
import assert from 'node:assert/strict'
import http from 'node:http'
import net from 'node:net'
import * as Y from 'yjs'
import { converge } from './lib/client.js'
import {
  AWARENESS, QUERY_AWARENESS, STEP1, STEP2, SYNC, UPDATE, awarenessMessage, awarenessUpdate, fromHex, syncMessage
} from './lib/raw.js'
import { scenario } from './lib/scenario.js'
import { sleep } from './lib/wait.js'

const isAnswer = ({ type, step }) => type === SYNC && step === STEP2
const STEP1_EMPTY = syncMessage(STEP1, new Uint8Array([0]))

/// Two members of a room who must not notice anything.
async function bystanders (world) {
  const pair = await Promise.all([world.join('page'), world.join('page')])
  pair[0].text().insert(0, 'undisturbed')
  await converge(pair)
  return pair
}

async function undisturbed ([ann, bob]) {
  bob.map().set('still', 'here')
  await converge([ann, bob])
  assert.equal(ann.text().toString(), 'undisturbed')
  assert.deepStrictEqual([ann.closes, bob.closes], [[], []])
}

scenario('a text frame closes with 1003', { ours: true }, async (world) => {
  const pair = await bystanders(world)
  const raw = await world.raw('page')
  raw.sendText('hello?')
  const { code, reason } = await raw.end()
  assert.equal(code, 1003, reason)
  assert.match(reason, /\w+ \w+/, 'the reason is in words')
  await undisturbed(pair)
})

const MALFORMED = {
  'an update cut off': syncMessage(UPDATE, fromHex('010105')),
  'an update that claims more structs than bytes': syncMessage(UPDATE, fromHex('01ffffffff0f')),
  'an update with bytes behind its end': syncMessage(UPDATE, fromHex('0000ff')),
  'an update of no bytes': syncMessage(UPDATE, fromHex('')),
  'an update with a client id over 53 bits': syncMessage(UPDATE, fromHex('0101ffffffffffffffffff010004010161016200')),
  'a second step cut off': syncMessage(STEP2, fromHex('010105')),
  'a state vector that claims more than there is': syncMessage(STEP1, fromHex('ffffffff0f')),
  'an awareness message cut off': awarenessMessage(fromHex('0201')),
  'an awareness state that is no JSON': awarenessMessage(fromHex('010501037b7b7b'))
}
for (const [what, frame] of Object.entries(MALFORMED)) {
  scenario(`${what} closes with 1007`, { ours: true }, async (world) => {
    const pair = await bystanders(world)
    const raw = await world.raw('page')
    raw.send(frame)
    const { code, reason } = await raw.end()
    assert.equal(code, 1007, reason)
    assert.match(reason, /\w+ \w+/, 'the reason is in words')
    await undisturbed(pair)
  })
}

const NONSENSE = {
  'an empty frame': fromHex(''),
  'a sync message without a step': fromHex('00'),
  'an unknown sync step': fromHex('00090100'),
  'a sync message that is cut off': fromHex('000205aa'),
  'a varint that does not end': fromHex('00' + 'ff'.repeat(20))
}
for (const [what, frame] of Object.entries(NONSENSE)) {
  scenario(`${what} closes with 1002`, { ours: true }, async (world) => {
    const pair = await bystanders(world)
    const raw = await world.raw('page')
    raw.send(frame)
    const { code, reason } = await raw.end()
    assert.equal(code, 1002, reason)
    assert.match(reason, /\w+ \w+/, 'the reason is in words')
    await undisturbed(pair)
  })
}

scenario('nothing of a malformed update is used', { ours: true }, async (world) => {
  const doc = new Y.Doc()
  doc.getText('text').insert(0, 'half')
  doc.getMap('map').set('half', true)
  const whole = Y.encodeStateAsUpdate(doc)
  const pair = await bystanders(world)
  for (let cut = 1; cut < whole.length; cut++) {
    const raw = await world.raw('page')
    raw.send(syncMessage(UPDATE, whole.subarray(0, cut)))
    assert.equal((await raw.end()).code, 1007, `cut to ${cut} of ${whole.length} bytes`)
  }
  await undisturbed(pair)
  assert.equal(pair[0].map().get('half'), undefined)
})

scenario('a frame over the limit closes with 1009', { ours: true }, async (world) => {
  const pair = await bystanders(world)
  const raw = await world.raw('page')
  raw.send(new Uint8Array((64 << 20) + 1))
  const { code } = await raw.end(20_000)
  assert.equal(code, 1009)
  await undisturbed(pair)
})

scenario('unknown message types are ignored', {}, async (world) => {
  const pair = await bystanders(world)
  const raw = await world.raw('page')
  for (const hex of ['63', '6300', '8001ff', '7d0568656c6c6f', 'ffffffffffffff0f00']) raw.send(fromHex(hex))
  raw.send(STEP1_EMPTY)
  await raw.frame(isAnswer, 'the answer to what came behind them')
  assert.equal(raw.closed, null)
  await undisturbed(pair)
})

scenario('several messages in one frame are taken, and each is answered in a frame of its own', { ours: true }, async (world) => {
  const ann = await world.join('page', { presence: { name: 'Ann' } })
  const doc = new Y.Doc()
  doc.getText('text').insert(0, 'second in its frame')
  const raw = await world.raw('page')
  raw.send(Buffer.concat([
    STEP1_EMPTY,
    syncMessage(UPDATE, Y.encodeStateAsUpdate(doc)),
    awarenessMessage(awarenessUpdate([[doc.clientID, 1, { name: 'raw' }]])),
    new Uint8Array([QUERY_AWARENESS])
  ]))
  await raw.frame(isAnswer, 'the answer to the first step')
  await raw.frame(({ type, states }) => type === AWARENESS && states.some(([id]) => id === doc.clientID), 'the answer to the query')
  await sleep(100)
  assert.equal(ann.text().toString(), 'second in its frame')
  assert.deepStrictEqual(new Map(ann.others()).get(doc.clientID), { name: 'raw' })
  assert.deepStrictEqual(raw.frames.map(({ rest }) => rest).filter((rest) => rest !== 0), [], 'one message a frame')
})

scenario('a client that joins is asked and answered in the order that clients rely on', {}, async (world) => {
  const raw = await world.raw('page')
  raw.send(STEP1_EMPTY)
  await raw.frame(isAnswer, 'the answer, though empty')
  assert.deepStrictEqual([raw.frames[0].type, raw.frames[0].step], [SYNC, STEP1], 'the first frame asks')
})

/// One HTTP request as it is given; resolves to status and body.
function request (server, { method = 'GET', path = '/page', headers = {} }) {
  return new Promise((resolve, reject) => {
    const sent = http.request({ host: '127.0.0.1', port: server.port, method, path, headers, agent: false }, (response) => {
      let body = ''
      response.on('data', (data) => { body += data })
      response.on('end', () => resolve({ status: response.statusCode, body: body.trim() }))
    })
    sent.on('upgrade', (response, socket) => { socket.destroy(); resolve({ status: 101, body: '' }) })
    sent.on('error', reject)
    sent.setTimeout(5_000, () => sent.destroy(new Error('no answer within 5 s')))
    sent.end()
  })
}

const UPGRADE = {
  Connection: 'Upgrade', Upgrade: 'websocket', 'Sec-WebSocket-Version': '13', 'Sec-WebSocket-Key': 'dGhlIHNhbXBsZSBub25jZQ=='
}
const without = (name) => Object.fromEntries(Object.entries(UPGRADE).filter(([key]) => key !== name))
const BAD_REQUESTS = {
  'a plain GET': {},
  'a POST': { method: 'POST' },
  'an upgrade by POST': { method: 'POST', headers: UPGRADE },
  'an upgrade to something else': { headers: { ...UPGRADE, Upgrade: 'h2c' } },
  'an upgrade without a key': { headers: without('Sec-WebSocket-Key') },
  'an upgrade without a version': { headers: without('Sec-WebSocket-Version') },
  'an upgrade of an old version': { headers: { ...UPGRADE, 'Sec-WebSocket-Version': '8' } },
  'a room without a name': { path: '/', headers: UPGRADE },
  'a room with a name that is too long': { path: `/${'x'.repeat(256)}`, headers: UPGRADE },
  'a path far too long': { path: `/${'x'.repeat(100_000)}`, headers: UPGRADE },
  'a request without end to its headers': { headers: Object.fromEntries(Array.from({ length: 2_000 }, (_, i) => [`x-${i}`, 'y'.repeat(50)])) }
}
scenario('a bad upgrade is refused with a 4xx and a sentence', { ours: true }, async (world) => {
  const wrong = []
  for (const [what, bad] of Object.entries(BAD_REQUESTS)) {
    const { status, body } = await request(world.server, bad).catch((error) => ({ status: 0, body: error.message }))
    if (!(status >= 400 && status < 500 && /\w+ \w+ \w+/.test(body))) wrong.push(`${what}: ${status} ${JSON.stringify(body.slice(0, 100))}`)
  }
  assert.deepStrictEqual(wrong, [])
  assert.equal((await request(world.server, { headers: UPGRADE })).status, 101, 'a good one is not')
})

scenario('bytes that are no HTTP, and a connection that says nothing, harm nobody', { ours: true }, async (world) => {
  const silent = Array.from({ length: 20 }, () => net.connect(world.server.port, '127.0.0.1'))
  const noise = net.connect(world.server.port, '127.0.0.1')
  noise.on('error', () => {})
  noise.write(Buffer.alloc(10_000, 0xfe))
  await undisturbed(await bystanders(world))
  silent.forEach((socket) => socket.destroy())
  noise.destroy()
})
