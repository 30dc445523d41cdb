/**
 * What the command says: on standard error, a line for each thing that happens.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import * as ExitStatus from "../../ExitStatus.ts"
import type { PoolEvent, ProcessName } from "../../PoolEvent.ts"
import { PoolEvent as Event } from "../../PoolEvent.ts"
import { failureFields } from "../logging.ts"
import * as writer from "../node/writer.ts"
import type { Line } from "./logger.ts"
import * as logger from "./logger.ts"
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

const fullText = ({ cause, message }: Line): string => {
  const text = translate(textOf(message))
  return cause === undefined ? text : `${text}\n${cause}`
}

const human = (line: Line): string =>
  `${line.date.toISOString()} ${line.level.padEnd(5)} tableflip: ${fullText(line).replaceAll("\n", "\n  ")}`

const json = (line: Line): string =>
  JSON.stringify({
    time: line.date.toISOString(),
    level: line.level.toLowerCase(),
    message: fullText(line),
    supervisor: process.pid,
    ...line.annotations
  })

export const layer = ({ format, quiet, verbosity }: LogOptions): Layer.Layer<never> => {
  const written = format === "json" ? json : human
  return logger.layer(
    quiet ? "Error" : verbosity === 0 ? "Info" : verbosity === 1 ? "Debug" : "All",
    (line) => writer.to(2).line(written(line))
  )
}

const subject = ({ generation, pid }: ProcessName) => `generation ${generation}: process ${pid}`

const words: (event: PoolEvent) => string = Event.$match({
  Started: (event) => `${subject(event)} has been started`,
  Ready: (event) => `${subject(event)} is ready`,
  Retired: (event) => `${subject(event)} is told to stop`,
  RecycleRequested: (event) => `${subject(event)} asks to be replaced`,
  Unresponsive: (event) => `${subject(event)} does not respond and gets SIGKILL`,
  Killed: (event) => `${subject(event)} gets SIGKILL`,
  Exited: (event) => `${subject(event)} ${ExitStatus.describe(event.status)}${event.expected ? "" : ", by itself"}`,
  StartFailed: ({ name }) => `${name} has not come up again`,
  Replaced: ({ generation }) => `generation ${generation} has taken over, and the older processes have ended`,
  ReplaceFailed: ({ error, generation }) =>
    error.stopped !== undefined
      ? `generation ${generation} has not come up, and the older one had been stopped first`
      : error.replaced === 0
      ? `generation ${generation} has not come up, the older one goes on`
      : `generation ${generation} has come up in part, ${error.kept} older process(es) go on`,
  Resized: ({ from, to }) => `${to} process(es) instead of ${from}`,
  Stopped: ({ killed }) => killed === 0 ? "everything has stopped" : `everything has stopped, ${killed} by SIGKILL`
})

const isFailure = Event.$is("ReplaceFailed")

const fieldsOf = ({ _tag, ...fields }: PoolEvent): Record<string, unknown> => ({
  event: _tag,
  ...fields,
  ..."error" in fields ? { ...failureFields(fields.error), detail: translate(fields.error.message) } : {},
  ..."status" in fields
    ? {
      status: ExitStatus.describe(fields.status),
      ...fields.status._tag === "Exited" ? { exitCode: fields.status.code } : { signal: fields.status.signal }
    }
    : {}
})

/** A line for an event, which in JSON has its fields. The error of one that failed is logged by who asked for it. */
export const event = (event: PoolEvent): Effect.Effect<void> =>
  Effect.annotateLogs((isFailure(event) ? Effect.logWarning : Effect.logInfo)(words(event)), fieldsOf(event))
