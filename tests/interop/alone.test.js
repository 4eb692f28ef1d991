// A client alone in its room: y-websocket reconnects after 30 s without a data frame.
import assert from 'node:assert/strict'
import { describe } from 'node:test'
import { YJS14 } from './lib/client.js'
import { scenario } from './lib/scenario.js'
import { sleep } from './lib/wait.js'

const SECONDS = 92

async function stays (world, options) {
  const client = await world.join('alone', options)
  if (options.presence === null) client.awareness.setLocalState(null)
  const beats = []
  client.provider.ws.addEventListener('message', () => beats.push(performance.now()))
  const from = client.statuses.length
  const began = performance.now()
  await sleep(SECONDS * 1000)
  assert.deepStrictEqual(client.statuses.slice(from), [], 'no change of its connection')
  assert.ok(client.provider.wsconnected && client.provider.synced)
  const gaps = beats.map((at, i) => at - (beats[i - 1] ?? began))
  gaps.push(performance.now() - (beats.at(-1) ?? began))
  const longest = Math.max(...gaps) / 1000
  assert.ok(longest < 20, `the longest silence is ${longest} s`)
}

describe('alone', { concurrency: true }, () => {
  scenario(`a client alone with its presence is not disconnected for ${SECONDS} s`, { timeout: 150_000 },
    (world) => stays(world, { presence: { name: 'Ann' } }))
  scenario(`a client alone without presence is not disconnected for ${SECONDS} s`, { timeout: 150_000, ours: true },
    (world) => stays(world, { presence: null }))
  scenario(`an @y/y 14 client alone is not disconnected for ${SECONDS} s`, { timeout: 150_000, ours: true },
    (world) => stays(world, { kit: YJS14, presence: null }))
})
