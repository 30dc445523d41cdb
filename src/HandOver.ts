/**
 * Typed state that goes from the process that is upgraded to the one that takes over: counters, caches, positions in a
 * queue. What the new process cannot understand fails its start, so that the upgrade fails and the old one serves on.
 *
 * A value of another shape is another key: keep the old one for as long as a release that gives it may be upgraded.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import type * as Option from "effect/Option"
import type * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Json from "./internal/json.ts"
import { HandOverError } from "./TableflipError.ts"
import type { GivenState } from "./Upgrader.ts"
import { Upgrader } from "./Upgrader.ts"

/**
 * What goes along under one key, in both releases.
 *
 * @since 0.1.0
 * @category models
 */
export interface Item<A> {
  /** 1 to 200 characters, with the version of its shape: `counters.v1`. */
  readonly key: string
  readonly encode: (value: A) => Effect.Effect<Uint8Array, HandOverError>
  readonly decode: (bytes: Uint8Array) => Effect.Effect<A, HandOverError>
}

/**
 * What the older process gives. Each value has 16 MiB at most as JSON and may take 5 seconds.
 *
 * @since 0.1.0
 * @category models
 */
export interface Given<A, E, R> {
  /** Run when the new process asks, before it is ready: this one still serves, and what comes after is not in it. */
  readonly now: Effect.Effect<A, E, R>
  /** Run when this process has drained, and so exact: for `takeLast`. */
  readonly last?: Effect.Effect<A, E, R> | undefined
}

const errorOf = (key: string, reason: "Encode" | "Decode") => ({ detail, field }: Json.Mismatch) =>
  new HandOverError({
    key,
    reason,
    detail: `it is not of the shape that its item says${field === "" ? "" : ` at ${field}`}: ${detail}`
  })

/**
 * Names what goes along, and says its shape. It travels as JSON.
 *
 * @since 0.1.0
 * @category constructors
 */
export const item = <A, I>(key: string, schema: Schema.Schema<A, I>): Item<A> => {
  const { decode, encode } = Json.make(schema)
  return {
    key,
    encode: (value) =>
      Effect.mapBoth(encode(value), {
        onFailure: errorOf(key, "Encode"),
        onSuccess: (text) => new TextEncoder().encode(text)
      }),
    decode: (bytes) => Effect.mapError(decode(new TextDecoder().decode(bytes)), errorOf(key, "Decode"))
  }
}

/**
 * Gives this state to the process that takes over, for as long as the scope is open. A value that cannot be had is an
 * error for the new process, which decides whether it can do without.
 *
 * @since 0.1.0
 * @category combinators
 */
export const give = <A, E, R>(
  { encode, key }: Item<A>,
  { last, now }: Given<A, E, R>
): Effect.Effect<void, HandOverError, R | Scope.Scope | Upgrader> => {
  const what: GivenState<E | HandOverError, R> = {
    now: Effect.flatMap(now, encode),
    last: last === undefined ? undefined : Effect.flatMap(last, encode)
  }
  return Effect.flatMap(Upgrader, ({ state }) => state.give(key, what))
}

const decoded = <A>({ decode }: Item<A>, bytes: Option.Option<Uint8Array>) => Effect.transposeMapOption(bytes, decode)

/**
 * What the older process gives `now`. None in a first process, if the older one does not give it, and if it is gone. Take it
 * before this process is ready; it waits for 10 seconds at the longest.
 *
 * @since 0.1.0
 * @category combinators
 */
export const take = <A>(item: Item<A>): Effect.Effect<Option.Option<A>, HandOverError, Upgrader> =>
  Effect.flatMap(Upgrader, ({ state }) => Effect.flatMap(state.take(item.key), (bytes) => decoded(item, bytes)))

/**
 * What the older process gives `last`: it waits until that one has drained, for as long as it lives. To be merged with what
 * this process has counted itself in the meantime. None where `take` has none, and if the older process has not come to
 * say it, which is logged.
 *
 * @since 0.1.0
 * @category combinators
 */
export const takeLast = <A>(item: Item<A>): Effect.Effect<Option.Option<A>, HandOverError, Upgrader> =>
  Effect.flatMap(Upgrader, ({ state }) => Effect.flatMap(state.takeLast(item.key), (bytes) => decoded(item, bytes)))
