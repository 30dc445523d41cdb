/**
 * Handing over to a new process: everything that is done on this side, and undone when it does not take over.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Tracer from "effect/Tracer"
import type { ChildProcess } from "../../ChildProcess.ts"
import type { UpgradeError } from "../../TableflipError.ts"
import { UpgraderEvent } from "../../UpgraderEvent.ts"
import * as sender from "../handOver/sender.ts"
import { between } from "../handOver/sides.ts"
import { logInfo } from "../logging.ts"
import { forkApart } from "../seam.ts"
import { within } from "../span.ts"
import type { Channel } from "../system/channel.ts"
import type { System } from "../system/env.ts"
import { Env } from "../system/env.ts"
import * as trace from "../wire/trace.ts"
import type { Ancestry } from "./ancestry.ts"
import { attempt } from "./attempt.ts"
import type { Draining } from "./drainAll.ts"
import * as log from "./log.ts"
import type { Successor } from "./machine.ts"
import type { Settings } from "./options.ts"
import type { Registry } from "./registry.ts"
import * as successor from "./successor.ts"

interface Process {
  readonly env: System
  readonly settings: Settings
  readonly ancestry: Ancestry
  readonly registry: Registry
  readonly draining: Draining
}

/** Starts a new process and undoes everything on this side if it does not take over. */
export const handOver = (
  { ancestry, draining, env, registry, settings }: Process,
  options: {
    readonly publish: (event: UpgraderEvent) => Effect.Effect<void>
    readonly restore: Effect.Effect<void>
    readonly serveState: (child: ChildProcess) => Effect.Effect<void>
    /** On which connections of the processes that this one has started go to those that the newer one has. */
    readonly relayedBy: (channel: Channel) => void
  }
): Effect.Effect<Successor, UpgradeError> => {
  // What never ran has written nothing, and a machine that cannot start it may not let a file be looked at either.
  let started: ChildProcess | undefined
  const takenOver = (child: ChildProcess | undefined) => {
    if (child === undefined) return Effect.void
    Option.map(Option.map(child.channel, between), ({ own, relayed }) => {
      draining.handOverBy(sender.make(own))
      options.relayedBy(relayed)
    })
    return forkApart(successor.watch(env, settings, child))
  }
  const run = (span: Tracer.Span) =>
    Effect.gen(function*() {
      started = undefined
      const generation = ancestry.generation + 1
      const lifelines = yield* Effect.forEach(ancestry.lifelines, (reader) => reader.descriptor)
      yield* registry.shareWithChild
      // Before the new process writes to them too.
      yield* Effect.interruptible(registry.flushConnections(settings.drainTimeout))
      const descriptors = yield* registry.descriptors
      const pid = yield* attempt({
        settings,
        generation,
        descriptors,
        lifelines: lifelines.flatMap(Option.toArray),
        state: new Map([...yield* registry.state, trace.encode(span)]),
        span,
        onStart: (child) => {
          started = child
          const { pid } = child
          return options.serveState(child).pipe(
            Effect.zipRight(logInfo(`Started process ${pid} as generation ${generation}`)),
            Effect.zipRight(options.publish(UpgraderEvent.UpgradeStarted({ pid, generation })))
          )
        }
      })
      yield* takenOver(started)
      yield* log.afterTheFact(Effect.zipRight(
        log.notHandedOver(env, descriptors),
        logInfo(`Process ${pid} has taken over as generation ${generation}`)
      ))
      span.attribute("tableflip.successor.pid", pid)
      return { pid, generation }
    })
  const attributes = { "tableflip.generation": ancestry.generation }
  return within("tableflip.upgrade", { attributes }, run).pipe(
    Effect.onError(() =>
      Effect.zipRight(registry.takeBackFromChild, started === undefined ? Effect.void : options.restore)
    ),
    Effect.provideService(Env, env)
  )
}
