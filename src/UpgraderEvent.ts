/**
 * What happens in the life of an upgrader.
 *
 * @since 3.0.0
 * @module
 */
import * as Data from "effect/Data"
import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import type { ServerReport } from "./Drain.ts"
import type { UpgradeError } from "./TableflipError.ts"

/**
 * Why a process should end: a newer one has taken over, or it was told to stop.
 *
 * @since 3.0.0
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
 * Constructors and matchers of `ExitReason`.
 *
 * @since 3.0.0
 * @category constructors
 */
export const ExitReason = Data.taggedEnum<ExitReason>()

/**
 * What draining the process did, server by server.
 *
 * @since 3.0.0
 * @category models
 */
export interface DrainReport {
  readonly servers: ReadonlyArray<ServerReport & { readonly address: string }>
  /** From the moment in which it stopped accepting. */
  readonly duration: Duration.Duration
}

/**
 * What an app does before its clients are sent away: leave a registry of services, stop consuming a queue.
 *
 * @since 3.0.0
 * @category models
 */
export type DrainHook = (reason: ExitReason) => Effect.Effect<unknown, unknown>

/**
 * What a process is doing, from `starting` to `draining` (a newer process has taken over) or `stopping` (none has).
 *
 * @since 3.0.0
 * @category models
 */
export interface UpgraderStatus {
  readonly pid: number
  readonly state: "starting" | "serving" | "upgrading" | "draining" | "stopping"
  /** How many older generations have not ended yet. */
  readonly olderDraining: number
  /** How many connections its servers have, as far as they are drained. */
  readonly connections: number
}

/**
 * One event. `generation` is that of the process which the event is about.
 *
 * @since 3.0.0
 * @category models
 */
export type UpgraderEvent = Data.TaggedEnum<{
  /** This process accepts. */
  Ready: { readonly generation: number }
  /** A new process was started. */
  UpgradeStarted: { readonly pid: number; readonly generation: number }
  /** It did not take over, and is gone. */
  UpgradeFailed: { readonly error: UpgradeError; readonly generation: number }
  /** Nothing was tried: this process is not ready, is being upgraded or ends. It told whoever asked, as the error says. */
  UpgradeRefused: { readonly error: UpgradeError; readonly generation: number }
  /** It has taken over. */
  Upgraded: { readonly pid: number; readonly generation: number }
  /** Every older generation has ended. */
  ParentExited: { readonly generation: number }
  /** This process was told to stop. */
  Stopped: { readonly generation: number }
  /** This process begins to finish what it serves. */
  Draining: { readonly generation: number }
  /** It has finished. */
  Drained: { readonly generation: number; readonly report: DrainReport }
}>

/**
 * Constructors and matchers of `UpgraderEvent`.
 *
 * @since 3.0.0
 * @category constructors
 */
export const UpgraderEvent = Data.taggedEnum<UpgraderEvent>()
