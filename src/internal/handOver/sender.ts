/**
 * The older process's side: connections stand in a row, and each goes when it is its turn. Until then it is served here.
 * This is all callbacks, because a connection must not be read between the look at it and its departure.
 *
 * @internal
 */
import * as Option from "effect/Option"
import type * as net from "node:net"
import { beAfterRequest, resumeReading, stopReading } from "../node/internals.ts"
import type { Channel } from "../system/channel.ts"
import type { Answer, Place } from "../wire/channel.ts"
import { decodeAnswer } from "../wire/channel.ts"

/** A connection that stands in the row. */
export interface Candidate {
  readonly socket: net.Socket
  /** Asked when it is its turn: whether it can go at this moment. One that cannot leaves the row. */
  readonly isReady: () => boolean
  /** Whether it has had a request. */
  readonly isUsed: () => boolean
  /** It is on its way. */
  readonly sent: () => void
  /** The newer process has it; what is open here is to be closed. */
  readonly taken: () => void
  /** It is as it was, and stays here. */
  readonly refused: () => void
}

/** Where the connections of one server can go. */
export interface Successor {
  /** Whether the newer process takes them, as far as one knows. */
  readonly takes: () => boolean
  /** Puts a connection at the end of the row. */
  readonly offer: (candidate: Candidate) => void
  /** From now on it takes none. */
  readonly onOver: (listener: () => void) => void
}

export interface Sender {
  readonly to: (place: Place) => Successor
}

/**
 * Milliseconds without a word from the newer process, after which connections are no longer kept waiting for it. What is on
 * its way is left to it for as long as it lives: it may read it at any moment.
 */
const patience = 5_000

/** So many are on their way at once, once the newer process has shown that it takes them: one more for each that it took. */
const widest = 16

const isSame = ([network, address]: Place) => (other: Place) => other[0] === network && other[1] === address

export const make = (channel: Channel): Sender => {
  const over = new Set<() => void>()
  let isOver = false
  let hasGreeted = false
  let places: ReadonlyArray<Place> | undefined
  let row: Array<readonly [Place, Candidate]> = []
  let next = 0
  const onTheirWay = new Map<number, Candidate>()
  let width = 1
  let lastId = 0
  let timer: NodeJS.Timeout | undefined

  const finish = () => {
    clearTimeout(timer)
    if (isOver) return
    isOver = true
    row = []
    for (const listener of over) listener()
  }

  const wait = () => {
    clearTimeout(timer)
    timer = setTimeout(finish, patience)
    timer.unref()
  }

  const takeBack = (candidate: Candidate) => {
    resumeReading(candidate.socket)
    candidate.refused()
  }

  const send = (place: Place, candidate: Candidate) => {
    const { socket } = candidate
    const id = ++lastId
    stopReading(socket)
    // A 408 that is due meanwhile would be the newer process's to send.
    beAfterRequest(socket)
    candidate.sent()
    if (onTheirWay.size === 0) wait()
    onTheirWay.set(id, candidate)
    if (channel.send({ _tag: "Passing", id, place, isUsed: candidate.isUsed() }, socket)) return
    onTheirWay.delete(id)
    takeBack(candidate)
    finish()
  }

  const hasRoom = () => !isOver && places !== undefined && onTheirWay.size < width

  const pump = () => {
    while (hasRoom() && next < row.length) {
      const [place, candidate] = row[next++]!
      if (candidate.isReady()) send(place, candidate)
    }
    if (next < row.length) return
    row = []
    next = 0
  }

  const settle = (id: number, outcome: (candidate: Candidate) => void) => {
    const candidate = onTheirWay.get(id)
    if (candidate === undefined) return
    onTheirWay.delete(id)
    width = Math.min(width + 1, widest)
    if (onTheirWay.size > 0 && !isOver) wait()
    else clearTimeout(timer)
    outcome(candidate)
    pump()
  }

  const onAnswer = (answer: Answer) => {
    switch (answer._tag) {
      case "Greeting":
        hasGreeted = true
        if (places === undefined) wait()
        return
      case "Serves":
        places = answer.places
        clearTimeout(timer)
        return pump()
      case "Taken":
        return settle(answer.id, ({ taken }) => taken())
      case "Refused":
        return settle(answer.id, takeBack)
    }
  }

  channel.listen({
    onWords: (words) => Option.map(decodeAnswer(words), onAnswer),
    onEnd: () => {
      const left = [...onTheirWay.values()]
      onTheirWay.clear()
      // Had the newer process read anything of one, it would have said so before.
      left.forEach(takeBack)
      finish()
    }
  })

  return {
    to: (place) => ({
      // One that has greeted is about to say where it serves.
      takes: () => !isOver && hasGreeted && (places === undefined || places.some(isSame(place))),
      offer: (candidate) => {
        if (isOver) return
        row.push([place, candidate])
        pump()
      },
      onOver: (listener) => void over.add(listener)
    })
  }
}
