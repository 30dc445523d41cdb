/**
 * One press of Ctrl-C can arrive twice within a few milliseconds, from the terminal and from a wrapper such as npm, and a
 * supervisor may signal a group as well as its leader. `NodeRuntime.runMain` hears the first and then lets go of both
 * signals, so that the second would end the process at once: with its connections, and with its PID file left behind.
 *
 * @internal
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { samePress } from "../signals.ts"

const stopSignals = ["SIGTERM", "SIGINT"] as const

/**
 * From the first stop signal that somebody handles on, those of the same press do not end the process. One that nobody
 * handles does what it does without us, and so does one that comes later.
 */
export const hold: Effect.Effect<void, never, Scope.Scope> = Effect.asVoid(Effect.acquireRelease(
  Effect.sync(() => {
    let heardAt: number | undefined
    const listeners = stopSignals.map((signal) => {
      // Before those of others, which may take themselves away when they are called.
      const onSignal = () => {
        const now = performance.now()
        if (process.listenerCount(signal) > 1) {
          heardAt = now
        } else if (heardAt === undefined || now - heardAt >= Duration.toMillis(samePress)) {
          process.off(signal, onSignal)
          process.kill(process.pid, signal)
        }
      }
      process.prependListener(signal, onSignal)
      return { signal, onSignal }
    })
    return { listeners, isStopping: () => heardAt !== undefined }
  }),
  ({ isStopping, listeners }) =>
    Effect.sync(() => {
      // The same press may outlast a drain that has nothing to do.
      if (isStopping()) return
      for (const { onSignal, signal } of listeners) process.off(signal, onSignal)
    })
))
