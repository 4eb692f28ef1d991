// What the documents tell people to type is typed here, to the letter but for addresses.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import fs from 'node:fs'
import path from 'node:path'
import { test } from 'node:test'
import WebSocket from 'ws'
import * as Y from 'yjs'
import { WebsocketProvider } from 'y-websocket'
import { Client, converge } from './lib/client.js'
import { Server, binary, freePort, reference, root, runProgram, scratchDir } from './lib/server.js'
import { until } from './lib/wait.js'

const skip = reference !== null ? 'this is about our program' : false

/// The blocks of a document in one language.
function blocks (document, language) {
  const text = fs.readFileSync(path.join(root, document), 'utf8')
  return [...text.matchAll(new RegExp('^```' + language + '\\n(.*?)^```', 'gms'))].map(([, block]) => block)
}

/// Runs a block of JavaScript, with the server at `port` for whatever it names; the providers it made.
function runPage (t, block, port, token) {
  const made = []
  class Provider extends WebsocketProvider {
    constructor (url, room, doc, options = {}) {
      // Without `disableBc` two pages of one process would find each other past the server.
      super(url.replace(/^wss?:\/\/[^/]+/, `ws://127.0.0.1:${port}`), room, doc,
        { ...options, WebSocketPolyfill: WebSocket, disableBc: true })
      made.push(this)
    }
  }
  t.after(() => {
    for (const provider of made) {
      provider.destroy()
      // Or its awareness looks for the silent for ever, and the process does not end.
      provider.doc.destroy()
    }
  })
  const code = block.replace(/^import .*$/gm, '')
  // The first block makes its document; the others are of a page that has one.
  const doc = code.includes('const doc =') ? '' : 'const doc = new Y.Doc()\n'
  new Function('Y', 'WebsocketProvider', 'token', doc + code)(Y, Provider, token) // eslint-disable-line no-new-func
  assert.equal(made.length, 1, block)
  return made[0]
}

const synced = (provider) => until(() => provider.synced, `${provider.url} to be synced`)

/// The commands of a block: lines that a backslash ends are one.
function commands (block) {
  const lines = block.replace(/\\\n\s*/g, '').split('\n').map((line) => line.replace(/\s+#.*$/, ''))
  return lines.filter((line) => line.trim() !== '')
}

/// Runs a command in a directory, as a shell does that finds `yroom`; what it said.
async function shell (dir, command) {
  const { child, said } = begin(dir, command)
  const [code] = await once(child, 'close')
  assert.equal(code, 0, `${command}: ${said.text}`)
  return said.text.trim()
}

function begin (dir, command) {
  const PATH = `${path.dirname(binary)}:${process.env.PATH}`
  const child = spawn('sh', ['-c', `exec ${command}`], { cwd: dir, env: { ...process.env, PATH } })
  const said = { text: '' }
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (data) => { said.text += data })
  return { child, said }
}

for (const [nth, block] of blocks('README.md', 'js').slice(0, 2).entries()) {
  test(`the README's page ${nth + 1} syncs with another of its kind`, { skip }, async (t) => {
    const server = new Server()
    t.after(() => server.kill())
    await server.start()
    const [ann, bob] = [runPage(t, block, server.port), runPage(t, block, server.port)]
    await Promise.all([synced(ann), synced(bob)])
    ann.doc.getText('text').insert(0, 'from the README')
    await converge([ann, bob].map((provider) => ({ kit: { Y }, doc: provider.doc, describe: () => provider.url })))
    assert.equal(bob.doc.getText('text').toString(), 'from the README')
  })
}

for (const [document, nth, page] of [['README.md', 1, 2], ['adapters/server/README.md', 0, null]]) {
  test(`the commands of ${document} for production let in who has a token, and nobody else`, { skip }, async (t) => {
    const [dir, port] = [scratchDir(), await freePort()]
    const [keygen, serve, mint, ...more] = commands(blocks(document, 'sh')[nth])
    assert.deepEqual(more, [])
    await shell(dir, keygen)
    // Not on all addresses of a developer's machine.
    const here = serve.includes('--listen')
      ? serve.replace(/--listen \S+/, `--listen 127.0.0.1:${port}`)
      : `${serve} --listen 127.0.0.1:${port}`
    const { child, said } = begin(dir, here)
    t.after(() => child.kill('SIGKILL'))
    await until(() => said.text.includes('yroom listens on') || child.exitCode !== null, 'the server to listen', { details: () => said.text })
    assert.equal(child.exitCode, null, said.text)
    const token = await shell(dir, mint)

    const block = page === null
      ? "new WebsocketProvider('wss://sync.example.org', 'notes', doc, { params: { token } })"
      : blocks(document, 'js')[page]
    const [ann, bob] = [runPage(t, block, port, token), runPage(t, block, port, token)]
    await Promise.all([synced(ann), synced(bob)])
    ann.awareness.setLocalState({ user: { name: 'Somebody else' } })
    const seen = () => bob.awareness.getStates().get(ann.awareness.clientID)
    await until(() => seen()?.user !== undefined, 'Bob to see her')
    const stamped = mint.includes('--stamp')
    assert.equal(seen().user.name, stamped ? 'Ada' : 'Somebody else')

    const stranger = new Client({ url: `ws://127.0.0.1:${port}` }, 'notes')
    t.after(() => stranger.destroy())
    await until(() => stranger.statuses.filter((status) => status === 'connecting').length > 1, 'it to try again')
    assert.ok(!stranger.statuses.includes('connected'), stranger.describe())
    child.kill('SIGTERM')
    const [code] = await once(child, 'close')
    assert.equal(code, 0, said.text)
  })
}

test("the README's table of options says what --help says", { skip }, async () => {
  const { code, stdout: help } = await runProgram(['--help'])
  assert.equal(code, 0)
  const readme = fs.readFileSync(path.join(root, 'README.md'), 'utf8')
  const rows = readme.split('\n').filter((line) => line.startsWith('| `--'))
  assert.ok(rows.length > 5, `${rows.length} options`)
  for (const row of rows) {
    // A bar within code is escaped.
    const [, names, byDefault] = row.replaceAll('\\|', '/').split('|').map((cell) => cell.trim())
    for (const [, name] of names.matchAll(/(--[a-z-]+)/g)) {
      const section = help.split(/\n {6}(?=--)/).find((section) => section.startsWith(`${name} `))
      assert.ok(section, `${name} in --help`)
      const said = /\[default: ([^\]]+)\]/.exec(section)?.[1]
      const shown = /^`(.*)`$/.exec(byDefault)?.[1]
      if (shown !== undefined) assert.equal(said, shown, name)
    }
  }
})
