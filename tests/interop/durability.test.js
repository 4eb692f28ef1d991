// What anyone has seen is there after a crash.
import assert from 'node:assert/strict'
import { scenario } from './lib/scenario.js'
import { sleep, until } from './lib/wait.js'

const ROUNDS = 20
const UPDATES = 1_000

scenario(`kill -9 50 ms after an observer saw the last of ${UPDATES} updates loses none of them, ${ROUNDS} times`,
  { ours: true, timeout: 180_000 }, async (world) => {
    for (let round = 0; round < ROUNDS; round++) {
      const room = `round-${round}`
      const [writer, observer] = await Promise.all([world.join(room), world.join(room)])
      for (let i = 0; i < UPDATES; i++) {
        writer.array().push([i])
        if (i % 100 === 99) await sleep(1) // so that they leave as a writer's would, not as one burst
      }
      await until(() => observer.array().length === UPDATES, `the observer to see all of round ${round}`,
        { ms: 30_000, details: () => observer.describe() })
      await sleep(50)
      await world.server.kill()
      await world.everybodyLeaves()
      await world.server.start()
      const joiner = await world.join(room)
      const found = joiner.array().toArray()
      assert.equal(found.length, UPDATES, `round ${round}: ${UPDATES - found.length} lost`)
      assert.deepStrictEqual(found, Array.from({ length: UPDATES }, (_, i) => i))
      await world.everybodyLeaves()
    }
  })

scenario('each update that an observer saw is there, wherever in the stream the server was killed', { ours: true, timeout: 120_000 }, async (world) => {
  for (let round = 0; round < 10; round++) {
    const room = `cut-${round}`
    const [writer, observer] = await Promise.all([world.join(room), world.join(room)])
    const stopAt = 50 + round * 40
    for (let i = 0; i < UPDATES; i++) {
      if (!writer.provider.wsconnected || observer.array().length >= stopAt) break
      writer.array().push([i])
      if (i % 10 === 9) await sleep(1)
    }
    await until(() => observer.array().length >= stopAt, 'the observer to see enough', { details: () => observer.describe() })
    const ended = world.server.kill()
    const seen = observer.array().length
    await ended
    await world.everybodyLeaves()
    await world.server.start()
    const found = (await world.join(room)).array().toArray()
    assert.ok(found.length >= seen, `round ${round}: the observer saw ${seen}, ${found.length} came back`)
    assert.deepStrictEqual(found, Array.from({ length: found.length }, (_, i) => i), 'what came back has no holes')
    await world.everybodyLeaves()
  }
})
