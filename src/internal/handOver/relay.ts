/**
 * Connections that go from a process of a pool to another, through the one that has started both, which reads nothing of
 * them. Each pair of ids is known here, because several may give to one.
 *
 * @internal
 */
import * as Option from "effect/Option"
import type { Channel, PassedConnection } from "../system/channel.ts"
import type { Word } from "../wire/channel.ts"
import { Answer, decodeAnswer, decodeWord, encodeWord } from "../wire/channel.ts"

/** A process on a channel. */
export interface Line {
  /** From now on its connections go to the other one; false if that takes none. */
  readonly leaveTo: (other: Line) => boolean
}

interface Route {
  readonly line: Open
  readonly id: number
  readonly isHeld: boolean
}

interface Open extends Line {
  readonly channel: Channel
  hasGreeted: boolean
  isOver: boolean
  serves: Answer | undefined
  to: Open | undefined
  readonly from: Set<Open>
  /** What comes to it, by the ids that it knows, and where that is from. */
  readonly coming: Map<number, Route>
  /** What it gives, by the ids that it knows, and where that goes. */
  readonly going: Map<number, Route>
  lastId: number
}

const lines = new WeakMap<Line, Open>()

const forget = (to: Open, id: number) => {
  const route = to.coming.get(id)
  to.coming.delete(id)
  route?.line.going.delete(route.id)
}

const relay = (from: Open, word: Word & { readonly _tag: "Passing" }, connection: PassedConnection): boolean => {
  const { to } = from
  if (to === undefined) return false
  const id = ++to.lastId
  const isHeld = word.key !== undefined
  to.coming.set(id, { line: from, id: word.id, isHeld })
  from.going.set(word.id, { line: to, id, isHeld })
  if (to.channel.pass(encodeWord({ ...word, id }), connection)) return true
  forget(to, id)
  return false
}

const onWord = (from: Open, word: Word, connection: Option.Option<PassedConnection>): void => {
  if (word._tag === "Passing") {
    if (Option.exists(connection, (connection) => relay(from, word, connection))) return
    Option.map(connection, ({ close }) => close())
    from.channel.send(Answer.Refused({ id: word.id }))
    return
  }
  const route = from.going.get(word.id)
  if (route === undefined) return
  forget(route.line, route.id)
  route.line.channel.send(encodeWord({ ...word, id: route.id }))
}

const onAnswer = (to: Open, answer: Answer): void => {
  switch (answer._tag) {
    case "Greeting":
      to.hasGreeted = true
      return
    case "Serves":
      to.serves = answer
      for (const { channel } of to.from) channel.send(answer)
      return
    case "Taken":
    case "Refused": {
      const route = to.coming.get(answer.id)
      if (route === undefined) return
      if (!route.isHeld || answer._tag === "Refused") forget(to, answer.id)
      route.line.channel.send({ ...answer, id: route.id })
      return
    }
    case "Gone":
      return
  }
}

const onEnd = (line: Open) => {
  line.isOver = true
  // Its words have all been heard, so what it has not taken is untouched.
  for (const id of line.coming.keys()) forget(line, id)
  for (const from of line.from) {
    from.to = undefined
    from.channel.send(Answer.Gone())
  }
  line.from.clear()
  // Nobody is left who could say what they were in the middle of.
  for (const { id, isHeld, line: to } of line.going.values()) {
    forget(to, id)
    if (isHeld) to.channel.send(encodeWord({ _tag: "Kept", id }))
  }
  line.to?.from.delete(line)
  line.to = undefined
}

export const make = (channel: Channel): Line => {
  const line: Open = {
    channel,
    hasGreeted: false,
    isOver: false,
    serves: undefined,
    to: undefined,
    from: new Set(),
    coming: new Map(),
    going: new Map(),
    lastId: 0,
    leaveTo: (other) => {
      const to = lines.get(other)
      if (to === undefined || line.isOver || to.isOver || !to.hasGreeted) return false
      line.to = to
      to.from.add(line)
      if (to.serves !== undefined) channel.send(to.serves)
      return true
    }
  }
  lines.set(line, line)
  channel.listen({
    onWords: (words, connection) => {
      const word = decodeWord(words)
      if (Option.isSome(word)) return onWord(line, word.value, connection)
      Option.map(connection, ({ close }) => close())
      Option.map(decodeAnswer(words), (answer) => onAnswer(line, answer))
    },
    onEnd: () => onEnd(line)
  })
  return line
}
