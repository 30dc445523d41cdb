/**
 * Options of a drain, checked when a server begins to be followed.
 *
 * @internal
 */
import * as Duration from "effect/Duration"
import * as Either from "effect/Either"
import type { Options } from "../../Drain.ts"
import type { InvalidOptionError } from "../../TableflipError.ts"
import { decodeDuration, invalid } from "../options.ts"

export interface Settings {
  readonly drainTimeout: Duration.Duration
  readonly idleMillis: number
  readonly hookTimeout: Duration.Duration
  readonly lingerMillis: number
  readonly spreadMillis: number
  readonly webSocketCode: 1012 | 1001
}

/** What is wrong is named with what the options lie in, if it is not the call itself. */
export const decode = (options: Options = {}, within = ""): Either.Either<Settings, InvalidOptionError> =>
  Either.gen(function*() {
    const drainTimeout = yield* decodeDuration(`${within}drainTimeout`, options.drainTimeout ?? "30 seconds", true)
    const idle = yield* decodeDuration(`${within}idleTimeout`, options.idleTimeout ?? "10 seconds", true)
    const hook = yield* decodeDuration(`${within}hookTimeout`, options.hookTimeout ?? "5 seconds", true)
    const linger = yield* decodeDuration(`${within}lingerTimeout`, options.lingerTimeout ?? "2 seconds", true)
    const spread = yield* decodeDuration(`${within}webSocketSpread`, options.webSocketSpread ?? "1 second", true)
    const webSocketCode: number = options.webSocketCloseCode ?? 1012
    if (webSocketCode !== 1012 && webSocketCode !== 1001) {
      return yield* invalid(`${within}webSocketCloseCode`, webSocketCode, "1012 or 1001")
    }
    return {
      drainTimeout,
      idleMillis: Duration.toMillis(Duration.min(idle, drainTimeout)),
      hookTimeout: Duration.min(hook, drainTimeout),
      lingerMillis: Duration.toMillis(linger),
      spreadMillis: Duration.toMillis(spread),
      webSocketCode
    }
  })
