/**
 * Whether clients should be sent to this process: what a load balancer asks before it does so.
 *
 * @since 3.0.0
 * @module
 */
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type * as http from "node:http"
import { Upgrader } from "./Upgrader.ts"

/**
 * How a process is taken out of service.
 *
 * @since 3.0.0
 * @category configuration
 */
export interface Options {
  /**
   * How long this process goes on accepting after it was told to stop, so that whoever sends clients here has asked by then
   * and sends no more; not at all by default. An upgrade does not wait for it. It is shorter than `drain.hookTimeout` (5
   * seconds), which cuts it off.
   */
  readonly delay?: Duration.DurationInput | undefined
}

/**
 * Whether clients should be sent to this process, in the forms in which that is asked.
 *
 * @since 3.0.0
 * @category models
 */
export interface Health {
  /**
   * Whether clients should be sent here: from when this process is ready until it is told to stop. An upgrade changes nothing,
   * neither while it goes on nor in the old process afterwards, for the same address is served.
   */
  readonly isReady: Effect.Effect<boolean>
  /** Answers a request of `node:http`: 204, or 503 if clients should go elsewhere. */
  readonly answer: (response: http.ServerResponse) => void
}

/**
 * The health of this process, as its upgrader knows it.
 *
 * @since 3.0.0
 * @category constructors
 */
export const make = (options?: Options): Effect.Effect<Health, never, Upgrader | Scope.Scope> =>
  Effect.gen(function*() {
    const upgrader = yield* Upgrader
    const isReady = Effect.map(upgrader.status, ({ state }) => state !== "starting" && state !== "stopping")
    const delay = options?.delay
    if (delay !== undefined) {
      yield* upgrader.onDrain(({ _tag }) => _tag === "Stopped" ? Effect.sleep(delay) : Effect.void)
    }
    return {
      isReady,
      answer: (response) => {
        response.writeHead(Effect.runSync(isReady) ? 204 : 503).end()
      }
    }
  })
