/**
 * A channel on which a process of a pool both takes connections and gives them.
 *
 * @internal
 */
import * as Option from "effect/Option"
import type { Channel } from "../system/channel.ts"
import * as inboxes from "../system/inbox.ts"
import { decodeAnswer } from "../wire/channel.ts"

export interface Sides {
  readonly taking: Channel
  readonly giving: Channel
}

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
