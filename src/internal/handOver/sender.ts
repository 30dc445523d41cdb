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
import type { Answer, Opening, Place, Taking, Word } from "../wire/channel.ts"
import { decodeAnswer, decodeWord, encodeWord } from "../wire/channel.ts"

/** How a connection with a key, which the newer process holds, comes to be its own. Once. */
export interface Departure {
  /** Whether the newer process is there. */
  readonly isOpen: () => boolean
  /** It is closed here, and this is what the newer process is to know. Calls back when that is on its way. */
  readonly leave: (state: Uint8Array, opening: Opening | undefined, gone: () => void) => void
  /** It stays here, and is read again. */
  readonly keep: () => void
}

/** A connection that stands in the row. */
export interface Candidate {
  readonly socket: net.Socket
  /** Under what the app gives it; none for one that is between two requests of HTTP. */
  readonly key?: string | undefined
  /** Asked when it is its turn: whether it can go at this moment. One that cannot leaves the row. */
  readonly isReady: () => boolean
  /** Whether it has had a request. */
  readonly isUsed: () => boolean
  /** It is on its way. */
  readonly sent: () => void
  /** The newer process has it; what is open here is to be closed. With a key, the newer process waits for what follows. */
  readonly taken: (departure: Departure) => void
  /** It is as it was, and stays here. */
  readonly refused: () => void
}

/** Where the connections of one server can go. */
export interface Successor {
  /** Whether the newer process takes them, those that are given under a key if it is one, as far as one knows. */
  readonly takes: (key?: string) => boolean
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

export interface SenderOptions {
  /** Whether there is another process in between, the end of which does not tell what has arrived. */
  readonly isRelayed?: boolean
  /** Whether one knows already that there is somebody who takes connections. */
  readonly isGreeted?: boolean
}

export const make = (channel: Channel, { isGreeted = false, isRelayed = false }: SenderOptions = {}): Sender => {
  const over = new Set<() => void>()
  let isOver = false
  let hasGreeted = false
  let hasEnded = false
  let places: ReadonlyArray<Place> | undefined
  let keys: ReadonlyArray<Taking> = []
  let row: Array<readonly [Place, Candidate]> = []
  let next = 0
  const onTheirWay = new Map<number, Candidate>()
  /** Held by the newer process, and not left to it yet. */
  const leaving = new Set<number>()
  let width = 1
  let lastId = 0
  let timer: NodeJS.Timeout | undefined

  const say = (word: Word) => channel.send(encodeWord(word))

  const takeBack = (candidate: Candidate) => {
    resumeReading(candidate.socket)
    candidate.refused()
  }

  /** The newer process reads nothing of one with a key before it is told more. */
  const takeBackHeld = () => {
    for (const [id, candidate] of onTheirWay) {
      if (candidate.key === undefined) continue
      onTheirWay.delete(id)
      say({ _tag: "Kept", id })
      takeBack(candidate)
    }
  }

  const finish = () => {
    clearTimeout(timer)
    if (isOver) return
    isOver = true
    row = []
    takeBackHeld()
    if (!hasEnded) say({ _tag: "Done" })
    for (const listener of over) listener()
  }

  const wait = () => {
    clearTimeout(timer)
    timer = setTimeout(finish, patience)
    timer.unref()
  }

  const send = (place: Place, candidate: Candidate) => {
    const { key, socket } = candidate
    const id = ++lastId
    stopReading(socket)
    // A 408 that is due meanwhile would be the newer process's to send.
    beAfterRequest(socket)
    candidate.sent()
    if (onTheirWay.size === 0) wait()
    onTheirWay.set(id, candidate)
    const word: Word = { _tag: "Passing", id, place, isUsed: candidate.isUsed(), ...key === undefined ? {} : { key } }
    if (channel.send(word, socket)) return
    onTheirWay.delete(id)
    takeBack(candidate)
    finish()
  }

  const isTaken = (place: Place, key: string | undefined): boolean =>
    key === undefined
      ? places?.some(isSame(place)) === true
      : keys.some(([network, address, taken]) => isSame(place)([network, address]) && taken === key)

  const hasRoom = () => !isOver && places !== undefined && onTheirWay.size < width

  const pump = () => {
    while (hasRoom() && next < row.length) {
      const [place, candidate] = row[next++]!
      if (!isTaken(place, candidate.key)) candidate.refused()
      else if (candidate.isReady()) send(place, candidate)
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

  const departureOf = (id: number, candidate: Candidate): Departure => {
    if (candidate.key !== undefined) leaving.add(id)
    return {
      isOpen: () => !hasEnded && leaving.has(id),
      leave: (state, opening, gone) => {
        leaving.delete(id)
        say({ _tag: "Left", id, state, ...opening === undefined ? {} : { opening } })
        channel.written(gone)
      },
      keep: () => {
        leaving.delete(id)
        say({ _tag: "Kept", id })
        takeBack(candidate)
      }
    }
  }

  const onAnswer = (answer: Answer) => {
    switch (answer._tag) {
      case "Greeting":
        hasGreeted = true
        if (places === undefined) wait()
        return
      case "Serves":
        places = answer.places
        keys = answer.takes
        clearTimeout(timer)
        if (places.length === 0 && keys.length === 0) return finish()
        if (onTheirWay.size > 0) wait()
        return pump()
      case "Taken":
        return settle(answer.id, (candidate) => candidate.taken(departureOf(answer.id, candidate)))
      case "Refused":
        leaving.delete(answer.id)
        return settle(answer.id, takeBack)
      case "Lost":
        return settle(answer.id, letGo)
    }
  }

  const end = (settle: (candidate: Candidate) => void) => {
    hasEnded = true
    const left = [...onTheirWay.values()]
    onTheirWay.clear()
    left.forEach(settle)
    finish()
  }

  /** It was relayed or was not; two that read it would answer each a part of what is asked. */
  const letGo = (candidate: Candidate) =>
    candidate.key === undefined
      ? candidate.taken({ isOpen: () => false, leave: () => {}, keep: () => {} })
      : takeBack(candidate)

  channel.listen({
    onWords: (words) => Option.map(decodeAnswer(words), onAnswer),
    // Had the newer process read anything of one, it would have said so before.
    onEnd: () => {
      if (!hasEnded) end(isRelayed ? letGo : takeBack)
    },
    onLost: (words) =>
      Option.map(decodeWord(words), (word) => {
        if (word._tag === "Passing") settle(word.id, takeBack)
      })
  })
  if (isGreeted) onAnswer({ _tag: "Greeting" })

  return {
    to: (place) => ({
      // One that has greeted is about to say where it serves.
      takes: (key) => !isOver && hasGreeted && (places === undefined || isTaken(place, key)),
      offer: (candidate) => {
        if (isOver) return
        row.push([place, candidate])
        pump()
      },
      onOver: (listener) => void over.add(listener)
    })
  }
}
