/** How much longer an upgrade takes with many inherited listeners than with one. */
import { setTimeout as sleep } from "node:timers/promises"
import { fileURLToPath } from "node:url"
import * as generations from "../../test/kit/generations.ts"
import { alternating, median, now } from "../../test/kit/statistics.ts"
import type { Figure } from "../lib/results.ts"

const program = fileURLToPath(new URL("../programs/manyListeners.js", import.meta.url))

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
      await server.line(new RegExp(`^ALONE ${next}$`), { from })
      pid = Number(next)
    }
    await server.stop(pid)
    return times
  } finally {
    await server.end()
  }
}

export const listeners = async (quick: boolean): Promise<Figure> => {
  const rounds = quick ? 1 : 3
  const counts = quick ? [1, 10, 1_000] : [1, 10, 100, 1_000, 4_000]
  const samples = counts.map((count) => ({ count, times: [] as Array<number> }))
  for (let round = 0; round < rounds; round++) {
    for (const { count, times } of alternating(samples, round)) times.push(...await once(count))
  }
  const medians = samples.map(({ times }) => median(times))
  const over = (index: number) => Number((medians[index]! / medians[0]!).toFixed(2))
  return {
    name: "listeners",
    title:
      `From SIGHUP until the new process has taken over, with many inherited listeners. Medians of ${rounds} rounds of two upgrades, in alternating order.`,
    tables: [{
      titles: ["listeners", "upgrade ms", "over one"],
      rows: counts.map((count, index) => [String(count), medians[index]!.toFixed(0), over(index).toFixed(2)])
    }],
    bars: [{
      what: "upgrade with 1,000 listeners over one",
      value: over(counts.indexOf(1_000)),
      limit: 3,
      is: "at most"
    }],
    notes: [],
    data: samples
  }
}
