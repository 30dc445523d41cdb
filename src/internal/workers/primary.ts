/**
 * The process that has the sockets of a pool and starts its workers. To the upgrader it is a process like any other.
 *
 * @internal
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as ExecutionStrategy from "effect/ExecutionStrategy"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import type { Address, FdName } from "../../Address.ts"
import * as ChildProcess from "../../ChildProcess.ts"
import * as ExitStatus from "../../ExitStatus.ts"
import type { Listener } from "../../Fds.ts"
import { Fds } from "../../Fds.ts"
import type { ProcessStartError } from "../../PoolError.ts"
import type { PoolEvent } from "../../PoolEvent.ts"
import { Upgrader } from "../../Upgrader.ts"
import { ExitReason } from "../../UpgraderEvent.ts"
import type { Options, Process, Workers } from "../../Workers.ts"
import * as relay from "../handOver/relay.ts"
import { logFailure, logInfo, logWarning } from "../logging.ts"
import { statusOf } from "../pool/policy.ts"
import * as pool from "../pool/pool.ts"
import type { Member, SlotSpec } from "../pool/slot.ts"
import * as stopSignals from "../signals.ts"
import type { Channel } from "../system/channel.ts"
import type { System } from "../system/env.ts"
import { Env } from "../system/env.ts"
import { isNode, resolveCommand } from "../upgrade/attempt.ts"
import type { Begun } from "../upgrade/begin.ts"
import * as tlsTickets from "../upgrade/tlsTickets.ts"
import { makeUpgradable } from "../upgrade/upgrader.ts"
import { encode as encodeWord, forEachAnswer, Word } from "../wire/control.ts"
import * as fdName from "../wire/fdName.ts"
import type { State } from "../wire/handOff.ts"
import { primaryVariable } from "../wire/handOff.ts"
import { finish } from "./finish.ts"
import * as mainContext from "./mainContext.ts"
import type { PoolSettings } from "./options.ts"
import * as workerRole from "./role.ts"
import * as workersService from "./service.ts"

interface Shared {
  readonly name: FdName
  readonly listener: Listener
  readonly close: Effect.Effect<void>
}

interface PrimaryOptions {
  /** What the pool is known by to the main layer. */
  readonly tag: typeof Workers
  readonly begun: Begun
  readonly settings: PoolSettings
  readonly options: Options<any, any, any, any>
  /** How workers are restarted, and whether the pool fails with them. */
  readonly worker: Pick<SlotSpec, "restart" | "fatal" | "serves">
  readonly publish: (event: PoolEvent) => Effect.Effect<void>
  readonly events: Workers["Type"]["events"]
}

/** Completes when this process should end, or fails with the reason why the pool cannot go on. */
export const run = Effect.fnUntraced(function*(given: PrimaryOptions) {
  const { begun, settings } = given
  const { ancestry, env } = begun
  let generation = Effect.succeed(workerRole.decodePool(ancestry.state))
  const secrets = yield* ticketSecrets(env, settings.listen, ancestry.state)
  const { fds, keptListeners, locks, relayed, unclaimedBy, upgrader } = yield* makeUpgradable(
    begun,
    Effect.map(Effect.suspend(() => generation), (count) => new Map([...secrets, ...workerRole.encodePool(count)]))
  )
  const toRelay = (channel: Channel) => relay.make(channel, { isRelay: true })
  const older = Option.map(relayed.older, toRelay)
  Option.map(older, ({ greet }) => greet())
  // What the upgrader does for its successor goes on until the workers have ended.
  return yield* Effect.scoped(Effect.gen(function*() {
    const signals = yield* stopSignals.listen(env, settings.stopSignals)
    yield* signals.first.pipe(Effect.zipRight(upgrader.stop), Effect.interruptible, Effect.forkScoped)
    const listening = yield* Scope.make()
    yield* Effect.addFinalizer((exit) => Scope.close(listening, exit))
    const listeners = yield* Effect.forEach(settings.listen, (at) =>
      Effect.gen(function*() {
        const scope = yield* Scope.fork(listening, ExecutionStrategy.sequential)
        const listener = yield* Scope.extend(listenerAt(env, fds, at), scope)
        const shared: Shared = { name: fdName.listener(at), listener, close: Scope.close(scope, Exit.void) }
        return shared
      }))

    let value = Option.none<string>()
    const spawn = starter(begun, listeners, secrets, () => value)
    const workers = yield* pool.make({
      ...settings,
      hastenTimeout: begun.settings.stopTimeout,
      worker: (index) => ({ name: "worker", index, ...given.worker, start: spawn("worker", index) }),
      others: Object.entries<Process<any, any>>(given.options.processes ?? {}).map(([name, process]): SlotSpec => ({
        name,
        index: 0,
        restart: process.restart,
        fatal: process.fatal,
        serves: process.work._tag === "Server",
        start: spawn(name, 0, process.work._tag === "Task")
      })),
      generation: workerRole.decodePool(ancestry.state) + 1,
      olderGone: Effect.ignore(upgrader.waitForParent),
      hold: locks.hold,
      publish: (event) => Effect.zipRight(logOf(event), given.publish(event))
    })
    generation = workers.generation

    const service = workersService.make(workers, given.events)
    value = yield* buildMain(
      given.options.main,
      Context.make(Upgrader, upgrader).pipe(Context.add(Fds, fds), Context.add(given.tag, service))
    )
    yield* Effect.addFinalizer(() =>
      finish(env, {
        upgrader,
        workers,
        signals,
        // Of those that have started this process a supervisor alone has others to take them.
        lineTo: ({ _tag }) =>
          _tag === "Upgraded" ? Option.orElse(Option.map(relayed.newer(), toRelay), () => older) : older,
        unclaimedBy,
        keptListeners,
        close: (isOver) =>
          Effect.forEach(listeners, ({ close, name }) => isOver(name) ? close : Effect.void, { discard: true })
      })
    )

    const start = Effect.tapError(
      workers.start,
      (error) => error._tag === "ProcessStartError" ? env.setExitCode(exitCodeOf(error)) : Effect.void
    )
    const untilReady = Effect.gen(function*() {
      yield* start
      Option.map(older, ({ leaveTo }) => leaveTo(workers.lines()))
      yield* upgrader.ready
      return yield* Effect.never
    })
    return yield* Effect.raceFirst(
      Effect.raceFirst(untilReady, Effect.as(workers.done, ExitReason.Stopped())),
      upgrader.exit
    )
  }))
})

