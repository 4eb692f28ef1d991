// Two moments at which rooms break: the first two joins, and the last leave.
import assert from 'node:assert/strict'
import { converge } from './lib/client.js'
import { scenario } from './lib/scenario.js'
import { until } from './lib/wait.js'

const TIMES = 200
const AT_ONCE = 10

/// Calls `round(i)` for each i below `TIMES`, `AT_ONCE` of them at a time.
async function manyTimes (round) {
  let next = 0
  await Promise.all(Array.from({ length: AT_ONCE }, async () => {
    while (next < TIMES) await round(next++)
  }))
}

scenario(`two clients that open a new room at the same moment are both in sync, ${TIMES} times`, { timeout: 120_000 }, async (world) => {
  await manyTimes(async (i) => {
    const pair = [0, 1].map(() => world.client(`new-${i}`, { connect: false }))
    pair.forEach((client, side) => client.text().insert(0, `from ${side};`))
    pair.forEach((client) => client.connect())
    await Promise.all(pair.map((client) => client.synced()))
    await converge(pair, `room new-${i} to be in sync`)
    assert.equal(pair[0].text().length, 14)
    await Promise.all(pair.map((client) => client.destroy()))
  })
})

// With no unload delay, each leave empties the room and each join loads it again.
scenario(`an edit right before the last client leaves is stored, ${TIMES} times`,
  { timeout: 180_000, ours: true, args: ['--unload-after', '0'] }, async (world) => {
    await manyTimes(async (i) => {
      const ann = await world.join(`left-${i}`)
      ann.text().insert(0, `edit ${i}`)
      await ann.destroy()
      const bob = await world.join(`left-${i}`)
      await until(() => bob.text().toString() === `edit ${i}`, `the edit in room left-${i}`, { details: () => bob.describe() })
      bob.text().insert(0, 'second ')
      await bob.destroy()
    })
    await until(async () => {
      const late = await world.join('left-0')
      const there = late.text().toString() === 'second edit 0'
      await late.destroy()
      return there
    }, 'the last edit of the first room')
    await world.server.stop()
    await world.server.start()
    await manyTimes(async (i) => {
      const cy = await world.join(`left-${i}`)
      assert.equal(cy.text().toString(), `second edit ${i}`)
      await cy.destroy()
    })
  })

scenario('a client that comes back while its room is being unloaded finds everything', { ours: true, args: ['--unload-after', '0'] }, async (world) => {
  let expected = ''
  for (let round = 0; round < 100; round++) {
    const ann = await world.join('page')
    await until(() => ann.text().toString() === expected, `what was there before round ${round}`, { details: () => ann.describe() })
    ann.text().insert(ann.text().length, `${round % 10}`)
    expected += `${round % 10}`
    await ann.destroy()
  }
})
