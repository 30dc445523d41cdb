/**
 * The supervisor of a command: a pool whose processes are generations of it.
 *
 * @internal
 */
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import * as path from "node:path"
import type { ChildProcess } from "../../ChildProcess.ts"
import * as ExitStatus from "../../ExitStatus.ts"
import * as PidFile from "../../PidFile.ts"
import type { ProcessStartError } from "../../PoolError.ts"
import { RestartsExhaustedError } from "../../PoolError.ts"
import type { BuildError, Options, Supervisor } from "../../Supervisor.ts"
import { InvalidOptionError, NotSupportedError, TerminatingError } from "../../TableflipError.ts"
import { logError, logFailure, logWarning, warnOfFailure } from "../logging.ts"
import { once } from "../once.ts"
import * as poolEvents from "../pool/events.ts"
import { hasFailed, statusOf } from "../pool/policy.ts"
import type { Pool } from "../pool/pool.ts"
import * as pool from "../pool/pool.ts"
import { restartSchedule } from "../pool/restartSchedule.ts"
import type { ProcessStatus } from "../pool/status.ts"
import * as seam from "../seam.ts"
import type { System } from "../system/env.ts"
import { Env } from "../system/env.ts"
import { Word } from "../wire/control.ts"
import * as changes from "./changes.ts"
import * as family from "./children.ts"
import * as supervisedCommand from "./command.ts"
import type { Settings } from "./options.ts"
import * as supervisorOptions from "./options.ts"
import * as reloads from "./reloads.ts"
import * as supervisorSockets from "./sockets.ts"
import * as supervisorWatch from "./watch.ts"

/** A pool adds its own to it, and whoever is ended for being late gets the more exact words of the command. */
const afterReadyTimeout = Duration.seconds(5)

/** Of several copies that ended, one that failed speaks for all. */
const worst = (statuses: ReadonlyArray<ExitStatus.ExitStatus>): Option.Option<ExitStatus.ExitStatus> =>
  Option.fromNullable(statuses.find(hasFailed) ?? statuses[0])

/** How long connections that are on their way may take. What answers nothing for so long stands still. */
const longestRest = Duration.seconds(1)

/** What a command is said to have ended with that goes on by itself. */
const leftRunning = ExitStatus.Exited({ code: 0 })

/**
 * Whether a first start is repeated. A command that is killed a moment before it is ready comes back like one that is
 * killed a moment later. But one that gives up by itself before it ever served has a reason, such as a mistake in its
 * configuration, that whoever starts it wants to know at once; unless it is always to be started again.
 */
const isTriedAgain = ({ cause }: ProcessStartError, { restart }: Settings): boolean => {
  const isCrash = cause._tag === "ChildExitedError" || cause._tag === "ReadyTimeoutError"
  const isKilled = cause._tag === "ChildExitedError" && cause.status._tag === "Killed"
  return isCrash && (restart === "always" || (restart === "on-failure" && isKilled))
}

/** The first start, as often as the policy says. */
const startUntilReady = Effect.fnUntraced(function*(
  start: Pool["start"],
  settings: Settings,
  name: string
) {
  const driver = yield* seam.driver(restartSchedule(settings.limits))
  let restarts = 0
  const attempt: Effect.Effect<void, ProcessStartError | RestartsExhaustedError | TerminatingError> = Effect.catchTag(
    start,
    "ProcessStartError",
    (error) => {
      const status = statusOf(error)
      if (!isTriedAgain(error, settings)) return Effect.fail(error)
      return Effect.matchEffect(driver.next(status), {
        onFailure: () => new RestartsExhaustedError({ process: name, restarts, status }),
        onSuccess: () => {
          restarts += 1
          return Effect.zipRight(warnOfFailure(error, `${error.message}; starting it again`), attempt)
        }
      })
    }
  )
  return yield* attempt
})

