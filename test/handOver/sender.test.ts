import { assert, describe, it } from "@effect/vitest"
import * as Option from "effect/Option"
import * as net from "node:net"
import * as sender from "../../src/internal/handOver/sender.ts"
import type { Channel, ChannelListener } from "../../src/internal/system/channel.ts"
import type { Answer, Place } from "../../src/internal/wire/channel.ts"

const here: Place = ["tcp", "127.0.0.1:8080"]

/** A newer process that says what the test says. */
const successor = () => {
  const sent: Array<number> = []
  let listener: ChannelListener | undefined
  let isThere = true
  const channel: Channel = {
    send: (words) => isThere && sent.push((words as { readonly id: number }).id) > 0,
    listen: (to) => {
      listener = to
    },
    close: () => {}
  }
  const say = (answer: Answer) => listener!.onWords(answer, Option.none())
  return {
    channel,
    sent,
    say,
    serve: () => {
      say({ _tag: "Greeting" })
      say({ _tag: "Serves", places: [here] })
    },
    taken: (id: number) => say({ _tag: "Taken", id }),
    refused: (id: number) => say({ _tag: "Refused", id }),
    end: () => {
      isThere = false
      listener!.onEnd()
    },
    break: () => {
      isThere = false
    },
    raw: (words: unknown) => listener!.onWords(words, Option.none())
  }
}

const candidates = (to: sender.Successor, count: number, isReady: (index: number) => boolean = () => true) => {
  const log: Array<string> = []
  for (let index = 0; index < count; index++) {
    const note = (what: string) => () => void log.push(`${what} ${index}`)
    to.offer({
      socket: new net.Socket(),
      isUsed: () => true,
      isReady: () => isReady(index),
      sent: note("sent"),
      taken: note("taken"),
      refused: note("refused")
    })
  }
  return log
}

describe("the row of connections", () => {
  it("stands still for a process that has not greeted, and for an address where it does not serve", () => {
    const newer = successor()
    const row = sender.make(newer.channel)
    assert.isFalse(row.to(here).takes())
    newer.say({ _tag: "Greeting" })
    assert.isTrue(row.to(here).takes())
    const log = candidates(row.to(here), 2)
    assert.deepStrictEqual(newer.sent, [])
    newer.say({ _tag: "Serves", places: [here] })
    assert.deepStrictEqual(log, ["sent 0"])
    assert.isFalse(row.to(["tcp", "127.0.0.1:8081"]).takes())
    assert.isFalse(row.to(["unix", here[1]]).takes())
  })

  it("moves by one, and by more with each that was taken, up to a bound", () => {
    const newer = successor()
    const row = sender.make(newer.channel)
    newer.serve()
    const log = candidates(row.to(here), 100)
    assert.deepStrictEqual(newer.sent, [1])
    newer.taken(1)
    assert.deepStrictEqual(newer.sent, [1, 2, 3])
    let most = 0
    for (let id = 2; id <= 100; id++) {
      newer.taken(id)
      most = Math.max(most, newer.sent.length - id)
    }
    assert.strictEqual(most, 16)
    assert.strictEqual(log.filter((line) => line.startsWith("taken")).length, 100)
  })

  it("leaves out those that cannot go when it is their turn", () => {
    const newer = successor()
    const row = sender.make(newer.channel)
    newer.serve()
    const log = candidates(row.to(here), 5, (index) => index % 2 === 1)
    newer.taken(1)
    assert.deepStrictEqual(log, ["sent 1", "taken 1", "sent 3"])
  })

  it("goes on behind one that is refused", () => {
    const newer = successor()
    const row = sender.make(newer.channel)
    newer.serve()
    const log = candidates(row.to(here), 2)
    newer.refused(1)
    assert.deepStrictEqual(log, ["sent 0", "refused 0", "sent 1"])
  })

  it("takes back what is on its way when the newer process ends, and tells that it takes no more", () => {
    const newer = successor()
    const row = sender.make(newer.channel)
    newer.serve()
    let over = 0
    row.to(here).onOver(() => void over++)
    const log = candidates(row.to(here), 4)
    newer.taken(1)
    newer.end()
    assert.deepStrictEqual(log, ["sent 0", "taken 0", "sent 1", "sent 2", "refused 1", "refused 2"])
    assert.deepStrictEqual([over, row.to(here).takes()], [1, false])
    newer.taken(2)
    assert.lengthOf(log, 6)
  })

  it("takes back what cannot be sent", () => {
    const newer = successor()
    const row = sender.make(newer.channel)
    newer.serve()
    newer.break()
    assert.deepStrictEqual(candidates(row.to(here), 2), ["sent 0", "refused 0"])
    assert.isFalse(row.to(here).takes())
  })

  it("does not mind words that are not of it", () => {
    const newer = successor()
    const row = sender.make(newer.channel)
    newer.serve()
    const log = candidates(row.to(here), 1)
    for (
      const words of [
        null,
        1,
        "ready",
        [],
        {},
        { _tag: "Taken" },
        { _tag: "Taken", id: "1" },
        { _tag: "Taken", id: 9 },
        { _tag: "Refused", id: 1.5 },
        { _tag: "Serves", places: ["x"] },
        { _tag: "Serves", places: [[1, 2]] }
      ]
    ) newer.raw(words)
    assert.deepStrictEqual(log, ["sent 0"])
    assert.isTrue(row.to(here).takes())
  })
})
