/**
 * Shows what the package is for: a server under load is replaced by a new copy of itself, again and again, and every
 * request is counted. One client keeps a single connection from the first to the last. Then the same with a plain `server.close()`, to see what usually happens.
 *
 *     npm run demo [-- --quick] [-- --new-connections] [-- --upgrades 50]
 */
import * as net from "node:net"
import { setTimeout as sleep } from "node:timers/promises"
import { fileURLToPath } from "node:url"
import { parseArgs } from "node:util"
import * as generations from "../test/kit/generations.ts"
import type { Sample } from "../test/kit/load.ts"
import * as load from "../test/kit/load.ts"
import { now, percentile } from "../test/kit/statistics.ts"

const { values: options } = parseArgs({
  options: {
    "new-connections": { type: "boolean", default: false },
    quick: { type: "boolean", default: false },
    upgrades: { type: "string" }
  }
})
const upgrades = Number(options.upgrades ?? (options.quick ? 2 : 10))
const clients = 32
const pause = 10
const calm = options.quick ? 400 : 800

const number = new Intl.NumberFormat("en").format
const milliseconds = (value: number) => `${value.toFixed(value < 10 ? 1 : 0)} ms`
const row = (widths: ReadonlyArray<number>, cells: ReadonlyArray<string>) =>
  console.log(cells.map((cell, index) => cell.padStart(widths[index]!)).join(""))

interface Interval {
  readonly begin: number
  readonly end: number
}

/** One connection, on which a request follows the other for as long as it lasts. */
const startKeeper = (port: number) => {
  const socket = net.connect({ host: "127.0.0.1", port })
  const processes = new Set<string>()
  let answers = 0
  const ask = () => socket.write("GET / HTTP/1.1\r\nHost: demo\r\n\r\n")
  socket.on("connect", ask)
  socket.on("data", (answer) => {
    answers++
    processes.add(/\d+$/.exec(String(answer))?.[0] ?? "")
    setTimeout(ask, pause)
  })
  socket.on("error", () => {})
  return {
    end: (): Kept => {
      const kept = { answers, processes: processes.size, isOpen: !socket.readableEnded && !socket.destroyed }
      socket.destroy()
      return kept
    }
  }
}

interface Kept {
  readonly answers: number
  readonly processes: number
  readonly isOpen: boolean
}

interface Result {
  readonly kept: Kept
  readonly upgrades: ReadonlyArray<Interval>
  readonly samples: ReadonlyArray<Sample>
  readonly seconds: number
}

/** Whether the request was under way at any time of the interval. */
const within = ({ begin, end }: Interval) => ({ at, took }: Sample) => at <= end && at + took >= begin

const failuresOf = (samples: ReadonlyArray<Sample>) => samples.flatMap(({ failure }) => failure ?? [])

const run = async (server: generations.Generations, upgrades: number): Promise<Result> => {
  const [port] = await server.line(/Listening on http:\/\/127\.0\.0\.1:(\d+)/)
  await server.line(/is ready as generation 1/)
  const begin = now()
  const crowd = load.start({ port: Number(port), clients, pause, keepAlive: !options["new-connections"] })
  const keeper = startKeeper(Number(port))
  const done: Array<Interval> = []
  const samples: Array<Sample> = []
  const widths = [3, 9, 9, 10, 21, 10, 10]
  row(widths, ["#", "old pid", "new pid", "ready in", "connections kept", "requests", "failed"])
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
    samples.push(...await crowd.take())
    const requests = samples.filter(within(upgrade))
    const [drained, duration] = await server.line(
      new RegExp(`Process ${pid} (?:has handed over (\\d+ of \\d+) connections in (\\d+) ms|exits)`),
      { from }
    )
    row(widths, [
      String(count),
      String(pid),
      next!,
      milliseconds(ready),
      drained === undefined ? "-" : `${drained} in ${milliseconds(Number(duration))}`,
      number(requests.length),
      number(failuresOf(requests).length)
    ])
    done.push(upgrade)
    pid = Number(next)
  }

  samples.push(...await crowd.stop())
  const seconds = (now() - begin) / 1000
  const kept = keeper.end()
  await server.stop(pid)
  return { kept, upgrades: done, samples, seconds }
}

const latencies = (title: string, samples: ReadonlyArray<Sample>) => {
  const times = samples.flatMap(({ failure, took }) => failure === undefined ? [took] : [])
  row([17, 10, 9, 9, 9], [
    title.padEnd(17),
    number(times.length),
    ...[percentile(times, 0.5), percentile(times, 0.99), percentile(times, 1)].map(milliseconds)
  ])
}

const summarize = ({ kept, samples, seconds, upgrades }: Result) => {
  const failures = failuresOf(samples)
  const answering = new Set(samples.flatMap(({ answer }) => answer ?? []))
  console.log(
    `\n${upgrades.length} upgrade${upgrades.length === 1 ? "" : "s"}, ${number(samples.length)} requests in ${
      seconds.toFixed(0)
    } seconds, answered by ${number(answering.size)} processes: ${number(failures.length)} failed.`
  )
  console.log(
    `One client with one connection had ${number(kept.answers)} answers, of ${kept.processes} process${
      kept.processes === 1 ? "" : "es"
    }, and its connection ${kept.isOpen ? "is still open" : "was closed"}.`
  )
  for (const reason of new Set(failures)) {
    console.log(`  ${number(failures.filter((other) => other === reason).length)} with ${reason}`)
  }
}

const withServer = async (script: string, use: (server: generations.Generations) => Promise<Result>) => {
  const server = generations.start({ args: [fileURLToPath(new URL(script, import.meta.url))] })
  try {
    return await use(server)
  } finally {
    await server.end()
  }
}

console.log(
  `A server on UpgradableHttpServer (Node ${process.version}) is upgraded ${upgrades} times by SIGHUP.
${clients} clients ask it all the time, ${
    options["new-connections"] ? "with a new connection for each request" : "each on a connection that stays open"
  }, and never retry.\n`
)
const result = await withServer("./demo/server.js", (server) => run(server, upgrades))
summarize(result)
const during = (sample: Sample) => result.upgrades.some((upgrade) => within(upgrade)(sample))
console.log()
row([17, 10, 9, 9, 9], ["Latency".padEnd(17), "requests", "p50", "p99", "max"])
latencies("during upgrades", result.samples.filter(during))
latencies("between them", result.samples.filter((sample) => !during(sample)))

console.log("\nFor contrast: the same socket handed over in the same way, but the old process calls server.close().\n")
summarize(await withServer("./demo/plainServer.js", (server) => run(server, Math.ceil(upgrades * 0.3))))

process.exitCode = failuresOf(result.samples).length === 0 ? 0 : 1
