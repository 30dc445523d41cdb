import { assert, describe, it } from "@effect/vitest"
import * as Option from "effect/Option"
import * as relay from "../../src/internal/handOver/relay.ts"
import type { Channel, ChannelListener, PassedConnection } from "../../src/internal/system/channel.ts"

/** A process that says what the test says. */
const process = () => {
  const told: Array<object> = []
  let listener: ChannelListener | undefined
  const hear = (words: object) => {
    told.push(words)
    return true
  }
  const channel: Channel = {
    send: hear,
    pass: hear,
    listen: (to) => {
      listener = to
    },
    close: () => {}
  }
  const line = relay.make(channel)
  return {
    line,
    told,
    say: (words: object, connection?: PassedConnection) => listener!.onWords(words, Option.fromNullable(connection)),
    end: () => listener!.onEnd()
  }
}

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

describe("relay", () => {
  it("tells each of several who give to one of its own connections", () => {
    const [first, second, newer] = [process(), process(), process()]
    assert.isFalse(first.line.leaveTo(newer.line))
    newer.say({ _tag: "Greeting" })
    assert.isTrue(first.line.leaveTo(newer.line))
    assert.isTrue(second.line.leaveTo(newer.line))
    first.say(passing(1), connection().passed)
    second.say(passing(1), connection().passed)
    assert.deepStrictEqual(newer.told, [passing(1), passing(2)])
    newer.say({ _tag: "Taken", id: 2 })
    newer.say({ _tag: "Refused", id: 1 })
    newer.say({ _tag: "Taken", id: 9 })
    assert.deepStrictEqual(first.told, [{ _tag: "Refused", id: 1 }])
    assert.deepStrictEqual(second.told, [{ _tag: "Taken", id: 1 }])
  })

  it("says that the newer one is gone, and closes what comes after that", () => {
    const [older, newer] = [process(), process()]
    newer.say({ _tag: "Greeting" })
    older.line.leaveTo(newer.line)
    older.say(passing(1), connection().passed)
    newer.end()
    const late = connection()
    older.say(passing(2), late.passed)
    assert.deepStrictEqual(older.told, [{ _tag: "Gone" }, { _tag: "Refused", id: 2 }])
    assert.isTrue(late.isClosed())
    assert.isFalse(older.line.leaveTo(newer.line))
  })

  it("has the newer one let go of what it holds for one that has died", () => {
    const [older, newer] = [process(), process()]
    newer.say({ _tag: "Greeting" })
    older.line.leaveTo(newer.line)
    older.say(passing(1, "v1"), connection().passed)
    newer.say({ _tag: "Taken", id: 1 })
    older.say(passing(2), connection().passed)
    older.end()
    assert.deepStrictEqual(newer.told, [passing(1, "v1"), passing(2), { _tag: "Kept", id: 1 }])
  })
})
