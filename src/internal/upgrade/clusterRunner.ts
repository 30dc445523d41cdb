/**
 * A runner of @effect/cluster that is upgraded without ClusterHandOver serves its shards twice for a while. Nothing of
 * @effect/cluster is loaded to notice it: a runner says of itself that it is one, by a metric of Effect.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import { logWarning } from "../logging.ts"
import { gaugeValue } from "../metrics.ts"

const inOrder = new WeakSet<object>()

/** The shards of the process of this upgrader go to the next one in order. */
export const handsOverShards = (upgrader: object): void => void inOrder.add(upgrader)

/** Looked for when the process has been upgraded, and not before. */
export const warnIfOutOfOrder = (upgrader: object): Effect.Effect<void> =>
  Effect.suspend(() =>
    inOrder.has(upgrader)
      ? Effect.void
      : Effect.flatMap(gaugeValue("effect_cluster_runners"), (runners) =>
        runners === 0 ? Effect.void : logWarning(
          "This process is a runner of a cluster and has been upgraded without ClusterHandOver: until it has ended, it and " +
            "the new process may both serve its shards, and updates can be lost. Restart it instead, or see docs/cluster.md"
        ))
  )
