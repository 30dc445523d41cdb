/**
 * Puts an upgrader together: what the older process left, the registry of descriptors, the state machine, the PID file
 * and the signals.
 *
 * @internal
 */
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import type { Fds } from "../../Fds.ts"
import * as PidFile from "../../PidFile.ts"
import type { BuildError, PidFileError } from "../../TableflipError.ts"
import { NotSupportedError, ProtocolError } from "../../TableflipError.ts"
import type { Options, Upgrader } from "../../Upgrader.ts"
import type { ExitReason, UpgraderEvent } from "../../UpgraderEvent.ts"
import * as receiverOf from "../handOver/receiver.ts"
import * as sender from "../handOver/sender.ts"
import { between, make as makeSides } from "../handOver/sides.ts"
import { logFailure, logInfo, logWarning } from "../logging.ts"
import { broadcast, fromResult } from "../seam.ts"
import type { Channel } from "../system/channel.ts"
import type { System } from "../system/env.ts"
import { Env } from "../system/env.ts"
import type { ByteReader } from "../system/stream.ts"
import type { State } from "../wire/handOff.ts"
import * as trace from "../wire/trace.ts"
import * as parent from "./ancestry.ts"
import type { Begun } from "./begin.ts"
import { begin } from "./begin.ts"
import { warnIfOutOfOrder } from "./clusterRunner.ts"
import type { Draining } from "./drainAll.ts"
import { make as makeDraining } from "./drainAll.ts"
import { drainProcess } from "./drainOnce.ts"
import { handOver } from "./handOver.ts"
import type { LockOrigin } from "./locks.ts"
import { fromParent, make as makeLocks } from "./locks.ts"
import * as log from "./log.ts"
import * as upgraderMachine from "./machine.ts"
import { make as makeMeasure } from "./measure.ts"
import type { Settings } from "./options.ts"
import * as upgraderOptions from "./options.ts"
import type { Registry } from "./registry.ts"
import * as fds from "./registry.ts"
import type { Role } from "./role.ts"
import * as roles from "./role.ts"
import * as giver from "./stateGiver.ts"
import * as taker from "./stateTaker.ts"
import * as supervised from "./supervised.ts"
import * as upgradeSignals from "./upgradeSignals.ts"

/** After SIGKILL only the kernel can keep a process; a stop does not wait for that for ever. */
const killDelay = Duration.seconds(15)

/** What a process has to be upgraded with. */
export interface Services {
  readonly upgrader: Upgrader["Type"]
  readonly fds: Fds["Type"]
}

/** The upgrader of a process that can be upgraded. `state` is what its successor should know besides. */
export const makeUpgradable = Effect.fnUntraced(
  function*({ ancestry, env, settings: asked }: Begun, moreState: Effect.Effect<State>) {
    const isSupervised = Option.isSome(ancestry.supervisor)
    const { hasParent, inherited, state } = ancestry
    let isLeft = false
    const supervisor = Option.map(ancestry.supervisor, (reader): ByteReader => ({
      ...reader,
      read: Effect.map(reader.read, (chunk) => {
        isLeft ||= Option.isNone(chunk)
        return chunk
      })
    }))
    if (isSupervised) {
      yield* Effect.forEach(
        asked.signals,
        (signal) =>
          upgradeSignals.leaveToOthers(env, signal, logInfo(`${signal} is left alone: ${roles.underTableflip}`))
      )
    }
    // One that an upgrade has started shows by itself that a successor can live here.
    const role = isSupervised
      ? roles.supervised
      : roles.alone(hasParent ? Option.none() : yield* env.endsWithThis)
    const draining = makeDraining(env, asked)
    const registry = yield* fds.make({
      env,
      inherited,
      state,
      hasParent,
      draining,
      // Without a supervisor nobody goes on accepting from them.
      inheritedIsShared: () => isSupervised && !isLeft
    })
    const withState: Registry = {
      ...registry,
      state: Effect.zipWith(registry.state, moreState, (own, more) => new Map([...own, ...more]))
    }
    const generations = asked.handOver ? Option.map(ancestry.channel, between) : Option.none()
    const sides = isSupervised ? Option.map(generations, ({ own }) => makeSides(own)) : Option.none()
    // The supervisor says where connections can go a moment before it tells this process to stop.
    Option.map(sides, ({ giving }) => draining.handOverBy(sender.make(giving, { isRelayed: true })))
    const own = isSupervised
      ? Option.map(sides, ({ taking }) => taking)
      : Option.map(generations, ({ own }) => own)
    const { newer, ...services } = yield* assemble({
      env,
      settings: asked,
      role,
      ancestry: { ...ancestry, supervisor },
      taking: own,
      registry: withState,
      draining
    })
    return { ...services, relayed: { older: Option.map(generations, ({ relayed }) => relayed), newer } }
  }
)

