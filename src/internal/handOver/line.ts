/**
 * What a relay knows of each process: where what it gives goes, what comes to it, and whether anything is on its way.
 *
 * @internal
 */
import type { Channel } from "../system/channel.ts"
import type { Answer } from "../wire/channel.ts"

/** A process on a channel. */
export interface Line {
  /**
   * From now on its connections go to these in turn, and so does what other processes of this one would have given to it;
   * false if none of them takes any.
   */
  readonly leaveTo: (others: ReadonlyArray<Line>) => boolean
  /** Tells it that what it gives is taken, as soon as this line leaves to others. */
  readonly greet: () => void
  /** It is to give nothing more. Calls back when nothing is on its way, for which it need not live. */
  readonly rest: (done: () => void) => void
  /** Calls back when all that was said to it is written. */
  readonly written: (done: () => void) => void
}

interface Route {
  readonly line: Open
  readonly id: number
  readonly isHeld: boolean
}

type Serves = Extract<Answer, { readonly _tag: "Serves" }>

export interface LineOptions {
  /** Whether the process at the other end passes on what comes: its end does not tell what has arrived. */
  readonly isRelay?: boolean
  /** Whether that one ends no later than this process does, which is then there for all that it gives. */
  readonly isOutlived?: boolean
}

/** A line, and all that is known of it. */
export interface Open extends Line, Required<LineOptions> {
  readonly channel: Channel
  hasGreeted: boolean
  /** It has been told that it may give. */
  isTold: boolean
  isOver: boolean
  /** It has said that it gives nothing more. */
  isDone: boolean
  /** Waits until nothing that it gives is on its way; then it is to leave to nobody again. */
  onRest: (() => void) | undefined
  serves: Serves | undefined
  readonly to: Set<Open>
  readonly from: Set<Open>
  /** What comes to it, by the ids that it knows, and where that is from. */
  readonly coming: Map<number, Route>
  /** What it gives, by the ids that it knows, and where that goes. */
  readonly going: Map<number, Route>
  lastId: number
  /** Counts what has gone to anybody: who has been given nothing for the longest time is next. */
  lastTurn: number
}

/** One that came to it is its own, or is not any more. */
export const forget = (to: Open, id: number) => {
  const route = to.coming.get(id)
  to.coming.delete(id)
  if (route === undefined) return
  route.line.going.delete(route.id)
  // What is said of it now is on its way before anything that comes of this.
  if (route.line.onRest !== undefined) setImmediate(checkRest, route.line)
}

/** Calls back if it is to rest and nothing that it gives is on its way. */
export const checkRest = (line: Open) => {
  if (line.onRest === undefined || line.going.size > 0 || !line.isDone && !line.isOver) return
  const done = line.onRest
  line.onRest = () => {}
  done()
}

/** It leaves to nobody any more. */
export const detach = (line: Open) => {
  for (const to of line.to) to.from.delete(line)
  line.to.clear()
}
