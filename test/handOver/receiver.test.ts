import { assert, describe, it } from "@effect/vitest"
import * as Option from "effect/Option"
import * as net from "node:net"
import * as given from "../../src/internal/handOver/given.ts"
import * as receiver from "../../src/internal/handOver/receiver.ts"
import type { Channel, ChannelListener } from "../../src/internal/system/channel.ts"
import type { Place, Word } from "../../src/internal/wire/channel.ts"
import { encodeWord } from "../../src/internal/wire/channel.ts"

const here: Place = ["tcp", "127.0.0.1:8080"]

/** What listens, as far as anybody looks. */
const listening = (settings: { readonly maxConnections?: number } = {}) =>
  Object.assign(net.createServer(), { _handle: { onconnection: () => {} }, ...settings })

const make = (server = listening(), keys = ["v1"]) => {
  const said: Array<unknown> = []
  let listener: ChannelListener | undefined
  const channel: Channel = {
    send: (words) => said.push(words) > 0,
    pass: () => false,
    written: (go) => go(),
    listen: (to) => {
      listener = to
    },
    close: () => {}
  }
  let looks = 0
  const { open } = receiver.make(channel, () => {
    looks++
    return [{ place: here, server, takesRequests: false, keys }]
  })
  const log: Array<string> = []
  const say = (word: Word, number?: number) =>
    listener!.onWords(
      JSON.parse(JSON.stringify(encodeWord(word))),
      number === undefined ? Option.none() : Option.some({
        accept: (_, before) => {
          const socket = new net.Socket()
          before?.(socket)
          log.push(`accept ${number} ${new TextDecoder().decode(Option.getOrThrow(given.take(socket, "v1")))}`)
          return Option.some(socket)
        },
        close: () => void log.push(`close ${number}`)
      })
    )
  const pass = (id: number, key?: string) => say({ _tag: "Passing", id, place: here, isUsed: true, key }, id)
  return { said, log, say, pass, open, end: () => listener!.onEnd(), looks: () => looks }
}

describe("the newer process's side", () => {
  it("says which keys it takes, and no address for requests where none are taken", () => {
    const { open, said } = make()
    open()
    assert.deepStrictEqual(said, [{ _tag: "Greeting" }, { _tag: "Serves", places: [], takes: [[...here, "v1"]] }])
  })

  it("leaves a connection with a key alone until it is told what it is to know", () => {
    const { log, pass, said, say } = make()
    pass(1, "v1")
    pass(2, "v1")
    assert.deepStrictEqual(said.slice(1), [{ _tag: "Taken", id: 1 }, { _tag: "Taken", id: 2 }])
    assert.deepStrictEqual(log, [])
    say({ _tag: "Left", id: 1, state: new TextEncoder().encode("state of 1") })
    say({ _tag: "Kept", id: 2 })
    say({ _tag: "Left", id: 2, state: new Uint8Array() })
    assert.deepStrictEqual(log, ["accept 1 state of 1", "close 2"])
  })

  it("looks for its servers once in a turn, however many connections come", async () => {
    const { looks, pass, said } = make()
    for (let id = 1; id <= 1_000; id++) pass(id, "v1")
    assert.deepStrictEqual([said.length, looks()], [1_001, 1])
    await new Promise((resolve) => setImmediate(resolve))
    pass(1_001, "v1")
    assert.strictEqual(looks(), 2)
  })

  it("lets go of those that it holds when the older process has gone without a word", () => {
    const { end, log, pass } = make()
    pass(1, "v1")
    end()
    assert.deepStrictEqual(log, ["close 1"])
  })

  it("refuses another key, none where it takes only those with one, and more than the server takes", () => {
    const { log, pass, said } = make(listening({ maxConnections: 1 }))
    pass(1, "v2")
    pass(2)
    pass(3, "v1")
    pass(4, "v1")
    const refused = (id: number) => ({ _tag: "Refused", id })
    assert.deepStrictEqual(said.slice(1), [refused(1), refused(2), { _tag: "Taken", id: 3 }, refused(4)])
    assert.deepStrictEqual(log, ["close 1", "close 2", "close 4"])
  })
})
