/**
 * Looking after the sockets while generations of a command come and go. They share them, so one that shuts a socket down
 * on its way out, or removes the path of it, does so for the one that has taken over.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type * as Scope from "effect/Scope"
import { logError, logWarning } from "../logging.ts"
import type { System } from "../system/env.ts"
import type { SocketDamage } from "../system/socket.ts"
import type { Socket } from "./sockets.ts"

/** How often the sockets are looked at while a process stops. */
const interval = "100 millis"

const facts: Record<SocketDamage["what"], string> = {
  ShutDown: "was shut down",
  PathRemoved: "was robbed of its path",
  PathTaken: "is not at its path any more"
}

const repairs: Record<SocketDamage["what"], string> = {
  ShutDown: "it listens again",
  PathRemoved: "the path is there again",
  PathTaken: ""
}

const say = ({ address, problem, what }: SocketDamage) => {
  const fact = `The socket ${address} ${facts[what]} by a process of the command that was to leave it to the next one`
  return problem === undefined
    ? logWarning(`${fact}; ${repairs[what]}. Connections that came meanwhile were refused`)
    : logError(`${fact}, and nobody can connect: ${problem}. Restart tableflip to have a new one`)
}

export interface Watch {
  /** Looks at the sockets until that has completed, and once more then. */
  readonly until: (end: Effect.Effect<void>) => Effect.Effect<void>
  /** Looks at them when that has completed. */
  readonly after: (end: Effect.Effect<void>) => Effect.Effect<void>
}

export const make = Effect.fnUntraced(function*(
  env: System,
  sockets: ReadonlyArray<Socket>,
  isEnding: () => boolean
) {
  const scope: Scope.Scope = yield* Effect.scope
  const guarded = sockets.flatMap(({ address, descriptor }) => address === undefined ? [] : [{ address, descriptor }])
  const look = yield* env.guardSockets(guarded)
  const turn = yield* Effect.makeSemaphore(1)
  const said = new Set<string>()
  const lookOnce = (connects: boolean) =>
    Effect.suspend(() => isEnding() ? Effect.succeed([]) : look({ connects })).pipe(
      Effect.flatMap(Effect.forEach((damage) => {
        const key = `${damage.what} ${damage.address}`
        const isNew = damage.problem === undefined || !said.has(key)
        said.add(key)
        return isNew ? say(damage) : Effect.void
      }, { discard: true })),
      turn.withPermits(1)
    )
  const fork = (effect: Effect.Effect<void>) =>
    guarded.length === 0 ? Effect.void : Effect.asVoid(Effect.forkIn(Effect.interruptible(effect), scope))
  const watch: Watch = {
    until: (end) =>
      fork(Effect.gen(function*() {
        const looking = yield* Effect.fork(Effect.forever(Effect.delay(lookOnce(false), interval)))
        yield* end
        yield* Fiber.interrupt(looking)
      })),
    after: (end) => fork(Effect.zipRight(end, lookOnce(true)))
  }
  return watch
})