/** A worker that cannot notice the end of its primary would keep the next one from starting. */
const listenerAt = (env: System, fds: Fds["Type"], at: Address) =>
  Effect.catchIf(
    fds.listener(at),
    ({ reason }) => reason === "AddressInUse",
    (error) =>
      Effect.flatMap(env.endOrphans(at), ({ found, killed }) =>
        killed.length === 0
          ? found ? fds.listener(at) : Effect.fail(error)
          : logWarning(
            `Process ${
              killed.join(", ")
            } of a pool still had ${error.address} although its primary is gone, and did not ` +
              "react; it has been killed"
          ).pipe(Effect.zipRight(fds.listener(at))))
  )

/** What was done to the pool as a whole. What becomes of each process, the process and the pool say themselves. */
const logOf = (event: PoolEvent): Effect.Effect<void> => {
  switch (event._tag) {
    case "Replaced":
      return logInfo(`Generation ${event.generation} has taken the place of every older process`)
    case "ReplaceFailed":
      return logFailure(event.error)
    case "Resized":
      return logInfo(`Resized the pool from ${event.from} to ${event.to}`)
    default:
      return Effect.void
  }
}

/** A primary that cannot start its pool ends as the worker has that did not come up. */
const exitCodeOf = (error: ProcessStartError): number => Math.max(1, ExitStatus.toExitCode(statusOf(error)))

/** Of every worker the same, or a client could resume its session only at the one that it began with. */
const ticketSecrets = (env: System, listen: ReadonlyArray<Address>, state: State): Effect.Effect<State> =>
  Effect.map(
    Effect.forEach(listen, (at) => {
      const name = tlsTickets.stateName(fdName.listener(at))
      const inherited = state.get(name)
      return Effect.map(
        inherited?.length === tlsTickets.secretLength
          ? Effect.succeed(inherited)
          : env.randomBytes(tlsTickets.secretLength),
        (secret) => [name, secret] as const
      )
    }),
    (entries) => new Map(entries)
  )

/** Starts processes that inherit the sockets, unless they have no use for them. */
const starter =
  ({ env, settings }: Begun, listeners: ReadonlyArray<Shared>, secrets: State, value: () => Option.Option<string>) =>
  (name: string, index: number, bare = false): SlotSpec["start"] =>
  (how) =>
    Effect.gen(function*() {
      const descriptors = yield* Effect.forEach(bare ? [] : listeners, ({ listener, name }) =>
        Effect.map(listener.descriptor, (descriptor) =>
          Option.match(descriptor, { onNone: () => [], onSome: (descriptor) => [{ name, descriptor }] })))
      const command = yield* resolveCommand(settings.command)
      const child = yield* ChildProcess.spawn({
        command,
        channel: settings.handOver && !bare && isNode(command, env),
        environment: { ...settings.environment, [primaryVariable]: yield* env.mark },
        baseEnvironment: settings.baseEnvironment,
        descriptors: descriptors.flat(),
        generation: how.generation,
        state: new Map([...secrets, ...workerRole.encode({ name, index, ...how }, value())]),
        control: true,
        stopTimeout: settings.stopTimeout
      })
      const member: Member = {
        pid: child.pid,
        line: Option.getOrUndefined(Option.map(child.channel, relay.make)),
        ready: child.ready,
        exit: child.exit,
        signal: child.signal,
        retire: (why) =>
          Effect.flatMap(
            child.tell(encodeWord(why)),
            (told) =>
              told ? Effect.void : Effect.asVoid(child.signal("SIGTERM"))
          ),
        forEachAnswer: (handle) =>
          Option.match(child.answers, {
            onNone: () =>
              Effect.void,
            onSome: (reader) => forEachAnswer(reader, handle)
          }),
        olderGone: Effect.asVoid(child.tell(encodeWord(Word.OlderGone()))),
        locked: (id) => Effect.asVoid(child.tell(encodeWord(Word.Locked({ id }))))
      }
      return member
    }).pipe(Effect.provideService(Env, env))

const buildMain = Effect.fnUntraced(function*(main: PrimaryOptions["options"]["main"], context: Context.Context<any>) {
  if (main === undefined) return Option.none()
  const built = yield* Layer.build(main.layer).pipe(Effect.provide(context))
  return yield* Effect.transposeMapOption(
    main.shared,
    ({ schema, tag }) => mainContext.encode(tag.key, schema, Context.unsafeGet(built, tag))
  )
})
