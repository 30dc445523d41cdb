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
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as ExecutionStrategy from "effect/ExecutionStrategy"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import type { PoolError, ProcessStartError, ReplaceError } from "../../PoolError.ts"
import { PoolEvent } from "../../PoolEvent.ts"
import { NotReadyError, TerminatingError } from "../../TableflipError.ts"
import type { Line } from "../handOver/line.ts"
import { restAll } from "../handOver/relay.ts"
import { within } from "../span.ts"
import * as keeping from "./keeper.ts"
import type { MemberOptions } from "./member.ts"
import type { PoolOptions } from "./options.ts"
import * as recycling from "./recycling.ts"
import * as replacing from "./replacement.ts"
import * as retirement from "./retiring.ts"
import * as rosters from "./roster.ts"
import type { Slot, SlotSpec } from "./slot.ts"
import * as slot from "./slot.ts"
import type { ProcessStatus } from "./status.ts"
import { ofRetired, ofSlot } from "./status.ts"

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
  readonly stop: (why: retirement.Why) => Effect.Effect<{ readonly killed: number }>
  /** Passes the impatience of whoever stops the pool on to every process, and soon kills what has not ended. */
  readonly hasten: (signal: NodeJS.Signals) => Effect.Effect<void>
  /** On which connections go to the workers that serve. */
  readonly lines: () => ReadonlyArray<Line>
  /** No process gives its connections to another any more. Calls back when none is on its way. */
  readonly rest: (done: () => void) => void
  /** Completes when every worker has done its work, and fails when the pool cannot go on. */
  readonly done: Effect.Effect<void, PoolError>
}

