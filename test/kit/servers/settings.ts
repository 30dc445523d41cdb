/** What the server of a scenario is told, and what it tells. */
import type { Protocol } from "./apps.ts"

export type Mode = Protocol | "platform" | "platform-https" | "tcp" | "tcp-goodbye" | "udp" | Given

/** Connections that the app gives to the next process. */
export type Given = "ws-given" | "platform-given" | "tcp-given"

export interface Settings {
  readonly mode: Mode
  readonly port?: number
  /** Milliseconds from listening until ready, for every process but the first. */
  readonly startDelay?: number
  /** Every process but the first ends when it listens, before it is ready. */
  readonly crash?: boolean
  /** Milliseconds. */
  readonly keepAliveTimeout?: number
  /** Milliseconds. */
  readonly drainTimeout?: number
  readonly maxDraining?: number
  /** Milliseconds. */
  readonly probation?: number
}

/** What one process did when it was drained. */
export interface Drained {
  readonly open: number
  readonly forced: number
  readonly handedOver: number
  /** Milliseconds. */
  readonly took: number
  /** Milliseconds of work, at the most, between two looks at the clock 5 ms apart, from ready on: how long the event loop was blocked. */
  readonly blocked: number
}
