/**
 * Upgrades a runner of `@effect/cluster` in place. Two generations of it have one address, by which the cluster knows a
 * runner and its locks; without this, both would serve the same shards for a while, and updates would be lost.
 *
 * The newer process is built and ready while the older one still serves its shards. Then the older one ends its entities and
 * singletons, reads no more messages, and releases its shards, which the newer one takes at once: nobody serves them for as
 * long as a message takes that is being handled. The rest of the older process drains meanwhile.
 *
 * For one process at an address: a pool of `Workers` is not one.
 *
 * @since 3.0.0
 */
import * as MessageStorage from "@effect/cluster/MessageStorage"
import type * as Runners from "@effect/cluster/Runners"
import * as RunnerStorage from "@effect/cluster/RunnerStorage"
import * as Sharding from "@effect/cluster/Sharding"
import * as ShardingConfig from "@effect/cluster/ShardingConfig"
import * as SocketServer from "@effect/platform/SocketServer"
import type * as RpcSerialization from "@effect/rpc/RpcSerialization"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import * as Scope from "effect/Scope"
import type { Fds } from "./Fds.ts"
import { sayGoodbye } from "./internal/cluster/goodbye.ts"
import * as reconnecting from "./internal/cluster/reconnecting.ts"
import * as shards from "./internal/cluster/shards.ts"
import { once } from "./internal/once.ts"
import type { ListenError } from "./TableflipError.ts"
import * as UpgradableSocketServer from "./UpgradableSocketServer.ts"
import { Upgrader } from "./Upgrader.ts"

/**
 * How the shards of this runner go to the process that takes over.
 *
 * @since 3.0.0
 * @category tags
 */
export class ClusterHandOver extends Context.Tag("effect-tableflip/ClusterHandOver")<ClusterHandOver, {
  /** Has something end before the shards are released, while the scope is open. `entities` does this. */
  readonly endBefore: (end: Effect.Effect<void>) => Effect.Effect<void, never, Scope.Scope>
  /** Completes when a newer process has taken over and this one has released its shards. */
  readonly released: Effect.Effect<void>
}>() {}

/**
 * The storages of a runner, between those of `@effect/cluster` and everything else of it. A process without an address, which
 * only sends to the cluster, has them unchanged.
 *
 * @since 3.0.0
 * @category layers
 */
export const layer: Layer.Layer<
  ClusterHandOver | MessageStorage.MessageStorage | RunnerStorage.RunnerStorage,
  never,
  MessageStorage.MessageStorage | RunnerStorage.RunnerStorage | ShardingConfig.ShardingConfig | Upgrader
> = Layer.scopedContext(Effect.gen(function*() {
  const { runnerAddress } = yield* ShardingConfig.ShardingConfig
  const upgrader = yield* Upgrader
  const own = { runners: yield* RunnerStorage.RunnerStorage, messages: yield* MessageStorage.MessageStorage }
  const { endBefore, messages, released, runners } = runnerAddress._tag === "None"
    ? { ...own, endBefore: () => Effect.void, released: Effect.never }
    : yield* shards.make({ ...own, upgrader, address: runnerAddress.value })
  return Context.make(RunnerStorage.RunnerStorage, runners).pipe(
    Context.add(MessageStorage.MessageStorage, messages),
    Context.add(ClusterHandOver, { endBefore, released })
  )
}))

/** A message of which the older process was told is in the storage, and nobody tells this one. */
const pollWhileOlder = Effect.gen(function*() {
  const { pollStorage } = yield* Sharding.Sharding
  const { hasParent, waitForParent } = yield* Upgrader
  if (!hasParent) return
  yield* pollStorage.pipe(
    Effect.repeat(Schedule.spaced("100 millis")),
    Effect.raceFirst(Effect.ignore(waitForParent)),
    Effect.zipRight(pollStorage),
    Effect.interruptible,
    Effect.forkScoped
  )
})

/**
 * What serves the shards of this runner: entities, singletons, cron jobs, workflows. It ends first of all when a newer process
 * has taken over, also while this one still drains. What it shares with other layers is provided to the result.
 *
 * @since 3.0.0
 * @category layers
 */
export const entities = <A, E, R>(
  layer: Layer.Layer<A, E, R>
): Layer.Layer<never, E, ClusterHandOver | R | Sharding.Sharding | Upgrader> =>
  Layer.scopedDiscard(Effect.gen(function*() {
    const { endBefore } = yield* ClusterHandOver
    const scope = yield* Scope.make()
    const end = yield* once(Scope.close(scope, Exit.void))
    yield* Effect.addFinalizer(() => end)
    yield* Layer.buildWithScope(layer, scope)
    yield* endBefore(end)
    yield* pollWhileOlder
  }))

/** An answer may be on its way to its connection when the last entity has ended. */
const answerTime = "50 millis"

/**
 * The `SocketServer` of a runner on a socket that passes to the next generation, for `SocketRunner.layer`. Connections end
 * when the shards have been released: whoever was connected connects again, to the newer process. Runners that speak HTTP
 * need no more than `UpgradableHttpServer`.
 *
 * @since 3.0.0
 * @category layers
 */
export const layerSocketServer = (
  options: UpgradableSocketServer.Options
): Layer.Layer<SocketServer.SocketServer, ListenError, ClusterHandOver | Fds> =>
  Layer.scoped(
    SocketServer.SocketServer,
    Effect.gen(function*() {
      const { released } = yield* ClusterHandOver
      const server = yield* UpgradableSocketServer.make(options)
      const over = Effect.delay(released, answerTime)
      return SocketServer.SocketServer.of({
        ...server,
        run: (handler) =>
          server.run((socket) =>
            Effect.raceFirst(Effect.asVoid(handler(socket)), over).pipe(Effect.zipRight(sayGoodbye))
          )
      })
    })
  )

/**
 * For runners and clients of a cluster that is reached by sockets and upgraded in place: `NodeClusterSocket.layerClientProtocol`
 * with an ended connection opened again at once. The pauses of that one grow with each connection that it has ever lost, up to
 * seconds.
 *
 * @since 3.0.0
 * @category layers
 */
export const layerClientProtocolSocket: Layer.Layer<
  Runners.RpcClientProtocol,
  never,
  RpcSerialization.RpcSerialization
> = reconnecting.layerClientProtocol
