/**
 * What a service manager is told: this process speaks for its command, whose process ids come and go.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import type { Env } from "../../Env.ts"

/** Variables that are for this process. A command that found them would speak as if it were the service. */
export const variables = ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"] as const

export interface ServiceManager {
  readonly ready: Effect.Effect<void>
  readonly reloading: Effect.Effect<void>
  readonly stopping: Effect.Effect<void>
  /** Says again and again that this process is well, if that is asked for. */
  readonly keepWatchdog: Effect.Effect<void>
}

export const make = (env: Env["Type"]): Effect.Effect<ServiceManager> =>
  Effect.gen(function*() {
    const { NOTIFY_SOCKET, WATCHDOG_PID, WATCHDOG_USEC } = yield* env.variables
    const turn = yield* Effect.makeSemaphore(1)
    const tell = (...state: ReadonlyArray<string>) =>
      NOTIFY_SOCKET === undefined ? Effect.void : turn.withPermits(1)(env.tellServiceManager(state))
    const micros = Number(WATCHDOG_USEC)
    const isWatched = micros > 0 && (WATCHDOG_PID === undefined || WATCHDOG_PID === String(env.pid))
    return {
      ready: tell("READY=1", "STATUS=Serving"),
      // Type=notify-reload waits for the READY=1 after this.
      reloading: Effect.suspend(() =>
        tell("RELOADING=1", `MONOTONIC_USEC=${process.hrtime.bigint() / 1_000n}`, "STATUS=Reloading")
      ),
      stopping: tell("STOPPING=1", "STATUS=Stopping"),
      keepWatchdog: isWatched
        ? Effect.forever(Effect.zipRight(tell("WATCHDOG=1"), Effect.sleep(micros / 1_000 / 3)))
        : Effect.never
    }
  })
