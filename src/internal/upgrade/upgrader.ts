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
import * as Queue from "effect/Queue"
import type * as Scope from "effect/Scope"
import { Env } from "../../Env.ts"
import type { Fds } from "../../Fds.ts"
import * as PidFile from "../../PidFile.ts"
import type { BuildError, UpgradeError } from "../../TableflipError.ts"
import { NotSupportedError, ProtocolError, UpgraderExistsError } from "../../TableflipError.ts"
import type { Options, Upgrader } from "../../Upgrader.ts"
import { UpgraderEvent } from "../../UpgraderEvent.ts"
import { broadcast, fromResult } from "../seam.ts"
import * as terminal from "../terminal.ts"
import * as control from "../wire/control.ts"
import type { State } from "../wire/handOff.ts"
import type { Ancestry } from "./ancestry.ts"
import * as parent from "./ancestry.ts"
import { attempt } from "./attempt.ts"
import type { Draining } from "./drainAll.ts"
import { make as makeDraining } from "./drainAll.ts"
import { drainProcess } from "./drainOnce.ts"
import * as log from "./log.ts"
import type { Successor } from "./machine.ts"
import * as upgraderMachine from "./machine.ts"
import type { Settings } from "./options.ts"
import * as upgraderOptions from "./options.ts"
import type { Registry } from "./registry.ts"
import * as fds from "./registry.ts"

/** After SIGKILL only the kernel can keep a process; a stop does not wait for that for ever. */
const killDelay = Duration.seconds(15)

const claim = Effect.fnUntraced(function*(env: Env["Type"], settings: Settings) {
  const now = new Date(yield* Effect.clockWith((clock) => clock.currentTimeMillis)).toISOString()
  const pidFile = settings.pidFile === undefined ? "without a PID file" : `with the PID file ${settings.pidFile}`
  const first = yield* env.claim(`at ${now} ${pidFile}`)
  if (Option.isSome(first)) return yield* new UpgraderExistsError({ first: first.value })
})

/** A process that knows where it comes from, and not yet what it is to be. */
export interface Begun {
  readonly env: Env["Type"]
  readonly settings: Settings
  readonly ancestry: Ancestry
}

/** Takes what the older process has left. Nothing else of this library can do so any more. */
export const begin: (options: Options) => Effect.Effect<Begun, BuildError, Env | Scope.Scope> = Effect.fnUntraced(
  function*(options) {
    const env = yield* Env
    const settings = yield* fromResult(upgraderOptions.decode(options))
    if (Option.isSome(env.unsupported)) {
      return yield* new NotSupportedError({ reason: `${env.unsupported.value}. Upgrader.layerStub runs without them` })
    }
    yield* claim(env, settings)
    yield* env.holdStopSignals
    return { env, settings, ancestry: yield* parent.receive(env) }
  }
)

/** What a process has to be upgraded with. */
export interface Services {
  readonly upgrader: Upgrader["Type"]
  readonly fds: Fds["Type"]
}

/** The upgrader of a process that can be upgraded. `state` is what its successor should know besides. */
export const makeUpgradable = Effect.fnUntraced(
  function*({ ancestry, env, settings: asked }: Begun, moreState: Effect.Effect<State>) {
    const isSupervised = Option.isSome(ancestry.supervisor)
    const settings = isSupervised ? notUpgradable(asked) : asked
    if (isSupervised) {
      yield* Effect.forEach(
        asked.signals,
        (signal) => leaveToOthers(env, signal, Effect.logInfo(`${signal} is left alone: ${supervised}`))
      )
    }
    const draining = makeDraining(env, settings)
    const { hasParent, inherited, state } = ancestry
    const registry = yield* fds.make({
      env,
      inherited,
      state,
      hasParent,
      draining,
      inheritedIsShared: () => isSupervised
    })
    const withState: Registry = {
      ...registry,
      state: Effect.zipWith(registry.state, moreState, (own, more) => new Map([...own, ...more]))
    }
    // One that an upgrade has started shows by itself that a successor can live here.
    const fatal = isSupervised || hasParent ? Option.none() : yield* env.endsWithThis
    const refusal = isSupervised ? Option.some(supervised) : Option.map(fatal, (reason) => `${reason}; ${runInstead}`)
    return yield* assemble({
      env,
      settings,
      ancestry,
      registry: withState,
      draining,
      isFinal: (event) => event._tag === "Upgraded",
      onReady: isSupervised ? Effect.void : log.notUpgradable(settings, refusal),
      tryUpgrade: Option.match(refusal, {
        onNone: () => tryUpgrade(env, settings, ancestry, withState),
        onSome: refuse
      })
    })
  }
)

