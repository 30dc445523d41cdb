/**
 * Draining a UDP socket: there is no connection to finish, only datagrams that have been read and not yet answered.
 *
 * @internal
 */
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type * as dgram from "node:dgram"
import type { DrainablePacket, PacketOptions } from "../../Drain.ts"
import type { InvalidOptionError } from "../../TableflipError.ts"
import * as Node from "../node/internals.ts"
import { decodeDuration } from "../options.ts"
import { forkApart, fromResult } from "../seam.ts"

/** @internal */
export const make: (
  socket: dgram.Socket,
  options?: PacketOptions
) => Effect.Effect<DrainablePacket, InvalidOptionError, Scope.Scope> = Effect.fnUntraced(function*(socket, options) {
  const replyTimeout = yield* fromResult(decodeDuration("replyTimeout", options?.replyTimeout ?? "1 second", true))
  const hurried = yield* Deferred.make<void>()
  const closed = yield* Deferred.make<void>()
  let started = false

  const onClose = () => Deferred.unsafeDone(closed, Effect.void)
  socket.once("close", onClose)

  const stopReceiving = Effect.sync(() => Node.stopReceiving(socket))

  // never from within a 'message' listener, where closing loses the reply that is being sent
  const close = Effect.unlessEffect(Effect.sync(() => socket.close()), Deferred.isDone(closed))

  const run = Deferred.await(closed).pipe(
    Effect.raceFirst(Deferred.await(hurried)),
    Effect.timeoutOption(replyTimeout),
    Effect.zipRight(close),
    Effect.interruptible
  )

  const start = Effect.suspend(() => {
    if (started) return Effect.void
    started = true
    return Effect.zipRight(stopReceiving, forkApart(run))
  })

  const drain = Effect.uninterruptibleMask((restore) => Effect.zipRight(start, restore(Deferred.await(closed))))

  yield* Effect.addFinalizer(() =>
    Effect.interruptible(drain).pipe(
      Effect.timeoutOption(Duration.sum(replyTimeout, "1 second")),
      Effect.zipRight(Effect.sync(() => socket.off("close", onClose)))
    )
  )

  return {
    drain,
    hasten: Effect.zipRight(Deferred.succeed(hurried, undefined), drain),
    stopReceiving
  }
})
