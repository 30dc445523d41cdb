/**
 * A process of a pool: an ordinary upgrader whose end is decided by its pool.
 *
 * @internal
 */
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import { Fds } from "../../Fds.ts"
import type { BuildError } from "../../TableflipError.ts"
import { ListenError } from "../../TableflipError.ts"
import { Upgrader } from "../../Upgrader.ts"
import { WorkerInfo } from "../../WorkerInfo.ts"
import * as sender from "../handOver/sender.ts"
import { make as makeSides } from "../handOver/sides.ts"
import { logWarning } from "../logging.ts"
import { interval } from "../pool/heartbeat.ts"
import * as stopSignals from "../signals.ts"
import type { System } from "../system/env.ts"
import type { ByteReader } from "../system/stream.ts"
import type { Begun } from "../upgrade/begin.ts"
import { make as makeDraining } from "../upgrade/drainAll.ts"
import type { LockOrigin } from "../upgrade/locks.ts"
import type { Registry } from "../upgrade/registry.ts"
import * as fds from "../upgrade/registry.ts"
import * as upgraderRole from "../upgrade/role.ts"
import { assemble } from "../upgrade/upgrader.ts"
import { leaveToOthers } from "../upgrade/upgradeSignals.ts"
import * as control from "../wire/control.ts"
import type { Answer, RecycleReason, Word } from "../wire/control.ts"
import * as fdName from "../wire/fdName.ts"
import * as memory from "./memory.ts"
import type { PoolSettings } from "./options.ts"
import type { Role } from "./role.ts"

/** The older copies of a worker, as one of the streams that end with older generations. */
const olderCopies = (gone: Effect.Effect<void>): ByteReader => ({
  read: Effect.as(gone, Option.none()),
  discard: Effect.void,
  descriptor: Effect.succeedNone
})

/** Two workers cannot both bind what their primary has not bound for them. */
const explain = <A, R>(effect: Effect.Effect<A, ListenError, R>): Effect.Effect<A, ListenError, R> =>
  Effect.mapError(effect, (error) =>
    error.reason === "AddressInUse"
      ? new ListenError({
        ...error,
        detail: `${error.detail}. Name the address in the option listen of Workers.launch, and the workers share it`
      })
      : error)

const withHint = (registry: Registry): Registry => ({
  ...registry,
  service: {
    ...registry.service,
    listen: (server, at, options) => explain(registry.service.listen(server, at, options)),
    listener: (at) => explain(registry.service.listener(at))
  },
  // Two may bind the same address as long as none of them listens (SO_REUSEADDR, socket(7)).
  activate: explain(registry.activate)
})

/** Tells the pool something, as long as there is somebody to hear it; false if there is not. */
const tell = (env: System, { descriptor }: ByteReader, answer: Answer): Effect.Effect<boolean> =>
  Effect.flatMap(
    descriptor,
    Option.match({
      onNone: () => Effect.succeed(false),
      onSome: (number) => Effect.as(env.write(number, control.encode(answer)), true)
    })
  )

/** The pool says whose turn it is. */
const lockOrigin = (say: (answer: Answer) => Effect.Effect<unknown>) => {
  const waiting = new Map<number, Deferred.Deferred<void>>()
  let freeId = 0
  const origin: LockOrigin = {
    hold: (name, use) =>
      Effect.acquireUseRelease(
        Effect.gen(function*() {
          const id = freeId++
          const turn = yield* Deferred.make<void>()
          waiting.set(id, turn)
          yield* say(control.Answer.Lock({ id, name }))
          return { id, turn }
        }),
        ({ turn }) => Effect.zipRight(Deferred.await(turn), use),
        ({ id }) => {
          waiting.delete(id)
          return say(control.Answer.Unlock({ id }))
        }
      )
  }
  const locked = (id: number) => {
    const turn = waiting.get(id)
    return turn === undefined ? Effect.void : Effect.asVoid(Deferred.succeed(turn, void 0))
  }
  return { origin, locked }
}

/** Shows that the event loop turns, for as long as there is somebody to hear it. */
const beat = (env: System, reader: ByteReader, timeout: Duration.Duration): Effect.Effect<unknown> =>
  env.debugged.pipe(
    Effect.flatMap((debugged) => tell(env, reader, control.Answer.Heartbeat({ debugged }))),
    Effect.zipLeft(Effect.sleep(interval(timeout))),
    Effect.repeat({ while: (isOpen) => isOpen })
  )

