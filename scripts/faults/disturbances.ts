/** What is done to processes from outside. */
import * as Effect from "effect/Effect"
import { isAlive } from "../../test/kit/proc.ts"
import { signal } from "../../test/kit/processes.ts"
import { eventually } from "../../test/kit/waiting.ts"

/** Requests of a process that is gone from one moment to the next. */
export const cut = /ECONNRESET|EPIPE|socket hang up/

/** The same where there is no other process. */
export const nobodyElse = /ECONNRESET|EPIPE|socket hang up|ECONNREFUSED/

/** Sends a signal that ends the process, and waits until it has. */
export const end = (pid: number, name: NodeJS.Signals): Effect.Effect<void> =>
  Effect.zipRight(
    signal(pid, name),
    Effect.asVoid(eventually(`process ${pid} to end`, () => !isAlive(pid), { within: "40 seconds" }))
  )

/** Processes that do nothing for a while. */
export const freeze = (pids: ReadonlyArray<number>, milliseconds: number): Effect.Effect<void> =>
  Effect.forEach(pids, (pid) => signal(pid, "SIGSTOP")).pipe(
    Effect.zipRight(Effect.sleep(milliseconds)),
    Effect.zipRight(Effect.forEach(pids, (pid) => isAlive(pid) ? signal(pid, "SIGCONT") : Effect.void)),
    Effect.asVoid
  )
