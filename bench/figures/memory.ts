/** Many upgrades in a row under light load: what is left of each, and what grows. */
import { setTimeout as sleep } from "node:timers/promises"
import { fileURLToPath } from "node:url"
import { fewestDescriptors } from "../../test/kit/descriptors.ts"
import * as generations from "../../test/kit/generations.ts"
import type { Sample } from "../../test/kit/load.ts"
import * as load from "../../test/kit/load.ts"
import { isAlive, megabytes } from "../../test/kit/proc.ts"
import { median, now } from "../../test/kit/statistics.ts"
import type { Figure } from "../lib/results.ts"

const program = fileURLToPath(new URL("../programs/http.js", import.meta.url))

interface Look {
  readonly generation: number
  readonly processes: number
  readonly descriptors: number
  readonly megabytes: number
}

export const memory = async (quick: boolean): Promise<Figure> => {
  const upgrades = quick ? 4 : 200
  const server = generations.start({ args: [program] })
  try {
    const [port] = await server.line(/Listening on http:\/\/127\.0\.0\.1:(\d+)/)
    await server.line(/is ready as generation 1/)
    const clients = load.start({ port: Number(port), clients: 2, pause: 20, keepAlive: false })
    const samples: Array<Sample> = []
    const looks: Array<Look> = []
    const times: Array<number> = []
    const pids = [server.pid]
    const look = async (generation: number, pid: number) => {
      looks.push({
        generation,
        processes: pids.filter(isAlive).length,
        descriptors: await fewestDescriptors(pid),
        megabytes: megabytes(pid)
      })
    }
    let pid = server.pid
    await look(1, pid)
    for (let generation = 2; generation <= upgrades + 1; generation++) {
      const from = server.position()
      const begin = now()
      process.kill(pid, "SIGHUP")
      const [next] = await server.line(/Process (\d+) has taken over/, { from })
      times.push(now() - begin)
      while (isAlive(pid)) {
        if (now() - begin > 60_000) throw new Error(`Process ${pid} does not end. It said:\n${server.tail()}`)
        await sleep(5)
      }
      await server.line(new RegExp(`^ALONE ${next}$`), { from })
      pid = Number(next)
      pids.push(pid)
      if ((generation - 1) % Math.ceil(upgrades / 8) === 0) await look(generation, pid)
      samples.push(...await clients.take())
    }
    samples.push(...await clients.stop())
    await server.stop(pid)
    const failures = samples.flatMap(({ failure }) => failure ?? [])
    const [first, last] = [looks[0]!, looks.at(-1)!]
    return {
      name: "memory",
      title: `${upgrades} upgrades in a row under light load.`,
      tables: [{
        titles: ["generation", "processes", "descriptors", "resident MB"],
        rows: looks.map(({ descriptors, generation, megabytes, processes }) =>
          [generation, processes, descriptors, megabytes].map(String)
        )
      }],
      bars: [
        { what: `failed requests in ${upgrades} upgrades in a row`, value: failures.length, limit: 0, is: "at most" },
        {
          what: "descriptors of the last generation over the second",
          value: last.descriptors - looks[1]!.descriptors,
          limit: 0,
          is: "at most"
        },
        { what: "processes left after the final stop", value: pids.filter(isAlive).length, limit: 0, is: "at most" },
        {
          what: "resident memory of the last generation over the first",
          value: Number((last.megabytes / first.megabytes).toFixed(2)),
          limit: 1.2,
          is: "at most"
        }
      ],
      notes: [
        `${samples.length} requests; median upgrade ${median(times).toFixed(0)} ms, longest ${
          Math.max(...times).toFixed(0)
        } ms`,
        ...failures.length === 0 ? [] : [`Failed: ${[...new Set(failures)].join(", ")}`]
      ],
      data: { looks, times: times.map(Math.round) }
    }
  } finally {
    await server.end()
  }
}
