/**
 * Typed state that goes from the process that is upgraded to the one that takes over: counters, caches, positions in a
 * queue. What the new process cannot understand fails its start, so that the upgrade fails and the old one serves on.
 *
 * A value of another shape is another key: keep the old one for as long as a release that gives it may be upgraded.
 *
 * So can connections of a protocol of the app's own: `giveConnection`.
 *
 * @since 3.0.0
 * @module
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type { LazyArg } from "effect/Function"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import type * as connection from "./internal/handOver/connection.ts"
import { requestOf, socketOf } from "./internal/handOver/connection.ts"
import * as given from "./internal/handOver/given.ts"
import { mismatchError } from "./internal/handOver/mismatch.ts"
import { logWarning } from "./internal/logging.ts"
import * as metrics from "./internal/metrics.ts"
import { fromResult } from "./internal/seam.ts"
import { isKey, maxKeyLength } from "./internal/upgrade/stateKey.ts"
import * as counters from "./internal/wire/counters.ts"
import { HandOverError } from "./TableflipError.ts"
import type { GivenState } from "./Upgrader.ts"
import { Upgrader } from "./Upgrader.ts"

/**
 * What goes along under one key, in both releases.
 *
 * @since 3.0.0
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
 * @since 3.0.0
 * @category models
 */
export interface Given<A, E, R> {
  /** Run when the new process asks, before it is ready: this one still serves, and what comes after is not in it. */
  readonly now: Effect.Effect<A, E, R>
  /** Run when this process has drained, and so exact: for `takeLast`. */
  readonly last?: Effect.Effect<A, E, R> | undefined
}

const load = Effect.promise(() => import("./internal/json.ts"))

/**
 * Names what goes along, and says its shape. It travels as JSON.
 *
 * @since 3.0.0
 * @category constructors
 */
export const item = <A, I>(key: string, schema: Schema.Schema<A, I>): Item<A> => ({
  key,
  encode: (value) =>
    Effect.mapBoth(Effect.flatMap(load, ({ make }) => make(schema).encode(value)), {
      onFailure: mismatchError(key, "Encode"),
      onSuccess: (text) => new TextEncoder().encode(text)
    }),
  decode: (bytes) =>
    Effect.mapError(
      Effect.flatMap(load, ({ make }) => make(schema).decode(new TextDecoder().decode(bytes))),
      mismatchError(key, "Decode")
    )
})

/**
 * Gives this state to the process that takes over, for as long as the scope is open. A value that cannot be had is an
 * error for the new process, which decides whether it can do without.
 *
 * @since 3.0.0
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
 * @since 3.0.0
 * @category combinators
 */
export const take = <A>(item: Item<A>): Effect.Effect<Option.Option<A>, HandOverError, Upgrader> =>
  Effect.flatMap(Upgrader, ({ state }) => Effect.flatMap(state.take(item.key), (bytes) => decoded(item, bytes)))

/**
 * What the older process gives `last`: it waits until that one has drained, for as long as it lives. To be merged with what
 * this process has counted itself in the meantime. None where `take` has none, and if the older process has not come to
 * say it, which is logged.
 *
 * @since 3.0.0
 * @category combinators
 */
export const takeLast = <A>(item: Item<A>): Effect.Effect<Option.Option<A>, HandOverError, Upgrader> =>
  Effect.flatMap(Upgrader, ({ state }) => Effect.flatMap(state.takeLast(item.key), (bytes) => decoded(item, bytes)))

/**
 * What stands for a connection: its socket; the request that has opened a WebSocket, of `node:http` or an `HttpServerRequest`
 * of `@effect/platform` on Node.
 *
 * @since 3.0.0
 * @category models
 */
export type Connection = connection.Connection

/**
 * Lets an upgrade hand this connection over: one of a protocol of the app's own, by its socket, or a WebSocket of `ws`, by the
 * request that has opened it, on a server of Node or an `UpgradableHttpServer`; over TCP or a Unix socket, without TLS. Say it when the connection has come, once, or again
 * if another `state` is to hold.
 *
 * `state` is asked when this process drains after an upgrade, whenever nothing of the connection is on its way here: all
 * that was read has been given to the app, all that was written is out, and no frame of a WebSocket has come by half. It
 * answers with what the new process has to know, bytes that have been read and not been used among them, or with none where
 * that cannot be said now, because an answer is still being worked on. Then it is asked again later. It is asked last in the
 * moment in which the connection is closed here. 1 MiB at most.
 *
 * For the app the connection is closed: its socket emits `close`, a WebSocket does so with 1012, and what a handler of
 * `UpgradableSocketServer` or `UpgradableHttpServer` does in the end is done before the new process begins with it. There it
 * is a `connection` event of the server at the same address, whose `takes` has this key, and `takeConnection` has the state.
 * A WebSocket is opened once more by the handlers of that server, from the same request, of which the client sees nothing.
 * Where there is no such server, it is drained as ever.
 *
 * A state of another shape is another key: `chat.v1`. `ConnectionState` has it typed.
 *
 * @since 3.0.0
 * @category connections
 */
