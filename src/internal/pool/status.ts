/**
 * What a pool tells of its processes.
 *
 * @internal
 */
import type { ProcessName } from "../../PoolEvent.ts"
import type { Running, Slot } from "./slot.ts"
import { current, nameOf } from "./slot.ts"

/** One process of the pool, as `status` tells of it. `draining` is one that was told to finish and has not ended. */
export interface ProcessStatus extends Omit<ProcessName, "pid"> {
  /** None while there is no process in this place. */
  readonly pid: number | undefined
  readonly state: "starting" | "serving" | "restarting" | "done" | "draining"
  /** Milliseconds since the epoch at which this state began. */
  readonly since: number
  readonly restarts: number
}

const words = { Starting: "starting", Serving: "serving", Restarting: "restarting", Done: "done" } as const

export const ofSlot = (slot: Slot, generation: number): ProcessStatus => ({
  name: slot.spec.name,
  index: slot.spec.index,
  pid: current(slot)?.member.pid,
  generation: current(slot)?.generation ?? generation,
  state: words[slot.state._tag],
  since: slot.state.since,
  restarts: slot.restarts
})

export const ofRetired = (running: Running): ProcessStatus => ({
  ...nameOf(running),
  state: "draining",
  since: running.retiredAt ?? running.since,
  restarts: running.slot.restarts
})
