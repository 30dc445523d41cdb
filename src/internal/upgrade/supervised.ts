/**
 * A process that a supervisor has started, and the supervisor: that says when older generations are gone, and reloads the
 * program when it asks for an upgrade.
 *
 * @internal
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { NotSupportedError, ReloadError } from "../../TableflipError.ts"
import type { System } from "../system/env.ts"
import type { ByteReader } from "../system/stream.ts"
import { decodeWord, encode, forEachOf } from "../wire/control.ts"
import { decodeReply, Request } from "../wire/reload.ts"
import type { Successor } from "./machine.ts"
import { underTableflip } from "./role.ts"

type Failure = NotSupportedError | ReloadError

export interface Supervisor {
  /** Ends with the new process in charge, or when the reload has failed. */
  readonly reload: Effect.Effect<Successor, Failure>
  /** Listens until the supervisor is gone. */
  readonly listen: (on: {
    readonly olderGone: Effect.Effect<void>
    /** It was reloaded after it had given up waiting for that. */
    readonly replaced: (successor: Successor) => Effect.Effect<void>
  }) => Effect.Effect<void>
}

/** How long it may take to say that it has heard. One of an older release never does. */
const patience = "5 seconds"

const gone = new ReloadError({ detail: "tableflip has gone before it was done" })

const unheard = new NotSupportedError({ reason: underTableflip })

interface Asked {
  readonly heard: Deferred.Deferred<void>
  readonly outcome: Deferred.Deferred<Successor, Failure>
}

const decode = (line: string) => Option.orElse(decodeReply(line), () => decodeWord(line))

export const make = (env: System, reader: ByteReader): Supervisor => {
  let asked: Asked | undefined

  const say = (request: Request) =>
    Effect.flatMap(
      reader.descriptor,
      Option.match({ onNone: () => Effect.succeed(false), onSome: (number) => env.write(number, encode(request)) })
    )

  const reload = Effect.gen(function*() {
    const { heard, outcome } = asked = {
      heard: yield* Deferred.make<void>(),
      outcome: yield* Deferred.make<Successor, Failure>()
    }
    if (!(yield* say(Request.Reload()))) return yield* gone
    yield* Effect.timeoutFail(Effect.raceFirst(Deferred.await(heard), Deferred.await(outcome)), {
      duration: patience,
      onTimeout: () => unheard
    })
    return yield* Deferred.await(outcome)
  }).pipe(
    Effect.interruptible,
    Effect.ensuring(Effect.sync(() => {
      asked = undefined
    }))
  )

  const settle = <A, E>(which: (asked: Asked) => Deferred.Deferred<A, E>, outcome: Effect.Effect<A, E>) =>
    asked === undefined ? Effect.void : Effect.asVoid(Effect.intoDeferred(outcome, which(asked)))

  const failed = (detail: string) =>
    Effect.suspend(() => settle(({ outcome }) => outcome, Effect.fail(new ReloadError({ detail }))))

  const leave = (successor: Successor, replaced: (successor: Successor) => Effect.Effect<void>) =>
    asked === undefined ? replaced(successor) : settle(({ outcome }) => outcome, Effect.succeed(successor))

  return {
    reload,
    listen: ({ olderGone, replaced }) =>
      forEachOf(decode)(reader, (word) => {
        switch (word._tag) {
          case "OlderGone":
            return olderGone
          case "Reloading":
            return settle(({ heard }) => heard, Effect.void)
          case "Reloaded":
            return Effect.zipRight(
              say(Request.Leaving()),
              leave({ pid: word.pid, generation: word.generation }, replaced)
            )
          case "NotReloaded":
            return failed(word.detail)
          default:
            return Effect.void
        }
      }).pipe(Effect.zipRight(Effect.suspend(() => settle(({ outcome }) => outcome, gone))))
  }
}
