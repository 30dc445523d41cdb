import { assert, describe, it } from "@effect/vitest"
import * as Option from "effect/Option"
import * as relay from "../../src/internal/handOver/relay.ts"
import { between } from "../../src/internal/handOver/sides.ts"
import type { Channel, ChannelListener, PassedConnection } from "../../src/internal/system/channel.ts"

/** A channel whose other end is the test. */
const spoken = () => {
  const told: Array<object> = []
  let listener: ChannelListener | undefined
  let waiting: Array<() => void> | undefined
  const hear = (words: object) => {
    told.push(words)
    return true
  }
  const channel: Channel = {
    send: hear,
    pass: hear,
    written: (go) => {
      if (waiting === undefined) go()
      else waiting.push(go)
    },
    listen: (to) => {
      listener = to
    },
    close: () => {}
  }
  return {
    channel,
    told,
    say: (words: object, connection?: PassedConnection) => listener!.onWords(words, Option.fromNullable(connection)),
    lose: (words: object) => listener!.onLost!(words),
    end: () => listener!.onEnd(),
    /** Takes nothing more until the result is called. */
    hold: () => {
      const held: Array<() => void> = []
      waiting = held
      return () => held.forEach((go) => go())
    }
  }
}

/** A process that says what the test says. */
const process = (options?: Parameters<typeof relay.make>[1]) => {
  const { channel, ...rest } = spoken()
  return { ...rest, line: relay.make(channel, options) }
}

const immediately = (check: () => void) =>
  new Promise<void>((resolve, reject) => {
    setImmediate(() => {
      try {
        resolve(check())
      } catch (cause) {
        reject(cause as Error)
      }
    })
  })

const connection = () => {
  let isClosed = false
  const passed: PassedConnection = {
    accept: () => Option.none(),
    close: () => {
      isClosed = true
    }
  }
  return { passed, isClosed: () => isClosed }
}

const place = ["tcp", "127.0.0.1:8080"]
const passing = (id: number, key?: string) => ({
  _tag: "Passing",
  id,
  place,
  isUsed: true,
  ...key === undefined ? {} : { key }
})

const isPassing = (words: object) => "_tag" in words && words._tag === "Passing"

const serves = (...keys: ReadonlyArray<string>) => ({
  _tag: "Serves",
  places: [place],
  takes: keys.map((key) => [...place, key])
})

const nothing = { _tag: "Serves", places: [], takes: [] }

const greeting = { _tag: "Greeting" }

/** One that takes connections there. */
const taker = (options?: Parameters<typeof process>[0], ...keys: ReadonlyArray<string>) => {
  const one = process(options)
  one.say({ _tag: "Greeting" })
  one.say(serves(...keys))
  return one
}

