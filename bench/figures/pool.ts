/** What a pool of two workers can answer, over node:cluster with two. */
import { isInstalled } from "../../test/kit/crowd/wrk.ts"
import type { Figure } from "../lib/results.ts"
import type { Throughput } from "../lib/wrkThroughput.ts"
import { compare, withoutWrk } from "../lib/wrkThroughput.ts"
import { cluster } from "../subjects/cluster.ts"
import { workers } from "../subjects/workers.ts"

const kinds = [
  { name: "a new connection for each request", args: ["-H", "Connection: close"], limit: 1.5 },
  { name: "32 keep-alive connections", args: [] }
]

// Where the client needs a processor for itself, two workers do not get two. What a request costs does not depend on that.
const measures = [
  { per: "second", of: "perSecond" },
  { per: "processor second", of: "perProcessorSecond" }
] as const

export const pool = async (quick: boolean): Promise<Figure> => {
  const rounds = quick ? 2 : 5
  const title =
    `Requests that Workers with 2 answer, over node:cluster with 2, both on node:http. Medians of ${rounds} alternating rounds of 2 seconds.`
  if (!isInstalled()) return withoutWrk("pool", title)
  const found = await cluster.run("http", (theirs) =>
    workers.run("http", async (ours) => {
      const contestants = [{ name: "node:cluster", running: theirs }, { name: "Workers", running: ours }].map(
        ({ name, running: { everyPid = () => [], port } }) => ({
          name,
          url: `http://127.0.0.1:${port}/`,
          pids: everyPid
        })
      )
      return kinds.map((kind) => ({ ...kind, throughputs: compare(contestants, rounds, kind.args) }))
    }))
  const ratio = ([theirs, ours]: ReadonlyArray<Throughput>, of: "perSecond" | "perProcessorSecond") =>
    Number((ours![of] / theirs![of]).toFixed(2))
  return {
    name: "pool",
    title,
    tables: [{
      titles: ["load", "per", "node:cluster requests", "Workers requests", "ratio", "failed"],
      rows: found.flatMap(({ name, throughputs }) =>
        measures.map(({ of, per }) => [
          name,
          per,
          ...throughputs.map((throughput) => throughput[of].toFixed(0)),
          ratio(throughputs, of).toFixed(2),
          String(throughputs.reduce((sum, { failed }) => sum + failed, 0))
        ])
      )
    }],
    bars: found.flatMap(({ limit, name, throughputs }) =>
      limit === undefined ? [] : measures.map(({ of, per }) => ({
        what: `requests per ${per}, Workers over node:cluster, ${name}`,
        value: ratio(throughputs, of),
        limit,
        is: "at least" as const
      }))
    ),
    notes: [],
    data: found
  }
}
