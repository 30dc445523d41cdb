/** What the app on UpgradableHttpServer can answer, over the same app on NodeHttpServer. */
import { fileURLToPath } from "node:url"
import { isInstalled } from "../../test/kit/crowd/wrk.ts"
import * as generations from "../../test/kit/generations.ts"
import type { Figure } from "../lib/results.ts"
import { compare, withoutWrk } from "../lib/wrkThroughput.ts"

const programs = [
  { name: "NodeHttpServer", path: "../programs/nodeHttpServer.js", ready: /Listening on/ },
  { name: "UpgradableHttpServer", path: "../../scripts/demo/server.js", ready: /is ready as generation 1/ }
]

export const throughput = async (quick: boolean): Promise<Figure> => {
  const rounds = quick ? 2 : 11
  const title =
    `Requests that the app on UpgradableHttpServer answers, over the same app on NodeHttpServer: wrk, 32 keep-alive connections. Medians of ${rounds} alternating rounds of 2 seconds.`
  if (!isInstalled()) return withoutWrk("throughput", title)
  const servers = programs.map(({ path, ...program }) => ({
    ...program,
    server: generations.start({ args: [fileURLToPath(new URL(path, import.meta.url))] })
  }))
  try {
    const contestants = await Promise.all(servers.map(async ({ name, ready, server }) => {
      const [url] = await server.line(/Listening on (http:\S+)/)
      await server.line(ready)
      return { name, url: url!, pids: () => [server.pid] }
    }))
    const found = compare(contestants, rounds)
    const [base, ours] = found
    return {
      name: "throughput",
      title,
      tables: [{
        titles: ["server", "requests/s", "ratio", "requests per processor second", "ratio", "failed"],
        rows: found.map(({ failed, name, perProcessorSecond, perSecond }) => [
          name,
          perSecond.toFixed(0),
          (perSecond / base!.perSecond).toFixed(3),
          perProcessorSecond.toFixed(0),
          (perProcessorSecond / base!.perProcessorSecond).toFixed(3),
          String(failed)
        ])
      }],
      bars: [{
        what: "requests per processor second, UpgradableHttpServer over NodeHttpServer",
        value: Number((ours!.perProcessorSecond / base!.perProcessorSecond).toFixed(3)),
        limit: 0.98,
        is: "at least"
      }, {
        what: "requests per second, UpgradableHttpServer over NodeHttpServer",
        value: Number((ours!.perSecond / base!.perSecond).toFixed(3)),
        limit: 0.98,
        is: "at least"
      }],
      notes: [],
      data: found
    }
  } finally {
    await Promise.all(servers.map(({ server }) => server.end()))
  }
}
