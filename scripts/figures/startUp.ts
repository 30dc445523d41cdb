/**
 * How long an upgrade takes, from SIGHUP until the old process hands over, compared with a start of the same program
 * from nothing to its first answer.
 */
import * as http from "node:http"
import * as net from "node:net"
import { setTimeout as sleep } from "node:timers/promises"
import { fileURLToPath } from "node:url"
import * as generations from "../lib/generations.ts"
import { median, now, percentile } from "../lib/statistics.ts"
import { table } from "../lib/table.ts"

const freePort = () =>
  new Promise<number>((resolve) => {
    const server = net.createServer().listen(0, "127.0.0.1", () => {
      const { port } = server.address() as net.AddressInfo
      server.close(() => resolve(port))
    })
  })

const answers = (port: number) =>
  new Promise<boolean>((resolve) => {
    http.get({ host: "127.0.0.1", port, agent: false }, (response) => {
      response.resume().on("end", () => resolve(true)).on("error", () => resolve(false))
    }).on("error", () => resolve(false))
  })

const once = async (program: string) => {
  const port = await freePort()
  const begin = now()
  const server = generations.start({ args: [program], environment: { PORT: String(port) } })
  try {
    while (!await answers(port)) {
      if (now() - begin > 30_000) throw new Error(`No answer within 30 seconds. It said:\n${server.tail()}`)
      await sleep(2)
    }
    const start = now() - begin
    await server.line(/is ready as generation 1/)
    await sleep(200)
    const asked = now()
    process.kill(server.pid, "SIGHUP")
    const [next] = await server.line(/Process (\d+) has taken over/)
    const upgrade = now() - asked
    await server.stop(Number(next))
    return { start, upgrade }
  } finally {
    await server.end()
  }
}

const programs = {
  "http example": "../../examples/http.js",
  "demo server": "../demo/server.js",
  "plain-node example": "../../examples/plain-node.js"
}

export const startUp = async (rounds = 15): Promise<void> => {
  console.log(`\nUpgrade over cold start, ${rounds} rounds of one start and one upgrade each, medians\n`)
  const samples = Object.entries(programs).map(([name, path]) => ({
    name,
    program: fileURLToPath(new URL(path, import.meta.url)),
    times: [] as Array<{ start: number; upgrade: number }>
  }))
  for (let round = 0; round < rounds; round++) {
    for (const { program, times } of samples) times.push(await once(program))
  }
  table(
    ["program", "cold start", "upgrade", "ratio", "ratio p25", "ratio p75"],
    samples.map(({ name, times }) => {
      const ratios = times.map(({ start, upgrade }) => upgrade / start)
      const start = median(times.map(({ start }) => start))
      const upgrade = median(times.map(({ upgrade }) => upgrade))
      return [
        name,
        `${start.toFixed(0)} ms`,
        `${upgrade.toFixed(0)} ms`,
        (upgrade / start).toFixed(2),
        percentile(ratios, 0.25).toFixed(2),
        percentile(ratios, 0.75).toFixed(2)
      ]
    })
  )
}
