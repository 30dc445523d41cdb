/**
 * State that goes along with an upgrade, on the side that asks for it.
 *
 * @internal
 */
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as FiberId from "effect/FiberId"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import type { FdName } from "../../Address.ts"
import { HandOverError } from "../../TableflipError.ts"
import type { Upgrader } from "../../Upgrader.ts"
import { logWarning } from "../logging.ts"
import type { System } from "../system/env.ts"
import type { ByteReader } from "../system/stream.ts"
import { Answer, encodeQuestion, forEachAnswer, Question, type Reason } from "../wire/exchange.ts"
import * as fdName from "../wire/fdName.ts"
import { checkKey } from "./stateKey.ts"

/** Above what the older process takes for an answer; only one whose event loop is blocked takes longer. */
const askTimeout = Duration.seconds(10)

export interface StateTaker extends Pick<Upgrader["Type"]["state"], "take" | "takeLast"> {
  /** Completes when the older process runs nothing alone under that name any more. It may never say so. */
  readonly unlocked: (name: string) => Effect.Effect<void>
  /** Tells the older process where this one does not accept, although it could. */
  readonly tellUnclaimed: (names: ReadonlyArray<FdName>) => Effect.Effect<void>
}

type Outcome = Deferred.Deferred<Option.Option<Uint8Array>, HandOverError>

const reasons: ReadonlyArray<string> = ["Encode", "Failure", "Timeout", "TooLarge"]

// A newer release may have more reasons than this one.
const failed = (key: string, { detail, reason }: Reason): HandOverError =>
  new HandOverError({
    key,
    reason: reasons.includes(reason) ? reason as HandOverError["reason"] : "Failure",
    detail: `the older process could not give it: ${detail}`
  })

/** Nobody to ask. */
const alone = (refusal: Option.Option<string>): StateTaker => {
  const nothing = (key: string) => Effect.as(checkKey(key, refusal), Option.none<Uint8Array>())
  return { take: nothing, takeLast: nothing, unlocked: () => Effect.never, tellUnclaimed: () => Effect.void }
}

const ask = Effect.fnUntraced(function*(env: System, reader: ByteReader, refusal: Option.Option<string>) {
  const waiting = new Map<number, { readonly key: string; readonly outcome: Outcome }>()
  const last = new Map<string, Effect.Effect<Option.Option<Uint8Array>, HandOverError>>()
  const locks = new Map<string, Deferred.Deferred<void>>()
  const allSaid = yield* Deferred.make<boolean>()
  let freeId = 0
  let isGone = false

  /** False if nobody is there to hear it. */
  const say = (question: Question) =>
    Effect.flatMap(
      reader.descriptor,
      (descriptor) =>
        isGone || Option.isNone(descriptor)
          ? Effect.succeed(false)
          : env.write(descriptor.value, encodeQuestion(question))
    )

  const settle = (id: number, outcome: (key: string) => Effect.Effect<Option.Option<Uint8Array>, HandOverError>) => {
    const asked = waiting.get(id)
    return asked === undefined
      ? Effect.void
      : Effect.asVoid(Effect.intoDeferred(outcome(asked.key), asked.outcome))
  }

  const handle: (answer: Answer) => Effect.Effect<void> = Answer.$match({
    Given: ({ bytes, id }) => settle(id, () => Effect.succeedSome(bytes)),
    Nothing: ({ id }) => settle(id, () => Effect.succeedNone),
    Failed: ({ id, ...why }) => settle(id, (key) => Effect.fail(failed(key, why))),
    Last: ({ bytes, key }) => Effect.sync(() => void last.set(key, Effect.succeedSome(bytes))),
    LastFailed: ({ key, ...why }) => Effect.sync(() => void last.set(key, Effect.fail(failed(key, why)))),
    Unlocked: ({ name }) => {
      const lock = locks.get(name)
      return lock === undefined ? Effect.void : Effect.asVoid(Deferred.succeed(lock, void 0))
    },
    End: () => Effect.zipRight(say(Question.Arrived()), Effect.asVoid(Deferred.succeed(allSaid, true)))
  })

  const gone = Effect.suspend(() => {
    isGone = true
    return Effect.zipRight(
      Effect.forEach([...waiting.values()], ({ outcome }) => Deferred.succeed(outcome, Option.none())),
      Deferred.succeed(allSaid, false)
    )
  })

  yield* say(Question.Hello())
  yield* forEachAnswer(reader, handle).pipe(Effect.ensuring(gone), Effect.interruptible, Effect.forkScoped)

  const take = Effect.fnUntraced(function*(key: string) {
    yield* checkKey(key, refusal)
    const id = freeId++
    const outcome = yield* Deferred.make<Option.Option<Uint8Array>, HandOverError>()
    waiting.set(id, { key, outcome })
    const isHeard = yield* say(Question.Ask({ id, key }))
    if (!isHeard) yield* Deferred.succeed(outcome, Option.none())
    return yield* Deferred.await(outcome).pipe(
      Effect.timeoutFail({
        duration: askTimeout,
        onTimeout: () =>
          new HandOverError({
            key,
            reason: "Timeout",
            detail: `the older process has not answered within ${Duration.format(askTimeout)}`
          })
      }),
      Effect.ensuring(Effect.sync(() => waiting.delete(id)))
    )
  })

  const takeLast = (key: string) =>
    Effect.zipRight(checkKey(key, refusal), Deferred.await(allSaid)).pipe(
      Effect.tap((isWhole) =>
        isWhole ? Effect.void : logWarning(
          `The older process has ended without having said the last of its state; ${key} is missing what came after the upgrade`
        )
      ),
      Effect.zipRight(Effect.suspend(() => last.get(key) ?? Effect.succeedNone))
    )

  const unlocked = (name: string) =>
    Effect.suspend(() => {
      const asked = locks.get(name)
      if (asked !== undefined) return Deferred.await(asked)
      const lock: Deferred.Deferred<void> = Deferred.unsafeMake(FiberId.none)
      locks.set(name, lock)
      return Effect.zipRight(say(Question.Lock({ name })), Deferred.await(lock))
    })

  const tellUnclaimed = (names: ReadonlyArray<FdName>) =>
    Effect.asVoid(say(Question.Unclaimed({ names: names.map(fdName.toText) })))

  const taker: StateTaker = { take, takeLast, unlocked, tellUnclaimed }
  return taker
})

export const make = (
  env: System,
  exchange: Option.Option<ByteReader>,
  refusal: Option.Option<string>
): Effect.Effect<StateTaker, never, Scope.Scope> =>
  Option.match(exchange, {
    onNone: () => Effect.succeed(alone(refusal)),
    onSome: (reader) => ask(env, reader, refusal)
  })
