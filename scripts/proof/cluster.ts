/** Two runners of a cluster that are upgraded in turn while clients count, and then stopped and started again. */
import type { Answer, Cluster } from "../../test/kit/cluster.ts"
import { withCluster } from "../../test/kit/cluster.ts"
import { median } from "../../test/kit/statistics.ts"
import type { Scenario } from "./scenarios.ts"

/** The longest that anybody waited, each time that something was done to a runner. */
const waits = async (cluster: Cluster, times: number, what: (runner: number) => Promise<void>) => {
  const longest: Array<number> = []
  for (let count = 0; count < times; count++) {
    const begin = performance.now()
    await what(count % 2)
    await cluster.answered(50)
    await cluster.settled()
    const during = ({ at, took }: Answer) => at + took >= begin
    longest.push(Math.max(...cluster.answers.filter(during).map(({ took }) => took)))
  }
  return longest
}

const inWords = (longest: ReadonlyArray<number>) =>
  `${Math.max(...longest).toFixed(0)} ms at worst, ${median(longest).toFixed(0)} ms mostly`

export const cluster: Scenario = {
  name: "cluster",
  title: "examples/cluster.ts, 4 clients, two runners in turn",
  run: async (quick) => {
    const upgrades = quick ? 4 : 20
    const [{ requests, upgraded, restarted }, wrong] = await withCluster(async (cluster) => {
      const upgraded = await waits(cluster, upgrades, cluster.upgrade)
      const restarted = await waits(cluster, quick ? 2 : 10, cluster.restart)
      return { upgraded, restarted, requests: cluster.answers.length }
    })
    const failed = Object.fromEntries(
      Object.entries(wrong).filter(([, cases]) => cases.length > 0).map(([kind, cases]) => [kind, cases.length])
    )
    return {
      upgrades,
      tally: { requests, failed, again: {}, ordinary: 0 },
      drained: [],
      note: `a request waited for ${inWords(upgraded)}, in a restart ${inWords(restarted)}`
    }
  }
}
