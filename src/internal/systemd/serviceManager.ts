/**
 * What a service manager is told, by sd_notify(3). Never which process is the main one: one that learns of it while that is
 * a child of the process before kills it at the next stop.
 *
 * @internal
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import type { System } from "../system/env.ts"

/** Variables that are for this process. A command that found them would speak as if it were the service. */
export const variables = ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"] as const

/** What `OpenFile=` calls the manager's socket, unless something else is agreed upon. */
export const descriptorName = "notify"

export interface ServiceManager {
  /** Whether there is one that wants to know. */
  readonly isThere: boolean
  readonly ready: (words: string) => Effect.Effect<void>
  /** One that has asked for a reload waits for `ready` after this. */
  readonly reloading: (words: string) => Effect.Effect<void>
  readonly stopping: (words: string) => Effect.Effect<void>
  readonly status: (words: string) => Effect.Effect<void>
  /** Has it wait that much longer before it kills. */
  readonly extend: (duration: Duration.Duration, words: string) => Effect.Effect<void>
  /** Says again and again that this process is well, if that is asked for: as often as its event loop comes round. */
  readonly keepWatchdog: Effect.Effect<void>
}

/** How long a further stretch of a stop is, and how often it is asked for. */
export const stretch = Duration.seconds(15)
export const stretchEvery = Duration.seconds(5)

const maxWords = 500

/** One line, of a length that goes into a datagram. */
const status = (words: string) => {
  const line = words.replaceAll(/\s+/g, " ").trim()
  return `STATUS=${line.length > maxWords ? `${line.slice(0, maxWords)}…` : line}`
}

interface Options {
  /** Its socket, connected. */
  readonly socket: Option.Option<number>
  /** Whether this process has taken over from the one that was started, and with it what is expected of that. */
  readonly isSuccessor: boolean
}

export const make: (env: System, options: Options) => Effect.Effect<ServiceManager, never, Scope.Scope> = Effect
  .fnUntraced(function*(env, { isSuccessor, socket }) {
    const { NOTIFY_SOCKET, WATCHDOG_PID, WATCHDOG_USEC } = yield* env.variables
    const isThere = Option.isSome(socket) || NOTIFY_SOCKET !== undefined
    const send = yield* env.notifier(socket)
    const tell = (...state: ReadonlyArray<string>) => isThere ? send(state) : Effect.void
    const micros = Number(WATCHDOG_USEC)
    const isMeant = isSuccessor || WATCHDOG_PID === undefined || WATCHDOG_PID === String(env.pid)
    return {
      isThere,
      ready: (words) => tell("READY=1", status(words)),
      reloading: (words) =>
        Effect.suspend(() => tell("RELOADING=1", `MONOTONIC_USEC=${process.hrtime.bigint() / 1_000n}`, status(words))),
      stopping: (words) => tell("STOPPING=1", status(words)),
      status: (words) => tell(status(words)),
      extend: (duration, words) => tell(`EXTEND_TIMEOUT_USEC=${Duration.toMillis(duration) * 1_000}`, status(words)),
      keepWatchdog: micros > 0 && isMeant
        ? Effect.forever(Effect.zipRight(tell("WATCHDOG=1"), Effect.sleep(micros / 1_000 / 3)))
        : Effect.never
    }
  })

/** Asks for more time as long as what needs it is going on, which has to have an end of its own. */
export const extendDuring = <A, E, R>(
  manager: ServiceManager,
  words: Effect.Effect<string>,
  self: Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> => {
  const extend = Effect.flatMap(words, (words) => manager.extend(stretch, words))
  return manager.isThere
    ? Effect.raceFirst(self, Effect.forever(Effect.zipRight(extend, Effect.sleep(stretchEvery))))
    : self
}