export const make: (options: Options) => Effect.Effect<Supervisor["Type"], BuildError, Env | Scope.Scope> = Effect
  .fnUntraced(function*(options) {
    const env = yield* Env
    const settings = yield* seam.fromResult(supervisorOptions.decode(options, Option.isSome(env.probe)))
    if (Option.isSome(env.unsupported)) return yield* new NotSupportedError({ reason: env.unsupported.value })
    const changed = yield* changes.make(env.files, settings.reloadOnChange)
    let isLeft = false
    let isStopping = false
    let heardByTerminal = false

    const sockets = yield* supervisorSockets.open(env, settings, () => isLeft)
    const { notifySocket } = sockets
    yield* checkDescriptor(settings, supervisedCommand.firstFree(sockets.all))
    const pidFile = settings.pidFile === undefined
      ? undefined
      : yield* PidFile.make(settings.pidFile, { exclusive: true })
    if (pidFile !== undefined) {
      yield* Effect.acquireRelease(
        pidFile.write,
        () => Effect.catchAll(pidFile.remove, (error) => logFailure(error))
      )
    }
    const deathSignalPrefix = settings.leaveRunning ? Option.none() : yield* env.deathSignalPrefix(settings.stopSignal)
    const { events, publish } = yield* poolEvents.make
    const name = settings.workers === 1 ? path.basename(settings.command.name) : "worker"
    const children = yield* family.make(settings)
    const stopped = yield* Deferred.make<ExitStatus.ExitStatus>()
    const endedWith = (processes: ReadonlyArray<ChildProcess>) =>
      Effect.map(
        Effect.timeoutOption(Effect.interruptible(Effect.forEach(processes, ({ exit }) => exit)), exitDelay),
        (statuses) => Option.getOrElse(Option.flatMap(statuses, worst), children.lastStatus)
      )
    yield* Effect.addFinalizer(() =>
      Effect.flatMap(
        isLeft ? Effect.succeed(leftRunning) : endedWith(children.all()),
        (status) => Deferred.succeed(stopped, status)
      )
    )
    const watch = yield* supervisorWatch.make(env, sockets.all, () => isStopping || isLeft)

    const shell = yield* findShell(env)
    const openFiles = yield* checkOpenFiles(settings, shell, yield* env.openFiles)
    if (Option.isNone(shell) && sockets.all.length > 0) {
      yield* logWarning(
        "There is no shell (sh) here, which LISTEN_PID takes: the command finds its sockets at descriptor 3 and above, as many " +
          "as LISTEN_FDS says, but one that looks at LISTEN_PID does not take them for its own"
      )
    }
    const commandOptions: supervisedCommand.CommandOptions = {
      settings,
      sockets,
      shell,
      openFiles,
      deathSignalPrefix: Option.getOrElse(deathSignalPrefix, () => []),
      hasHeard: (pid) =>
        heardByTerminal
          ? Effect.map(env.terminalOf(pid), (terminal) => terminal === "foreground")
          : Effect.succeed(false),
      onStart: (child, generation) =>
        Effect.zipRight(children.add(child, generation), watch.after(children.gone(child))),
      onRetire: (child) => watch.until(children.gone(child)),
      gone: children.gone,
      hasSpoken: children.hasSpoken,
      isUnready: children.isUnready,
      reload: Effect.suspend(() => reload)
    }
    const processes = yield* pool.make({
      size: settings.workers,
      worker: (index) => supervisedCommand.slot(env, commandOptions, { name, index }),
      others: [],
      generation: 1,
      atOnce: settings.atOnce,
      stopFirst: settings.stopFirst,
      restart: restartSchedule(settings.limits),
      // The schedule looks at that itself: it must not forget the restarts that it counts.
      healthyAfter: Duration.infinity,
      readyTimeout: Duration.sum(settings.readyTimeout, afterReadyTimeout),
      stopTimeout: settings.stopTimeout,
      hastenTimeout: settings.stopTimeout,
      heartbeat: Option.none(),
      olderGone: Effect.void,
      publish
    })

    const inState = (...states: ReadonlyArray<ProcessStatus["state"]>) =>
      Effect.map(
        processes.status,
        (all) =>
          children.withPids(all.flatMap(({ pid, state }) => pid !== undefined && states.includes(state) ? [pid] : []))
      )

    /** Connections that are on their way would be lost with this process. */
    const rest = Effect.timeoutOption(
      Effect.interruptible(Effect.async<void>((resume) => processes.rest(() => resume(Effect.void)))),
      longestRest
    )
    const rested = yield* once(rest)
    const leave = Effect.suspend(() => {
      isLeft = true
      return rested
    }).pipe(
      Effect.zipRight(inState("serving", "draining")),
      Effect.flatMap(Effect.forEach(({ release }) => release, { discard: true }))
    )
    yield* Effect.addFinalizer(() => !isStopping && (settings.leaveRunning || isLeft) ? leave : Effect.void)

    const ending = yield* Deferred.make<never, TerminatingError>()
    const end = Deferred.fail(ending, new TerminatingError())
    const unlessEnding = <A, E>(effect: Effect.Effect<A, E>) =>
      Effect.interruptible(Effect.raceFirst(Deferred.await(ending), effect))
    // What is begun in a scope that is closed never ends.
    yield* Effect.addFinalizer(() => end)
    const starting = yield* Effect.makeSemaphore(1)
    let isStarted = false

    // One that comes while the command is being started is for after that.
    const reload = reloads.oneBehind(unlessEnding(
      Effect.zipRight(starting.withPermits(1)(Effect.void), Effect.suspend(() => processes.replace))
    ))

    const stopAll = Effect.gen(function*() {
      const serving = yield* inState("serving")
      // Those that serve now; where none does, what comes up, or what it was that ended last.
      const current = serving.length > 0 ? serving : children.all()
      yield* end
      // As long as somebody is there to accept.
      yield* Effect.raceFirst(
        Effect.interruptible(sockets.empty),
        Effect.interruptible(Effect.forEach(current, ({ exit }) => exit, { discard: true }))
      )
      yield* sockets.close
      yield* processes.stop(() => Word.Stopped({ signal: settings.stopSignal }))
      yield* children.flush
      return yield* endedWith(current)
    })

    return {
      start: Effect.suspend(() => isStarted ? Effect.void : startUntilReady(processes.start, settings, name)).pipe(
        Effect.tap(() => {
          isStarted = true
          return Effect.void
        }),
        starting.withPermits(1),
        unlessEnding
      ),
      reload,
      changed,
      status: processes.status,
      // One that has only just been started may not have set a handler yet, and would be ended by it.
      signal: (signal) =>
        Effect.flatMap(inState("serving"), Effect.forEach((child) => child.signal(signal), { discard: true })),
      stop: ({ byTerminal = false } = {}) =>
        Effect.suspend(() => {
          if (isStopping) return Deferred.await(stopped)
          isStopping = true
          heardByTerminal = byTerminal
          return Effect.tap(Effect.zipRight(pidFile?.release ?? Effect.void, stopAll), (status) =>
            Deferred.succeed(stopped, status))
        }).pipe(Effect.uninterruptible),
      hasten: children.kill,
      leave,
      leaveRunning: settings.leaveRunning,
      notifySocket,
      exit: processes.done.pipe(
        Effect.tapError(() =>
          children.isUnready()
            ? logError(
              "It speaks the protocol of effect-tableflip and has never said that it is ready, which the warm-up was too " +
                "short for; wait for its word with --ready-wire"
            )
            : Effect.void
        ),
        Effect.ensuring(children.flush),
        Effect.map(children.lastStatus),
        Effect.raceFirst(Deferred.await(stopped))
      ),
      events
    }
  })

