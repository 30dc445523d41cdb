/**
 * Shows what the package is for: a server under load that is replaced by a new copy of itself, again and again, while
 * every request is counted.
 *
 *     npm run demo [-- --quick] [-- --keep-alive] [-- --upgrades 20]
 */
import { setTimeout as sleep } from "node:timers/promises"
import { fileURLToPath } from "node:url"
import { parseArgs } from "node:util"
import * as generations from "./lib/generations.ts"
import type { Sample } from "./lib/load.ts"
import * as load from "./lib/load.ts"
import { now, percentile } from "./lib/statistics.ts"

const { values: options } = parseArgs({
  options: {
    "keep-alive": { type: "boolean", default: false },
    quick: { type: "boolean", default: false },
    upgrades: { type: "string" }
  }
})
const upgrades = Number(options.upgrades ?? (options.quick ? 2 : 5))
const clients = 8
const pause = 8
const calm = options.quick ? 500 : 2_000

const number = new Intl.NumberFormat("en").format
const milliseconds = (value: number) => `${value.toFixed(value < 10 ? 1 : 0)} ms`
const row = (widths: ReadonlyArray<number>, cells: ReadonlyArray<string>) =>
  console.log(cells.map((cell, index) => cell.padStart(widths[index]!)).join(""))

interface Upgrade {
  readonly begin: number
  readonly end: number
}

const within = ({ begin, end }: Upgrade) => ({ at, took }: Sample) => at <= end && at + took >= begin

const latencies = (title: string, samples: ReadonlyArray<Sample>) => {
  const times = samples.flatMap(({ failure, took }) => failure === undefined ? [took] : [])
  row([17, 10, 9, 9, 9], [
    title.padEnd(17),
    number(times.length),
    ...[percentile(times, 0.5), percentile(times, 0.99), Math.max(...times)].map(milliseconds)
  ])
}

const run = async (server: generations.Generations) => {
  const [port] = await server.line(/Listening on http:\/\/127\.0\.0\.1:(\d+)/)
  await server.line(/is ready as generation 1/)
  console.log(`A server is process ${server.pid}, on http://127.0.0.1:${port}, Node ${process.version}.`)
  console.log(
    `${clients} clients ask it all the time, ${
      options["keep-alive"] ? "each on a connection that stays open" : "with a new connection for every request"
    }, and never ask twice.\nIt is upgraded ${upgrades} times by SIGHUP.\n`
  )
  const begin = now()
  const clientsOfAll = load.start({ port: Number(port), clients, pause, keepAlive: options["keep-alive"] })
  const done: Array<Upgrade> = []
  const samples: Array<Sample> = []
  const widths = [3, 11, 11, 12, 14, 12, 10]
  row(widths, ["#", "old pid", "new pid", "ready in", "old gone in", "requests", "failed"])
  await sleep(calm)

  let pid = server.pid
  for (let count = 1; count <= upgrades; count++) {
    const begin = now()
    const from = server.position()
    process.kill(pid, "SIGHUP")
    const [next] = await server.line(/Process (\d+) has taken over/, { from })
    const ready = now() - begin
    await server.line(new RegExp(`Process ${pid} exits with 0`), { from })
    const upgrade = { begin, end: now() }
    await sleep(calm)
    samples.push(...await clientsOfAll.take())
    const requests = samples.filter(within(upgrade))
    row(widths, [
      String(count),
      String(pid),
      next!,
      milliseconds(ready),
      milliseconds(upgrade.end - begin),
      number(requests.length),
      number(requests.filter(({ failure }) => failure !== undefined).length)
    ])
    done.push(upgrade)
    pid = Number(next)
  }

  samples.push(...await clientsOfAll.stop())
  const seconds = (now() - begin) / 1000
  await server.stop(pid)

  const failures = samples.flatMap(({ failure }) => failure ?? [])
  const answering = new Set(samples.flatMap(({ answer }) => answer ?? []))
  const busy = samples.filter((sample) => done.some((upgrade) => within(upgrade)(sample)))
  const quiet = samples.filter((sample) => !done.some((upgrade) => within(upgrade)(sample)))
  console.log(
    `\n${done.length} upgrades, ${number(samples.length)} requests in ${seconds.toFixed(0)} seconds, answered by ${
      number(answering.size)
    } processes, ${number(failures.length)} failed.\n`
  )
  row([17, 10, 9, 9, 9], ["Latency", "requests", "p50", "p99", "max"])
  latencies("during upgrades", busy)
  latencies("between them", quiet)
  for (const reason of new Set(failures)) {
    console.log(`\n${number(failures.filter((other) => other === reason).length)} failed with: ${reason}`)
  }
  return failures.length === 0
}

const server = generations.start({ args: [fileURLToPath(new URL("./demo/server.js", import.meta.url))] })
try {
  process.exitCode = await run(server) ? 0 : 1
} finally {
  await server.end()
}