export const giveConnection = (
  connection: Connection,
  key: string,
  state: LazyArg<Option.Option<Uint8Array>>
): void => {
  if (!isKey(key)) {
    throw new HandOverError({ key, reason: "WrongKey", detail: `a key has 1 to ${maxKeyLength} characters` })
  }
  const socket = socketOf(connection)
  if (socket !== undefined) given.give(socket, { key, state, request: requestOf(connection) })
}

/**
 * What the older process has given along with this connection under this key; none if it has come from a client, or was
 * given under another key.
 *
 * @since 3.0.0
 * @category connections
 */
export const takeConnection = (connection: Connection, key: string): Option.Option<Uint8Array> => {
  const socket = socketOf(connection)
  return socket === undefined ? Option.none() : given.take(socket, key)
}

/** Its shape is checked by hand, so that nobody pays for a schema library who has no schema. */
const countersItem: Item<ReadonlyArray<metrics.Counter>> = {
  key: "effect-tableflip/counters.v1",
  encode: (all) => Effect.succeed(counters.encode(all)),
  decode: (bytes) =>
    Effect.mapError(
      fromResult(counters.decode(bytes)),
      (detail) => mismatchError(countersItem.key, "Decode")({ field: "", detail })
    )
}

const identityOf = ({ description, incremental, name, tags, value }: metrics.Counter): string =>
  JSON.stringify([name, description, Object.entries(tags), incremental, typeof value])

/** What has been counted since; all of it, if it was not there. */
const growth = (last: metrics.Counter, first: metrics.Counter | undefined): metrics.Counter => {
  const { value } = last
  if (typeof value === "bigint") {
    return { ...last, value: value - (typeof first?.value === "bigint" ? first.value : 0n) }
  }
  return { ...last, value: value - (typeof first?.value === "number" ? first.value : 0) }
}

/**
 * Which counters go along; all of them by default.
 *
 * @since 3.0.0
 * @category configuration
 */
export interface CounterOptions {
  readonly filter?:
    | ((counter: { readonly name: string; readonly tags: Readonly<Record<string, string>> }) => boolean)
    | undefined
}

/** Nothing is known of the counters then, which is no reason not to deploy. */
const orNone = <R>(
  taken: Effect.Effect<Option.Option<ReadonlyArray<metrics.Counter>>, HandOverError, R>
): Effect.Effect<ReadonlyArray<metrics.Counter>, never, R> =>
  taken.pipe(
    Effect.catchAll((error) => Effect.as(logWarning(error.message), Option.none())),
    Effect.map(Option.getOrElse((): ReadonlyArray<metrics.Counter> => []))
  )

/** A successor is to hear of what this process has heard last itself, if that does not take too long. */
const mergeTimeout = Duration.seconds(3)

/**
 * Lets the counters of `effect/Metric`, the app's own and those of libraries, go on through upgrades: the new process
 * begins where the older one stands, and adds what that has counted until it has drained. To Prometheus, and whatever else
 * takes a counter that falls for one that has begun anew, it looks like one process.
 *
 * Build it before what counts in the new process is ready. If the older counters cannot be had, that is logged, and they
 * begin at zero.
 *
 * @since 3.0.0
 * @category layers
 */
export const layerCounters = (options: CounterOptions = {}): Layer.Layer<never, never, Upgrader> =>
  Layer.scopedDiscard(Effect.gen(function*() {
    const { filter = () => true } = options
    const own = Effect.map(
      metrics.counters,
      (all) =>
        all.filter((counter) =>
          filter(counter) && (typeof counter.value === "bigint" || Number.isFinite(counter.value))
        )
    )
    const first = new Map((yield* orNone(take(countersItem))).map((counter) => [identityOf(counter), counter]))
    yield* Effect.forEach(first.values(), metrics.add, { discard: true })
    const merged = yield* orNone(takeLast(countersItem)).pipe(
      Effect.flatMap(
        Effect.forEach((last) => metrics.add(growth(last, first.get(identityOf(last)))), { discard: true })
      ),
      Effect.interruptible,
      Effect.forkScoped
    )
    yield* Effect.catchAll(
      give(countersItem, {
        now: own,
        last: Effect.zipRight(Effect.timeoutOption(Fiber.await(merged), mergeTimeout), own)
      }),
      (error) => logWarning(error.message)
    )
  }))
