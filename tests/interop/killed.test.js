// Killed or told to end at any moment, under load: what anyone has seen is there.
import assert from 'node:assert/strict'
import { scenario } from './lib/scenario.js'
import { sleep } from './lib/wait.js'

const WRITERS = 4
const KILLS = Number(process.env.INTEROP_KILLS ?? 25)
const STOPS = Number(process.env.INTEROP_STOPS ?? 5)

/// Writers that type as long as they are connected; how many numbers each has pushed.
async function typing (world, room) {
  const observer = await world.join(room)
  const writers = await Promise.all(Array.from({ length: WRITERS }, () => world.join(room)))
  const pushed = writers.map(() => 0)
  let ends = false
  const all = Promise.all(writers.map(async (writer, w) => {
    while (!ends) {
      for (let i = 0; i < 5; i++) writer.array(`w${w}`).push([pushed[w]++])
      await sleep(2)
    }
  }))
  const end = () => { ends = true; return all }
  const seen = () => writers.map((_, w) => observer.array(`w${w}`).length)
  return { end, seen, pushed }
}

async function restart (world, room) {
  await world.everybodyLeaves()
  await world.server.start()
  const joiner = await world.join(room)
  return Array.from({ length: WRITERS }, (_, w) => {
    const numbers = joiner.array(`w${w}`).toArray()
    assert.deepStrictEqual(numbers, Array.from({ length: numbers.length }, (_, n) => n), 'without holes')
    return numbers.length
  })
}

const atLeast = (found, least, what) => found.forEach((count, w) =>
  assert.ok(count >= least[w], `${what}: ${least[w]} of writer ${w}, and ${count} are there`))

for (const store of ['sqlite', 'file']) {
  scenario(`killed at any moment under load, ${KILLS} times, it has what an observer saw (${store})`,
    { ours: true, timeout: 30_000 + KILLS * 5_000, store }, async (world) => {
      let total = 0
      for (let round = 0; round < KILLS; round++) {
        const room = `killed-${round}`
        const { end, seen } = await typing(world, room)
        await sleep(20 + Math.random() * 400)
        const ended = world.server.kill()
        const least = seen()
        await ended
        await end()
        atLeast(await restart(world, room), least, `kill ${round}: seen`)
        total += least.reduce((a, b) => a + b)
        await world.everybodyLeaves()
      }
      assert.ok(total > KILLS * 10, `hardly anything was seen: ${total}`)
      console.log(`${store}: ${KILLS} kills, ${total} updates seen, none lost`)
    })

  scenario(`told to end under load, ${STOPS} times, it has what was sent a moment before (${store})`,
    { ours: true, timeout: 30_000 + STOPS * 10_000, store }, async (world) => {
      for (let round = 0; round < STOPS; round++) {
        const room = `stopped-${round}`
        const { end, seen, pushed } = await typing(world, room)
        await sleep(20 + Math.random() * 400)
        const sent = [...pushed]
        await sleep(150)
        const { code } = await world.server.stop()
        const least = seen()
        await end()
        assert.equal(code, 0)
        const found = await restart(world, room)
        atLeast(found, sent, `stop ${round}: sent`)
        atLeast(found, least, `stop ${round}: seen`)
        await world.everybodyLeaves()
      }
    })
}
