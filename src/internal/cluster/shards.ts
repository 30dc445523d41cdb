/**
 * The storages of a runner, by which its shards go from one generation of its program to the next. The order is everything:
 * what serves the shards has ended, nothing more is read, the locks are released, and then the next generation has them.
 *
 * @internal
 */
import * as MachineId from "@effect/cluster/MachineId"
import * as MessageStorage from "@effect/cluster/MessageStorage"
import * as RunnerAddress from "@effect/cluster/RunnerAddress"
import type * as RunnerStorage from "@effect/cluster/RunnerStorage"
import type * as ShardId from "@effect/cluster/ShardId"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import type { Upgrader } from "../../Upgrader.ts"
import { logInfo, logWarning } from "../logging.ts"
import { once } from "../once.ts"
import { forkApart } from "../seam.ts"
import { handsOverShards } from "../upgrade/clusterRunner.ts"

/** A lock is known by its owner, and two generations have one address: each has a name of its own beside it. */
const names = 16

const nameOf = ({ host, port }: RunnerAddress.RunnerAddress, generation: number) =>
  RunnerAddress.make(`${host}#${generation % names}`, port)

const retryInterval = "50 millis"

/** A message has an id of 10 bits of the machine's: that of the registration, by which two generations would make equal ids. */
const machines = 1024

const machineOf = (registered: MachineId.MachineId, generation: number) =>
  MachineId.make((registered + (generation % 2 === 0 ? machines / 2 : 0)) % machines)

export interface Parts {
  readonly address: RunnerAddress.RunnerAddress
  readonly upgrader: Upgrader["Type"]
  readonly runners: RunnerStorage.RunnerStorage["Type"]
  readonly messages: MessageStorage.MessageStorage["Type"]
}

export interface Shards {
  readonly runners: RunnerStorage.RunnerStorage["Type"]
  readonly messages: MessageStorage.MessageStorage["Type"]
  /** Has something ended before the shards are released. */
  readonly endBefore: (end: Effect.Effect<void>) => Effect.Effect<void, never, Scope.Scope>
  readonly released: Effect.Effect<void>
}

export const make: (parts: Parts) => Effect.Effect<Shards, never, Scope.Scope> = Effect.fnUntraced(
  function*({ address, messages, runners, upgrader }) {
    handsOverShards(upgrader)
    const mine = nameOf(address, upgrader.generation)
    const released = yield* Deferred.make<void>()
    const locking = yield* Effect.makeSemaphore(1)
    const reading = yield* Effect.makeSemaphore(1)
    const ends = new Set<Effect.Effect<void>>()
    let isReleased = false
    let isAlone = !upgrader.hasParent
    let holds = false

    // What a process of this address that was killed has left. With locks of a database session, to release all is to
    // release one's own, so it is for one that has none.
    const cleanUp = locking.withPermits(1)(Effect.suspend(() =>
      holds ? Effect.void : Effect.forEach(
        [address, ...Array.from({ length: names }, (_, generation) => nameOf(address, generation))],
        (owner) => owner.host === mine.host ? Effect.void : Effect.ignore(runners.releaseAll(owner)),
        { discard: true }
      )
    ))
    const becomeAlone = Effect.zipRight(
      cleanUp,
      Effect.sync(() => {
        isAlone = true
      })
    )
    if (isAlone) yield* cleanUp
    else {yield* Effect.forkScoped(
        Effect.interruptible(Effect.zipRight(Effect.ignore(upgrader.waitForParent), becomeAlone))
      )}

    const tellFirst = (got: ReadonlyArray<ShardId.ShardId>) =>
      Effect.suspend(() => {
        if (holds || got.length === 0) return Effect.void
        holds = true
        return upgrader.hasParent ? logInfo(`Has taken over ${got.length} shard(s) of the cluster`) : Effect.void
      })

    const tryAll = (wanted: ReadonlyArray<ShardId.ShardId>) =>
      locking.withPermits(1)(
        Effect.suspend(() => isReleased ? Effect.succeed([]) : Effect.tap(runners.acquire(mine, wanted), tellFirst))
      )

    /** Until the older process has released them. One that is not ready may never serve, and takes none. */
    const acquire = (
      wanted: ReadonlyArray<ShardId.ShardId>
    ): ReturnType<RunnerStorage.RunnerStorage["Type"]["acquire"]> =>
      Effect.suspend(() => {
        if (isAlone || isReleased) return tryAll(wanted)
        const again = Effect.delay(acquire(wanted), retryInterval)
        return Effect.flatMap(upgrader.status, ({ state }) =>
          state === "starting"
            ? again
            : Effect.flatMap(tryAll(wanted), (got) => got.length > 0 ? Effect.succeed(got) : again))
      })

    const release = yield* once(Effect.gen(function*() {
      const [duration] = yield* Effect.timed(
        Effect.forEach(ends, (end) => end, { concurrency: "unbounded", discard: true })
      )
      // A message that is read is marked so, and hidden for minutes: by whoever does not serve it any more, too.
      yield* reading.withPermits(1)(Effect.sync(() => {
        isReleased = true
      }))
      // What is being acquired at this moment is released too.
      yield* locking.withPermits(1)(runners.releaseAll(mine)).pipe(
        Effect.retry({ times: 3, schedule: Schedule.spaced(retryInterval) }),
        Effect.timeout("10 seconds"),
        Effect.zipRight(
          logInfo(
            `Has released its shards of the cluster; what served them ended in ${
              Duration.format(Duration.millis(Math.round(Duration.toMillis(duration))))
            }`
          )
        ),
        Effect.catchAllCause((cause) =>
          logWarning(
            "Could not release its shards of the cluster: the newer process has them when this one has ended",
            cause
          )
        )
      )
      yield* Deferred.succeed(released, void 0)
    }))

    yield* upgrader.onDrain((reason) => reason._tag === "Upgraded" ? Effect.asVoid(forkApart(release)) : Effect.void)

    return {
      runners: {
        ...runners,
        register: (runner, healthy) =>
          Effect.map(runners.register(runner, healthy), (id) => machineOf(id, upgrader.generation)),
        acquire: (_, shards) => acquire(Array.from(shards)),
        refresh: (_, shards) =>
          Effect.suspend(() =>
            isReleased
              ? Effect.succeed([])
              // The registration is of the address, and lives by this.
              : Effect.zipRight(runners.refresh(address, []), runners.refresh(mine, shards))
          ),
        release: (_, shard) => runners.release(mine, shard),
        releaseAll: () => runners.releaseAll(mine),
        // It is that of the process that goes on: the newer one, or the older one if this has not come up.
        unregister: (runner) =>
          Effect.flatMap(
            upgrader.exitReason,
            (reason) =>
              Option.exists(reason, ({ _tag }) => _tag === "Upgraded") || !(holds || isAlone)
                ? Effect.void
                : runners.unregister(runner)
          )
      },
      messages: messages === MessageStorage.noop ? messages : {
        ...messages,
        unprocessedMessages: (...args) =>
          reading.withPermits(1)(
            Effect.suspend(() => isReleased ? Effect.succeed([]) : messages.unprocessedMessages(...args))
          )
      },
      endBefore: (end) =>
        Effect.asVoid(
          Effect.acquireRelease(Effect.sync(() => ends.add(end)), () => Effect.sync(() => ends.delete(end)))
        ),
      released: Deferred.await(released)
    }
  }
)
