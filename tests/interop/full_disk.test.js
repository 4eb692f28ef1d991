// A disk that fills up under a running server, and has room again.
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import { test } from 'node:test'
import { scenario } from './lib/scenario.js'
import { scratchDir } from './lib/server.js'
import { sleep, until } from './lib/wait.js'

// Mounting is root's.
const mounts = process.getuid?.() === 0 && process.env.INTEROP_MOUNT === '1'
const disk = mounts ? scratchDir() : '/nowhere'
const ballast = path.join(disk, 'ballast')
if (mounts) {
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=4m', 'tmpfs', disk])
  // Before the scratch directories are removed.
  process.prependListener('exit', () => execFileSync('umount', ['-l', disk]))
}

test('a full disk', { skip: mounts ? false : 'needs root and INTEROP_MOUNT=1' }, () => {})

const chunk = (n) => `${n}:`.padEnd(20_000, String.fromCharCode(97 + n % 26))

for (const store of mounts ? ['sqlite', 'file'] : []) {
  scenario(`a full disk: readers are served, writers end with 1013, nothing is lost, and space is enough to recover (${store})`,
    { ours: true, timeout: 150_000, store, dataDir: path.join(disk, store) }, async (world) => {
      fs.writeFileSync(ballast, Buffer.alloc(2 << 20))
      const [writer, reader] = await Promise.all([world.join('room'), world.join('room')])
      let written = 0
      const full = () => /full|No space/i.test(world.server.stderr)
      while (!full()) {
        writer.array().push([chunk(written++)])
        assert.ok(written < 500, 'the disk never fills')
        await sleep(20)
      }
      const seen = reader.array().length
      assert.ok(seen > 0 && seen < written)

      const late = await world.join('room')
      assert.ok(late.array().length >= seen, 'a reader who comes now sees what was stored')
      await until(() => writer.closes.includes(1013), 'the writer to be closed', { ms: 60_000, details: () => writer.describe() })
      assert.ok(reader.array().length < written, 'what is not stored is not shown')
      assert.ok(world.server.runs)

      fs.rmSync(ballast)
      await until(() => reader.array().length === written, 'everything to arrive', { ms: 30_000, details: () => reader.describe() })
      await world.server.kill()
      await world.everybodyLeaves()
      await world.server.start()
      const found = (await world.join('room')).array().toArray()
      assert.deepStrictEqual(found, Array.from({ length: written }, (_, n) => chunk(n)))
      await world.everybodyLeaves()
      await world.server.stop()
      fs.rmSync(path.join(disk, store), { recursive: true })
      await world.server.start()
    })
}
