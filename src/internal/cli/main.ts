/**
 * The command `tableflip`.
 *
 * @internal
 */
import * as Command from "@effect/cli/Command"
import * as HelpDoc from "@effect/cli/HelpDoc"
import * as ValidationError from "@effect/cli/ValidationError"
import * as NodeContext from "@effect/platform-node/NodeContext"
import * as Cause from "effect/Cause"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Queue from "effect/Queue"
import * as fs from "node:fs"
import * as tty from "node:tty"
import { stripVTControlCharacters } from "node:util"
import { isFile } from "../../Address.ts"
import * as Env from "../../Env.ts"
import type { BuildError } from "../../Supervisor.ts"
import * as Supervisor from "../../Supervisor.ts"
import type { InvalidOptionError } from "../../TableflipError.ts"
import * as writer from "../node/writer.ts"
import * as exitCode from "./exitCode.ts"
import * as log from "./log.ts"
import type { Parsed } from "./options.ts"
import * as options from "./options.ts"

export interface Runtime {
  /** Called when signals are looked after. */
  readonly onRunning: () => void
}

const say = (message: string) => Effect.sync(() => writer.to(2).line(`tableflip: ${message}`))

const badArguments = (message: string) => Effect.as(say(`${message}. See tableflip run --help`), exitCode.badArguments)

const toOptions = (
  parsed: Parsed,
  [name = "", ...args]: ReadonlyArray<string>
): Either.Either<Supervisor.Options, string> =>
  Either.gen(function*() {
    const readiness = yield* options.readinessOf(parsed)
    const mode = Option.getOrUndefined(parsed.mode)
    const backlog = Option.getOrUndefined(parsed.backlog)
    if (mode !== undefined && !parsed.listen.some(({ address }) => isFile(address))) {
      return yield* Either.left("--mode goes with --listen unix:…")
    }
    if (parsed.leaveRunning && parsed.killAtExit) {
      return yield* Either.left("--leave-running and --kill-at-exit contradict each other")
    }
    const inherits = tty.isatty(1) || parsed.leaveRunning
    const output = Option.getOrElse(parsed.output, () => inherits ? "inherit" : "capture")
    if (parsed.leaveRunning && output === "capture") {
      return yield* Either.left(
        "--leave-running and --output capture exclude each other: the output would end with tableflip"
      )
    }
    const maxRestarts = Option.getOrUndefined(parsed.maxRestarts)
    return {
      command: { name, args, directory: Option.getOrUndefined(parsed.cwd) },
      listen: parsed.listen.map(({ address, name }) => ({
        name,
        address: { ...address, backlog, ...isFile(address) ? { mode } : {} }
      })),
      readiness,
      readyTimeout: Option.getOrUndefined(parsed.readyTimeout),
      stopSignal: Option.getOrUndefined(parsed.stopSignal),
      stopTimeout: Option.getOrUndefined(parsed.stopTimeout),
      restart: Option.getOrUndefined(parsed.restart),
      restartDelay: Option.getOrUndefined(parsed.restartDelay),
      maxRestartDelay: Option.getOrUndefined(parsed.maxRestartDelay),
      maxRestarts,
      workers: Option.getOrUndefined(parsed.workers),
      strategy: parsed.allAtOnce ? "all" : { rolling: 1 },
      environmentFiles: parsed.envFile,
      capture: output === "capture",
      leaveRunning: parsed.leaveRunning,
      pidFile: Option.getOrUndefined(parsed.pidFile)
    }
  })

const announce = Effect.gen(function*() {
  yield* Effect.logInfo(`process ${process.pid} takes over; SIGHUP reloads, SIGTERM stops`)
  if (process.pid !== 1) return
  yield* Effect.logInfo(
    "This is process 1. Node cannot reap processes that others have left behind; where the command leaves some, run " +
      "with an init in front (docker run --init, or tini)"
  )
})

const supervise = (parsed: Parsed, { onRunning }: Runtime) =>
  Effect.gen(function*() {
    const supervisor = yield* Supervisor.Supervisor
    const events = yield* supervisor.events
    yield* announce
    yield* Queue.take(events).pipe(Effect.flatMap(log.event), Effect.forever, Effect.forkScoped)
    onRunning()
    const exit = yield* Effect.exit(Supervisor.launch({ leaveRunning: parsed.leaveRunning }))
    yield* Effect.flatMap(Queue.takeAll(events), Effect.forEach(log.event, { discard: true }))
    return yield* exit
  }).pipe(Effect.scoped)

const toKebabCase = (name: string) => name.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)

