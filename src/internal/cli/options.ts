/**
 * The options of `tableflip run`.
 *
 * @internal
 */
import * as HelpDoc from "@effect/cli/HelpDoc"
import * as Options from "@effect/cli/Options"
import * as ValidationError from "@effect/cli/ValidationError"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import { constants } from "node:os"
import * as Readiness from "../../Readiness.ts"
import * as listenSpec from "./listenSpec.ts"

const invalid = (message: string) => ValidationError.invalidValue(HelpDoc.p(message))

const parsed = <A, B>(self: Options.Options<A>, parse: (value: A) => Either.Either<B, string>): Options.Options<B> =>
  Options.mapEffect(self, (value) => Effect.mapError(parse(value), invalid))

const each = <A, B>(parse: (value: A) => Either.Either<B, string>) => (values: ReadonlyArray<A>) =>
  Either.all(values.map(parse))

const maybe = <A, B>(parse: (value: A) => Either.Either<B, string>) => (value: Option.Option<A>) =>
  Option.isNone(value) ? Either.right(Option.none<B>()) : Either.map(parse(value.value), Option.some)

const notNegative = (name: string) => (value: number): Either.Either<number, string> =>
  Number.isFinite(value) && value >= 0
    ? Either.right(value)
    : Either.left(`--${name} must be a number of seconds from 0`)

/** In milliseconds. */
const seconds = (name: string, description: string) =>
  parsed(
    Options.optional(Options.withDescription(Options.withPseudoName(Options.float(name), "SECONDS"), description)),
    maybe((value) => Either.map(notNegative(name)(value), (value) => value * 1_000))
  )

const wholeNumber = (name: string, least: number) => (value: number): Either.Either<number, string> =>
  value >= least ? Either.right(value) : Either.left(`--${name} must be a whole number from ${least}`)

const count = (name: string, least: number, description: string) =>
  parsed(
    Options.optional(Options.withDescription(Options.withPseudoName(Options.integer(name), "N"), description)),
    maybe(wholeNumber(name, least))
  )

const parseMode = (text: string): Either.Either<number, string> =>
  /^[0-7]{3,4}$/.test(text)
    ? Either.right(Number.parseInt(text, 8))
    : Either.left(`--mode is ${JSON.stringify(text)}; it must be permissions in octal, such as 660`)

const parseSignal = (text: string): Either.Either<NodeJS.Signals, string> => {
  const name = `SIG${text.toUpperCase().replace(/^SIG/, "")}`
  const signal = name in constants.signals
    ? name
    : Object.entries(constants.signals).find(([, number]) => String(number) === text)?.[0]
  return signal === undefined
    ? Either.left(`--stop-signal is ${JSON.stringify(text)}; it must be a signal, such as TERM or QUIT`)
    : Either.right(signal as NodeJS.Signals)
}

const parseMaxRestarts = (text: string): Either.Either<{ count: number; within: number }, string> => {
  const [, count, within] = /^(\d+)\/(\d+(?:\.\d+)?)$/.exec(text) ?? []
  return Number(count) > 0 && Number(within) > 0
    ? Either.right({ count: Number(count), within: Number(within) * 1_000 })
    : Either.left(
      `--max-restarts is ${JSON.stringify(text)}; it must be a number of restarts and of seconds, such as 5/60`
    )
}

const parseUrl = (text: string): Either.Either<URL, string> =>
  URL.canParse(text) && /^https?:/.test(text)
    ? Either.right(new URL(text))
    : Either.left(`--ready-http is ${JSON.stringify(text)}; it must be a URL, such as http://127.0.0.1:8080/health`)

const parseTarget = (text: string): Either.Either<{ readonly host: string; readonly port: number }, string> => {
  const target = listenSpec.parseHostPort(text)
  return target === undefined || target.host === ""
    ? Either.left(`--ready-tcp is ${JSON.stringify(text)}; it must be a host and a port, such as 127.0.0.1:8080`)
    : Either.right(target)
}

const optionalText = (name: string, placeholder: string, description: string) =>
  Options.optional(Options.withDescription(Options.withPseudoName(Options.text(name), placeholder), description))

const flag = (name: string, description: string) => Options.withDescription(Options.boolean(name), description)

