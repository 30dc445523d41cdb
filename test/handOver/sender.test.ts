import { assert, describe, it, vi } from "@effect/vitest"
import * as Option from "effect/Option"
import * as net from "node:net"
import * as sender from "../../src/internal/handOver/sender.ts"
import type { Channel, ChannelListener } from "../../src/internal/system/channel.ts"
import type { Answer, Place } from "../../src/internal/wire/channel.ts"

const here: Place = ["tcp", "127.0.0.1:8080"]

/** A newer process that says what the test says. */
const successor = () => {
  const sent: Array<number> = []
  let isFull = false
  const waiting: Array<() => void> = []
  const said: Array<string> = []
  let listener: ChannelListener | undefined
  let isThere = true
  const channel: Channel = {
    send: (words) => {
      const { _tag, id, state } = words as { readonly _tag: string; readonly id: number; readonly state?: string }
      if (!isThere) return false
      if (_tag === "Passing") sent.push(id)
      else said.push([_tag, id, state].filter((part) => part !== undefined).join(" "))
      return true
    },
    pass: () => false,
    written: (go) => isFull ? void waiting.push(go) : go(),
    listen: (to) => {
      listener = to
    },
    close: () => {}
  }
  const say = (answer: Answer) => listener!.onWords(answer, Option.none())
  return {
    channel,
    sent,
    said,
    say,
    serve: () => {
      say({ _tag: "Greeting" })
      say({ _tag: "Serves", places: [here], takes: [[...here, "v1"]] })
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
    /** Takes no bytes until it reads on. */
    stopReading: () => {
      isFull = true
    },
    readOn: () => {
      for (const go of waiting.splice(0)) go()
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
    newer.say({ _tag: "Serves", places: [here], takes: [] })
    assert.deepStrictEqual(log, ["sent 0"])
    assert.isFalse(row.to(["tcp", "127.0.0.1:8081"]).takes())
    assert.isFalse(row.to(["unix", here[1]]).takes())
  })

  it("is left by those that have come before it was known that nobody takes them, which is asked of nobody", () => {
    const newer = successor()
    const row = sender.make(newer.channel)
    newer.say({ _tag: "Greeting" })
    const log = candidates(row.to(["tcp", "127.0.0.1:8081"]), 2)
    newer.serve()
    assert.deepStrictEqual(log, ["refused 0", "refused 1"])
    assert.deepStrictEqual(newer.sent, [])
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

describe("a connection with a key", () => {
  const given = (to: sender.Successor) => {
    const log: Array<string> = []
    const departures: Array<sender.Departure> = []
    to.offer({
      socket: new net.Socket(),
      key: "v1",
      isUsed: () => true,
      isReady: () => true,
      sent: () => void log.push("sent"),
      taken: (departure) => void departures.push(departure),
      refused: () => void log.push("refused")
    })
    return { log, departures }
  }

  it("goes to a server that takes this key, and to no other", () => {
    const newer = successor()
    const row = sender.make(newer.channel)
    newer.serve()
    assert.deepStrictEqual([row.to(here).takes("v1"), row.to(here).takes("v2")], [true, false])
    assert.isFalse(row.to(["tcp", "127.0.0.1:8081"]).takes("v1"))
    newer.say({ _tag: "Serves", places: [], takes: [] })
    assert.isFalse(row.to(here).takes("v1"))
  })

  it("leaves its state when it is closed here, or is kept", () => {
    const newer = successor()
    const row = sender.make(newer.channel)
    newer.serve()
    const left = given(row.to(here))
    newer.taken(1)
    const kept = given(row.to(here))
    newer.taken(2)
    assert.deepStrictEqual(newer.said, [])
    left.departures[0]!.leave(new TextEncoder().encode("state"), undefined, () => {})
    kept.departures[0]!.keep()
    assert.deepStrictEqual(newer.said, [`Left 1 ${Buffer.from("state").toString("base64")}`, "Kept 2"])
    assert.deepStrictEqual([left.log, kept.log], [["sent"], ["sent", "refused"]])
  })

  it("has left when the system has taken its state", () => {
    const newer = successor()
    const row = sender.make(newer.channel)
    newer.serve()
    const { departures, log } = given(row.to(here))
    newer.taken(1)
    newer.stopReading()
    departures[0]!.leave(new TextEncoder().encode("state"), undefined, () => void log.push("gone"))
    assert.deepStrictEqual(log, ["sent"])
    newer.readOn()
    assert.deepStrictEqual(log, ["sent", "gone"])
  })

  it("is taken back from a process that lives and says nothing, because that does not touch it before it is told", () => {
    vi.useFakeTimers()
    try {
      const newer = successor()
      const row = sender.make(newer.channel)
      newer.serve()
      const { departures, log } = given(row.to(here))
      vi.advanceTimersByTime(5_001)
      assert.deepStrictEqual([log, newer.said], [["sent", "refused"], ["Kept 1", "Done"]])
      newer.taken(1)
      assert.lengthOf(departures, 0)
    } finally {
      vi.useRealTimers()
    }
  })

  it("is the older process's again when the newer one ends before it has been told", () => {
    const newer = successor()
    const row = sender.make(newer.channel)
    newer.serve()
    const { departures, log } = given(row.to(here))
    newer.taken(1)
    assert.isTrue(departures[0]!.isOpen())
    newer.end()
    assert.isFalse(departures[0]!.isOpen())
    departures[0]!.keep()
    assert.deepStrictEqual(log, ["sent", "refused"])
  })
})
