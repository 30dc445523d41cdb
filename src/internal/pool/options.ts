/**
 * What a pool is made of, and within which times.
 *
 * @internal
 */
import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import type * as Option from "effect/Option"
import type * as Schedule from "effect/Schedule"
import type { ExitStatus } from "../../ExitStatus.ts"
import type { PoolEvent } from "../../PoolEvent.ts"
import type { Hold } from "./locks.ts"
import type { SlotSpec } from "./slot.ts"

export interface PoolOptions {
  readonly size: number
  readonly worker: (index: number) => SlotSpec
  readonly others: ReadonlyArray<SlotSpec>
  /** The generation of the first processes. */
  readonly generation: number
  /** How many processes are replaced at a time. */
  readonly atOnce: number
  /** Whether what is replaced has ended before the new process is started. */
  readonly stopFirst?: boolean | undefined
  readonly restart: Schedule.Schedule<unknown, ExitStatus>
  /** A process that has lived this long begins the schedule anew. */
  readonly healthyAfter: Duration.Duration
  readonly readyTimeout: Duration.Duration
  readonly stopTimeout: Duration.Duration
  /** How long a process may take to end after the pool is hastened before it gets SIGKILL. */
  readonly hastenTimeout: Duration.Duration
  /** For how long a process that serves may say nothing; none for ever. */
  readonly heartbeat: Option.Option<Duration.Duration>
  /** Completes when no older pool is left. */
  readonly olderGone: Effect.Effect<void>
  /** Among whom the processes that run something alone take their turns; none if they are not heard. */
  readonly hold?: Hold | undefined
  readonly publish: (event: PoolEvent) => Effect.Effect<void>
}
