/**
 * The end of a process that served: it is announced, done once, and told of.
 *
 * @internal
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { DrainReport } from "../../UpgraderEvent.ts"
import { ExitReason, UpgraderEvent } from "../../UpgraderEvent.ts"
import { logWarning } from "../logging.ts"
import { once } from "../once.ts"
import type { System } from "../system/env.ts"
import type { Draining } from "./drainAll.ts"
import * as log from "./log.ts"
import type { Settings } from "./options.ts"
import type { Registry } from "./registry.ts"

interface DrainProcessOptions {
  readonly env: System
  readonly settings: Settings
  readonly draining: Draining
  readonly generation: number
  readonly exitReason: Effect.Effect<Option.Option<ExitReason>>
  readonly registry: Pick<Registry, "addresses" | "stopAccepting" | "flushConnections" | "letGoOfConnections">
  /** Has the successor get the last of the state that goes along. */
  readonly giveLast: (pid: number) => Effect.Effect<void>
  /** Where the successor does not accept, although it has the socket. */
  readonly unclaimedBy: (pid: number) => Effect.Effect<ReadonlyArray<string>>
  readonly publish: (event: UpgraderEvent) => Effect.Effect<void>
}

/** There is one drain: whoever asks later waits for it, and nobody's impatience stops it. */
export const drainProcess = (options: DrainProcessOptions): Effect.Effect<Effect.Effect<DrainReport>> =>
  once(run(options))

const run = (
  { draining, env, exitReason, generation, giveLast, publish, registry, settings, unclaimedBy }: DrainProcessOptions
) =>
  Effect.gen(function*() {
    // If nothing has been decided, nobody has taken over: it is like a stop.
    const reason = Option.getOrElse(yield* exitReason, () => ExitReason.Stopped())
    yield* Effect.annotateCurrentSpan("tableflip.reason", reason._tag)
    yield* env.setTitle(`draining (generation ${generation})`)
    yield* publish(UpgraderEvent.Draining({ generation }))
    yield* log.afterTheFact(
      Effect.flatMap(registry.addresses, (addresses) => log.draining(reason, addresses, settings))
    )
    const unclaimed = reason._tag === "Upgraded" ? yield* unclaimedBy(reason.pid) : []
    const [report] = yield* Effect.all([
      draining.drain(reason, registry.stopAccepting(reason, unclaimed)),
      reason._tag === "Upgraded" ? letGo(registry, settings) : Effect.void
    ], { concurrency: "unbounded" })
    if (reason._tag === "Upgraded") yield* giveLast(reason.pid)
    yield* log.drained(report)
    if (settings.forcedExitCode !== 0 && report.servers.some(({ forced }) => forced > 0)) {
      yield* env.setExitCode(settings.forcedExitCode)
    }
    yield* publish(UpgraderEvent.Drained({ generation, report }))
    // Whoever listens is interrupted by what follows.
    yield* Effect.yieldNow()
    return report
  }).pipe(
    Effect.withSpan("tableflip.drain", { attributes: { "tableflip.generation": generation } }),
    Effect.annotateLogs("state", `draining (generation ${generation})`),
    (drain) => log.annotate(drain, generation)
  )

const letGo = (registry: DrainProcessOptions["registry"], { drainTimeout }: Settings) =>
  registry.flushConnections(drainTimeout).pipe(
    Effect.tap((left) =>
      left === 0 ? Effect.void : logWarning(
        `${left} connection(s) went to the new process without all that this one had written: ` +
          `the other end has not taken it within ${Duration.format(drainTimeout)}`
      )
    ),
    Effect.zipRight(registry.letGoOfConnections)
  )
