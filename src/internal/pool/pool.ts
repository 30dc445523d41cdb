/**
 * A pool of processes: all of them come up or none, one that ends is started again, all are replaced with no gap, and
 * none is left at the end. It knows nothing of what they are or how they are started.
 *
 * Commands (start, replace, resize) take their turns, and `stop` ends the one that is going on. What only changes the
 * books happens in one turn of the event loop, so nothing can come in between.
 *
 * @internal
 */
import * as Arr from "effect/Array"
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as ExecutionStrategy from "effect/ExecutionStrategy"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import type * as Option from "effect/Option"
import type * as Schedule from "effect/Schedule"
import * as Scope from "effect/Scope"
import * as ExitStatus from "../../ExitStatus.ts"
import type { PoolError } from "../../PoolError.ts"
import type { ProcessStartError } from "../../PoolError.ts"
import { ProcessEndedError, ReplaceError, RestartsExhaustedError } from "../../PoolError.ts"
import { PoolEvent } from "../../PoolEvent.ts"
import { NotReadyError, TerminatingError } from "../../TableflipError.ts"
import { logError, logWarning } from "../logging.ts"
import { driver, monotonicMillis } from "../seam.ts"
import type { Retirement } from "../wire/control.ts"
import { Word } from "../wire/control.ts"
import type { MemberOptions, Running, Slot, SlotSpec, SlotState } from "./member.ts"
import { describe, launch, retire } from "./member.ts"
import { hasFailed, hasMadeRoom, isStartedAgain, noneHasEnded, statusOf } from "./policy.ts"
import type { ProcessStatus } from "./status.ts"
import { ofRetired, ofSlot } from "./status.ts"

export interface PoolOptions {
  readonly size: number
  readonly worker: (index: number) => SlotSpec
  readonly others: ReadonlyArray<SlotSpec>
  /** The generation of the first processes. */
  readonly generation: number
  /** How many processes are replaced at a time. */
  readonly atOnce: number
  readonly restart: Schedule.Schedule<unknown, ExitStatus.ExitStatus>
  /** A process that has lived this long begins the schedule anew. */
  readonly healthyAfter: Duration.Duration
  readonly readyTimeout: Duration.Duration
  readonly stopTimeout: Duration.Duration
  /** How long a process has after the pool is hastened. */
  readonly grace: Duration.Duration
  /** For how long a process that serves may say nothing; none for ever. */
  readonly heartbeat: Option.Option<Duration.Duration>
  /** Completes when no older pool is left. */
  readonly olderGone: Effect.Effect<void>
  readonly publish: (event: PoolEvent) => Effect.Effect<void>
}

export interface Pool {
  /** The first start: every process serves, or none is left. */
  readonly start: Effect.Effect<void, ProcessStartError | TerminatingError>
  readonly replace: Effect.Effect<void, NotReadyError | ReplaceError | TerminatingError>
  /** Only the worker with this index, which the caller has checked. */
  readonly replaceWorker: (index: number) => Effect.Effect<void, NotReadyError | ReplaceError | TerminatingError>
  /** The caller has checked that it is a whole number above zero. */
  readonly resize: (size: number) => Effect.Effect<void, NotReadyError | ProcessStartError | TerminatingError>
  readonly size: Effect.Effect<number>
  /** The generation of the newest processes. */
  readonly generation: Effect.Effect<number>
  readonly status: Effect.Effect<ReadonlyArray<ProcessStatus>>
  /** Ends every process. Whoever asks later waits for the same. */
  readonly stop: (why: Retirement) => Effect.Effect<{ readonly killed: number }>
  /** Passes the impatience of whoever stops the pool on to every process, and soon kills what has not ended. */
  readonly hasten: (signal: NodeJS.Signals) => Effect.Effect<void>
  /** Completes when every worker has done its work, and fails when the pool cannot go on. */
  readonly done: Effect.Effect<void, PoolError>
}

const resized: Retirement = Word.Stopped({ signal: "SIGTERM" })

