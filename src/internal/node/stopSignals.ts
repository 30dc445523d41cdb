/**
 * One press of Ctrl-C can arrive twice within a few milliseconds, from the terminal and from a wrapper such as npm, and a
 * supervisor may signal a group as well as its leader. `NodeRuntime.runMain` hears the first and then lets go of both
 * signals, so that the second would end the process at once: with its connections, and with its PID file left behind.
 *
 * A library that handles signals may send this process the one that it has heard once more when it has cleaned up, so that
 * the process ends by it. Here somebody else has heard it too, and ends the process when nothing is being served any more.
 *
 * @internal
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Runtime from "effect/Runtime"
import type * as Scope from "effect/Scope"
import { constants } from "node:os"
import { logWarning } from "../logging.ts"
import { samePress } from "../signals.ts"

const stopSignals = ["SIGTERM", "SIGINT"] as const

const stopSignalOf = (signal: string | number): NodeJS.Signals | undefined =>
  stopSignals.find((name) => signal === name || signal === constants.signals[name])

const sayRaised = (signal: NodeJS.Signals) =>
  logWarning(
    `This process has sent ${signal} to itself while it stops, which does not end it sooner: a library that handles signals ` +
      "raises them anew when it has cleaned up (signal-exit and others do)"
  )

/** Keeps this process from telling itself to stop again, once it has been told, unless `onRaised` lets it. */
const holdRaised = (isStopping: () => boolean, onRaised: (signal: NodeJS.Signals) => boolean) => {
  const { kill } = process
  const held: typeof kill = (pid, signal = "SIGTERM") => {
    const raised = pid === process.pid && isStopping() ? stopSignalOf(signal) : undefined
    return raised === undefined || onRaised(raised) ? kill.call(process, pid, signal) : true
  }
  process.kill = held
  return {
    kill: kill.bind(process),
    restore: () => {
      if (process.kill === held) process.kill = kill
    }
  }
}

/**
 * From the first stop signal that somebody handles on, those of the same press do not end the process, and neither do those
 * that it sends to itself until the scope is closed. One that nobody handles does what it does without us, and so does one
 * that comes later.
 */
export const hold: Effect.Effect<void, never, Scope.Scope> = Effect.asVoid(Effect.acquireRelease(
  Effect.map(Effect.runtime(), (runtime) => {
    let heardAt: number | undefined
    let isOver = false
    const isStopping = () => heardAt !== undefined
    const { kill, restore } = holdRaised(isStopping, (signal) => {
      // Nothing is served any more, and an app may end by the signal with which it was told to.
      if (isOver) letGo()
      else void Runtime.runSyncExit(runtime)(sayRaised(signal))
      return isOver
    })
    const listeners = stopSignals.map((signal) => {
      // Before those of others, which may take themselves away when they are called.
      const onSignal = () => {
        const now = performance.now()
        if (process.listenerCount(signal) > 1) {
          heardAt = now
        } else if (heardAt === undefined || now - heardAt >= Duration.toMillis(samePress)) {
          process.off(signal, onSignal)
          kill(process.pid, signal)
        }
      }
      process.prependListener(signal, onSignal)
      return { signal, onSignal }
    })
    const letGo = () => {
      restore()
      for (const { onSignal, signal } of listeners) process.off(signal, onSignal)
    }
    return () => {
      isOver = true
      // The same press may outlast a drain that has nothing to do.
      if (!isStopping()) letGo()
    }
  }),
  Effect.sync
))
