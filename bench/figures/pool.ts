/** What a pool of two workers can answer, over node:cluster with two. */
import { isInstalled } from "../../scripts/proof/wrk.ts"
import type { Figure } from "../lib/results.ts"
import type { Throughput } from "../lib/wrkThroughput.ts"
import { compare, withoutWrk } from "../lib/wrkThroughput.ts"
import { cluster } from "../subjects/cluster.ts"
import { workers } from "../subjects/workers.ts"

const kinds = [
  { name: "a new connection for each request", args: ["-H", "Connection: close"], limit: 1.5 },
  { name: "32 keep-alive connections", args: [] }
]

export const pool = async (quick: boolean): Promise<Figure> => {
  const rounds = quick ? 2 : 5
  const title =
    `Requests that Workers with 2 answer, over node:cluster with 2, both on node:http. Medians of ${rounds} alternating rounds of 2 seconds.`
  if (!isInstalled()) return withoutWrk("pool", title)
  const found = await cluster.run("http", (theirs) =>
    workers.run("http", async (ours) =>
      kinds.map((kind) => ({
        ...kind,
        throughputs: compare(
          [
            { name: "node:cluster", url: `http://127.0.0.1:${theirs.port}/`, pids: () => [] },
            { name: "Workers", url: `http://127.0.0.1:${ours.port}/`, pids: () => [] }
          ],
          rounds,
          kind.args
        )
      }))))
  const ratio = ([theirs, ours]: ReadonlyArray<Throughput>) => Number((ours!.perSecond / theirs!.perSecond).toFixed(2))
  return {
    name: "pool",
    title,
    tables: [{
      titles: ["load", "node:cluster requests/s", "Workers requests/s", "ratio", "failed"],
      rows: found.map(({ name, throughputs }) => [
        name,
        ...throughputs.map(({ perSecond }) => perSecond.toFixed(0)),
        ratio(throughputs).toFixed(2),
        String(throughputs.reduce((sum, { failed }) => sum + failed, 0))
      ])
    }],
    bars: found.flatMap(({ limit, name, throughputs }) =>
      limit === undefined ? [] : [{
        what: `requests per second, Workers over node:cluster, ${name}`,
        value: ratio(throughputs),
        limit,
        is: "at least" as const
      }]
    ),
    notes: [],
    data: found
  }
}
