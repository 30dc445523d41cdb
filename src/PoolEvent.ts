/**
 * What happens in the life of a pool of processes.
 *
 * @since 3.0.0
 * @module
 */
import * as Data from "effect/Data"
import type { ExitStatus } from "./ExitStatus.ts"
import type { ProcessStartError, ReplaceError } from "./PoolError.ts"

/**
 * Which process an event is about.
 *
 * @since 3.0.0
 * @category models
 */
export interface ProcessName {
  /** `worker`, or the name of an extra process. */
  readonly name: string
  /** The place it has among those of its name, from 0. It keeps it when it is restarted or replaced. */
  readonly index: number
  readonly pid: number
  /** 1 for the processes of the first start; each replacement and each upgrade of the primary counts one up. */
  readonly generation: number
}

/**
 * One event.
 *
 * @since 3.0.0
 * @category models
 */
export type PoolEvent = Data.TaggedEnum<{
  /** A process was started. */
  Started: ProcessName
  /** It serves. */
  Ready: ProcessName
  /** It was told to finish: a newer one has taken its place or is about to, or the pool stops or becomes smaller. */
  Retired: ProcessName
  /** It asks for a new process in its place: `Asked` by its program, or because of its `Memory`. It serves meanwhile. */
  RecycleRequested: ProcessName & { readonly reason: "Asked" | "Memory" }
  /** Its event loop stands still. It gets SIGKILL, and is started again as one that crashed. */
  Unresponsive: ProcessName
  /** It did not finish in time and gets SIGKILL. */
  Killed: ProcessName
  /** It has ended; `expected` if it had been told to. */
  Exited: ProcessName & { readonly status: ExitStatus; readonly expected: boolean }
  /** A process that had ended could not be started again. It will be tried once more. */
  StartFailed: { readonly name: string; readonly index: number; readonly error: ProcessStartError }
  /** Every process has been replaced. */
  Replaced: { readonly generation: number }
  /** A replacement has failed, and what was not replaced serves on, unless it had been stopped first. */
  ReplaceFailed: { readonly generation: number; readonly error: ReplaceError }
  /** The pool has another size. */
  Resized: { readonly from: number; readonly to: number }
  /** Every process has ended; so many had to be killed. */
  Stopped: { readonly killed: number }
}>

/**
 * Constructors and matchers of `PoolEvent`.
 *
 * @since 3.0.0
 * @category constructors
 */
export const PoolEvent = Data.taggedEnum<PoolEvent>()
