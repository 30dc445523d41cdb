/**
 * Many upgrades in a row under light load: what is left of each, and what grows.
 */
import * as fs from "node:fs"
import { setTimeout as sleep } from "node:timers/promises"
import { fileURLToPath } from "node:url"
import * as generations from "../lib/generations.ts"
import type { Sample } from "../lib/load.ts"
import * as load from "../lib/load.ts"
import { median, now } from "../lib/statistics.ts"
import { table } from "../lib/table.ts"

const program = fileURLToPath(new URL("../../examples/http.js", import.meta.url))

const descriptors = (pid: number) => fs.readdirSync(`/proc/${pid}/fd`).length
const megabytes = (pid: number) =>
  Number(/VmRSS:\s+(\d+)/.exec(fs.readFileSync(`/proc/${pid}/status`, "utf8"))![1]) / 1024
/** The arguments of a process; none once it has ended, also while its parent has not taken notice. */
const argumentsOf = (pid: number | string) => {
  try {
    return fs.readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0").filter((argument) => argument !== "")
  } catch {
    return []
  }
}

export const endurance = async (upgrades = 200): Promise<void> => {
  if (process.platform !== "linux") throw new Error("This figure is read from /proc, which is Linux")
  const server = generations.start({ args: [program], environment: { PORT: "0" } })
  try {
    const [port] = await server.line(/Listening on http:\/\/127\.0\.0\.1:(\d+)/)
    await server.line(/is ready as generation 1/)
    const clients = load.start({ port: Number(port), clients: 2, pause: 20, keepAlive: false })
    const samples: Array<Sample> = []
    const rows: Array<ReadonlyArray<string>> = []
    const times: Array<number> = []
    const pids = new Set<number>()
    const running = () => [...pids].filter((pid) => argumentsOf(pid).length > 0)
    const look = async (generation: number, pid: number) => {
      await sleep(1_000)
      rows.push([
        String(generation),
        String(pid),
        String(running().length),
        String(descriptors(pid)),
        `${megabytes(pid).toFixed(1)} MB`
      ])
    }
    let pid = server.pid
    pids.add(pid)
    await look(1, pid)
    for (let generation = 2; generation <= upgrades + 1; generation++) {
      const from = server.position()
      const begin = now()
      process.kill(pid, "SIGHUP")
      const [next] = await server.line(/Process (\d+) has taken over/, { from })
      times.push(now() - begin)
      while (argumentsOf(pid).length > 0) {
        if (now() - begin > 60_000) throw new Error(`Process ${pid} does not end. It said:\n${server.tail()}`)
        await sleep(5)
      }
      pid = Number(next)
      pids.add(pid)
      if (generation === upgrades + 1 || generation % Math.ceil(upgrades / 4) === 0) await look(generation, pid)
      samples.push(...await clients.take())
    }
    samples.push(...await clients.stop())
    await server.stop(pid)
    const failures = samples.flatMap(({ failure }) => failure ?? [])
    console.log(
      `\n${upgrades} upgrades in a row: ${samples.length} requests, ${failures.length} failed ${
        [...new Set(failures)].join(", ")
      }\nmedian upgrade ${median(times).toFixed(0)} ms, longest ${Math.max(...times).toFixed(0)} ms\n`
    )
    table(["generation", "pid", "processes", "descriptors", "resident"], rows)
    console.log(`\nProcesses left after the final stop: ${running().length}`)
  } finally {
    await server.end()
  }
}