export const make: (options: Options) => Effect.Effect<Services, BuildError, Env | Scope.Scope> = Effect.fnUntraced(
  function*(options) {
    const begun = yield* begin(options)
    if (Option.isSome(begun.ancestry.control)) return yield* notAWorker
    return yield* makeUpgradable(begun, Effect.succeed(new Map()))
  }
)

const notAWorker = new ProtocolError({
  source: "TABLEFLIP_CONTROL",
  detail: "is set: a pool has started this program as one of its workers, but the program does not run Workers.launch"
})

interface Parts extends Begun {
  readonly role: Role
  readonly registry: Registry
  readonly draining: Draining
  /** On which connections come that are for this process itself. */
  readonly taking: Option.Option<Channel>
  /** Whoever has what runs alone before this process; the older generations if it is not given. */
  readonly lockOrigin?: LockOrigin
}

export const assemble = Effect.fnUntraced(
  function*({ ancestry, draining, env, lockOrigin, registry, role, settings: asked, taking }: Parts) {
    const settings = role.settle(asked)
    const { generation } = ancestry
    const { events, publish: tell } = yield* broadcast<UpgraderEvent>()
    const measure = yield* makeMeasure(generation)
    const publish = (event: UpgraderEvent) => Effect.zipRight(measure(event), tell(event))
    const pidFile = settings.pidFile === undefined
      ? undefined
      // An upgrade takes it over; nobody else does from one who serves.
      : yield* Effect.provideService(PidFile.make(settings.pidFile, { exclusive: !ancestry.hasParent }), Env, env)
    const orSay = Effect.catchAll((error: PidFileError) => logFailure(error))
    const olderGone = yield* Deferred.make<void, ProtocolError>()
    const supervisor = Option.map(ancestry.supervisor, (reader) => supervised.make(env, reader))

    const exit = yield* Deferred.make<ExitReason>()
    const stateTaker = yield* taker.make(env, ancestry.exchange, role.stateRefusal)
    const locks = yield* makeLocks(
      lockOrigin ?? fromParent(Deferred.await(olderGone), stateTaker.unlocked),
      Deferred.await(exit)
    )
    const stateGiver = yield* giver.make(role.stateRefusal, locks.giveUp)

    const receiver = settings.handOver
      ? Option.map(taking, (channel) => receiverOf.make(channel, registry.takingServers))
      : Option.none()
    let newer = Option.none<Channel>()
    const logReady = Effect.flatMap(registry.addresses, (addresses) => log.ready(env.pid, generation, addresses))
    let isReady = false
    const started = yield* Deferred.make<void>()
    yield* Deferred.await(started).pipe(
      Effect.withSpan("tableflip.start", {
        parent: Option.getOrUndefined(trace.decode(ancestry.state)),
        attributes: { "tableflip.generation": generation }
      }),
      Effect.interruptible,
      Effect.forkScoped
    )
    yield* remindOfReady(registry, Effect.sync(() => isReady))

    const becomeReady = Effect.gen(function*() {
      // From here to the ready byte in one turn of the event loop: nobody is lost with a process that has not taken over.
      // Whoever waits for the file connects next.
      yield* pidFile?.writeAfter(registry.activate) ?? registry.activate
      isReady = true
      yield* Deferred.succeed(started, void 0)
      Option.map(receiver, ({ open }) => open())
      yield* Effect.flatMap(registry.unclaimedListeners, stateTaker.tellUnclaimed)
      const taken = yield* ancestry.notifyReady
      if (ancestry.hasParent && !taken) {
        yield* logWarning("The parent is gone or has given this process up; it serves as long as nobody ends it")
      }
      yield* log.afterTheFact(Effect.zipRight(
        registry.closeUnclaimed,
        Effect.zipRight(logReady, role.tellsRefusal ? log.notUpgradable(settings, role.refusal) : Effect.void)
      ))
    })

    let isDone = false
    yield* Effect.addFinalizer(() => isDone ? endForSure(env, settings) : Effect.void)

    // After the machine has stopped, which may put the file back. The file of a successor stays.
    yield* Effect.addFinalizer(() => orSay(pidFile?.remove ?? Effect.void))

    const outOfOrder = log.afterTheFact(Effect.suspend(() => warnIfOutOfOrder(upgrader)))
    const logFailed = log.failures()
    const machine = yield* upgraderMachine.make({
      generation,
      maxDraining: settings.maxDraining,
      older: ancestry.lifelines.length,
      becomeReady,
      attempt: Option.match(role.refusal, {
        onNone: () =>
          handOver({ env, settings, ancestry, registry, draining }, {
            publish,
            restore: orSay(pidFile?.restore ?? Effect.void),
            serveState: stateGiver.serve,
            relayedBy: (channel) => {
              newer = Option.some(channel)
            }
          }),
        onSome: (reason) =>
          Option.match(supervisor, {
            onNone: () => Effect.fail(new NotSupportedError({ reason })),
            onSome: ({ reload }) => reload
          })
      }),
      publish: (event) => {
        isDone ||= role.isFinal(event)
        const logged = event._tag === "UpgradeFailed"
          ? logFailed("No upgrade", event.error)
          : event._tag === "Stopped"
          ? pidFile?.release ?? Effect.void
          : Effect.void
        return Effect.zipRight(
          logged,
          Effect.zipRight(publish(event), event._tag === "Upgraded" ? outOfOrder : Effect.void)
        )
      },
      endTimeout: Duration.sum(settings.stopTimeout, killDelay),
      onOlderGone: registry.parentExited.pipe(
        Effect.zipRight(log.olderGone),
        Effect.zipRight(Deferred.succeed(olderGone, void 0))
      )
    })
    yield* machine.exit.pipe(Effect.intoDeferred(exit), Effect.interruptible, Effect.forkScoped)
    yield* Effect.forEach(ancestry.lifelines, (reader) =>
      reader.read.pipe(
        Effect.repeat({ until: Option.isNone }),
        Effect.zipRight(machine.olderExited),
        Effect.interruptible,
        Effect.forkScoped
      ))
    if (ancestry.lifelines.length === 0) yield* Deferred.succeed(olderGone, void 0)
    yield* ancestry.parentSilence.pipe(
      Effect.catchAll((error) => Deferred.fail(olderGone, error)),
      Effect.interruptible,
      Effect.forkScoped
    )

    // A supervisor outlives every generation, so the end of its stream does not tell when the older ones are gone.
    yield* Effect.transposeMapOption(
      supervisor,
      ({ listen }) =>
        listen({ olderGone: Effect.asVoid(Deferred.succeed(olderGone, void 0)), replaced: machine.replaced })
    ).pipe(Effect.interruptible, Effect.forkScoped)

    yield* upgradeSignals.listen(env, settings.signals, machine, logFailed)

    const upgrader: Upgrader["Type"] = {
      hasParent: ancestry.hasParent && (Option.isNone(ancestry.supervisor) || generation > 1),
      generation,
      ready: machine.ready,
      upgrade: machine.upgrade,
      stop: machine.stop,
      exit: machine.exit,
      exitReason: machine.exitReason,
      waitForParent: Deferred.await(olderGone),
      drain: yield* drainProcess({
        env,
        settings,
        draining,
        generation,
        exitReason: machine.exitReason,
        registry,
        giveLast: stateGiver.giveLast,
        unclaimedBy: stateGiver.unclaimedBy,
        publish
      }),
      onDrain: draining.onDrain,
      exclusive: locks.exclusive,
      state: { give: stateGiver.give, take: stateTaker.take, takeLast: stateTaker.takeLast },
      status: Effect.map(machine.status, (status) => ({
        pid: env.pid,
        ...status,
        connections: draining.connections()
      })),
      events
    }
    return {
      machine,
      upgrader,
      fds: registry.service,
      locks,
      newer: () => newer,
      unclaimedBy: stateGiver.unclaimedBy,
      keptListeners: registry.keptListeners
    }
  },
  (effect, { ancestry }) => log.annotate(effect, ancestry.generation)
)

const remindOfReady = (registry: Registry, isReady: Effect.Effect<boolean>) =>
  Effect.flatMap(registry.addresses, log.notReady).pipe(
    Effect.unlessEffect(isReady),
    Effect.delay("10 seconds"),
    Effect.interruptible,
    Effect.forkScoped
  )

const endForSure = (env: System, { exitTimeout }: Settings) =>
  env.endWithin(exitTimeout, (open) =>
    logWarning(
      `This process is done and does not end by itself, so it is ended. What was open: ${open.join(", ")}`
    ))

/** An upgrader in a world without upgrades. */
export const makeStub: Effect.Effect<Services, never, Env | Scope.Scope> = Effect.gen(
  function*() {
    const env = yield* Env
    const settings = yield* Effect.orDie(fromResult(upgraderOptions.decode({ signals: false })))
    const draining = makeDraining(env, settings)
    const registry = yield* fds.make({ env, inherited: [], state: new Map(), hasParent: false, draining })
    return yield* assemble({
      env,
      settings,
      role: roles.stub,
      ancestry: parent.none,
      taking: Option.none(),
      registry,
      draining
    })
  }
)