export const all = {
  listen: parsed(
    Options.repeated(Options.withDescription(
      Options.withPseudoName(Options.text("listen"), "ADDRESS"),
      "A socket for the command, at descriptor 3, 4, … and in LISTEN_FDS: 8080, 127.0.0.1:8080, [::1]:8080 or " +
        "unix:/run/app.sock, with a name in front if wanted: web=8080. May be given several times."
    )),
    each(listenSpec.parse)
  ),
  mode: parsed(
    optionalText("mode", "OCTAL", "Permissions of the Unix sockets; by default what the umask leaves."),
    maybe(parseMode)
  ),
  backlog: count("backlog", 1, "Length of the accept queues; 511 by default."),
  readyFd: count("ready-fd", 3, "Ready when the command writes a newline to this descriptor, as s6 has it."),
  readyHttp: parsed(
    optionalText("ready-http", "URL", "Ready when the new process answers this request with a status from 200 to 399."),
    maybe(parseUrl)
  ),
  readyTcp: parsed(
    optionalText("ready-tcp", "HOST:PORT", "Ready when the new process accepts a connection there."),
    maybe(parseTarget)
  ),
  readyWire: flag(
    "ready-wire",
    "Ready when the command says so by the protocol of effect-tableflip, and in no other way."
  ),
  warmup: parsed(
    Options.optional(
      Options.float("warmup").pipe(
        Options.withAlias("w"),
        Options.withAlias("warmup-time"),
        Options.withPseudoName("SECONDS"),
        Options.withDescription("Ready when the command is alive after that time; this is the default, with 1 second.")
      )
    ),
    maybe((value) => Either.map(notNegative("warmup")(value), (value) => value * 1_000))
  ),
  readyTimeout: seconds("ready-timeout", "How long the command may take until it is ready; 60 by default."),
  probeInterval: seconds(
    "ready-interval",
    "The pause between two probes of --ready-http or --ready-tcp; 0.1 by default."
  ),
  probeTimeout: seconds("ready-probe-timeout", "How long one probe may take; 1 by default."),
  stopSignal: parsed(
    optionalText("stop-signal", "SIGNAL", "What tells the command to stop; TERM by default."),
    maybe(parseSignal)
  ),
  stopTimeout: seconds("stop-timeout", "How long it may take to stop before it gets KILL; 30 by default."),
  leaveRunning: flag("leave-running", "Leave the command alone when tableflip ends."),
  killAtExit: Options.withAlias(
    flag(
      "kill-at-exit",
      "Stop the command when tableflip ends, which is what happens anyway; for those who know it from hupwatch."
    ),
    "k"
  ),
  restart: Options.optional(
    Options.withDescription(
      Options.choice("restart", ["always", "on-failure", "never"]),
      "Whether a command that ends by itself is started again; on-failure by default."
    )
  ),
  restartDelay: seconds("restart-delay", "The pause before a restart, which doubles each time; 0.1 by default."),
  maxRestartDelay: seconds("restart-max-delay", "The longest pause; 10 by default."),
  maxRestarts: parsed(
    optionalText("max-restarts", "N/SECONDS", "Give up after N restarts in so many seconds; never by default."),
    maybe(parseMaxRestarts)
  ),
  workers: count("workers", 1, "How many copies of the command run on the same sockets; 1 by default."),
  allAtOnce: flag("all-at-once", "Replace all copies at once, rather than one after the other."),
  pidFile: optionalText("pid-file", "PATH", "Where to write the process id of tableflip."),
  cwd: optionalText("cwd", "DIRECTORY", "Where to start the command; looked up at each start, symbolic links and all."),
  envFile: Options.repeated(Options.withDescription(
    Options.withPseudoName(Options.text("env-file"), "PATH"),
    "Variables for the command, NAME=value; read at each start. May be given several times."
  )),
  output: Options.optional(
    Options.withDescription(
      Options.choice("output", ["capture", "inherit"]),
      "capture passes on what the command prints, and shows the last lines when it fails to start; inherit gives it our own " +
        "output. By default capture, and inherit in a terminal and with --leave-running."
    )
  ),
  verbose: Options.withAlias(flag("verbose", "Say more; -vv says everything."), "v"),
  quiet: Options.withAlias(flag("quiet", "Say only what went wrong."), "q"),
  logFormat: Options.withDefault(
    Options.withDescription(Options.choice("log-format", ["human", "json"]), "How to say it; human by default."),
    "human" as const
  )
}

export type Parsed = { readonly [K in keyof typeof all]: (typeof all)[K] extends Options.Options<infer A> ? A : never }

/** The one way that was named, or what is wrong with those that were. */
export const readinessOf = (
  { probeInterval, probeTimeout, readyFd, readyHttp, readyTcp, readyWire, warmup }: Parsed
): Either.Either<Readiness.Readiness | undefined, string> => {
  const probing = {
    interval: Option.getOrUndefined(probeInterval),
    timeout: Option.getOrUndefined(probeTimeout)
  }
  const named: ReadonlyArray<Readiness.Readiness> = [
    ...Option.toArray(readyFd).map((number) => Readiness.Descriptor({ number })),
    ...Option.toArray(readyHttp).map((url) => Readiness.Http({ url, ...probing })),
    ...Option.toArray(readyTcp).map((target) => Readiness.Tcp({ ...target, ...probing })),
    ...readyWire ? [Readiness.Wire] : [],
    ...Option.toArray(warmup).map((duration) => Readiness.Warmup({ duration }))
  ]
  if (named.length > 1) {
    return Either.left("only one of --ready-fd, --ready-http, --ready-tcp, --ready-wire and --warmup can be given")
  }
  const isProbe = named[0]?._tag === "Http" || named[0]?._tag === "Tcp"
  return !isProbe && (Option.isSome(probeInterval) || Option.isSome(probeTimeout))
    ? Either.left("--ready-interval and --ready-probe-timeout go with --ready-http or --ready-tcp")
    : Either.right(named[0])
}
