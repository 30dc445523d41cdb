/**
 * Connections that go from a process of a pool to others, through the one that has started them, or through two of those
 * when a pool is upgraded, or through those and their supervisor. These read nothing of them. Each pair of ids is known here,
 * because several may give to one.
 *
 * @internal
 */
import * as Option from "effect/Option"
import type { Channel, PassedConnection } from "../system/channel.ts"
import type { Passing, Place, Taking, Word } from "../wire/channel.ts"
import { Answer, decodeAnswer, decodeWord, encodeWord } from "../wire/channel.ts"
import type { Line, LineOptions, Open } from "./line.ts"
import { checkRest, detach, forget } from "./line.ts"
import { between } from "./sides.ts"

/** What each line consists of. */
const lines = new WeakMap<Line, ReadonlyArray<Open>>()

let turn = 0

/** Says to a further relay that nothing more comes through this one. */
const tellDone = (to: Open) => {
  const isNothingTaken = to.serves?.places.length === 0 && to.serves.takes.length === 0
  if (to.isRelay && isNothingTaken && [...to.from].every(({ isDone }) => isDone)) to.channel.send({ _tag: "Done" })
}

const isAt = ([network, address]: Place) => (other: Place | Taking) => other[0] === network && other[1] === address

const isTaken = ({ serves }: Open, { key, place }: Passing): boolean =>
  key === undefined
    ? serves?.places.some(isAt(place)) === true
    : serves?.takes.some((taking) => isAt(place)(taking) && taking[2] === key) === true

const relay = (from: Open, passing: Passing, connection: PassedConnection): boolean => {
  const takers = [...from.to].filter((one) => isTaken(one, passing))
  const longest = Math.min(...takers.map(({ lastTurn }) => lastTurn))
  const to = takers.find(({ lastTurn }) => lastTurn === longest)
  if (to === undefined) return false
  const id = ++to.lastId
  const isHeld = passing.key !== undefined
  to.coming.set(id, { line: from, id: passing.id, isHeld })
  from.going.set(passing.id, { line: to, id, isHeld })
  if (to.channel.pass(encodeWord({ ...passing, id }), connection)) {
    to.lastTurn = ++turn
    return true
  }
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
  if (word._tag === "Done") {
    from.isDone = true
    from.to.forEach(tellDone)
    return checkRest(from)
  }
  const route = from.going.get(word.id)
  if (route === undefined) return
  forget(route.line, route.id)
  route.line.channel.send(encodeWord({ ...word, id: route.id }))
}

/** Says where those that a line leaves to serve, once one of them has said it. */
const tellPlaces = (from: Open) => {
  const known = [...from.to].flatMap(({ serves }) => serves ?? [])
  if (known.length === 0 && from.to.size > 0) return
  from.channel.send(Answer.Serves({
    places: known.flatMap(({ places }) => places),
    takes: known.flatMap(({ takes }) => takes)
  }))
}

const onAnswer = (to: Open, answer: Answer): void => {
  switch (answer._tag) {
    case "Greeting":
      to.hasGreeted = true
      return
    case "Serves":
      to.serves = answer
      to.from.forEach(tellPlaces)
      return tellDone(to)
    case "Taken":
    case "Refused":
    case "Lost": {
      const route = to.coming.get(answer.id)
      if (route === undefined) return
      if (!route.isHeld || answer._tag !== "Taken") forget(to, answer.id)
      route.line.channel.send({ ...answer, id: route.id })
    }
  }
}

const onEnd = (line: Open) => {
  line.isOver = true
  // All its words have been heard, so what it has not taken is untouched. Those of who is behind a relay may not have been;
  // but what that holds it drops with the relay.
  for (const [id, { id: theirs, isHeld, line: from }] of line.coming) {
    forget(line, id)
    from.channel.send(line.isRelay && !isHeld ? Answer.Lost({ id: theirs }) : Answer.Refused({ id: theirs }))
  }
  for (const from of line.from) {
    from.to.delete(line)
    tellPlaces(from)
  }
  line.from.clear()
  // Nobody is left who could say what they were in the middle of.
  for (const { id, isHeld, line: to } of line.going.values()) {
    forget(to, id)
    if (isHeld) to.channel.send(encodeWord({ _tag: "Kept", id }))
  }
  const all = [...line.to]
  detach(line)
  all.forEach(tellDone)
  checkRest(line)
}