export const make: (options: PoolOptions) => Effect.Effect<Pool, never, Scope.Scope> = Effect.fnUntraced(
  function*(options) {
    const { publish } = options
    const stopped = yield* Deferred.make<{ readonly killed: number }>()
    // Whoever stops the pool later than that has nothing to wait for.
    yield* Effect.addFinalizer(() => Deferred.succeed(stopped, { killed: 0 }))
    // What is started later belongs in here, so that it is not released before what was made after the pool.
    const scope = yield* Scope.fork(yield* Effect.scope, ExecutionStrategy.sequential)
    const hastened = yield* Deferred.make<void>()
    const member: MemberOptions = { ...options, scope, hastened: Deferred.await(hastened) }
    const turn = yield* Effect.makeSemaphore(1)
    const done = yield* Deferred.make<void, PoolError>()
    const stopping = yield* Deferred.make<void>()
    /** Those that were told to finish and have not ended, with what tells whether they had to be killed. */
    const retiring = new Map<Running, Fiber.RuntimeFiber<boolean>>()
    let workers: Array<Slot> = []
    let others: Array<Slot> = []
    let generation = options.generation
    let isStarted = false
    let isStopping = false

    const slots = () => [...workers, ...others]

    const makeSlot = Effect.fnUntraced(function*(spec: SlotSpec) {
      const slot: Slot = {
        spec,
        driver: yield* driver(options.restart),
        state: "starting",
        since: yield* Clock.currentTimeMillis,
        restarts: 0,
        current: undefined,
        keeper: undefined
      }
      return slot
    })

    const setState = (slot: Slot, state: SlotState) =>
      Effect.map(Clock.currentTimeMillis, (now) => {
        slot.state = state
        slot.since = now
      })

    const takeSlot = (running: Running) =>
      Effect.suspend(() => {
        running.slot.current = running
        return setState(running.slot, "serving")
      })

    const startRetiring = (running: Running, why: Retirement): Effect.Effect<Fiber.RuntimeFiber<boolean>> =>
      Effect.flatMap(Clock.currentTimeMillis, (now) => {
        const begun = retiring.get(running)
        if (begun !== undefined) return Effect.succeed(begun)
        running.retiredAt = now
        if (running.slot.current === running) running.slot.current = undefined
        return retire(member, running, why).pipe(
          Effect.ensuring(Effect.sync(() => retiring.delete(running))),
          Effect.interruptible,
          Effect.forkIn(scope),
          Effect.tap((fiber) => Effect.sync(() => retiring.set(running, fiber)))
        )
      })

    const retireAll = (all: ReadonlyArray<Running>, why: Retirement) =>
      Effect.flatMap(Effect.forEach(all, (running) => startRetiring(running, why)), Fiber.joinAll)

    const stopKeeping = (slot: Slot): Effect.Effect<void> =>
      slot.keeper === undefined ? Effect.void : Effect.asVoid(Fiber.interrupt(slot.keeper))

    const retireCurrent = (all: ReadonlyArray<Slot>, why: Retirement) =>
      Effect.suspend(() =>
        Effect.forEach(all.flatMap(({ current }) => current ?? []), (running) => startRetiring(running, why))
      )

    /** Nothing comes up in these slots any more, and what is in one has been told to finish. */
    const vacate = Effect.fnUntraced(function*(all: ReadonlyArray<Slot>, why: Retirement) {
      const before = yield* retireCurrent(all, why)
      yield* Effect.forEach(all, stopKeeping, { concurrency: "unbounded", discard: true })
      return [...before, ...yield* retireCurrent(all, why)]
    })

    const onExit = (running: Running, status: ExitStatus.ExitStatus): Effect.Effect<void> =>
      Effect.gen(function*() {
        const { slot } = running
        // One that has no place yet is noticed by whoever was about to give it one.
        if (running.retiredAt !== undefined || isStopping || slot.current !== running) return
        slot.current = undefined
        if (isStartedAgain(slot.spec, status)) {
          const lived = Duration.millis((yield* monotonicMillis) - running.begunAt)
          if (hasMadeRoom(slot.spec, status, lived)) return yield* keepUp(slot, status, "at once")
          yield* logWarning(
            `The ${describe(slot.spec)} (process ${running.member.pid}) ${
              ExitStatus.describe(status)
            }; starting it again`
          )
          if (Duration.greaterThanOrEqualTo(lived, options.healthyAfter)) yield* slot.driver.reset
          return yield* keepUp(slot, status, "by schedule")
        }
        const failed = hasFailed(status)
        yield* giveUp(slot, failed ? new ProcessEndedError({ process: describe(slot.spec), status }) : undefined)
        const left = workers.filter(({ state }) => state !== "done").length
        if (slot.spec.revives !== true || failed || left === 0) return
        yield* logWarning(
          `The ${describe(slot.spec)} (process ${running.member.pid}) ${
            ExitStatus.describe(status)
          } and is not started again; ${left} process(es) go on`
        )
      })

    /** Nothing is started in this slot any more. */
    const giveUp = (slot: Slot, error: PoolError | undefined) =>
      Effect.gen(function*() {
        yield* setState(slot, "done")
        if (error !== undefined && slot.spec.fatal) {
          yield* Deferred.fail(done, error)
        } else {
          if (error !== undefined) yield* logError(error.message)
          if (workers.every(({ state }) => state === "done")) yield* Deferred.succeed(done, void 0)
        }
      })

    /** Starts the process of a slot again, as often as the schedule allows. */
    const keepUp = (
      slot: Slot,
      status: ExitStatus.ExitStatus,
      first: "at once" | "by schedule"
    ): Effect.Effect<void> => {
      const launchAgain = Effect.suspend(() => {
        slot.restarts += 1
        return Effect.catchAll(
          launchInto(slot, { generation, predecessor: Effect.void, onReady: takeSlot }),
          (error) =>
            logWarning(error.message).pipe(
              Effect.zipRight(publish(PoolEvent.StartFailed({ ...slot.spec, error }))),
              Effect.zipRight(again(statusOf(error)))
            )
        )
      })
      const again = (last: ExitStatus.ExitStatus): Effect.Effect<void> =>
        Effect.matchEffect(slot.driver.next(last), {
          onFailure: () =>
            giveUp(
              slot,
              new RestartsExhaustedError({ process: describe(slot.spec), restarts: slot.restarts, status: last })
            ),
          onSuccess: () => launchAgain
        })
      return setState(slot, "restarting").pipe(
        Effect.zipRight(Effect.forkIn(Effect.interruptible(first === "at once" ? launchAgain : again(status)), scope)),
        Effect.map((keeper) => {
          slot.keeper = keeper
        })
      )
    }

    const launchInto = (slot: Slot, { generation, onReady, predecessor }: {
      readonly generation: number
      readonly predecessor: Effect.Effect<unknown>
      readonly onReady: (running: Running) => Effect.Effect<void>
    }) =>
      launch(member, {
        slot,
        size: workers.length,
        generation,
        olderGone: Effect.zipRight(predecessor, options.olderGone),
        onReady,
        onExit
      })

    /**
     * Starts a process in each of these slots and gives it the place of the old one; completes with what waits for the
     * end of the old ones. If one does not come up, the others are told to finish and the old ones stay.
     */
    const launchAll = (all: ReadonlyArray<Slot>, generation: number, onSuccess: () => void) =>
      Effect.uninterruptibleMask((restore) => {
        const fresh: Array<Running> = []
        const onReady = (running: Running) => Effect.sync(() => void fresh.push(running))
        return restore(
          Effect.forEach(
            all,
            (slot) => launchInto(slot, { generation, predecessor: slot.current?.member.exit ?? Effect.void, onReady }),
            {
              concurrency: "unbounded",
              discard: true
            }
          )
        ).pipe(
          Effect.zipRight(Effect.suspend(() => noneHasEnded(fresh))),
          Effect.onExit((exit) => Exit.isFailure(exit) ? retireAll(fresh, resized) : Effect.void),
          Effect.tap(() => Effect.sync(onSuccess)),
          Effect.zipRight(Effect.forEach(fresh, takeOver)),
          Effect.map((fibers) => Effect.asVoid(Fiber.joinAll(fibers.flat())))
        )
      })

    const takeOver = (running: Running) =>
      Effect.gen(function*() {
        const { slot } = running
        yield* stopKeeping(slot)
        const old = slot.current
        yield* takeSlot(running)
        yield* slot.driver.reset
        const successor = { pid: running.member.pid, generation: running.generation }
        const fibers = old === undefined ? [] : [yield* startRetiring(old, Word.Replaced(successor))]
        if (running.status !== undefined) yield* onExit(running, running.status)
        return fibers
      })

    /** Whoever asked may be interrupted; what has been begun goes on. */
    const command = <A, E>(effect: Effect.Effect<A, E>): Effect.Effect<A, E | TerminatingError> =>
      unlessStopping(
        turn.withPermits(1)(unlessStopping(Effect.raceFirst(
          effect,
          Effect.zipRight(Deferred.await(stopping), Effect.fail(new TerminatingError()))
        ))).pipe(Effect.interruptible, Effect.forkIn(scope), Effect.flatMap(Fiber.join))
      )

    const unlessStopping = <A, E>(effect: Effect.Effect<A, E>): Effect.Effect<A, E | TerminatingError> =>
      Effect.suspend((): Effect.Effect<A, E | TerminatingError> =>
        isStopping ? Effect.fail(new TerminatingError()) : effect
      )

    const whenStarted = <A, E>(effect: Effect.Effect<A, E>): Effect.Effect<A, E | NotReadyError | TerminatingError> =>
      unlessStopping(
        Effect.suspend((): Effect.Effect<A, E | NotReadyError | TerminatingError> =>
          isStarted ? command(effect) : Effect.fail(new NotReadyError())
        )
      )

    const start = Effect.gen(function*() {
      workers = yield* Effect.forEach(Arr.makeBy(options.size, options.worker), makeSlot)
      others = yield* Effect.forEach(options.others, makeSlot)
      yield* Effect.asVoid(launchAll(slots(), generation, () => {
        isStarted = true
      }))
    })

    const replaceSlots = Effect.fnUntraced(function*(all: ReadonlyArray<Slot>) {
      const next = generation + 1
      let replaced = 0
      for (const batch of Arr.chunksOf(all, options.atOnce)) {
        const succeeded = () => {
          generation = next
          replaced += batch.length
        }
        const oldOnesEnded = yield* Effect.mapError(
          launchAll(batch, next, succeeded),
          (cause) => new ReplaceError({ replaced, kept: all.length - replaced, cause })
        ).pipe(Effect.tapError((error) => publish(PoolEvent.ReplaceFailed({ generation: next, error }))))
        yield* oldOnesEnded
      }
      return next
    })

    const replace = Effect.suspend(() =>
      replaceSlots(slots().filter(({ spec, state }) => state !== "done" || spec.revives === true))
    ).pipe(
      Effect.flatMap((generation) => publish(PoolEvent.Replaced({ generation })))
    )

    const resize = Effect.fnUntraced(function*(size: number) {
      const from = workers.length
      if (size > from) {
        const added = yield* Effect.forEach(Arr.makeBy(size - from, (n) => options.worker(from + n)), makeSlot)
        yield* Effect.asVoid(launchAll(added, generation, () => void workers.push(...added)))
      } else {
        const removed = Effect.suspend(() => vacate(workers.splice(size), resized))
        yield* Effect.flatMap(Effect.uninterruptible(removed), Fiber.joinAll)
      }
      if (size !== from) yield* publish(PoolEvent.Resized({ from, to: size }))
    })

    const stopAll = Effect.fnUntraced(function*(why: Retirement) {
      yield* Deferred.succeed(stopping, void 0)
      const before = yield* vacate(slots(), why)
      // The command that was going on has undone what it had begun, or given what came up its place.
      yield* turn.withPermits(1)(Effect.void)
      const after = yield* retireCurrent(slots(), why)
      const killed = yield* Fiber.joinAll(new Set([...before, ...after, ...retiring.values()]))
      const report = { killed: killed.filter(Boolean).length }
      yield* publish(PoolEvent.Stopped(report))
      return report
    })

    // Nothing that is going on may start a process in a scope that is closing.
    yield* Effect.addFinalizer(() =>
      Effect.suspend(() => {
        isStopping = true
        return Deferred.succeed(stopping, void 0)
      }).pipe(
        Effect.zipRight(turn.withPermits(1)(Effect.void)),
        Effect.zipRight(Effect.suspend(() => Effect.forEach(slots(), stopKeeping, { discard: true })))
      )
    )

    const all = () => [...slots().flatMap(({ current }) => current ?? []), ...retiring.keys()]

    return {
      start: command(start),
      replace: whenStarted(replace),
      replaceWorker: (index) =>
        whenStarted(Effect.suspend(() => Effect.asVoid(replaceSlots(workers.slice(index, index + 1))))),
      resize: (size) => whenStarted(resize(size)),
      size: Effect.sync(() => workers.length),
      generation: Effect.sync(() => generation),
      status: Effect.sync(() => [
        ...slots().map((slot) => ofSlot(slot, generation)),
        ...[...retiring.keys()].map(ofRetired)
      ]),
      stop: (why) =>
        Effect.suspend(() => {
          if (isStopping) return Deferred.await(stopped)
          isStopping = true
          return Effect.tap(stopAll(why), (report) => Deferred.succeed(stopped, report))
        }).pipe(Effect.uninterruptible),
      hasten: (signal) =>
        Effect.forEach(all(), (running) => running.member.signal(signal), { discard: true }).pipe(
          Effect.zipRight(Deferred.succeed(hastened, void 0)),
          Effect.asVoid
        ),
      done: Deferred.await(done)
    }
  }
)
