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

type Find = (words: unknown) => Option.Option<unknown>

/** The second one hears what is found in the words that come, or that were sent and lost, and the first one all others. */
const split = (channel: Channel, find: Find, findLost: Find): readonly [Channel, Channel] => {
  const first = inboxes.make()
  const second = inboxes.make()
  channel.listen({
    onWords: (words, connection) =>
      Option.match(find(words), {
        onNone: () => first.words(words, connection),
        onSome: (found) => second.words(found, connection)
      }),
    onEnd: () => {
      first.end()
      second.end()
    },
    onLost: (words) =>
      Option.match(findLost(words), {
        onNone: () => first.lost(words),
        onSome: (found) => second.lost(found as object)
      })
  })
  return [{ ...channel, listen: first.listen }, { ...channel, listen: second.listen }]
}

export interface Sides {
  readonly taking: Channel
  readonly giving: Channel
}

/** What this process takes, and what it gives. */
export const make = (channel: Channel): Sides => {
  const isAnswer = (words: unknown) => Option.isSome(decodeAnswer(words))
  const [giving, taking] = split(channel, (words) => isAnswer(words) ? Option.none() : Option.some(words), Option.none)
  return { taking, giving }
}

export interface Generations {
  /** What is this process's own. */
  readonly own: Channel
  /** What is of the processes that it has started, or is for them. */
  readonly relayed: Channel
}

/** Between two generations. */
export const between = (channel: Channel): Generations => {
  const [own, inner] = split(channel, decodeRelayed, decodeRelayed)
  return {
    own,
    relayed: {
      ...inner,
      send: (words, connection) => channel.send(encodeRelayed(words), connection),
      pass: (words, connection) => channel.pass(encodeRelayed(words), connection)
    }
  }
}
