/**
 * How much longer an upgrade takes with many inherited listeners than with one.
 */
import { setTimeout as sleep } from "node:timers/promises"
import { fileURLToPath } from "node:url"
import * as generations from "../lib/generations.ts"
import { median, now } from "../lib/statistics.ts"
import { table } from "../lib/table.ts"

const program = fileURLToPath(new URL("./manyListeners.js", import.meta.url))
const counts = [1, 100, 1000]
const backwards = [1000, 100, 1]

/** Two upgrades, of which the second starts from listeners that were themselves inherited. */
const once = async (count: number) => {
  const server = generations.start({ args: [program, String(count)] })
  try {
    await server.line(/is ready as generation 1/)
    let pid = server.pid
    const times: Array<number> = []
    for (let upgrade = 0; upgrade < 2; upgrade++) {
      await sleep(200)
      const from = server.position()
      const begin = now()
      process.kill(pid, "SIGHUP")
      const [next] = await server.line(/Process (\d+) has taken over/, { from })
      times.push(now() - begin)
      await server.line(new RegExp(`Process ${pid} exits with 0`), { from })
      pid = Number(next)
    }
    await server.stop(pid)
    return times
  } finally {
    await server.end()
  }
}

export const listeners = async (rounds = 9): Promise<void> => {
  console.log(`\nUpgrade with many inherited listeners, ${rounds} rounds of two upgrades each, medians\n`)
  const times = new Map(counts.map((count) => [count, [] as Array<number>]))
  for (let round = 0; round < rounds; round++) {
    for (const count of round % 2 === 0 ? counts : backwards) times.get(count)!.push(...await once(count))
  }
  const base = median(times.get(1)!)
  table(
    ["listeners", "upgrade", "over one"],
    counts.map((count) => {
      const time = median(times.get(count)!)
      return [String(count), `${time.toFixed(0)} ms`, (time / base).toFixed(2)]
    })
  )
}