describe("relay", () => {
  it("tells each of several who give to one of its own connections", () => {
    const [first, second, newer] = [process(), process(), process()]
    assert.isFalse(first.line.leaveTo([newer.line]))
    newer.say(greeting)
    assert.isTrue(first.line.leaveTo([newer.line]))
    assert.isTrue(second.line.leaveTo([newer.line]))
    newer.say(serves())
    first.say(passing(1), connection().passed)
    second.say(passing(1), connection().passed)
    assert.deepStrictEqual(newer.told, [passing(1), passing(2)])
    newer.say({ _tag: "Taken", id: 2 })
    newer.say({ _tag: "Refused", id: 1 })
    newer.say({ _tag: "Taken", id: 9 })
    assert.deepStrictEqual(first.told, [greeting, serves(), { _tag: "Refused", id: 1 }])
    assert.deepStrictEqual(second.told, [greeting, serves(), { _tag: "Taken", id: 1 }])
  })

  it("gives to several in turn, whoever it is from, and only to those who take it", () => {
    const [first, second] = [process(), process()]
    const stay = [taker(), taker(), taker({}, "v1")]
    const all = stay.map(({ line }) => line)
    first.line.leaveTo(all)
    second.line.leaveTo(all)
    for (const id of [1, 2, 3]) {
      first.say(passing(id), connection().passed)
      second.say(passing(id), connection().passed)
    }
    assert.deepStrictEqual(stay.map(({ told }) => told.length), [2, 2, 2])
    first.say(passing(4, "v1"), connection().passed)
    const other = connection()
    second.say(passing(4, "v2"), other.passed)
    assert.deepStrictEqual(stay.map(({ told }) => told.length), [2, 2, 3])
    assert.isTrue(other.isClosed())
    assert.deepStrictEqual(second.told.at(-1), { _tag: "Refused", id: 4 })
  })

  it("gives back what one has not taken that is gone, and the others go on", () => {
    const [older, gone, stays] = [process(), taker(), taker()]
    older.line.leaveTo([gone.line, stays.line])
    for (const id of [1, 2, 3]) older.say(passing(id), connection().passed)
    gone.say({ _tag: "Taken", id: 2 })
    older.told.splice(0)
    gone.end()
    assert.deepStrictEqual(older.told, [{ _tag: "Refused", id: 1 }, serves()])
    older.say(passing(4), connection().passed)
    assert.strictEqual(stays.told.length, 2)
    older.told.splice(0)
    stays.end()
    const late = connection()
    older.say(passing(5), late.passed)
    const refused = [2, 4, 5].map((id) => ({ _tag: "Refused", id }))
    assert.deepStrictEqual(older.told, [...refused.slice(0, 2), nothing, ...refused.slice(2)])
    assert.isTrue(late.isClosed())
    assert.isFalse(older.line.leaveTo([gone.line, stays.line]))
  })

  it("does not say of what a relay that is gone had that it is untouched, unless it only held it", () => {
    const [older, newer] = [process(), taker({ isRelay: true }, "v1")]
    older.line.leaveTo([newer.line])
    older.say(passing(1), connection().passed)
    older.say(passing(2, "v1"), connection().passed)
    older.told.splice(0)
    newer.end()
    assert.deepStrictEqual(older.told, [{ _tag: "Lost", id: 1 }, { _tag: "Refused", id: 2 }, nothing])
  })

  it("has what would go to one that leaves go where that leaves to, unless it comes from another relay", () => {
    const [older, relay, middle, newer] = [process(), process({ isRelay: true }), taker(), taker()]
    older.line.leaveTo([middle.line])
    relay.line.leaveTo([middle.line])
    older.say(passing(1), connection().passed)
    assert.isTrue(middle.line.leaveTo([newer.line]))
    middle.say({ _tag: "Taken", id: 1 })
    older.say(passing(2), connection().passed)
    relay.say(passing(1), connection().passed)
    assert.deepStrictEqual(newer.told, [passing(1)])
    assert.deepStrictEqual(older.told, [greeting, serves(), greeting, serves(), { _tag: "Taken", id: 1 }])
    assert.deepStrictEqual(relay.told, [greeting, serves(), nothing, { _tag: "Refused", id: 1 }])
  })

  it("through a process that outlives it goes on giving to those that come after", () => {
    const [older, middle, newer] = [process({ isRelay: true, isOutlived: true }), taker(), taker()]
    older.line.leaveTo([middle.line])
    older.say(passing(1), connection().passed)
    middle.line.leaveTo([newer.line])
    middle.say({ _tag: "Taken", id: 1 })
    older.say(passing(2), connection().passed)
    assert.deepStrictEqual([middle.told.filter(isPassing), newer.told], [[passing(1)], [passing(1)]])
    assert.deepStrictEqual(older.told, [greeting, serves(), greeting, serves(), { _tag: "Taken", id: 1 }])
  })

  it("gives back what was sent on and has not arrived, once", () => {
    const [older, newer] = [process(), taker()]
    older.line.leaveTo([newer.line])
    older.say(passing(7), connection().passed)
    older.told.splice(0)
    newer.lose({ _tag: "Kept", id: 1 })
    newer.lose(passing(1))
    newer.lose(passing(1))
    newer.end()
    assert.deepStrictEqual(older.told, [{ _tag: "Refused", id: 7 }, nothing])
  })

  it("of a command gives what is its own and what its workers give to either kind of the next one", () => {
    const command = () => {
      const { channel, ...rest } = spoken()
      return { ...rest, line: relay.ofCommand(channel) }
    }
    const relayed = (words: object) => ({ _tag: "Relayed", words })
    const [alone, pool, next] = [command(), command(), command()]
    assert.isFalse(alone.line.leaveTo([pool.line]))
    pool.say(relayed(greeting))
    pool.say(relayed(serves()))
    assert.isTrue(alone.line.leaveTo([pool.line]))
    alone.say(passing(1), connection().passed)
    assert.deepStrictEqual(pool.told, [relayed(passing(1))])
    pool.say(relayed({ _tag: "Taken", id: 1 }))
    assert.deepStrictEqual(alone.told.at(-1), { _tag: "Taken", id: 1 })
    next.say(greeting)
    next.say(serves())
    assert.isTrue(pool.line.leaveTo([next.line]))
    pool.told.splice(0)
    pool.say(relayed(passing(5)), connection().passed)
    alone.say(passing(2), connection().passed)
    assert.deepStrictEqual(next.told, [passing(1), passing(2)])
    next.say({ _tag: "Refused", id: 1 })
    next.say({ _tag: "Taken", id: 2 })
    assert.deepStrictEqual(pool.told, [relayed({ _tag: "Refused", id: 5 })])
    assert.deepStrictEqual(alone.told.at(-1), { _tag: "Taken", id: 2 })
  })

  it("rests when all that has been given is settled and no more comes, and leaves to nobody after that", () => {
    const [older, newer, newest] = [taker(), taker({}, "v1"), taker()]
    older.line.leaveTo([newer.line])
    older.say(passing(1), connection().passed)
    older.told.splice(0)
    let rested = 0
    older.line.rest(() => rested++)
    assert.deepStrictEqual(older.told, [nothing])
    newer.line.rest(() => rested++)
    assert.strictEqual(rested, 1, "of one that gives nothing")
    const late = connection()
    older.say(passing(2), late.passed)
    assert.isTrue(late.isClosed())
    older.say({ _tag: "Done" })
    assert.strictEqual(rested, 1)
    newer.say({ _tag: "Taken", id: 1 })
    assert.deepStrictEqual(older.told.slice(1), [{ _tag: "Refused", id: 2 }, { _tag: "Taken", id: 1 }])
    assert.isFalse(older.line.leaveTo([newest.line]))
    return immediately(() => assert.strictEqual(rested, 2))
  })

  it("rests without one that is gone", () => {
    const [older, newer] = [taker(), taker({}, "v1")]
    older.line.leaveTo([newer.line])
    older.say(passing(1, "v1"), connection().passed)
    newer.say({ _tag: "Taken", id: 1 })
    let rested = 0
    relay.restAll([older.line, newer.line], () => rested++)
    relay.restAll([], () => rested++)
    assert.strictEqual(rested, 1)
    older.end()
    return immediately(() => assert.strictEqual(rested, 2))
  })

  it("rests when one has said that it gives nothing more, although the only one who took has died", () => {
    const [older, newer] = [taker(), taker()]
    older.line.leaveTo([newer.line])
    newer.end()
    let rested = 0
    relay.restAll([older.line], () => rested++)
    assert.strictEqual(rested, 0)
    const late = connection()
    older.say(passing(1), late.passed)
    assert.isTrue(late.isClosed())
    assert.deepStrictEqual(older.told.at(-1), { _tag: "Refused", id: 1 })
    older.say({ _tag: "Done" })
    assert.strictEqual(rested, 1)
  })

  it("rests without waiting for the word of a program that has never said one", () => {
    const [older, newer] = [process(), taker()]
    older.line.leaveTo([newer.line])
    let rested = 0
    relay.restAll([older.line, newer.line], () => rested++)
    assert.strictEqual(rested, 1)
  })

  it("rests without waiting for the workers of a command that has none", () => {
    const command = () => {
      const { channel, ...rest } = spoken()
      return { ...rest, line: relay.ofCommand(channel) }
    }
    const [older, newer] = [command(), command()]
    for (const { say } of [older, newer]) {
      say(greeting)
      say(serves())
    }
    older.line.leaveTo([newer.line])
    let rested = 0
    relay.restAll([older.line, newer.line], () => rested++)
    assert.strictEqual(rested, 0)
    older.say({ _tag: "Done" })
    assert.strictEqual(rested, 1)
  })

  it("rests when all that it has said is written", () => {
    const [older, newer] = [taker(), taker({}, "v1")]
    older.line.leaveTo([newer.line])
    older.say(passing(1, "v1"), connection().passed)
    newer.say({ _tag: "Taken", id: 1 })
    let rested = 0
    relay.restAll([newer.line, older.line], () => rested++)
    const write = newer.hold()
    older.say({ _tag: "Left", id: 1, state: "" })
    older.say({ _tag: "Done" })
    return immediately(() => {
      assert.strictEqual(rested, 0)
      write()
      assert.strictEqual(rested, 1)
    })
  })

  it("tells a further relay when none of its own gives any more", () => {
    const up = taker({ isRelay: true })
    const [first, second, third] = [process(), process(), process()]
    for (const { line } of [first, second, third]) line.leaveTo([up.line])
    up.told.splice(0)
    up.say(nothing)
    for (const { told } of [first, second, third]) assert.deepStrictEqual(told.at(-1), nothing)
    first.say({ _tag: "Done" })
    second.say({ _tag: "Done" })
    assert.deepStrictEqual(up.told, [])
    third.end()
    assert.deepStrictEqual(up.told, [{ _tag: "Done" }])
  })

  it("has the newer one let go of what it holds for one that has died", () => {
    const [older, newer] = [process(), taker({}, "v1")]
    older.line.leaveTo([newer.line])
    older.say(passing(1, "v1"), connection().passed)
    newer.say({ _tag: "Taken", id: 1 })
    older.say(passing(2), connection().passed)
    older.end()
    assert.deepStrictEqual(newer.told, [passing(1, "v1"), passing(2), { _tag: "Kept", id: 1 }])
  })

  it("has its own words on the channel of two primaries, and those are heard by nobody else", () => {
    const { channel, say, told } = spoken()
    const { own, relayed } = between(channel)
    relay.make(relayed).greet()
    own.send({ _tag: "Greeting" })
    assert.deepStrictEqual(told, [{ _tag: "Relayed", words: { _tag: "Greeting" } }, { _tag: "Greeting" }])
    const heard: Array<unknown> = []
    own.listen({ onWords: (words) => heard.push(words), onEnd: () => heard.push("end") })
    const unknown = connection()
    say({ _tag: "Relayed", words: passing(1) }, unknown.passed)
    say({ _tag: "Kept", id: 1 })
    assert.deepStrictEqual(heard, [{ _tag: "Kept", id: 1 }])
    assert.deepStrictEqual(told.at(-1), { _tag: "Relayed", words: { _tag: "Refused", id: 1 } })
    assert.isTrue(unknown.isClosed())
  })
})
