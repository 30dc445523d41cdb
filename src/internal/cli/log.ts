/**
 * What the command says: on standard error, a line for each thing that happens.
 *
 * @internal
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as HashMap from "effect/HashMap"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as LogLevel from "effect/LogLevel"
import * as ExitStatus from "../../ExitStatus.ts"
import type { PoolEvent, ProcessName } from "../../PoolEvent.ts"
import { PoolEvent as Event } from "../../PoolEvent.ts"
import * as writer from "../node/writer.ts"
import { translate } from "./optionFlags.ts"

export type Format = "human" | "json"

export interface LogOptions {
  readonly format: Format
  readonly quiet: boolean
  /** How many times `-v` was given. */
  readonly verbosity: number
}

const textOf = (message: unknown): string =>
  (Array.isArray(message) ? message : [message]).map((part) =>
    typeof part === "string" ? part : part instanceof Error ? part.message : JSON.stringify(part)
  ).join(" ")

const fullText = ({ cause, message }: Logger.Logger.Options<unknown>): string => {
  const text = translate(textOf(message))
  return Cause.isEmpty(cause) ? text : `${text}\n${Cause.pretty(cause)}`
}

const human = (options: Logger.Logger.Options<unknown>): string =>
  `${options.date.toISOString()} ${options.logLevel.label.padEnd(5)} tableflip: ${
    fullText(options).replaceAll("\n", "\n  ")
  }`

const json = (options: Logger.Logger.Options<unknown>): string =>
  JSON.stringify({
    time: options.date.toISOString(),
    level: options.logLevel.label.toLowerCase(),
    message: fullText(options),
    supervisor: process.pid,
    ...Object.fromEntries(HashMap.toEntries(options.annotations))
  })

const levelOf = ({ quiet, verbosity }: LogOptions): LogLevel.LogLevel =>
  quiet ? LogLevel.Error : verbosity === 0 ? LogLevel.Info : verbosity === 1 ? LogLevel.Debug : LogLevel.All

export const layer = (options: LogOptions): Layer.Layer<never> => {
  const format = options.format === "json" ? json : human
  const logger = Logger.make<unknown, void>((line) => writer.to(2).line(format(line)))
  return Layer.merge(
    Logger.replace(Logger.defaultLogger, logger),
    Logger.minimumLogLevel(levelOf(options))
  )
}

const subject = ({ generation, pid }: ProcessName) => `generation ${generation}: process ${pid}`

const words: (event: PoolEvent) => string = Event.$match({
  Started: (event) => `${subject(event)} has been started`,
  Ready: (event) => `${subject(event)} is ready`,
  Retired: (event) => `${subject(event)} is told to stop`,
  Killed: (event) => `${subject(event)} gets SIGKILL`,
  Exited: (event) => `${subject(event)} ${ExitStatus.describe(event.status)}${event.expected ? "" : ", by itself"}`,
  StartFailed: ({ name }) => `${name} has not come up again`,
  Replaced: ({ generation }) => `generation ${generation} has taken over`,
  ReplaceFailed: ({ error, generation }) =>
    error.replaced === 0
      ? `generation ${generation} has not come up, the older one goes on`
      : `generation ${generation} has come up in part, ${error.kept} older process(es) go on`,
  Resized: ({ from, to }) => `${to} process(es) instead of ${from}`,
  Stopped: ({ killed }) => killed === 0 ? "everything has stopped" : `everything has stopped, ${killed} by SIGKILL`
})

const fieldsOf = ({ _tag, ...fields }: PoolEvent): Record<string, unknown> => ({
  event: _tag,
  ...fields,
  ..."error" in fields ? { error: translate(fields.error.message) } : {},
  ..."status" in fields ? { status: ExitStatus.describe(fields.status) } : {}
})

/** A line for an event, which in JSON has its fields. */
export const event = (event: PoolEvent): Effect.Effect<void> =>
  Effect.annotateLogs(Effect.logInfo(words(event)), fieldsOf(event))
