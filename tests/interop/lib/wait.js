// Waiting, with an end and a reason.

export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms))

/// Waits until `condition()` is true; says what it waited for, and `details()`, when it is not in time.
export async function until (condition, what, { ms = 10_000, details = () => '' } = {}) {
  const deadline = performance.now() + ms
  for (;;) {
    if (await condition()) return
    if (performance.now() > deadline) {
      throw new Error(`waited ${ms} ms in vain for ${what}${[details()].filter(Boolean).map((d) => `\n${d}`).join('')}`)
    }
    await sleep(5)
  }
}