const supervised = "this process runs under tableflip, which starts the new one; reload that"

const runInstead = "start the program by `tableflip run -- COMMAND`, which stays and starts the new one"

/** The settings of a process whose successor another one starts. Asked for an upgrade, it is to say so and nothing else. */
export const notUpgradable = (settings: Settings): Settings => ({ ...settings, signals: [], maxDraining: Infinity })

export const refuse = (reason: string) => () => Effect.fail(new NotSupportedError({ reason }))

/** A signal that is for another process comes to every process of a terminal's group. */
export const leaveToOthers = Effect.fnUntraced(
  function*(env: Env["Type"], signal: NodeJS.Signals, say: Effect.Effect<void> = Effect.void) {
    const deliveries = yield* env.signals(signal)
    yield* Effect.forkScoped(Effect.interruptible(Effect.forever(Effect.zipRight(Queue.take(deliveries), say))))
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

/** Starts a new process and undoes everything on this side if it does not take over. */
const tryUpgrade = (env: Env["Type"], settings: Settings, ancestry: Ancestry, registry: Registry) =>
(options: {
  readonly publish: (event: UpgraderEvent) => Effect.Effect<void>
  readonly restore: Effect.Effect<void>
}): Effect.Effect<Successor, UpgradeError> => {
  // What never ran has written nothing, and a machine that cannot start it may not let a file be looked at either.
  let hasStarted = false
  return Effect.gen(function*() {
    hasStarted = false
    const generation = ancestry.generation + 1
    const lifelines = yield* Effect.forEach(ancestry.lifelines, (reader) => reader.descriptor)
    yield* registry.shareWithChild
    // Before the new process writes to them too.
    yield* registry.flushConnections(settings.drainTimeout)
    const descriptors = yield* registry.descriptors
    const pid = yield* attempt({
      settings,
      generation,
      descriptors,
      lifelines: lifelines.flatMap(Option.toArray),
      state: yield* registry.state,
      onStart: (pid) => {
        hasStarted = true
        return Effect.zipRight(
          Effect.logInfo(`Started process ${pid} as generation ${generation}`),
          options.publish(UpgraderEvent.UpgradeStarted({ pid, generation }))
        )
      }
    })
    yield* log.afterTheFact(Effect.zipRight(
      log.notHandedOver(env, descriptors),
      Effect.logInfo(`Process ${pid} has taken over as generation ${generation}`)
    ))
    return { pid, generation }
  }).pipe(
    Effect.onError(() => Effect.zipRight(registry.takeBackFromChild, hasStarted ? options.restore : Effect.void)),
    Effect.provideService(Env, env)
  )
}

interface Parts {
  readonly env: Env["Type"]
  readonly settings: Settings
  readonly ancestry: Ancestry
  readonly registry: Registry
  readonly draining: Draining
  /** After which event this process has nothing more to do but to drain, and must not live on. */
  readonly isFinal: (event: UpgraderEvent) => boolean
  /** What is to be said besides when it is ready. */
  readonly onReady?: Effect.Effect<void>
  readonly tryUpgrade: ReturnType<typeof tryUpgrade>
}

export const assemble = Effect.fnUntraced(
  function*({ ancestry, draining, env, isFinal, onReady = Effect.void, registry, settings, tryUpgrade }: Parts) {
    const { generation } = ancestry
    const { events, publish } = yield* broadcast<UpgraderEvent>()
    const pidFile = settings.pidFile === undefined
      ? undefined
      : yield* Effect.provideService(PidFile.make(settings.pidFile), Env, env)
    const logFailure = Effect.catchAll((error: Error) => Effect.logError(error.message))
    const olderGone = yield* Deferred.make<void, ProtocolError>()

    const logReady = Effect.flatMap(registry.addresses, (addresses) => log.ready(env.pid, generation, addresses))
    let isReady = false
    yield* remindOfReady(registry, Effect.sync(() => isReady))

    const becomeReady = Effect.gen(function*() {
      yield* pidFile?.write ?? Effect.void
      yield* Effect.onError(registry.activate, () => logFailure(pidFile?.remove ?? Effect.void))
      isReady = true
      const taken = yield* ancestry.notifyReady
      if (ancestry.hasParent && !taken) {
        yield* log.afterTheFact(
          Effect.logWarning("The parent is gone or has given this process up; it serves as long as nobody ends it")
        )
      }
      yield* log.afterTheFact(Effect.zipRight(
        registry.closeUnclaimed,
        Effect.zipRight(logReady, onReady)
      ))
    })

    let isDone = false
    yield* Effect.addFinalizer(() => isDone ? endForSure(env, settings) : Effect.void)

    // After the machine has stopped, which may put the file back. The file of a successor stays.
    yield* Effect.addFinalizer(() => logFailure(pidFile?.remove ?? Effect.void))

    const logFailed = log.failures()
    const machine = yield* upgraderMachine.make({
      generation,
      maxDraining: settings.maxDraining,
      older: ancestry.lifelines.length,
      becomeReady,
      attempt: tryUpgrade({ publish, restore: logFailure(pidFile?.restore ?? Effect.void) }),
      publish: (event) => {
        isDone ||= isFinal(event)
        const logged = event._tag === "UpgradeFailed"
          ? log.afterTheFact(logFailed("No upgrade", event.error))
          : Effect.void
        return Effect.zipRight(logged, publish(event))
      },
      endTimeout: Duration.sum(settings.stopTimeout, killDelay),
      onOlderGone: registry.parentExited.pipe(
        Effect.zipRight(log.afterTheFact(log.olderGone)),
        Effect.zipRight(Deferred.succeed(olderGone, void 0))
      )
    })
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
    yield* Effect.transposeMapOption(ancestry.supervisor, (reader) =>
      control.forEach(
        reader,
        ({ _tag }) => _tag === "OlderGone" ? Effect.asVoid(Deferred.succeed(olderGone, void 0)) : Effect.void
      )).pipe(Effect.interruptible, Effect.forkScoped)

    const { hasHungUp } = yield* terminal.watch(env)
    yield* Effect.forEach(
      settings.signals,
      (signal) =>
        upgradeOn(env, signal, logFailed, signal === "SIGHUP" ? unlessHungUp(hasHungUp, machine) : machine.upgrade)
    )

    const upgrader: Upgrader["Type"] = {
      hasParent: ancestry.hasParent && (Option.isNone(ancestry.supervisor) || generation > 1),
      generation,
      ready: machine.ready,
      upgrade: machine.upgrade,
      stop: machine.stop,
      exit: machine.exit,
      waitForParent: Deferred.await(olderGone),
      drain: yield* drainProcess({
        env,
        settings,
        draining,
        generation,
        exit: machine.exit,
        registry,
        publish
      }),
      onDrain: draining.onDrain,
      events
    }
    return { machine, upgrader, fds: registry.service }
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

const endForSure = (env: Env["Type"], { exitTimeout }: Settings) =>
  env.endWithin(exitTimeout, (open) =>
    Effect.logWarning(
      `This process is done and does not end by itself, so it is ended. What was open: ${open.join(", ")}`
    ))

const unlessHungUp = (hasHungUp: Effect.Effect<boolean>, { stop, upgrade }: upgraderMachine.Machine) =>
  Effect.if(hasHungUp, {
    onTrue: () => Effect.zipRight(Effect.logInfo("SIGHUP: the terminal is gone; stopping"), stop),
    onFalse: () => upgrade
  })

/** Each delivery asks on its own, so that one which comes during an upgrade is refused and not kept for later. */
const upgradeOn = Effect.fnUntraced(function*(
  env: Env["Type"],
  signal: NodeJS.Signals,
  logFailed: ReturnType<typeof log.failures>,
  upgrade: Effect.Effect<unknown, UpgradeError>
) {
  const deliveries = yield* env.signals(signal)
  const scope = yield* Effect.scope
  yield* Queue.take(deliveries).pipe(
    Effect.zipRight(Effect.forkIn(
      Effect.catchAll(upgrade, (error) => logFailed(`No upgrade on ${signal}`, error)),
      scope
    )),
    Effect.forever,
    Effect.interruptible,
    Effect.forkScoped
  )
})

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
      ancestry: parent.none,
      registry,
      draining,
      isFinal: () => false,
      tryUpgrade: () => Effect.fail(new NotSupportedError({ reason: "this is the stub" }))
    })
  }
)
