/**
 * The processes that a supervisor has started and that live, and how the last one ended.
 *
 * @internal
 */
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as ExecutionStrategy from "effect/ExecutionStrategy"
import * as FiberId from "effect/FiberId"
import * as Scope from "effect/Scope"
import type { ChildProcess } from "../../ChildProcess.ts"
import * as ExitStatus from "../../ExitStatus.ts"
import { logError, logWarning } from "../logging.ts"

export interface Family {
  readonly add: (child: ChildProcess, generation: number) => Effect.Effect<void>
  /** Completes when it and all that was left of it have ended. */
  readonly gone: (child: ChildProcess) => Effect.Effect<void>
  /** Ends all at once, and what is left of those that have ended. */
  readonly kill: Effect.Effect<void>
  readonly all: () => ReadonlyArray<ChildProcess>
  /** Whether one of them has spoken this library's protocol, so that the next is expected to say there that it is ready. */
  readonly hasSpoken: () => boolean
  /** Whether they speak it, and none has ever said so. */
  readonly isUnready: () => boolean
  readonly withPids: (pids: ReadonlyArray<number>) => ReadonlyArray<ChildProcess>
  /** How the one that ended last has ended. */
  readonly lastStatus: () => ExitStatus.ExitStatus
  /** Completes when nothing is left of what has ended, and the last of its output is through. */
  readonly flush: Effect.Effect<void>
}

/** How long the last of the output may take after the end of its process where others go on writing to it. */
const outputDelay = Duration.seconds(30)

/** How often what is left of a process is looked at. */
const interval = Duration.millis(50)

/** What has been killed ends in a moment, unless the kernel cannot end it (it waits for a broken disk, say). */
const killDelay = Duration.seconds(10)

const describe = (pids: ReadonlyArray<number>) =>
  pids.length === 1 ? `process ${pids[0]}` : `processes ${pids.join(", ")}`

export interface FamilyOptions {
  readonly stopSignal: NodeJS.Signals
  readonly stopTimeout: Duration.Duration
}

/** Ends what a process that has ended has left behind: it would go on serving the release that it belongs to. */
const sweep = Effect.fnUntraced(
  function*(child: ChildProcess, generation: number, isKilled: () => boolean, options: FamilyOptions) {
    const left = yield* child.signalLeft(isKilled() ? "SIGKILL" : options.stopSignal)
    if (left.length === 0) return
    const untilGone = (duration: Duration.Duration, until: () => boolean) =>
      child.signalLeft(0).pipe(
        Effect.tap(() => Effect.sleep(interval)),
        Effect.repeat({ while: (pids) => pids.length > 0 && !until() }),
        Effect.timeoutOption(duration)
      )
    if (isKilled()) {
      yield* untilGone(killDelay, () => false)
    } else {
      yield* logWarning(
        `Process ${child.pid} of generation ${generation} has ended and left ${describe(left)}, told to stop with ` +
          options.stopSignal
      )
      yield* untilGone(options.stopTimeout, isKilled)
    }
    const late = yield* child.signalLeft("SIGKILL")
    if (late.length === 0) return
    yield* logWarning(`What process ${child.pid} has left gets SIGKILL: ${describe(late)}`)
    yield* untilGone(killDelay, () => false)
    const last = yield* child.signalLeft(0)
    if (last.length > 0) yield* logError(`SIGKILL has not ended what was left: ${describe(last)}`)
  }
)

export const make = (options: FamilyOptions): Effect.Effect<Family, never, Scope.Scope> =>
  // Whoever ends them at the end waits for what is told here.
  Effect.map(Effect.flatMap(Effect.scope, (scope) => Scope.fork(scope, ExecutionStrategy.sequential)), (scope) => {
    const live = new Set<ChildProcess>()
    const sweeps = new Map<ChildProcess, Deferred.Deferred<void>>()
    const killed = new Set<ChildProcess>()
    const unflushed = new Set<ChildProcess>()
    let hasSpoken = false
    let hasBeenReady = false
    let lastStatus: ExitStatus.ExitStatus = ExitStatus.Exited({ code: 0 })

    const flush = (child: ChildProcess) =>
      Effect.zipRight(
        Effect.timeoutOption(Effect.interruptible(child.outputEnd), outputDelay),
        Effect.sync(() => void unflushed.delete(child))
      )

    const isKilled = ({ _tag, ...status }: ExitStatus.ExitStatus) => "signal" in status && status.signal === "SIGKILL"

    const gone = (child: ChildProcess) =>
      Effect.suspend(() => {
        const swept = sweeps.get(child)
        return swept === undefined ? Effect.void : Deferred.await(swept)
      })

    const follow = (child: ChildProcess, generation: number) =>
      Effect.gen(function*() {
        const status = yield* child.exit
        live.delete(child)
        lastStatus = status
        if (isKilled(status)) killed.add(child)
        yield* sweep(child, generation, () => killed.has(child), options).pipe(Effect.ensuring(finish(child)))
        yield* flush(child)
      })

    const finish = (child: ChildProcess) =>
      Effect.suspend(() => {
        const swept = sweeps.get(child)
        sweeps.delete(child)
        killed.delete(child)
        return swept === undefined ? Effect.void : Effect.asVoid(Deferred.succeed(swept, void 0))
      })

    const listen = (child: ChildProcess) =>
      Effect.map(Effect.either(child.ready), (word) => {
        hasBeenReady ||= Either.isRight(word)
        hasSpoken ||= hasBeenReady
      })

    const hear = (child: ChildProcess) =>
      Effect.map(child.greeting, () => {
        hasSpoken = true
      })

    return {
      add: (child, generation) => {
        live.add(child)
        unflushed.add(child)
        sweeps.set(child, Deferred.unsafeMake(FiberId.none))
        return Effect.forEach(
          [follow(child, generation), listen(child), hear(child)],
          (watch) => Effect.forkIn(Effect.interruptible(watch), scope),
          { discard: true }
        )
      },
      gone,
      kill: Effect.suspend(() => {
        for (const child of sweeps.keys()) killed.add(child)
        return Effect.forEach(live, (child) => child.signal("SIGKILL"), { discard: true })
      }),
      hasSpoken: () => hasSpoken,
      isUnready: () => hasSpoken && !hasBeenReady,
      all: () => [...live],
      withPids: (pids) => [...live].filter(({ pid }) => pids.includes(pid)),
      lastStatus: () => lastStatus,
      flush: Effect.suspend(() =>
        Effect.forEach(
          [...unflushed].filter((child) => !live.has(child)),
          (child) => Effect.zipRight(Effect.interruptible(gone(child)), flush(child)),
          {
            concurrency: "unbounded",
            discard: true
          }
        )
      )
    }
  })
