/**
 * What a control socket speaks, as far as both ends have to agree. Nothing of Effect is here: the command reads it too.
 *
 * @internal
 */

export const version = 1

/** Every answer has it, with the version: what answers without it is something else. */
export const header = "tableflip-control"

export type Kind = "upgrader" | "pool" | "supervisor"

export type State = "starting" | "serving" | "upgrading" | "draining" | "stopping"

export interface Identity {
  readonly pid: number
  readonly generation: number
}

export interface ErrorJson {
  readonly _tag: string
  readonly message: string
}

/** How the newest upgrade, or reload, went. */
export type LastUpgrade =
  & { readonly at: string; readonly generation: number; readonly pid?: number | undefined }
  & ({ readonly outcome: "upgraded" } | { readonly outcome: "failed"; readonly error: ErrorJson })

export interface ProcessJson {
  readonly name: string
  readonly index: number
  readonly pid?: number | undefined
  readonly generation: number
  readonly state: string
  readonly since: string
  readonly restarts: number
}

/** Times are in ISO 8601. */
export interface Status extends Identity {
  readonly protocol: number
  readonly kind: Kind
  readonly state: State
  readonly since: string
  readonly startedAt: string
  readonly olderDraining: number
  readonly lastUpgrade: LastUpgrade | null
  readonly node: string
  readonly connections?: number | undefined
  readonly size?: number | undefined
  readonly processes?: ReadonlyArray<ProcessJson> | undefined
}

/** What was asked of a reload, a stop or a replacement, and came about. */
export interface Outcome {
  readonly outcome: string
  readonly millis?: number | undefined
}

export type Wait = "switched" | "drained"

/** A line of the events. */
export interface EventJson {
  readonly _tag: string
  readonly seq: number
  readonly at: string
  readonly by: Identity
}
