/**
 * What a pool tells of its processes.
 *
 * @internal
 */
import type { ProcessName } from "../../PoolEvent.ts"
import type { Running, Slot, SlotState } from "./member.ts"
import { nameOf } from "./member.ts"

export interface ProcessStatus extends Omit<ProcessName, "pid"> {
  /** None while there is no process in this place. */
  readonly pid: number | undefined
  readonly state: SlotState | "draining"
  /** Milliseconds since the epoch at which this state began. */
  readonly since: number
  readonly restarts: number
}

export const ofSlot = ({ current, restarts, since, spec, state }: Slot, generation: number): ProcessStatus => ({
  name: spec.name,
  index: spec.index,
  pid: current?.member.pid,
  generation: current?.generation ?? generation,
  state,
  since,
  restarts
})

export const ofRetired = (running: Running): ProcessStatus => ({
  ...nameOf(running),
  state: "draining",
  since: running.retiredAt ?? running.since,
  restarts: running.slot.restarts
})
