/**
 * One process of a command that may know nothing of this library: how it is started, told to stop, and seen by a pool.
 *
 * @internal
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as path from "node:path"
import * as ChildProcess from "../../ChildProcess.ts"
import { EnvironmentFileError } from "../../PoolError.ts"
import * as Readiness from "../../Readiness.ts"
import { SpawnError } from "../../TableflipError.ts"
import * as relay from "../handOver/relay.ts"
import { logInfo } from "../logging.ts"
import type { Member, SlotSpec } from "../pool/slot.ts"
import { fromResult } from "../seam.ts"
import type { System } from "../system/env.ts"
import { Env } from "../system/env.ts"
import type { Command, Leading } from "../system/process.ts"
import * as serviceManager from "../systemd/serviceManager.ts"
import type { Retirement } from "../wire/control.ts"
import { encode, forEachOf, Word } from "../wire/control.ts"
import { firstNumber } from "../wire/layout.ts"
import * as socketActivation from "../wire/listenFds.ts"
import { decodeRequest, Reply } from "../wire/reload.ts"
import * as environmentFile from "./environmentFile.ts"
import type { Settings } from "./options.ts"
import { waitUntilReady } from "./readiness.ts"
import * as reloads from "./reloads.ts"
import type { Socket, Sockets } from "./sockets.ts"

export interface CommandOptions {
  readonly settings: Settings
  readonly sockets: Sockets
  /** What knows its own process id, and becomes the command. */
  readonly shell: Option.Option<string>
  /** The soft limit of open files that the command gets; otherwise it has that of this process. */
  readonly openFiles: Option.Option<number>
  /** What has the kernel tell the command when this process dies. */
  readonly deathSignalPrefix: ReadonlyArray<string>
  /** Whether it has heard of the stop from its terminal, so that it is not told twice. */
  readonly hasHeard: (pid: number) => Effect.Effect<boolean>
  readonly onStart: (child: ChildProcess.ChildProcess, generation: number) => Effect.Effect<void>
  readonly onRetire: (child: ChildProcess.ChildProcess) => Effect.Effect<void>
  /** Completes when a process and all that was left of it have ended. */
  readonly gone: (child: ChildProcess.ChildProcess) => Effect.Effect<void>
  /** Whether an older one has spoken this library's protocol. */
  readonly hasSpoken: () => boolean
  /** Whether none that has done so was ever ready. */
  readonly isUnready: () => boolean
  readonly reload: Effect.Effect<void, reloads.Failure>
}

type Variables = Readonly<Record<string, string | undefined>>

const readEnvironmentFile = (env: System, file: string) =>
  env.files.readWhole(path.resolve(env.directory, file)).pipe(
    Effect.mapError((cause) => new EnvironmentFileError({ path: file, cause })),
    Effect.flatMap((content) =>
      Effect.mapError(
        fromResult(environmentFile.parse(content)),
        ({ detail, line }) => new EnvironmentFileError({ path: file, line, cause: detail })
      )
    )
  )

const readEnvironment = (env: System, { environmentFiles }: Settings) =>
  Effect.map(
    Effect.forEach(environmentFiles, (file) => readEnvironmentFile(env, file)),
    (files): Variables => Object.assign({}, ...files)
  )

// A shell passes on only what could be a variable of its own.
const isShellName = (name: string) => /^[A-Za-z_]\w*$/.test(name)

/** Whether connections of one generation can go to the next: where there are any, and the command is not to see it. */
const hasChannel = ({ shell, sockets }: CommandOptions) => Option.isSome(shell) && sockets.all.length > 0

/**
 * `LISTEN_PID` has to be the id of the command itself, which nobody knows before it is there. A shell knows its own, and
 * keeps it when it becomes the command, and the limits that it has set.
 */
