/**
 * A supervisor as the main thing of its process: what signals do.
 *
 * @internal
 */
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import * as ExitStatus from "../../ExitStatus.ts"
import type { PoolError, ProcessStartError } from "../../PoolError.ts"
import type { PoolEvent } from "../../PoolEvent.ts"
import type { Supervisor } from "../../Supervisor.ts"
import { logDebug, logInfo, logWarning } from "../logging.ts"
import { samePress } from "../signals.ts"
import { Env } from "../system/env.ts"
import * as serviceManager from "../systemd/serviceManager.ts"
import * as terminal from "../terminal.ts"
import * as reloads from "./reloads.ts"

/** What a terminal sends, too, to everybody in its foreground. */
const fromTerminal: ReadonlyArray<NodeJS.Signals> = ["SIGQUIT", "SIGWINCH"]

/** Whatever else a program may want to be told by. Node would answer SIGUSR1 by opening its debugger. */
const passedOn: ReadonlyArray<NodeJS.Signals> = [...fromTerminal, "SIGUSR1", "SIGUSR2"]

/** These stop a background process that uses the terminal, which must stay so where there is one. */
const withoutTerminal: ReadonlyArray<NodeJS.Signals> = ["SIGTTIN", "SIGTTOU"]

const hasStopped = (error: reloads.Failure) => error._tag === "ReplaceError" && error.stopped !== undefined

const after = (error: reloads.Failure) =>
  `${hasStopped(error) ? "Starting again" : "Serving"}; the last reload failed: ${error.message}`

const stopping = "Stopping: the command finishes what it serves"

const forEachDelivery = Effect.fnUntraced(function*(
  signal: NodeJS.Signals,
  handle: Effect.Effect<unknown>
) {
  const env = yield* Env
  const deliveries = yield* env.signals(signal)
  yield* Queue.take(deliveries).pipe(
    Effect.zipRight(handle),
    Effect.forever,
    Effect.interruptible,
    Effect.forkScoped
  )
})

