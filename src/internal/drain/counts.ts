/**
 * What a drain has counted. Each connection that was seen is in one state, and has one end.
 *
 * @internal
 */
import type { Ending } from "./connections.ts"

/** What a connection was doing when it was seen first. */
export type State = "idle" | "fresh" | "inFlight" | "opaque"

/** `open` is the sum of the states, and of the ends. What was `refused` has had another end after that. */
export type Totals = Readonly<Record<State | Ending | "open" | "refused", number>>

/** @internal */
export interface Counts {
  readonly opened: (state: State) => void
  readonly closed: (ending: Ending) => void
  /**
   * The newer process has not taken one that was sent to it, and that stays here; or that was closed here meanwhile, and then
   * counted as handed over.
   */
  readonly refused: (isClosed?: boolean) => void
  /** Of the end of the drain. What has not been heard of until then was destroyed all the same. */
  readonly totals: () => Totals
}

/** @internal */
export const make = (): Counts => {
  const states = { idle: 0, fresh: 0, inFlight: 0, opaque: 0 }
  const ends = { finished: 0, sentAway: 0, handedOver: 0, timedOut: 0 }
  let refused = 0
  return {
    opened: (state) => {
      states[state]++
    },
    closed: (ending) => {
      if (ending !== "forced") ends[ending]++
    },
    refused: (isClosed = false) => {
      refused++
      if (isClosed) ends.handedOver--
    },
    totals: () => {
      const open = states.idle + states.fresh + states.inFlight + states.opaque
      const ended = ends.finished + ends.sentAway + ends.handedOver + ends.timedOut
      return { open, ...states, ...ends, forced: open - ended, refused }
    }
  }
}
