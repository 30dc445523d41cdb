/**
 * State that goes along with an upgrade, on the side that has it: what the app gives is asked for by the new process while
 * this one still serves, and the last of it is sent when this one has drained.
 *
 * @internal
 */
import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import type { ChildProcess } from "../../ChildProcess.ts"
import { HandOverError } from "../../TableflipError.ts"
import type { GivenState, Upgrader } from "../../Upgrader.ts"
import { logWarning } from "../logging.ts"
import { disconnect, forkHereIn } from "../seam.ts"
import { Answer, encodeAnswer, forEachQuestion, maxLength } from "../wire/exchange.ts"
import { checkKey } from "./stateKey.ts"

/** How long one value may take, and the last of all to arrive. */
const giveTimeout = Duration.seconds(5)

/** What a new process has said when it was ready is here already, or about to be. */
const unclaimedTimeout = Duration.seconds(1)

export interface StateGiver {
  readonly give: Upgrader["Type"]["state"]["give"]
  /** Answers what this new process asks for, for as long as both live. */
  readonly serve: (child: ChildProcess) => Effect.Effect<void>
  /** Sends that successor the last of everything, and waits until it has arrived. */
  readonly giveLast: (pid: number) => Effect.Effect<void>
  /** Where that successor does not accept, although it has the socket. */
  readonly unclaimedBy: (pid: number) => Effect.Effect<ReadonlyArray<string>>
}

type Value = Effect.Effect<Uint8Array, unknown>

interface Listener {
  readonly child: ChildProcess
  readonly arrived: Deferred.Deferred<void>
  readonly unclaimed: Deferred.Deferred<ReadonlyArray<string>>
}

const errorOf = (key: string, cause: Cause.Cause<unknown>): HandOverError => {
  const error = Cause.squash(cause)
  return error instanceof HandOverError
    ? error
    : new HandOverError({ key, reason: "Failure", detail: error instanceof Error ? error.message : String(error) })
}

/** Ends in time, whatever the app does. */
const evaluate = (key: string, value: Value): Effect.Effect<Either.Either<Uint8Array, HandOverError>> =>
  disconnect(value).pipe(
    Effect.timeoutFail({
      duration: giveTimeout,
      onTimeout: () =>
        new HandOverError({ key, reason: "Timeout", detail: `it took longer than ${Duration.format(giveTimeout)}` })
    }),
    Effect.filterOrFail(({ length }) => length <= maxLength, ({ length }) =>
      new HandOverError({
        key,
        reason: "TooLarge",
        detail: `it has ${length} bytes, and ${maxLength} are taken; hand over the name of a file, or the file itself`
      })),
    Effect.sandbox,
    Effect.mapError((cause) => errorOf(key, cause)),
    Effect.tapError((error) => logWarning(`${error.message}. The new process is told`)),
    Effect.either
  )

/** Runs the effect when this process has been replaced and nothing in it runs alone under that name any more. */
export type GiveUp = (name: string, use: Effect.Effect<void>) => Effect.Effect<void, unknown>