export const launch = (
  supervisor: Supervisor["Type"],
  { leaveRunning = supervisor.leaveRunning }: { readonly leaveRunning?: boolean | undefined }
): Effect.Effect<ExitStatus.ExitStatus, ProcessStartError | PoolError, Env> =>
  Effect.gen(function*() {
    const env = yield* Env
    const scope = yield* Effect.scope
    const end = yield* Deferred.make<ExitStatus.ExitStatus, ProcessStartError | PoolError>()
    const inForeground = Effect.map(env.terminalOf(env.pid), (terminal) => terminal === "foreground")
    const hadTerminal = (yield* env.terminalOf(env.pid)) !== "none"
    const { hasHungUp } = yield* terminal.watch(env)
    const manager = yield* serviceManager.make(env, { socket: supervisor.notifySocket, isSuccessor: false })
    let stoppedAt: number | undefined

    const leave = logWarning("Leaving the command running").pipe(
      Effect.zipRight(supervisor.leave),
      Effect.as(ExitStatus.Exited({ code: 0 }))
    )

    // Which comes to its end by itself: what does not is killed.
    const stop = (byTerminal: boolean) =>
      leaveRunning
        ? leave
        : serviceManager.extendDuring(manager, Effect.succeed(stopping), supervisor.stop({ byTerminal }))

    const onStop = (signal: NodeJS.Signals) =>
      Effect.gen(function*() {
        const now = performance.now()
        const byTerminal = signal === "SIGINT" && (yield* inForeground)
        if (stoppedAt === undefined) {
          stoppedAt = now
          yield* logInfo(`${signal}: stopping`)
          // It need not know before the command does, but must not learn it too late.
          const told = Effect.timeoutOption(Effect.interruptible(manager.stopping(stopping)), "1 second")
          const stopped = Effect.map(Effect.all([stop(byTerminal), told], { concurrency: 2 }), ([status]) => status)
          yield* Effect.forkIn(Effect.intoDeferred(stopped, end), scope)
          // What is left running is nobody's to kill.
        } else if (!leaveRunning && (signal !== "SIGINT" || now - stoppedAt >= Duration.toMillis(samePress))) {
          yield* logWarning(`${signal} again: what has not ended gets SIGKILL`)
          yield* supervisor.hasten
        }
      })

    const reloadAtChange = Effect.gen(function*() {
      const changed = yield* supervisor.changed
      if (stoppedAt !== undefined) return
      yield* logInfo(`Changed: ${changed.join(", ")}; reloading`)
      yield* Effect.catchAll(
        supervisor.reload,
        (error) => error._tag === "TerminatingError" ? Effect.void : reloads.logFailed(error)
      )
    })

    // How many reloads a signal has asked for that are going on: they are told of from the signal on.
    let signalled = 0

    const onReload = Effect.gen(function*() {
      if (stoppedAt !== undefined) return
      if (yield* hasHungUp) return yield* onStop("SIGHUP")
      yield* logInfo("SIGHUP: reloading")
      signalled++
      yield* Effect.forkIn(manager.reloading("Reloading"), scope)
      const reload = Effect.matchEffect(supervisor.reload, {
        onSuccess: () => Effect.succeed("Serving"),
        onFailure: (error) =>
          Effect.as(
            error._tag === "TerminatingError"
              ? Effect.void
              : reloads.logFailed(error),
            after(error)
          )
      })
      yield* Effect.forkIn(
        Effect.flatMap(reload, (words) => {
          signalled--
          return stoppedAt === undefined ? manager.ready(words) : Effect.void
        }),
        scope
      )
    })

    // Of one that was asked for by other means, such as a control socket, what happens tells.
    let newest = 1
    let isLacking = false
    const onEvent = (event: PoolEvent): Effect.Effect<void> => {
      const isNew = event._tag === "Started" && event.generation > newest
      if (isNew) newest = event.generation
      // A new process has come up at last, where the old one had been stopped first.
      const isBack = isLacking && event._tag === "Ready"
      if (isBack) isLacking = false
      if (event._tag === "ReplaceFailed") isLacking = hasStopped(event.error)
      if (signalled > 0 || stoppedAt !== undefined) return Effect.void
      if (isBack) return manager.ready("Serving")
      if (isNew) return manager.reloading("Reloading")
      if (event._tag === "Replaced") return manager.ready("Serving")
      return event._tag === "ReplaceFailed" ? manager.ready(after(event.error)) : Effect.void
    }

    const passOn = (signal: NodeJS.Signals) =>
      Effect.gen(function*() {
        if (fromTerminal.includes(signal) && (yield* inForeground)) {
          return
        }
        yield* logDebug(`${signal}: passing it on`)
        yield* supervisor.signal(signal)
      })

    yield* Effect.forkScoped(Effect.interruptible(manager.keepWatchdog))
    const events = yield* supervisor.events
    yield* Queue.take(events).pipe(
      Effect.flatMap(onEvent),
      Effect.forever,
      Effect.interruptible,
      Effect.forkScoped
    )
    yield* forEachDelivery("SIGHUP", onReload)
    yield* forEachDelivery("SIGTERM", onStop("SIGTERM"))
    yield* forEachDelivery("SIGINT", onStop("SIGINT"))
    const more = hadTerminal ? [] : withoutTerminal
    yield* Effect.forEach([...passedOn, ...more], (signal) => forEachDelivery(signal, passOn(signal)))

    yield* reloadAtChange.pipe(Effect.forever, Effect.interruptible, Effect.forkScoped)

    const untilEnd = Effect.zipRight(Effect.zipRight(supervisor.start, manager.ready("Serving")), supervisor.exit).pipe(
      // Whoever stops it knows how it ends.
      Effect.catchTag("TerminatingError", () => Effect.never)
    )
    yield* Effect.forkScoped(Effect.flatMap(
      Effect.exit(untilEnd),
      (exit) =>
        stoppedAt === undefined
          // Other copies of it may be there.
          ? Effect.zipRight(supervisor.stop(), Deferred.done(end, exit))
          : Effect.void
    ))
    return yield* Deferred.await(end)
  }).pipe(Effect.scoped)
