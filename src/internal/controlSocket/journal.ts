/**
 * What happens, told to whoever follows it: a line of JSON for each event. A reader that is slow misses events, and is
 * told how many; it holds up nothing.
 *
 * @internal
 */
import type { Lines } from "./httpServer.ts"
import { timeJson } from "./json.ts"
import type { Identity } from "./protocol.ts"

export interface Journal {
  readonly tell: (event: { readonly _tag: string }, millis: number) => void
  /** Tells everything from now on, after what is given first. */
  readonly follow: (lines: Lines, first: { readonly _tag: string }, millis: number) => void
  readonly end: (millis: number) => void
}

/** Bytes that are kept for a follower who does not read. */
const maxBuffered = 256 * 1024

interface Follower {
  readonly lines: Lines
  missed: number
}

export const make = (by: () => Identity): Journal => {
  const followers = new Set<Follower>()
  let seq = 0
  let isOver = false

  const written = (event: { readonly _tag: string }, millis: number) =>
    `${JSON.stringify({ ...event, seq, at: timeJson(millis), by: by() })}\n`

  const send = (follower: Follower, line: string, millis: number) => {
    if (follower.lines.buffered() + line.length > maxBuffered) {
      follower.missed += 1
      return
    }
    if (follower.missed > 0) {
      const missed = { _tag: "Missed", count: follower.missed }
      follower.missed = 0
      follower.lines.write(written(missed, millis))
    }
    follower.lines.write(line)
  }

  const tell = (event: { readonly _tag: string }, millis: number) => {
    seq += 1
    const line = written(event, millis)
    followers.forEach((follower) => send(follower, line, millis))
  }

  return {
    tell,
    follow: (lines, first, millis) => {
      lines.write(written(first, millis))
      if (isOver) return lines.end()
      const follower = { lines, missed: 0 }
      followers.add(follower)
      lines.onGone(() => followers.delete(follower))
    },
    end: (millis) => {
      tell({ _tag: "Ended" }, millis)
      isOver = true
      followers.forEach(({ lines }) => lines.end())
      followers.clear()
    }
  }
}
