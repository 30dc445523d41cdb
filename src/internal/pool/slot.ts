/**
 * The places of a pool, and what is going on in each.
 *
 * @internal
 */
import * as Clock from "effect/Clock"
import type * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import type { ExitStatus } from "../../ExitStatus.ts"
import type { StartFailure } from "../../PoolError.ts"
import type { ProcessName } from "../../PoolEvent.ts"
import type { Line } from "../handOver/line.ts"
import { type Driver, driver } from "../seam.ts"
import type { Answer, Retirement } from "../wire/control.ts"

/** A started process, as a pool sees it. The scope it was started in ends it. */
export interface Member {
  readonly pid: number
  /** Completes when it serves; fails as soon as it is known that it will not. */
  readonly ready: Effect.Effect<void, StartFailure>
  readonly exit: Effect.Effect<ExitStatus>
  /** Hands over what it says, to its end. */
  readonly forEachAnswer: (handle: (answer: Answer) => Effect.Effect<void>) => Effect.Effect<void>
  /** Asks it to finish. */
  readonly retire: (why: Retirement) => Effect.Effect<void>
  /** Tells it that every older copy of it has ended. */
  readonly olderGone: Effect.Effect<void>
  /** Tells it that it is its turn to run what it has asked for. */
  readonly locked: (id: number) => Effect.Effect<void>
  readonly signal: (signal: NodeJS.Signals) => Effect.Effect<boolean>
  /** On which its connections go to another, and those of others come. */
  readonly line?: Line | undefined
}

/** A place in the pool, which always has the same name. */
export interface SlotSpec {
  readonly name: string
  readonly index: number
  readonly start: (how: {
    readonly size: number
    readonly generation: number
    readonly restarts: number
  }) => Effect.Effect<Member, StartFailure, Scope.Scope>
  /** Why it could not be started now, as far as that can be known without trying. */
  readonly check?: Effect.Effect<void, StartFailure> | undefined
  /** Whether a process that ends by itself is started again. */
  readonly restart: "always" | "on-failure" | "never"
  /** Whether this end shows that there is no use in that. */
  readonly givesUp?: ((status: ExitStatus) => boolean) | undefined
  /** Whether the pool fails with a process that failed and is not started again. */
  readonly fatal: boolean
  /**
   * Whether it serves until it is told to finish. One that ends in good order then makes room for the next, which is
   * started at once; and one whose event loop stands still is not at work but stuck.
   */
  readonly serves: boolean
  /** Whether a replacement brings it back where it had ended and was not started again. */
  readonly revives?: boolean | undefined
}

export interface Slot {
  readonly spec: SlotSpec
  readonly driver: Driver<ExitStatus>
  /** Changed by `enter`. */
  state: SlotState
  /** How often a process that had ended was started again here. */
  restarts: number
}

type State =
  /** Its first process comes up. */
  | { readonly _tag: "Starting" }
  | { readonly _tag: "Serving"; readonly running: Running }
  /** Its process has ended, and the keeper starts it again. */
  | { readonly _tag: "Restarting"; readonly keeper: Fiber.RuntimeFiber<void> }
  /** Nothing is started here any more: what was here has ended, or was told to. */
  | { readonly _tag: "Done" }

/** Since when, in milliseconds since the epoch. */
export type SlotState = State & { readonly since: number }

/** A process that has come up. */
export interface Running {
  readonly slot: Slot
  readonly member: Member
  readonly generation: number
  readonly since: number
  /** Milliseconds by a monotonic clock. */
  readonly begunAt: number
  readonly scope: Scope.CloseableScope
  /** Completes when its end has been told. */
  readonly told: Deferred.Deferred<void>
  /** Milliseconds since the epoch at which it was told to finish. */
  retiredAt: number | undefined
  /** How it ended. */
  status: ExitStatus | undefined
}

export const make = (spec: SlotSpec, restart: Schedule.Schedule<unknown, ExitStatus>): Effect.Effect<Slot> =>
  Effect.zipWith(driver(restart), Clock.currentTimeMillis, (driver, since) => ({
    spec,
    driver,
    state: { _tag: "Starting", since },
    restarts: 0
  }))

export const enter = (slot: Slot, state: State): Effect.Effect<void> =>
  Effect.map(Clock.currentTimeMillis, (since) => {
    slot.state = { ...state, since }
  })

export const serve = (running: Running): Effect.Effect<void> => enter(running.slot, { _tag: "Serving", running })

/** The process that serves here. */
export const current = ({ state }: Slot): Running | undefined => state._tag === "Serving" ? state.running : undefined

export const isDone = ({ state }: Slot): boolean => state._tag === "Done"

/** What waits to be started again here is not, and what comes up for that has ended, or serves. */
export const stopKeeping = ({ state }: Slot): Effect.Effect<void> =>
  state._tag === "Restarting" ? Effect.asVoid(Fiber.interrupt(state.keeper)) : Effect.void

/** How a process of a pool is called in messages. */
export const describe = ({ index, name }: { readonly name: string; readonly index: number }): string =>
  name === "worker" ? `worker ${index}` : `process ${name}`

export const nameOf = ({ generation, member, slot: { spec } }: Running): ProcessName => ({
  name: spec.name,
  index: spec.index,
  pid: member.pid,
  generation
})
