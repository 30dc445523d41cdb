/**
 * How the lines of tableflip's log come from Effect's.
 *
 * @internal
 */
import * as Cause from "effect/Cause"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as References from "effect/References"

export interface Line {
  readonly date: Date
  /** In capitals. */
  readonly level: string
  readonly message: unknown
  /** Nothing where nothing has failed. */
  readonly cause: string | undefined
  readonly annotations: Readonly<Record<string, unknown>>
}

export const layer = (least: "Error" | "Info" | "Debug" | "All", write: (line: Line) => void): Layer.Layer<never> => {
  const logger = Logger.make<unknown, void>(({ cause, date, fiber, logLevel, message }) =>
    write({
      date,
      level: logLevel.toUpperCase(),
      message,
      cause: cause.reasons.length === 0 ? undefined : Cause.pretty(cause),
      annotations: fiber.getRef(References.CurrentLogAnnotations)
    })
  )
  return Layer.merge(Logger.layer([logger]), Layer.succeed(References.MinimumLogLevel, least))
}