const connect = (from: Open, all: ReadonlyArray<Open>) => {
  for (const to of all) {
    from.to.add(to)
    to.from.add(from)
  }
  if (all.length > 0) {
    from.isTold = true
    from.channel.send(Answer.Greeting())
  }
  tellPlaces(from)
}

/** An older relay ends with its own processes, and what it gives on must not be cut off by the end of this one. */
const redirect = (line: Open, all: ReadonlyArray<Open>) => {
  for (const from of line.from) {
    from.to.delete(line)
    connect(from, from.isRelay && !from.isOutlived ? [] : all)
  }
  line.from.clear()
}

/** What was to go that way has not arrived, and was closed here. */
const onLost = (to: Open, word: Word) => {
  if (word._tag !== "Passing") return
  const route = to.coming.get(word.id)
  if (route === undefined) return
  forget(to, word.id)
  route.line.channel.send(Answer.Refused({ id: route.id }))
}

export const make = (channel: Channel, { isOutlived = false, isRelay = false }: LineOptions = {}): Line => {
  const line: Open = {
    channel,
    isRelay,
    isOutlived,
    hasGreeted: false,
    isTold: false,
    isOver: false,
    isDone: false,
    onRest: undefined,
    serves: undefined,
    to: new Set(),
    from: new Set(),
    coming: new Map(),
    going: new Map(),
    lastId: 0,
    lastTurn: 0,
    greet: () => void channel.send(Answer.Greeting()),
    leaveTo: (others) => {
      const all = others.flatMap((other) => lines.get(other) ?? []).filter((to) => !to.isOver && to.hasGreeted)
      if (line.onRest !== undefined) return false
      redirect(line, all)
      if (line.isOver || all.length === 0) return false
      connect(line, all)
      return true
    },
    rest: (done) => {
      // It gives nothing that it was not told to give, and what never greets is another program and would not say so.
      if (!line.isTold || !line.hasGreeted) line.isDone = true
      line.onRest = done
      detach(line)
      if (!line.isDone) tellPlaces(line)
      checkRest(line)
    },
    written: channel.written
  }
  lines.set(line, [line])
  channel.listen({
    onWords: (words, connection) => {
      const word = decodeWord(words)
      if (Option.isSome(word)) return onWord(line, word.value, connection)
      Option.map(connection, ({ close }) => close())
      Option.map(decodeAnswer(words), (answer) => onAnswer(line, answer))
    },
    onEnd: () => onEnd(line),
    onLost: (words) => void Option.map(decodeWord(words), (word) => onLost(line, word))
  })
  return line
}

/** None of them is to give anything more. Calls back when nothing of theirs is on its way. */
export const restAll = (all: ReadonlyArray<Line>, done: () => void): void => {
  const afterAll = (step: (line: Line, done: () => void) => void, done: () => void) => {
    let left = all.length
    if (left === 0) return done()
    for (const line of all) step(line, () => --left === 0 ? done() : undefined)
  }
  // What one has said last may still be on its way to another.
  afterAll(({ rest }, next) => rest(next), () => afterAll(({ written }, next) => written(next), done))
}

/**
 * The line to a command: what it gives itself, and, if it is the primary of a pool, what its workers give. It may leave to a
 * release that is the other.
 */
export const ofCommand = (channel: Channel): Line => {
  const { own, relayed } = between(channel)
  const parts = [make(own), make(relayed, { isRelay: true, isOutlived: true })]
  const line: Line = {
    // All of them: what one has said must not keep the other from being told.
    leaveTo: (others) => parts.map((part) => part.leaveTo(others)).includes(true),
    greet: () => parts.forEach(({ greet }) => greet()),
    rest: (done) => restAll(parts, done),
    written: channel.written
  }
  lines.set(line, parts.flatMap((part) => lines.get(part) ?? []))
  return line
}