const throughShell = (
  command: ReadonlyArray<string>,
  environment: Variables,
  options: CommandOptions
): ReadonlyArray<string> => {
  const { openFiles, shell, sockets } = options
  const steps = [
    // A program that knows nothing of the channel would find it as its own; one on this library knows its number.
    ...hasChannel(options) ? ["unset NODE_CHANNEL_FD NODE_CHANNEL_SERIALIZATION_MODE"] : [],
    ...Option.match(openFiles, { onNone: () => [], onSome: (count) => [`ulimit -S -n ${count}`] }),
    ...sockets.all.length === 0 ? [] : ["LISTEN_PID=$$ && export LISTEN_PID"]
  ]
  if (Option.isNone(shell) || steps.length === 0) return command
  const lost = Object.entries(environment).flatMap(([name, value]) =>
    value === undefined || isShellName(name) ? [] : [`${name}=${value}`]
  )
  const rest = lost.length === 0 ? command : ["env", "--", ...lost, ...command]
  return [shell.value, "-c", [...steps, `exec "$@"`].join(" && "), "sh", ...rest]
}

const toCommand = (line: ReadonlyArray<string>, directory: string): Command => {
  const [executable = "", ...args] = line
  return { executable, args, directory }
}

/** The sockets, and behind them the descriptor of the notification at the number that the command expects. */
const leadingOf = (sockets: ReadonlyArray<Socket>, readiness: Readiness.Readiness) => {
  const leading: Array<NonNullable<ChildProcess.Options["leading"]>[number]> = sockets.map((
    { aliases, descriptor }
  ) => ({
    descriptor,
    name: aliases[0]
  }))
  if (readiness._tag !== "Descriptor") return leading
  while (leading.length < readiness.number - firstNumber) leading.push({ descriptor: "filler" satisfies Leading })
  return [...leading, { descriptor: "notification" as const }]
}

/** The first descriptor that `--ready-fd` and the like may name. */
export const firstFree = (sockets: ReadonlyArray<Socket>): number => firstNumber + sockets.length

/** What goes before the command is none of the user's. */
const asTyped = ({ cause, detail, reason }: SpawnError, command: string, directory: string) => ({
  command,
  detail: reason === "WorkingDirectory"
    ? `the directory ${directory} cannot be used (${cause instanceof Error ? cause.message : String(cause)})`
    : detail
})

const ofServiceManager: Variables = Object.fromEntries(serviceManager.variables.map((name) => [name, undefined]))

/** Which of them has said something. */
const prefixOf = ({ prefixes, workers }: Settings, generation: number, index: number) =>
  prefixes ? `[generation ${generation}${workers === 1 ? "" : `, copy ${index}`}] ` : undefined

/** What is looked up at each start. */
const lookUp = Effect.fnUntraced(function*(env: System, settings: Settings) {
  const { name } = settings.command
  const directory = path.resolve(env.directory, settings.command.directory ?? ".")
  const changes = yield* readEnvironment(env, settings)
  const environment = { ...yield* env.variables, ...changes }
  const program = yield* env.findProgram({ name, directory, searchPath: environment["PATH"] })
  return { directory, changes, environment, program }
})

const spawn = Effect.fnUntraced(function*(options: CommandOptions, generation: number, index: number) {
  const { deathSignalPrefix, settings, sockets: { all: sockets } } = options
  const env = yield* Env
  const { args = [], name } = settings.command
  const { changes, directory, environment, program } = yield* lookUp(env, settings)
  const line = [...deathSignalPrefix, program, ...args]
  return yield* ChildProcess.spawn({
    command: toCommand(throughShell(line, environment, options), directory),
    environment: { ...ofServiceManager, ...changes, ...socketActivation.encode(sockets.map(({ name }) => name)) },
    leading: leadingOf(sockets, settings.readiness),
    descriptors: sockets.flatMap(({ aliases, descriptor }) => aliases.slice(1).map((name) => ({ name, descriptor }))),
    capture: settings.capture,
    linePrefix: prefixOf(settings, generation, index),
    // A session without a terminal cannot read from one.
    tree: (yield* env.terminalOf(env.pid)) === "none" ? "own" : "shared",
    control: "supervised",
    channel: hasChannel(options),
    generation,
    stopSignal: settings.stopSignal,
    stopTimeout: settings.stopTimeout
  }).pipe(Effect.catchTag("SpawnError", (error) => new SpawnError({ ...error, ...asTyped(error, name, directory) })))
})

