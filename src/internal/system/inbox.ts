/**
 * What has come on a channel, until there is somebody to hear it.
 *
 * @internal
 */
import * as Option from "effect/Option"
import type { ChannelListener } from "./channel.ts"

export interface Inbox {
  readonly words: ChannelListener["onWords"]
  readonly end: () => void
  readonly lost: (words: object) => void
  readonly listen: (to: ChannelListener) => void
  /** Nobody is to hear it any more. */
  readonly drop: () => void
}

export const make = (): Inbox => {
  let listener: ChannelListener | undefined
  let kept: Array<Parameters<ChannelListener["onWords"]>> = []
  let isOver = false
  return {
    words: (...words: Parameters<ChannelListener["onWords"]>) => {
      if (listener === undefined) kept.push(words)
      else listener.onWords(...words)
    },
    end: () => {
      if (isOver) return
      isOver = true
      listener?.onEnd()
    },
    lost: (words: object) => listener?.onLost?.(words),
    listen: (to: ChannelListener) => {
      listener = to
      for (const words of kept) to.onWords(...words)
      kept = []
      if (isOver) to.onEnd()
    },
    drop: () => {
      for (const [, connection] of kept) if (Option.isSome(connection)) connection.value.close()
      kept = []
    }
  }
}