const findShell = (env: System) =>
  Effect.flatMap(
    env.variables,
    ({ PATH = "" }) => Effect.option(env.findProgram({ name: "sh", directory: "/", searchPath: `/bin:${PATH}` }))
  )

/** The one that was asked for, or else that of the start. A shell sets it, and can set none that is above the hard limit. */
const checkOpenFiles = (
  { openFiles: asked }: Settings,
  shell: Option.Option<string>,
  { hard, soft }: Effect.Effect.Success<System["openFiles"]>
) => {
  if (asked === undefined) return Effect.succeed(soft)
  const refuse = (expected: string) => new InvalidOptionError({ option: "openFiles", value: String(asked), expected })
  if (Option.isNone(shell)) return refuse("left out, because there is no shell (sh) here that could set it")
  return Option.exists(hard, (hard) => asked > hard)
    ? refuse(`at most ${Option.getOrThrow(hard)}, the hard limit here (ulimit -H -n)`)
    : Effect.succeedSome(asked)
}

const checkDescriptor = ({ readiness }: Settings, firstFree: number) =>
  readiness._tag === "Descriptor" && readiness.number < firstFree
    ? Effect.fail(
      new InvalidOptionError({
        option: "ready.when",
        value: `descriptor ${readiness.number}, which is one of the sockets`,
        expected: `descriptor ${firstFree} or above`
      })
    )
    : Effect.void

/** What has been killed ends in a moment. */
const exitDelay = Duration.seconds(1)
