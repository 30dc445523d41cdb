/**
 * Two channels on one: on that of a process of a pool, which both takes connections and gives them, and on that of two
 * primaries, which have connections of their own and pass on those of their workers.
 *
 * @internal
 */
import * as Option from "effect/Option"
import type { Channel } from "../system/channel.ts"
import * as inboxes from "../system/inbox.ts"
import { decodeAnswer, decodeRelayed, encodeRelayed } from "../wire/channel.ts"

export interface Sides {
  readonly taking: Channel
  readonly giving: Channel
}

/** What this process takes, and what it gives. */
export const make = (channel: Channel): Sides => {
  const taking = inboxes.make()
  const giving = inboxes.make()
  channel.listen({
    onWords: (words, connection) => (Option.isSome(decodeAnswer(words)) ? giving : taking).words(words, connection),
    onEnd: () => {
      taking.end()
      giving.end()
    },
    onLost: giving.lost
  })
  return { taking: { ...channel, listen: taking.listen }, giving: { ...channel, listen: giving.listen } }
}

export interface Generations {
  /** What is this process's own. */
  readonly own: Channel
  /** What is of the processes that it has started, or is for them. */
  readonly relayed: Channel
}

/** Between two generations. */
export const between = (channel: Channel): Generations => {
  const own = inboxes.make()
  const relayed = inboxes.make()
  channel.listen({
    onWords: (words, connection) =>
      Option.match(decodeRelayed(words), {
        onNone: () => own.words(words, connection),
        onSome: (inner) => relayed.words(inner, connection)
      }),
    onEnd: () => {
      own.end()
      relayed.end()
    },
    onLost: own.lost
  })
  return {
    own: { ...channel, listen: own.listen },
    relayed: {
      ...channel,
      listen: relayed.listen,
      send: (words, connection) => channel.send(encodeRelayed(words), connection),
      pass: (words, connection) => channel.pass(encodeRelayed(words), connection)
    }
  }
}