export const make: (
  begun: Begun,
  reader: ByteReader,
  role: Role,
  settings: PoolSettings & { readonly serves: boolean }
) => Effect.Effect<Context.Context<Upgrader | Fds | WorkerInfo>, BuildError, Scope.Scope> = Effect.fnUntraced(
  function*({ ancestry, env, settings }, reader, role, pool) {
    const draining = makeDraining(env, settings)
    const sides = settings.handOver ? Option.map(ancestry.channel, makeSides) : Option.none()
    const olderGone = yield* Deferred.make<void>()
    const isReady = yield* Deferred.make<void>()
    let isLast = false
    let unclaimed: ReadonlyArray<string> = []
    let kept: ReadonlyArray<string> = []
    const goesOn = (name: string) => kept.includes(name) || !isLast && !unclaimed.includes(name)
    const registry = yield* fds.make({
      env,
      inherited: ancestry.inherited,
      state: ancestry.state,
      hasParent: true,
      draining,
      keepsPaths: false,
      inheritedIsShared: (name) => goesOn(fdName.toText(name))
    })
    const { locked, origin } = lockOrigin((answer) => tell(env, reader, answer))
    const { fds: service, machine, upgrader } = yield* assemble({
      env,
      settings,
      role: upgraderRole.worker,
      ancestry: {
        ...ancestry,
        lifelines: [olderCopies(Deferred.await(olderGone))],
        notifyReady: Effect.zipLeft(ancestry.notifyReady, Deferred.succeed(isReady, void 0))
      },
      registry: withHint(registry),
      taking: Option.map(sides, ({ taking }) => taking),
      draining,
      lockOrigin: origin
    })

    const signals = yield* stopSignals.listen(env, pool.stopSignals)
    let told = Option.none<NodeJS.Signals>()
    yield* signals.first.pipe(Effect.zipRight(machine.stop), Effect.interruptible, Effect.forkScoped)
    yield* Effect.forEach(pool.upgradeSignals, (signal) => leaveToOthers(env, signal))

    let isGiving = false
    const handOver = () => {
      if (isGiving) return
      isGiving = true
      Option.map(sides, ({ giving }) => draining.handOverBy(sender.make(giving, { isRelayed: true, isGreeted: true })))
    }

    const handle = (word: Word): Effect.Effect<void> => {
      switch (word._tag) {
        case "OlderGone":
          return Effect.asVoid(Deferred.succeed(olderGone, void 0))
        case "Locked":
          return locked(word.id)
        case "Replaced":
          unclaimed = word.unclaimed ?? []
          if (word.takes === true) handOver()
          return machine.replaced({ generation: word.generation, pid: word.pid })
        case "Stopped":
          told = Option.some(word.signal)
          isLast = word.isLast === true
          kept = word.kept ?? []
          if (word.takes === true) handOver()
          return machine.stop
      }
    }
    yield* control.forEach(reader, handle).pipe(Effect.interruptible, Effect.forkScoped)

    yield* Effect.transposeMapOption(
      pool.heartbeat,
      (timeout) => Effect.forkScoped(Effect.interruptible(beat(env, reader, timeout)))
    )

    const recycle = (reason: RecycleReason) =>
      pool.serves ? Effect.asVoid(tell(env, reader, control.Answer.Recycle({ reason }))) : Effect.void
    yield* Effect.transposeMapOption(
      pool.serves ? pool.memoryLimit : Option.none(),
      (limit) =>
        memory.watch(limit, {
          resident: env.residentMemory,
          ready: Deferred.await(isReady),
          ask: recycle("Memory")
        }).pipe(Effect.interruptible, Effect.forkScoped)
    )

    const primaryGone = Effect.forEach(
      ancestry.lifelines.slice(0, 1),
      ({ read }) => Effect.repeat(read, { until: Option.isNone })
    )
    yield* primaryGone.pipe(
      Effect.zipRight(logWarning("The primary of this pool is gone; finishing")),
      Effect.zipRight(machine.stop),
      Effect.interruptible,
      Effect.forkScoped
    )

    // Every process of a pool has inherited; what an app asks is whether there was an older copy of it.
    return Context.make(Upgrader, { ...upgrader, hasParent: role.generation > 1 }).pipe(
      Context.add(Fds, service),
      Context.add(WorkerInfo, {
        ...role,
        stopSignal: Effect.map(signals.seen, (seen) => Option.orElse(told, () => seen)),
        recycle: recycle("Asked")
      })
    )
  }
)
