/**
 * What a service manager is told of an upgrader, as things happen.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Queue from "effect/Queue"
import type * as Scope from "effect/Scope"
import type { UpgradeError } from "../../TableflipError.ts"
import type { Upgrader } from "../../Upgrader.ts"
import type { UpgraderEvent } from "../../UpgraderEvent.ts"
import type { System } from "../system/env.ts"
import type { ServiceManager } from "./serviceManager.ts"
import { stretch, stretchEvery } from "./serviceManager.ts"

export interface Followed {
  readonly env: System
  readonly manager: ServiceManager
  readonly upgrader: Upgrader["Type"]
  /** What happens in the pool of which this process is the primary. */
  readonly poolEvents: Option.Option<Effect.Effect<Queue.Dequeue<{ readonly _tag: string }>, never, Scope.Scope>>
}

/**
 * The manager takes what the new process says only when it has seen the end of the old one, of which that process may
 * know a moment earlier.
 */
const untilMain = "1 second"

const timestamp = Effect.clockWith((clock) =>
  Effect.map(clock.currentTimeMillis, (now) => new Date(now).toISOString().slice(0, 19).concat("Z"))
)

export const follow = Effect.fnUntraced(function*({ env, manager, poolEvents, upgrader }: Followed) {
  const { generation } = upgrader
  const isPool = Option.isSome(poolEvents)
  let lastFailure = ""
  let successor = ""
  let isReady = false
  let isAlone = !upgrader.hasParent
  let isStopping = false
  let isAttempting = false
  let busy = Option.none<Fiber.RuntimeFiber<void>>()

  const self = `generation ${generation} (process ${env.pid})`
  const serving = Effect.sync(() => `Serving as ${self}${lastFailure}`)
  const finishing = Effect.map(upgrader.status, ({ connections }) => {
    const left = isPool ? "" : `, ${connections} connection(s) open`
    return isStopping ? `Stopping: ${self} finishes what it serves${left}` : `${successor}; ${self} finishes${left}`
  })

  const remember = (what: string, error: UpgradeError) =>
    Effect.map(timestamp, (at) => {
      lastFailure = `; ${what} at ${at}: ${error.message}`
    })

  const becomeReady = Effect.flatMap(serving, manager.ready)

  /** As long as this process finishes what it serves, which `drainTimeout` or the timeout of a pool ends. */
  const keepTelling = finishing.pipe(
    Effect.flatMap((words) => isStopping ? manager.extend(stretch, words) : manager.status(words)),
    Effect.zipRight(Effect.sleep(stretchEvery)),
    Effect.forever,
    Effect.interruptible
  )

  const beginFinishing = Effect.suspend(() =>
    Option.isSome(busy)
      ? Effect.void
      : Effect.map(Effect.forkScoped(keepTelling), (fiber) => {
        busy = Option.some(fiber)
      })
  )

  const endTelling = Effect.suspend(() => {
    const fiber = busy
    busy = Option.none()
    return Effect.transposeMapOption(fiber, Fiber.interrupt)
  })

  const endFinishing = Effect.zipRight(
    endTelling,
    Effect.suspend(() => {
      const words = `${isStopping ? "Stopping" : successor}: ${self} has finished and ends`
      // For what the app has to release.
      return isStopping ? manager.extend(stretch, words) : manager.status(words)
    })
  )

  const beginStopping = Effect.suspend(() => {
    if (isStopping) return Effect.void
    isStopping = true
    return Effect.flatMap(finishing, manager.stopping)
  })

  /** A stop of the whole service comes to the process that has handed over, too. */
  const stopOnSignal = Effect.flatMap(env.signals("SIGTERM"), (deliveries) =>
    Queue.take(deliveries).pipe(
      Effect.zipRight(endTelling),
      Effect.zipRight(beginStopping),
      Effect.zipRight(beginFinishing),
      Effect.interruptible,
      Effect.forkScoped
    ))

  const onRefused = (error: UpgradeError): Effect.Effect<unknown> => {
    switch (error._tag) {
      case "TerminatingError":
      case "NotReadyError":
        return Effect.void
      // What is going on will be told of by its end.
      case "UpgradeInProgressError":
        return manager.reloading("Upgrading")
      case "AlreadyUpgradedError":
        return finishing.pipe(
          Effect.tap(manager.reloading),
          Effect.flatMap(manager.ready)
        )
      default:
        return remember("the last upgrade was refused", error).pipe(
          Effect.zipRight(manager.reloading("Upgrading")),
          Effect.zipRight(becomeReady)
        )
    }
  }

  const handle = (event: UpgraderEvent): Effect.Effect<unknown, never, Scope.Scope> => {
    switch (event._tag) {
      case "Ready":
        isReady = true
        return isAlone ? becomeReady : Effect.void
      case "ParentExited":
        isAlone = true
        return Effect.forkScoped(Effect.interruptible(Effect.delay(
          Effect.suspend(() => isReady && !isStopping && !isAttempting && successor === "" ? becomeReady : Effect.void),
          untilMain
        )))
      case "UpgradeStarted":
        isAttempting = true
        return manager.reloading(
          `Upgrading: process ${event.pid} starts as generation ${event.generation}, ${self} serves`
        )
      case "UpgradeFailed": {
        const begin = isAttempting ? Effect.void : manager.reloading("Upgrading")
        isAttempting = false
        return remember("the last upgrade failed", event.error).pipe(
          Effect.zipRight(begin),
          Effect.zipRight(becomeReady)
        )
      }
      case "UpgradeRefused":
        return onRefused(event.error)
      case "Upgraded":
        successor = `Process ${event.pid} serves as generation ${event.generation}`
        return Effect.zipRight(Effect.flatMap(finishing, manager.ready), stopOnSignal)
      case "Stopped":
        return Effect.zipRight(beginStopping, isPool ? beginFinishing : Effect.void)
      case "Draining":
        return beginFinishing
      case "Drained":
        return endFinishing
    }
  }

  const hear = <A>(
    events: Effect.Effect<Queue.Dequeue<A>, never, Scope.Scope>,
    handle: (event: A) => Effect.Effect<unknown, never, Scope.Scope>
  ) =>
    Effect.flatMap(
      events,
      (queue) => Effect.forkScoped(Effect.interruptible(Effect.forever(Effect.flatMap(Queue.take(queue), handle))))
    )

  yield* hear(upgrader.events, handle)
  yield* Effect.transposeMapOption(
    poolEvents,
    (events) => hear(events, ({ _tag }) => _tag === "Stopped" ? endFinishing : Effect.void)
  )
  // Whoever is built late has missed it.
  const { state } = yield* upgrader.status
  if (state === "serving" && !isReady) {
    isReady = true
    if (isAlone) yield* becomeReady
  }
})
