/**
 * What the app on UpgradableHttpServer can answer, over the same app on NodeHttpServer.
 */
import { spawnSync } from "node:child_process"
import { readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import * as generations from "../lib/generations.ts"
import { median } from "../lib/statistics.ts"
import { table } from "../lib/table.ts"

const programs = {
  NodeHttpServer: fileURLToPath(new URL("./nodeHttpServer.js", import.meta.url)),
  UpgradableHttpServer: fileURLToPath(new URL("../demo/server.js", import.meta.url))
}
type Name = keyof typeof programs
const names = Object.keys(programs) as Array<Name>

/** Seconds of processor time that a process has used (proc(5): utime and stime, in ticks of 10 ms). */
const processorTime = (pid: number): number => {
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8")
  const [user, system] = stat.slice(stat.lastIndexOf(")") + 2).split(" ").slice(11, 13)
  return (Number(user) + Number(system)) / 100
}

const measure = (pid: number, url: string, seconds: number) => {
  const before = processorTime(pid)
  const { stdout } = spawnSync("wrk", ["-t1", "-c32", `-d${seconds}s`, url], { encoding: "utf8" })
  const requests = Number(/(\d+) requests in/.exec(stdout)?.[1])
  return { perSecond: requests / seconds, perProcessorSecond: requests / (processorTime(pid) - before) }
}

export const throughput = async (rounds = 11): Promise<void> => {
  if (spawnSync("wrk", ["-v"]).error !== undefined) {
    console.log("\nThroughput: skipped, wrk is not installed")
    return
  }
  console.log(
    `\nRequests of the app on UpgradableHttpServer over NodeHttpServer, ${rounds} alternating rounds of wrk\n`
  )
  const samples: Record<Name, Array<ReturnType<typeof measure>>> = { NodeHttpServer: [], UpgradableHttpServer: [] }
  const servers = names.map((name) => ({ name, server: generations.start({ args: [programs[name]] }) }))
  try {
    const ready = await Promise.all(servers.map(async ({ name, server }) => {
      const [url] = await server.line(/Listening on (http:\S+)/)
      if (name === "UpgradableHttpServer") await server.line(/is ready as generation 1/)
      return { name, pid: server.pid, url: url! }
    }))
    for (const { pid, url } of ready) measure(pid, url, 2)
    for (let round = 0; round < rounds; round++) {
      const order = round % 2 === 0 ? ready : ready.slice(1).concat(ready.slice(0, 1))
      for (const { name, pid, url } of order) samples[name].push(measure(pid, url, 2))
    }
  } finally {
    await Promise.all(servers.map(({ server }) => server.end()))
  }
  const medians = (name: Name) => ({
    perSecond: median(samples[name].map((sample) => sample.perSecond)),
    perProcessorSecond: median(samples[name].map((sample) => sample.perProcessorSecond))
  })
  const base = medians("NodeHttpServer")
  table(
    ["server", "requests/s", "ratio", "requests per processor second", "ratio"],
    names.map((name) => {
      const { perProcessorSecond, perSecond } = medians(name)
      return [
        name,
        perSecond.toFixed(0),
        (perSecond / base.perSecond).toFixed(3),
        perProcessorSecond.toFixed(0),
        (perProcessorSecond / base.perProcessorSecond).toFixed(3)
      ]
    })
  )
}
