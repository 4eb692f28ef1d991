// Clients that have to show a token, as an application gives it to `y-websocket`.
import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import { test } from 'node:test'
import { Client, YJS, YJS14, converge } from './lib/client.js'
import { Server, reference, runProgram, scratchDir } from './lib/server.js'
import { sleep, until } from './lib/wait.js'

const skip = reference !== null ? 'this is about our program' : false

/// A server that asks for tokens, and what mints them.
async function guarded (t, args = []) {
  const key = path.join(scratchDir(), 'key')
  const { code, stderr } = await runProgram(['keygen', key])
  assert.equal(code, 0, stderr)
  const server = new Server({ args: ['--auth-key', key, ...args] })
  t.after(() => server.runs ? server.kill() : undefined)
  await server.start()
  const token = async (...args) => {
    const { code, stdout, stderr } = await runProgram(['token', '--key', key, ...args])
    assert.equal(code, 0, stderr)
    return stdout.trim()
  }
  const clients = []
  t.after(() => Promise.all(clients.map((client) => client.destroy())))
  const client = (room, options) => {
    clients.push(new Client(server, room, options))
    return clients.at(-1)
  }
  return { server, key, token, client }
}

for (const kit of [YJS, YJS14]) {
  test(`${kit.name}: params: { token } lets a client in`, { skip }, async (t) => {
    const { server, token, client } = await guarded(t)
    const params = { token: await token('--room', 'my%20room') }
    // The provider's URL percent-encodes what a URL cannot have.
    const [ann, bob] = [client('my room', { kit, params }), client('my room', { kit, params })]
    await Promise.all([ann.synced(), bob.synced()])
    const text = (client) => kit === YJS14 ? client.doc.get('text') : client.text()
    text(ann).insert(0, 'signed')
    await converge([ann, bob])
    assert.ok(text(bob).toString().includes('signed'))

    const lost = client('another', { kit, params })
    await until(() => lost.statuses.filter((status) => status === 'connecting').length > 1, 'it to try again')
    assert.ok(!lost.statuses.includes('connected'), lost.describe())
    lost.provider.disconnect()
    await server.stop()
    assert.ok(server.stderr.includes('refused with 403: the token is not for this room'), server.stderr)
    assert.ok(!server.stderr.includes(params.token.split('.')[2]), 'no token in the log')
  })
}

test('a reader sees edits and makes none', { skip }, async (t) => {
  const { token, client } = await guarded(t)
  const write = await token('--prefix', 'team/')
  const read = await token('--prefix', 'team/', '--access', 'read')
  const writer = client('team/notes', { params: { token: write } })
  await writer.synced()
  writer.text().insert(0, 'from the writer')
  const reader = client('team/notes', { params: { token: read } })
  await reader.synced()
  reader.text('own').insert(0, 'from the reader')
  writer.text().insert(0, 'more ')
  await until(() => reader.text().toString() === 'more from the writer', 'the reader to see it', { details: () => reader.describe() })
  await sleep(300)
  const newcomer = client('team/notes', { params: { token: read } })
  await newcomer.synced()
  assert.equal(newcomer.text().toString(), 'more from the writer')
  for (const other of [newcomer, writer]) assert.equal(other.text('own').toString(), '')
  assert.deepEqual(reader.closes, [], 'a reader that edits is not punished')
})

test('others see the name in the token, and the color that the client picked', { skip }, async (t) => {
  const { token, client } = await guarded(t)
  const stamp = JSON.stringify({ user: { id: 'u-17', name: 'Ada' } })
  const ada = await token('--room', 'page', '--user', 'u-17', '--stamp', stamp)
  const eve = client('page', { params: { token: ada }, presence: { user: { name: 'Somebody else', color: '#f00' }, cursor: null } })
  const bob = client('page', { params: { token: await token('--room', 'page') }, presence: { user: { name: 'Bob' } } })
  await Promise.all([eve.synced(), bob.synced()])
  const seen = () => new Map(bob.others()).get(eve.id)
  await until(() => seen() !== undefined, 'Bob to see her')
  assert.deepStrictEqual(seen(), { user: { id: 'u-17', name: 'Ada', color: '#f00' }, cursor: null })
  eve.awareness.setLocalStateField('user', { name: 'Still somebody else' })
  await until(() => seen().user.color === undefined, 'Bob to see the change')
  assert.deepStrictEqual(seen().user, { id: 'u-17', name: 'Ada' })
  // What each of them sends back of the other's does not go on for ever.
  await sleep(500)
  assert.deepStrictEqual(seen().user, { id: 'u-17', name: 'Ada' })
  assert.deepStrictEqual(new Map(eve.others()).get(bob.id), { user: { name: 'Bob' } })
})

test('a token that expires ends the connection with 4401, and y-websocket does not come back', { skip }, async (t) => {
  const { token, client } = await guarded(t)
  const ann = client('page', { params: { token: await token('--room', 'page', '--expires', '3s') } })
  await ann.synced()
  await until(() => ann.closes.length > 0, 'the end', { ms: 5_000 })
  assert.deepEqual(ann.closes, [4401])
  await sleep(3_000)
  assert.equal(ann.statuses.filter((status) => status === 'connecting').length, 1, ann.describe())
})

test('a token in a subprotocol works as well', { skip }, async (t) => {
  const { token, client } = await guarded(t)
  const protocols = ['yroom', `yroom.token.${await token('--room', 'page')}`]
  const ann = client('page', { protocols })
  await ann.synced()
  assert.equal(ann.provider.ws.protocol, 'yroom')
})

test('the key file is one that only its owner reads', { skip: skip || process.platform === 'win32' }, async () => {
  const key = path.join(scratchDir(), 'key')
  assert.equal((await runProgram(['keygen', key])).code, 0)
  assert.equal(fs.statSync(key).mode & 0o777, 0o600)
  const { code, stderr } = await runProgram(['keygen', key])
  assert.ok(code > 0 && stderr.includes(key), stderr)
})
