// The program itself: how it is told what to do, and how it refuses.
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import { test } from 'node:test'
import { converge } from './lib/client.js'
import { scenario } from './lib/scenario.js'
import { Server, freePort, reference, runProgram, scratchDir } from './lib/server.js'

/// A server that is gone when its test ends, however that ends.
async function started (t, options) {
  const server = new Server(options)
  t.after(() => server.runs ? server.kill() : undefined)
  return server.start()
}

const skip = reference !== null ? 'this is about our program' : false

/// A refusal: a non-zero exit, and one line on stderr that names `words`.
function refused ({ code, signal, stderr }, words) {
  assert.equal(signal, null, `ended by itself: ${stderr}`)
  assert.notEqual(code, 0, stderr)
  const lines = stderr.trim().split('\n')
  assert.equal(lines.length, 1, `one line, not ${lines.length}:\n${stderr}`)
  for (const word of words) assert.ok(stderr.includes(word), `"${word}" in: ${stderr}`)
}

test('a port in use is one clear line and a non-zero exit', { skip }, async (t) => {
  const server = await started(t)
  const dir = path.join(scratchDir(), 'other')
  refused(await runProgram(['--listen', `127.0.0.1:${server.port}`, '--data-dir', dir]), [String(server.port)])
})

test('an unusable data directory is one clear line and a non-zero exit', { skip }, async () => {
  const file = path.join(scratchDir(), 'a-file')
  fs.writeFileSync(file, 'not a directory')
  for (const store of ['sqlite', 'file']) {
    refused(await runProgram(['--listen', `127.0.0.1:${await freePort()}`, '--data-dir', file, '--store', store]), [file])
  }
  assert.equal(fs.readFileSync(file, 'utf8'), 'not a directory')
})

test('a wrong flag or value is named on stderr, with a non-zero exit', { skip }, async () => {
  for (const args of [['--frobnicate'], ['--listen', 'nowhere'], ['--store', 'tape'], ['--durability', 'maybe'],
    ['--threads', '0'], ['--threads', 'many'], ['--unload-after', '-1'], ['--data-dir']]) {
    const { code, stderr } = await runProgram(args)
    assert.ok(code > 0 && stderr.includes(args[0]), `${args.join(' ')}: ${code} ${stderr}`)
  }
})

test('a database of a newer schema is refused and left as it is', { skip }, async (t) => {
  const server = await started(t, { store: 'sqlite' })
  await server.stop()
  const [database] = fs.readdirSync(server.dataDir).filter((name) => /\.(db|sqlite3?)$/.test(name)).map((name) => path.join(server.dataDir, name))
  assert.ok(database, `a database in ${fs.readdirSync(server.dataDir)}`)
  const python = (code) => execFileSync('python3', ['-c', code, database], { encoding: 'utf8' }).trim()
  python('import sqlite3, sys; sqlite3.connect(sys.argv[1]).execute("PRAGMA user_version = 9999")')
  const args = ['--listen', `127.0.0.1:${await freePort()}`, '--data-dir', server.dataDir]
  refused(await runProgram(args), ['9999'])
  assert.equal(python('import sqlite3, sys; print(sqlite3.connect(sys.argv[1]).execute("PRAGMA user_version").fetchone()[0])'), '9999')
})

test('a database that is none is refused and left as it is', { skip }, async (t) => {
  const server = await started(t, { store: 'sqlite' })
  await server.stop()
  const [name] = fs.readdirSync(server.dataDir).filter((name) => /\.(db|sqlite3?)$/.test(name))
  const database = path.join(server.dataDir, name)
  for (const file of fs.readdirSync(server.dataDir)) fs.rmSync(path.join(server.dataDir, file))
  fs.writeFileSync(database, 'this is no database, and long enough to be looked at as one'.repeat(100))
  refused(await runProgram(['--listen', `127.0.0.1:${await freePort()}`, '--data-dir', server.dataDir]), [name])
  assert.ok(fs.readFileSync(database, 'utf8').startsWith('this is no database'))
})

test('a data directory of a newer format is refused and left as it is', { skip }, async (t) => {
  const server = await started(t, { store: 'file' })
  await server.stop()
  const format = path.join(server.dataDir, 'yroom-files')
  fs.writeFileSync(format, 'yroom files 9999\n')
  const before = fs.readdirSync(server.dataDir)
  refused(await runProgram(['--listen', `127.0.0.1:${await freePort()}`, '--data-dir', server.dataDir, '--store', 'file']), [server.dataDir, '9999'])
  assert.equal(fs.readFileSync(format, 'utf8'), 'yroom files 9999\n')
  assert.deepStrictEqual(fs.readdirSync(server.dataDir), before)
})

test('two servers do not share a data directory', { skip }, async (t) => {
  const first = await started(t)
  refused(await runProgram(['--listen', `127.0.0.1:${await freePort()}`, '--data-dir', first.dataDir]), [first.dataDir])
})

scenario('each option can be an environment variable', {
  ours: true, store: 'memory', env: { YROOM_UNLOAD_AFTER: '0', YROOM_THREADS: '1', YROOM_DURABILITY: 'eventual' }
}, async (world) => {
  const [ann, bob] = await Promise.all([world.join('page'), world.join('page')])
  ann.text().insert(0, 'x')
  await converge([ann, bob])
  assert.match(world.server.stdout, new RegExp(`yroom listens on ws://127\\.0\\.0\\.1:${world.server.port}`))
})

for (const args of [['--durability', 'eventual'], ['--durability', 'before-fanout', '--threads', '3']]) {
  scenario(`it serves with ${args.join(' ')}`, { ours: true, args }, async (world) => {
    const rooms = Array.from({ length: 8 }, (_, i) => `room-${i}`)
    await Promise.all(rooms.map(async (room) => {
      const pair = await Promise.all([world.join(room), world.join(room)])
      pair[0].text().insert(0, room)
      await converge(pair)
    }))
    await world.everybodyLeaves()
    assert.equal((await world.server.stop()).code, 0)
    await world.server.start()
    for (const room of rooms) assert.equal((await world.join(room)).text().toString(), room)
  })
}