/** A program that takes longer to load than the warm-up must not be taken for one that will never say a word. */
const readinessOf = ({ hasSpoken, settings: { readiness } }: CommandOptions) =>
  readiness._tag === "Warmup" && hasSpoken() ? Readiness.Wire : readiness

/** How long a program may take to hear that it was reloaded, before it is told to stop like any other. */
const longestHearing = "5 seconds"

/** Characters of what is said of a reload that has failed. */
const longestDetail = 8_000

/** A program on this library may ask for the reload by itself. It is told how that went, and then needs no signal to stop. */
const hearReloads = Effect.fnUntraced(function*(child: ChildProcess.ChildProcess, { reload }: CommandOptions) {
  const scope = yield* Effect.scope
  const leaving = yield* Deferred.make<void>()
  let isAsking = false
  const say = (reply: Reply) => child.tell(encode(reply))
  const answer = Effect.gen(function*() {
    yield* say(Reply.Reloading())
    if (isAsking) return
    isAsking = true
    yield* logInfo(`Process ${child.pid} asks for a reload`)
    yield* reload
  }).pipe(
    Effect.catchAll((error) => {
      isAsking = false
      // It is about to be told to stop.
      if (error._tag === "TerminatingError") return Effect.void
      return Effect.zipRight(
        reloads.logFailed(error),
        say(Reply.NotReloaded({ detail: error.message.slice(0, longestDetail) }))
      )
    }),
    Effect.interruptible
  )
  yield* Effect.transposeMapOption(
    child.answers,
    (reader) =>
      forEachOf(decodeRequest)(
        reader,
        ({ _tag }) =>
          _tag === "Reload"
            ? Effect.asVoid(Effect.forkIn(answer, scope))
            : Effect.asVoid(Deferred.succeed(leaving, void 0))
      )
  ).pipe(Effect.interruptible, Effect.forkScoped)
  /** Whether it knows, and finishes. Another program may have read what was for the one that has asked. */
  return (why: Retirement) =>
    isAsking && why._tag === "Replaced"
      ? say(Reply.Reloaded({ pid: why.pid, generation: why.generation })).pipe(
        Effect.zipRight(Effect.timeoutOption(Deferred.await(leaving), longestHearing)),
        Effect.map(Option.isSome)
      )
      : Effect.succeed(false)
})

/** A place in the pool for the command. */
export const slot = (
  env: System,
  options: CommandOptions,
  place: { readonly name: string; readonly index: number }
): SlotSpec => {
  const { settings } = options
  return {
    ...place,
    restart: settings.restart,
    // It was taken for ready by a warm-up that was too short, and would go on failing in the same way.
    givesUp: (status) =>
      settings.restart === "on-failure" && status._tag === "Exited" && status.code !== 0 && options.isUnready(),
    fatal: true,
    serves: false,
    revives: true,
    check: Effect.asVoid(lookUp(env, settings)),
    start: ({ generation }) =>
      Effect.gen(function*() {
        const child = yield* options.sockets.use(spawn(options, generation, place.index))
        yield* options.onStart(child, generation)
        const tellReloaded = yield* hearReloads(child, options)
        let isRetired = false
        const member: Member = {
          pid: child.pid,
          line: Option.getOrUndefined(Option.map(child.channel, relay.ofCommand)),
          ready: waitUntilReady(env, child, readinessOf(options), settings.readyTimeout),
          // What it leaves behind is a part of it, but must not hold up a restart.
          exit: Effect.tap(child.exit, () => isRetired ? options.gone(child) : Effect.void),
          retire: (why) =>
            Effect.gen(function*() {
              isRetired = true
              if ((yield* tellReloaded(why)) || (yield* options.hasHeard(child.pid))) return
              yield* child.signal(settings.stopSignal)
            }).pipe(Effect.zipRight(options.onRetire(child))),
          forEachAnswer: () => Effect.void,
          olderGone: Effect.asVoid(child.tell(encode(Word.OlderGone()))),
          locked: () => Effect.void,
          signal: child.signal
        }
        return member
      }).pipe(Effect.provideService(Env, env))
  }
}