export const make = (refusal: Option.Option<string>, giveUp: GiveUp): Effect.Effect<StateGiver, never, Scope.Scope> =>
  Effect.map(Effect.scope, (scope) => {
    const given = new Map<string, { readonly now: Value; readonly last: Value | undefined }>()
    let listener: Listener | undefined

    const claim = (key: string, now: Value, last: Value | undefined) =>
      Effect.suspend(() => {
        if (given.has(key)) {
          return new HandOverError({ key, reason: "InUse", detail: "it is given already; give each key in one place" })
        }
        given.set(key, { now, last })
        return Effect.void
      })

    const give = Effect.fnUntraced(function*<E, R>(key: string, { last, now }: GivenState<E, R>) {
      yield* checkKey(key, refusal)
      const context = yield* Effect.context<R>()
      const provided = (value: Effect.Effect<Uint8Array, E, R>) => Effect.provide(value, context)
      yield* Effect.acquireRelease(
        claim(key, provided(now), last === undefined ? undefined : provided(last)),
        () => Effect.sync(() => given.delete(key))
      )
    })

    const answer = ({ tell }: ChildProcess, id: number, key: string) =>
      Effect.suspend(() => {
        const item = given.get(key)
        if (item === undefined) return Effect.succeed(Answer.Nothing({ id }))
        return Effect.map(
          evaluate(key, item.now),
          Either.match({
            onLeft: ({ detail, reason }): Answer => Answer.Failed({ id, reason, detail }),
            onRight: (bytes): Answer => Answer.Given({ id, bytes })
          })
        )
      }).pipe(Effect.flatMap((said) => tell(encodeAnswer(said))))

    const serve = Effect.fnUntraced(function*(child: ChildProcess) {
      if (Option.isNone(child.answers)) return
      const self: Listener = {
        child,
        arrived: yield* Deferred.make<void>(),
        unclaimed: yield* Deferred.make<ReadonlyArray<string>>()
      }
      yield* forEachQuestion(child.answers.value, (question) => {
        switch (question._tag) {
          case "Hello":
            listener = self
            return Effect.void
          // Each by itself: one that takes its time holds up no other.
          case "Ask":
            return Effect.asVoid(forkHereIn(scope)(answer(child, question.id, question.key)))
          case "Lock": {
            const said = Effect.asVoid(child.tell(encodeAnswer(Answer.Unlocked({ name: question.name }))))
            return giveUp(question.name, said).pipe(
              Effect.ignore,
              Effect.interruptible,
              forkHereIn(scope),
              Effect.asVoid
            )
          }
          case "Arrived":
            return Effect.asVoid(Deferred.succeed(self.arrived, void 0))
          case "Unclaimed":
            return Effect.asVoid(Deferred.succeed(self.unclaimed, question.names))
        }
      }).pipe(
        Effect.ensuring(Effect.suspend(() => {
          if (listener === self) listener = undefined
          return Effect.zipRight(Deferred.succeed(self.unclaimed, []), Deferred.succeed(self.arrived, void 0))
        })),
        Effect.interruptible,
        forkHereIn(scope)
      )
    })

    const sayLast = ({ tell }: ChildProcess) =>
      Effect.forEach([...given], ([key, { last }]) =>
        last === undefined ? Effect.succeed(0) : evaluate(key, last).pipe(
          Effect.map(Either.match({
            onLeft: ({ detail, reason }): Answer => Answer.LastFailed({ key, reason, detail }),
            onRight: (bytes): Answer => Answer.Last({ key, bytes })
          })),
          Effect.flatMap((said) => tell(encodeAnswer(said))),
          Effect.as(1)
        ), { concurrency: "unbounded" }).pipe(
          Effect.map((said) => said.reduce<number>((sum, count) => sum + count, 0)),
          Effect.zipLeft(tell(encodeAnswer(Answer.End())))
        )

    const giveLast = (pid: number) =>
      Effect.suspend(() => {
        if (listener === undefined || listener.child.pid !== pid) return Effect.void
        const { arrived, child } = listener
        return Effect.flatMap(sayLast(child), (said) =>
          said === 0
            ? Effect.void
            : Effect.flatMap(
              Effect.timeoutOption(Deferred.await(arrived), giveTimeout),
              (taken) =>
                Option.isSome(taken)
                  ? Effect.void
                  : logWarning(
                    `Process ${pid} has not taken the last of the state within ${Duration.format(giveTimeout)}`
                  )
            ))
      })

    // It has said so before it was ready, on another stream.
    const unclaimedBy = (pid: number) =>
      Effect.suspend(() =>
        listener === undefined || listener.child.pid !== pid
          ? Effect.succeed([])
          : Effect.map(
            Effect.timeoutOption(Deferred.await(listener.unclaimed), unclaimedTimeout),
            Option.getOrElse((): ReadonlyArray<string> => [])
          )
      )

    return { give, serve, giveLast, unclaimedBy }
  })