export const make: (options: PoolOptions) => Effect.Effect<Pool, never, Scope.Scope> = Effect.fnUntraced(
  function*(options) {
    const { publish } = options
    const stopped = yield* Deferred.make<{ readonly killed: number }>()
    // Whoever stops the pool later than that has nothing to wait for.
    yield* Effect.addFinalizer(() => Deferred.succeed(stopped, { killed: 0 }))
    // What is started later belongs in here, so that it is not released before what was made after the pool.
    const scope = yield* Scope.fork(yield* Effect.scope, ExecutionStrategy.sequential)
    const hastened = yield* Deferred.make<void>()
    const stopping = yield* Deferred.make<void>()
    const turn = yield* Effect.makeSemaphore(1)
    const member: MemberOptions = {
      ...options,
      scope,
      hastened: Deferred.await(hastened),
      recycle: (running, reason) => recycle(running, reason)
    }
    const roster = yield* rosters.make(options.generation)
    const retiring = retirement.make(member)
    const keeper = keeping.make(options, member, roster)
    const { launchAll, replaceSlots } = replacing.make(options, roster, keeper, retiring)

    const slots = () => rosters.slots(roster)
    const makeSlot = (spec: SlotSpec) => slot.make(spec, options.restart)

    const unlessStopping = <A, E>(effect: Effect.Effect<A, E>): Effect.Effect<A, E | TerminatingError> =>
      Effect.suspend((): Effect.Effect<A, E | TerminatingError> =>
        roster.phase === "Stopping" ? Effect.fail(new TerminatingError()) : effect
      )

    /** Whoever asked may be interrupted; what has been begun goes on. */
    const command = <A, E>(effect: Effect.Effect<A, E>): Effect.Effect<A, E | TerminatingError> =>
      Effect.raceFirst(effect, Effect.zipRight(Deferred.await(stopping), Effect.fail(new TerminatingError()))).pipe(
        unlessStopping,
        turn.withPermits(1),
        Effect.interruptible,
        Effect.forkIn(scope),
        Effect.flatMap(Fiber.join),
        // Nothing can be forked in a scope that is closed.
        unlessStopping
      )

    const whenStarted = <A, E>(effect: Effect.Effect<A, E>): Effect.Effect<A, E | NotReadyError | TerminatingError> =>
      Effect.suspend((): Effect.Effect<A, E | NotReadyError | TerminatingError> =>
        roster.phase === "New" ? Effect.fail(new NotReadyError()) : command(effect)
      )

    const recycle = recycling.make(options, roster, launchAll, command)

    const start = Effect.gen(function*() {
      roster.workers = yield* Effect.forEach(Arr.makeBy(options.size, options.worker), makeSlot)
      roster.others = yield* Effect.forEach(options.others, makeSlot)
      yield* Effect.asVoid(launchAll(slots(), roster.generation, () => {
        if (roster.phase === "New") roster.phase = "Started"
      }))
    })

    const replaceTraced = (among: () => ReadonlyArray<Slot>) =>
      Effect.suspend(() => {
        const all = among()
        const attributes = { "tableflip.generation": roster.generation + 1, "tableflip.pool.processes": all.length }
        return within("tableflip.pool.replace", { attributes }, () => replaceSlots(all))
      })

    const replace = Effect.flatMap(
      replaceTraced(() => slots().filter((one) => !slot.isDone(one) || one.spec.revives === true)),
      (generation) => publish(PoolEvent.Replaced({ generation }))
    )

    const resize = (size: number) =>
      Effect.suspend(() => {
        const attributes = { "tableflip.pool.from": roster.workers.length, "tableflip.pool.to": size }
        return within("tableflip.pool.resize", { attributes }, () => resizeTo(size))
      })

    const resizeTo = Effect.fnUntraced(function*(size: number) {
      const from = roster.workers.length
      if (size > from) {
        const added = yield* Effect.forEach(Arr.makeBy(size - from, (n) => options.worker(from + n)), makeSlot)
        yield* Effect.asVoid(launchAll(added, roster.generation, () => void roster.workers.push(...added)))
      } else {
        const removed = Effect.suspend(() => retiring.vacate(roster.workers.splice(size), replacing.fewer(roster)))
        yield* Effect.flatMap(Effect.uninterruptible(removed), Fiber.joinAll)
        yield* rosters.endIfDone(roster)
      }
      if (size !== from) yield* publish(PoolEvent.Resized({ from, to: size }))
    })

    const stopAll = Effect.fnUntraced(function*(why: retirement.Why) {
      yield* Deferred.succeed(stopping, void 0)
      const before = yield* retiring.vacate(slots(), why)
      // The command that was going on has undone what it had begun, or given what came up its place.
      yield* turn.withPermits(1)(Effect.void)
      const after = yield* retiring.retireCurrent(slots(), why)
      const killed = yield* Fiber.joinAll(new Set([...before, ...after, ...retiring.all.values()]))
      const report = { killed: killed.filter(Boolean).length }
      yield* publish(PoolEvent.Stopped(report))
      return report
    })

    // Nothing that is going on may start a process in a scope that is closing.
    yield* Effect.addFinalizer(() =>
      Effect.suspend(() => {
        roster.phase = "Stopping"
        return Deferred.succeed(stopping, void 0)
      }).pipe(
        Effect.zipRight(turn.withPermits(1)(Effect.void)),
        Effect.zipRight(Effect.suspend(() => Effect.forEach(slots(), slot.stopKeeping, { discard: true })))
      )
    )

    const everyProcess = () => [...slots().flatMap((one) => slot.current(one) ?? []), ...retiring.all.keys()]

    return {
      start: command(start),
      replace: whenStarted(replace),
      replaceWorker: (index) => whenStarted(Effect.asVoid(replaceTraced(() => roster.workers.slice(index, index + 1)))),
      resize: (size) => whenStarted(resize(size)),
      size: Effect.sync(() => roster.workers.length),
      generation: Effect.sync(() => roster.generation),
      status: Effect.sync(() => [
        ...slots().map((one) => ofSlot(one, roster.generation)),
        ...[...retiring.all.keys()].filter(({ status }) => status === undefined).map(ofRetired)
      ]),
      stop: (why) =>
        Effect.suspend(() => {
          if (roster.phase === "Stopping") return Deferred.await(stopped)
          roster.phase = "Stopping"
          return Effect.tap(stopAll(why), (report) => Deferred.succeed(stopped, report))
        }).pipe(Effect.uninterruptible),
      hasten: (signal) =>
        Effect.forEach(everyProcess(), (running) => running.member.signal(signal), { discard: true }).pipe(
          Effect.zipRight(Deferred.succeed(hastened, void 0)),
          Effect.asVoid
        ),
      rest: (done) => restAll(everyProcess().flatMap(({ member }) => member.line ?? []), done),
      lines: () => roster.workers.flatMap((one) => slot.current(one)?.member.line ?? []),
      done: Deferred.await(roster.done)
    }
  }
)
