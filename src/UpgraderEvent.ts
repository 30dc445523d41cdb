/**
 * What happens in the life of an upgrader.
 *
 * @since 0.1.0
 */
import * as Data from "effect/Data"
import type { UpgradeError } from "./TableflipError.ts"

/**
 * Why a process should end: a newer one has taken over, or it was told to stop.
 *
 * @since 0.1.0
 * @category models
 */
export type ExitReason = Data.TaggedEnum<{
  Upgraded: {
    /** The process that serves now. */
    readonly pid: number
    readonly generation: number
  }
  Stopped: {}
}>

/**
 * @since 0.1.0
 * @category constructors
 */
export const ExitReason = Data.taggedEnum<ExitReason>()

/**
 * One event. `generation` is that of the process which the event is about.
 *
 * @since 0.1.0
 * @category models
 */
export type UpgraderEvent = Data.TaggedEnum<{
  /** This process accepts. */
  Ready: { readonly generation: number }
  /** A new process was started. */
  UpgradeStarted: { readonly pid: number; readonly generation: number }
  /** It did not take over, and is gone. */
  UpgradeFailed: { readonly error: UpgradeError; readonly generation: number }
  /** It has taken over. */
  Upgraded: { readonly pid: number; readonly generation: number }
  /** Every older generation has ended. */
  ParentExited: { readonly generation: number }
  /** This process was told to stop. */
  Stopped: { readonly generation: number }
}>

/**
 * @since 0.1.0
 * @category constructors
 */
export const UpgraderEvent = Data.taggedEnum<UpgraderEvent>()