type Failure = BuildError | Effect.Effect.Error<ReturnType<typeof supervise>>

const run = (parsed: Parsed, command: ReadonlyArray<string>, verbosity: number, runtime: Runtime) =>
  Either.match(toOptions(parsed, command), {
    onLeft: badArguments,
    onRight: (options) =>
      supervise(parsed, runtime).pipe(
        Effect.provide(Layer.merge(Supervisor.layerWith(options), Layer.empty)),
        Effect.provide(Env.layer),
        Effect.map(exitCode.ofStatus),
        Effect.catchTag("InvalidOptionError", ({ expected, option, value }) =>
          badArguments(`--${toKebabCase(option)} is ${value}; it must be ${expected}`)),
        Effect.catchAll((error: Exclude<Failure, InvalidOptionError>) =>
          Effect.as(Effect.logError(error.message), exitCode.ofError(error))
        ),
        Effect.catchAllCause((cause) =>
          Effect.as(Effect.logFatal("This is a bug in tableflip", cause), 1)
        ),
        Effect.provide(log.layer({ format: parsed.logFormat, quiet: parsed.quiet, verbosity }))
      )
  })

const version = (): string =>
  (JSON.parse(fs.readFileSync(new URL("../../../package.json", import.meta.url), "utf8")) as { version: string })
    .version

/** `-v` can be given several times, which the parser of options does not know. */
const countVerbose = (args: ReadonlyArray<string>) => {
  const isVerbose = (arg: string) => arg === "--verbose" || /^-v+$/.test(arg)
  const count = args.filter(isVerbose).reduce((sum, arg) => sum + (arg.startsWith("--") ? 1 : arg.length - 1), 0)
  const rest = args.filter((arg) => !isVerbose(arg))
  return { count, rest }
}

/** What the parser prints of a bad argument is its help on it; ours is one line. Colours are for terminals. */
const printing = (console: Console.Console): Console.Console => ({
  ...console,
  log: (...texts) =>
    console.log(...tty.isatty(1) ? texts : texts.map((text) => stripVTControlCharacters(String(text)))),
  error: () => Effect.void
})

const helps = ["--help", "-h", "--version", "--wizard", "--completions"]

/** The arguments, without Node and the script; the outcome is the exit code. */
export const main = (args: ReadonlyArray<string>, runtime: Runtime): Promise<number> => {
  const separator = args.indexOf("--")
  const own = separator < 0 ? args : args.slice(0, separator)
  const command = separator < 0 ? [] : args.slice(separator + 1)
  const verbose = countVerbose(own)
  const [subcommand] = own
  let code = 0

  const runCommand = Command.make(
    "run",
    options.all,
    (parsed) => Effect.map(run(parsed, command, verbose.count, runtime), (result) => void (code = result))
  ).pipe(Command.withDescription(
    "tableflip run [options] -- command [args…] runs a command under one process id that stays. SIGHUP starts it anew and " +
      "stops the old one once the new one is ready."
  ))
  const app = Command.make("tableflip").pipe(
    Command.withDescription("Zero-downtime reloads for any program."),
    Command.withSubcommands([runCommand])
  )

  // The parser would take it for an option that is not there.
  if (own.includes("")) return Effect.runPromise(badArguments("an argument is empty"))
  const isHelp = own.some((arg) => helps.includes(arg))
  if (subcommand === "run" && !isHelp && command.length === 0) {
    const missing = separator < 0
      ? "the command is missing: put it after the options, with -- in between, as in tableflip run --listen 8080 -- node app.js"
      : "the command is missing: nothing follows --"
    return Effect.runPromise(badArguments(missing))
  }
  const line = ["node", "tableflip", ...args.length === 0 ? ["--help"] : verbose.rest]
  const program = Command.run(app, { name: "tableflip", version: version(), executable: "tableflip" })(line)
    .pipe(
      Effect.catchIf(ValidationError.isValidationError, (error) => {
        const text = stripVTControlCharacters(HelpDoc.toAnsiText(error.error)).trim().replaceAll(/\s*\n\s*/g, " ")
        return Effect.map(badArguments(text.replace(/\.$/, "")), (result) => void (code = result))
      }),
      Effect.provide(NodeContext.layer)
    )
  const quietly = Console.consoleWith((console) => Effect.withConsole(program, printing(console)))
  return new Promise((resolve) => {
    Effect.runCallback(quietly, {
      onExit: (exit) => {
        if (Exit.isFailure(exit)) writer.to(2).line(`tableflip: ${Cause.pretty(exit.cause)}`)
        resolve(Exit.isFailure(exit) ? 1 : code)
      }
    })
  })
}
