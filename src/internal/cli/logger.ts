/**
 * How the lines of tableflip's log come from Effect's.
 *
 * @internal
 */
import * as Cause from "effect/Cause"
import * as HashMap from "effect/HashMap"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as LogLevel from "effect/LogLevel"

export interface Line {
  readonly date: Date
  /** In capitals. */
  readonly level: string
  readonly message: unknown
  /** Nothing where nothing has failed. */
  readonly cause: string | undefined
  readonly annotations: Readonly<Record<string, unknown>>
}

const levels = { Error: LogLevel.Error, Info: LogLevel.Info, Debug: LogLevel.Debug, All: LogLevel.All }

export const layer = (least: "Error" | "Info" | "Debug" | "All", write: (line: Line) => void): Layer.Layer<never> => {
  const logger = Logger.make<unknown, void>(({ annotations, cause, date, logLevel, message }) =>
    write({
      date,
      level: logLevel.label,
      message,
      cause: Cause.isEmpty(cause) ? undefined : Cause.pretty(cause),
      annotations: Object.fromEntries(HashMap.toEntries(annotations))
    })
  )
  return Layer.merge(Logger.replace(Logger.defaultLogger, logger), Logger.minimumLogLevel(levels[least]))
}
