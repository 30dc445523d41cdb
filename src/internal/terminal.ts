/**
 * SIGHUP has two meanings: a request, and that the terminal is gone, with nobody there any more who could want anything.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { logInfo } from "./logging.ts"
import type { System } from "./system/env.ts"

/**
 * Whether a SIGHUP that has just come says that the terminal of this process is gone. The system sends it at that moment:
 * a process whose terminal has gone without one (`disown` in a shell that ended) takes a later one for a request.
 */
export const watch: (env: Pick<System, "pid" | "terminalOf">) => Effect.Effect<
  { readonly hasHungUp: Effect.Effect<boolean> },
  never,
  Scope.Scope
> = Effect.fnUntraced(function*(env) {
  const isGone = Effect.map(env.terminalOf(env.pid), (terminal) => terminal === "none")
  let had = !(yield* isGone)
  if (had) {
    yield* isGone.pipe(
      Effect.delay("1 second"),
      Effect.repeat({ until: (gone) => gone }),
      // A signal that belongs to it is answered by then.
      Effect.delay("1 second"),
      Effect.zipRight(Effect.sync(() => {
        had = false
      })),
      Effect.zipRight(logInfo("The terminal is gone; SIGHUP is a request from now on")),
      Effect.interruptible,
      Effect.forkScoped
    )
  }
  return { hasHungUp: Effect.map(isGone, (gone) => had && gone) }
})
