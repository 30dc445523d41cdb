/**
 * What an upgrader measures: everything follows from its events.
 *
 * @internal
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type { UpgraderEvent } from "../../UpgraderEvent.ts"
import type { Ending } from "../drain/connections.ts"
import * as metrics from "../metrics.ts"
import { monotonicMillis } from "../seam.ts"

const generations = metrics.gauge({
  name: "tableflip.generation",
  description: "The number of this process in the row of upgrades; 1 for one that was started plainly"
})
const draining = metrics.gauge({
  name: "tableflip.generations.draining",
  description: "Whether this process finishes what it serves: 1 from the beginning of its drain"
})
const upgrades = metrics.counter({ name: "tableflip.upgrades", description: "Upgrades by how they have ended" })
const upgradeDuration = metrics.seconds({
  name: "tableflip.upgrade.duration",
  description: "Seconds from the start of a new process until it has taken over or failed"
})
const startDuration = metrics.seconds({
  name: "tableflip.start.duration",
  description: "Seconds that this process took until it was ready, from when its upgrader was built"
})
const drainDuration = metrics.seconds({
  name: "tableflip.drain.duration",
  description: "Seconds from when this process has stopped accepting until its last connection was over"
})
const drainConnections = metrics.counter({
  name: "tableflip.drain.connections",
  description: "Connections that a drain has found, by how they have ended"
})

const drainRefused = metrics.counter({
  name: "tableflip.drain.refused",
  description: "Connections that were sent to the newer process, which has not taken them"
})

/** In no order; a new one has to be named here. */
const allEndings: Readonly<Record<Ending, true>> = {
  finished: true,
  sentAway: true,
  handedOver: true,
  timedOut: true,
  forced: true
}
const endings = Object.keys(allEndings) as ReadonlyArray<Ending>

const sumOf = ({ report }: Extract<UpgraderEvent, { readonly _tag: "Drained" }>, count: Ending | "refused") =>
  report.servers.reduce((sum, server) => sum + server[count], 0)

/** Hears each event before anybody else does. A process that was started by an upgrade counts it: it lives on. */
export const make = (generation: number): Effect.Effect<(event: UpgraderEvent) => Effect.Effect<void>> =>
  Effect.map(monotonicMillis, (builtAt) => {
    let startedAt = builtAt
    const secondsSince = (from: number) => Effect.map(monotonicMillis, (now) => (now - from) / 1_000)
    const ended = (tags: metrics.Tags) =>
      Effect.flatMap(secondsSince(startedAt), (duration) => upgradeDuration(duration, tags))
    return (event) => {
      switch (event._tag) {
        case "Ready":
          return Effect.flatMap(secondsSince(builtAt), (duration) => startDuration(duration)).pipe(
            Effect.zipRight(generations(generation)),
            Effect.zipRight(draining(0)),
            Effect.zipRight(generation > 1 ? upgrades({ outcome: "upgraded" }) : Effect.void)
          )
        case "UpgradeStarted":
          return Effect.map(monotonicMillis, (now) => {
            startedAt = now
          })
        case "UpgradeFailed": {
          const tags = { outcome: "failed", "error.type": event.error._tag }
          return Effect.zipRight(upgrades(tags), ended(tags))
        }
        case "UpgradeRefused":
          return upgrades({ outcome: "refused", "error.type": event.error._tag })
        case "Upgraded":
          return ended({ outcome: "upgraded" })
        case "Draining":
          return draining(1)
        case "Drained":
          return drainDuration(Duration.toSeconds(event.report.duration)).pipe(
            Effect.zipRight(drainRefused({}, sumOf(event, "refused"))),
            Effect.zipRight(
              Effect.forEach(endings, (ending) => drainConnections({ ending }, sumOf(event, ending)), { discard: true })
            )
          )
        default:
          return Effect.void
      }
    }
  })
