import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as FastCheck from "effect/FastCheck"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as TestClock from "effect/TestClock"
import type { FdName } from "../../src/Address.ts"
import type { System } from "../../src/internal/system/env.ts"
import * as parent from "../../src/internal/upgrade/ancestry.ts"
import * as protocol from "../../src/internal/wire/handOff.ts"
import type { ProtocolError } from "../../src/TableflipError.ts"
import { DescriptorError } from "../../src/TableflipError.ts"
import { effectProperty, property } from "../kit/property.ts"

const nameArbitrary: FastCheck.Arbitrary<FdName> = FastCheck.record({
  kind: FastCheck.constantFrom("listener", "packet", "conn", "fd", "something newer"),
  network: FastCheck.constantFrom("tcp", "unix", "udp", ""),
  address: FastCheck.oneof(FastCheck.string(), FastCheck.string({ unit: "binary" }), FastCheck.constant("\0abstract"))
})

const namesArbitrary = FastCheck.uniqueArray(nameArbitrary, {
  selector: (name) => JSON.stringify(name),
  maxLength: 50
})

const message = (json: unknown): Uint8Array => {
  const bytes = new TextEncoder().encode(typeof json === "string" ? json : JSON.stringify(json))
  return Uint8Array.of(0, 0, bytes.length >> 8, bytes.length & 255, ...bytes)
}

const isProtocolError = (result: Either.Either<unknown, ProtocolError>): boolean =>
  Either.isLeft(result) && result.left._tag === "ProtocolError" && result.left.message.length > 0

describe("the stream of names", () => {
  property("comes back as it was sent", [namesArbitrary], ([names]) => {
    const decoded = Either.getOrThrow(protocol.decodeNames(protocol.encodeNames(names)))
    assert.deepStrictEqual(decoded.names, names)
    assert.lengthOf(decoded.rest, 0)
  })

  it("is the documented bytes", () => {
    const bytes = protocol.encodeNames([{ kind: "listener", network: "tcp", address: "127.0.0.1:8080" }])
    const json = `[["listener","tcp","127.0.0.1:8080"]]`
    assert.deepStrictEqual([...bytes.subarray(0, 4)], [0, 0, 0, json.length])
    assert.strictEqual(new TextDecoder().decode(bytes.subarray(4)), json)
  })

  property("cut off anywhere is an error", [namesArbitrary, FastCheck.nat()], ([names, at]) => {
    const bytes = protocol.encodeNames(names)
    const cut = bytes.subarray(0, at % bytes.length)
    assert.isTrue(isProtocolError(protocol.decodeNames(cut)))
    assert.isAbove(Either.getOrThrow(protocol.missingNames(cut)), 0)
  })

  property(
    "tells what was sent behind it",
    [namesArbitrary, FastCheck.uint8Array({ minLength: 1 })],
    ([names, rest]) => {
      const decoded = Either.getOrThrow(protocol.decodeNames(Buffer.concat([protocol.encodeNames(names), rest])))
      assert.deepStrictEqual(decoded.names, names)
      assert.deepStrictEqual([...decoded.rest], [...rest])
    }
  )

  it("is refused by its length before anything is read", () => {
    assert.isTrue(isProtocolError(protocol.missingNames(Uint8Array.of(255, 255, 255, 255))))
    assert.isTrue(isProtocolError(protocol.missingNames(Uint8Array.of(1, 0, 0, 1))))
    assert.deepStrictEqual(protocol.missingNames(Uint8Array.of(1, 0, 0, 0)), Either.right(protocol.maxNamesLength))
  })

  property(
    "never crashes on random bytes",
    [FastCheck.uint8Array({ maxLength: 200 })],
    ([bytes]) => {
      const decoded = protocol.decodeNames(bytes)
      assert.isTrue(Either.isRight(decoded) || isProtocolError(decoded))
      // With an honest length the content itself is looked at.
      const framed = protocol.decodeNames(Uint8Array.of(0, 0, 0, bytes.length, ...bytes))
      assert.isTrue(Either.isRight(framed) || isProtocolError(framed))
    },
    { numRuns: 10_000 }
  )

  property(
    "takes no JSON but a list of names",
    [FastCheck.jsonValue({ maxDepth: 3 })],
    ([value]) => {
      const isName = (item: unknown) =>
        Array.isArray(item) && item.length === 3 && item.every((part) => typeof part === "string")
      const isValid = Array.isArray(value) && value.every(isName)
      const bytes = new TextEncoder().encode(JSON.stringify(value))
      const framed = new Uint8Array(4 + bytes.length)
      new DataView(framed.buffer).setUint32(0, bytes.length)
      framed.set(bytes, 4)
      const decoded = protocol.decodeNames(framed)
      assert.isTrue(isValid ? true : isProtocolError(decoded))
    },
    { numRuns: 2000 }
  )

  const wrong: Record<string, unknown> = {
    "not JSON": "{",
    "not a list": { listener: "tcp" },
    "null": null,
    "a name that is no list": ["listener"],
    "a name of two parts": [["listener", "tcp"]],
    "a name of four parts": [["listener", "tcp", "a", "b"]],
    "a number for an address": [["listener", "tcp", 8080]],
    "one name twice": [["listener", "tcp", ":1"], ["listener", "tcp", ":1"]]
  }
  for (const [name, json] of Object.entries(wrong)) {
    it(`refuses ${name}`, () => assert.isTrue(isProtocolError(protocol.decodeNames(message(json)))))
  }

  it("refuses what is not UTF-8", () => {
    assert.isTrue(isProtocolError(protocol.decodeNames(Uint8Array.of(0, 0, 0, 4, 0x5b, 0x22, 0xff, 0x5d))))
  })
})

describe("the state", () => {
  const stateArbitrary = FastCheck.array(FastCheck.tuple(FastCheck.string(), FastCheck.uint8Array())).map((entries) =>
    new Map(entries)
  )
  property("comes back as it was sent", [stateArbitrary], ([state]) => {
    const decoded = Option.getOrThrow(protocol.decodeState(protocol.encodeState(state)))
    assert.deepStrictEqual(
      Array.from(decoded, ([name, bytes]) => [name, [...bytes]]),
      Array.from(state, ([name, bytes]) => [name, [...bytes]])
    )
  })
  property("is nothing unless it is whole", [stateArbitrary, FastCheck.nat()], ([state, at]) => {
    const bytes = protocol.encodeState(state)
    assert.isTrue(Option.isNone(protocol.decodeState(bytes.subarray(0, at % bytes.length))))
  })
  property("never crashes", [FastCheck.oneof(FastCheck.string(), FastCheck.json())], ([text]) => {
    protocol.decodeState(new TextEncoder().encode(text))
  })
})

describe("the ready stream", () => {
  it("says one byte", () => {
    assert.deepStrictEqual(protocol.decodeReady(Option.some(Uint8Array.of(42))), Either.void)
  })
  property("and nothing else", [FastCheck.uint8Array({ maxLength: 8 })], ([bytes]) => {
    if (bytes.length === 1 && bytes[0] === 42) return
    assert.isTrue(isProtocolError(protocol.decodeReady(Option.some(bytes))))
  })
  it("nor does it end without a word", () => assert.isTrue(isProtocolError(protocol.decodeReady(Option.none()))))
})

describe("the variables", () => {
  const yes = { TABLEFLIP_HAS_PARENT_7DIU3: "yes" }
  const handOffArbitrary = FastCheck.record({
    numbers: FastCheck.uniqueArray(FastCheck.integer({ min: 3, max: 5000 }), { minLength: 2, maxLength: 60 }),
    lifelineCount: FastCheck.nat(3),
    generation: FastCheck.integer({ min: 1, max: 1_000_000 })
  })

  property("come back as they were set", [handOffArbitrary], ([{ generation, lifelineCount, numbers }]) => {
    const [ready, names, ...rest] = numbers as [number, number, ...Array<number>]
    const lifelines = rest.slice(0, lifelineCount)
    const state = generation % 2 === 0 ? Option.none() : Option.some(6000)
    const control = generation % 3 === 0 ? Option.none() : Option.some(6001)
    const supervisor = generation % 5 === 0 ? Option.some(6002) : Option.none()
    const channel = generation % 7 === 0 ? Option.some(6003) : Option.none()
    const descriptors = rest.slice(lifelineCount)
    const handOff = { ready, names, descriptors, generation, lifelines, state, control, supervisor, channel }
    assert.deepStrictEqual(
      protocol.decodeHandOff(protocol.encodeHandOff(handOff)),
      Either.right(Option.some(handOff))
    )
  })

  it("are those of the documented protocol, also from a peer that knows no more", () => {
    const decoded = protocol.decodeHandOff({ TABLEFLIP_HAS_PARENT_7DIU3: "yes", TABLEFLIP_FDS: "7,9,12" })
    assert.deepStrictEqual(
      decoded,
      Either.right(
        Option.some({
          ready: 7,
          names: 9,
          descriptors: [12],
          generation: 2,
          lifelines: [],
          state: Option.none(),
          control: Option.none(),
          supervisor: Option.none(),
          channel: Option.none()
        })
      )
    )
  })

  it("are no error for a channel that is nonsense, which an older release may have passed on", () => {
    for (const channel of ["", "x", "5,6", "1"]) {
      const decoded = protocol.decodeHandOff({ ...yes, TABLEFLIP_FDS: "3,4", TABLEFLIP_CHANNEL: channel })
      assert.isTrue(Option.isNone(Option.getOrThrow(Either.getOrThrow(decoded)).channel))
    }
  })

  it("have a channel only if it belongs to this hand-off: an older release may have passed it on", () => {
    const channelOf = (extensionsOf: string | undefined) =>
      Option.getOrThrow(Either.getOrThrow(protocol.decodeHandOff({
        ...yes,
        TABLEFLIP_FDS: "3,4",
        TABLEFLIP_GENERATION: "4",
        TABLEFLIP_CHANNEL: "9",
        TABLEFLIP_EXTENSIONS_OF: extensionsOf
      }))).channel._tag
    assert.strictEqual(channelOf("4:3,4"), "Some")
    for (const other of [undefined, "", "3:3,4", "4:3,5"]) assert.strictEqual(channelOf(other), "None")
  })

  it("mean a plain start when there are none", () => {
    assert.deepStrictEqual(protocol.decodeHandOff({ PATH: "/bin" }), Either.right(Option.none()))
    // Left over from somewhere, they mean nothing by themselves.
    assert.deepStrictEqual(protocol.decodeHandOff({ TABLEFLIP_GENERATION: "3" }), Either.right(Option.none()))
  })

  const wrong: ReadonlyArray<readonly [string, Record<string, string>]> = [
    ["TABLEFLIP_HAS_PARENT_7DIU3", { TABLEFLIP_HAS_PARENT_7DIU3: "no", TABLEFLIP_FDS: "3,4" }],
    ["TABLEFLIP_HAS_PARENT_7DIU3", { TABLEFLIP_HAS_PARENT_7DIU3: "", TABLEFLIP_FDS: "3,4" }],
    ["TABLEFLIP_FDS", yes],
    ["TABLEFLIP_FDS", { TABLEFLIP_FDS: "3,4" }],
    ...["", "3", "3,", "3,x", "3,-4", "3,4,4", "0,1", "2,3", "3.5,4", "3,4,1e9", "3, 4", "99999999999,4"].map((fds) =>
      ["TABLEFLIP_FDS", { ...yes, TABLEFLIP_FDS: fds }] as const
    ),
    ...["", "0", "-1", "x", "1.5", "1e3", "99999999999999999999"].map((generation) =>
      ["TABLEFLIP_GENERATION", { ...yes, TABLEFLIP_FDS: "3,4", TABLEFLIP_GENERATION: generation }] as const
    ),
    ["TABLEFLIP_STATE", { ...yes, TABLEFLIP_FDS: "3,4", TABLEFLIP_STATE: "5,6" }],
    ["TABLEFLIP_STATE", { ...yes, TABLEFLIP_FDS: "3,4", TABLEFLIP_STATE: "" }],
    ["TABLEFLIP_LIFELINES", { ...yes, TABLEFLIP_FDS: "3,4", TABLEFLIP_LIFELINES: "nine" }]
  ]
  for (const [variable, environment] of wrong) {
    it(`name ${variable} when it is nonsense: ${JSON.stringify(environment)}`, () => {
      const decoded = protocol.decodeHandOff(environment)
      assert.isTrue(Either.isLeft(decoded) && decoded.left.source === variable)
    })
  }

  property(
    "never crash",
    [FastCheck.record({
      TABLEFLIP_HAS_PARENT_7DIU3: FastCheck.constantFrom("yes", "no"),
      TABLEFLIP_FDS: FastCheck.string(),
      TABLEFLIP_GENERATION: FastCheck.string(),
      TABLEFLIP_LIFELINES: FastCheck.string()
    }, { requiredKeys: [] })],
    ([environment]) => {
      const decoded = protocol.decodeHandOff(environment)
      assert.isTrue(Either.isRight(decoded) || isProtocolError(decoded))
    },
    { numRuns: 2000 }
  )
})

describe("receiving a hand-off", () => {
  /** A parent that sends these chunks, and then ends its stream or falls silent. */
  const receive = (chunks: ReadonlyArray<Uint8Array>, then: "end" | "silence", descriptors = "5,6") => {
    const closed: Array<number> = []
    const left = [...chunks]
    const refused = new DescriptorError({ reason: "NotOpen", name: "9", detail: "is not open" })
    const env = {
      variables: Effect.succeed({ TABLEFLIP_HAS_PARENT_7DIU3: "yes", TABLEFLIP_FDS: `3,4,${descriptors}` }),
      removeVariables: () => Effect.void,
      isStream: () => Effect.succeed(true),
      closeDescriptor: (descriptor: number) => Effect.sync(() => void closed.push(descriptor)),
      writeAndClose: () => Effect.succeed(true),
      reader: (descriptor: number) =>
        descriptor !== 4 ? Effect.fail(refused) : Effect.succeed({
          descriptor: Effect.succeed(Option.some(4)),
          read: Effect.suspend(() =>
            left.length > 0
              ? Effect.succeedSome(left.shift()!)
              : then === "end"
              ? Effect.succeedNone
              : Effect.never
          )
        })
    } as unknown as System
    return { closed, received: Effect.either(parent.receive(env)) }
  }

  const names: ReadonlyArray<FdName> = [
    { kind: "listener", network: "tcp", address: ":80" },
    { kind: "fd", network: "state", address: "" }
  ]
  const bytes = protocol.encodeNames(names)

  effectProperty(
    "takes the names in chunks of any size",
    [FastCheck.array(FastCheck.integer({ min: 1, max: bytes.length }), { minLength: 1 })],
    ([sizes]) =>
      Effect.gen(function*() {
        const chunks: Array<Uint8Array> = []
        for (let at = 0, index = 0; at < bytes.length; index++) {
          const size = sizes[index % sizes.length]!
          chunks.push(bytes.subarray(at, at + size))
          at += size
        }
        const ancestry = Either.getOrThrow(yield* receive(chunks, "silence").received)
        assert.deepStrictEqual(ancestry.inherited, [
          { name: names[0]!, descriptor: 5 },
          { name: names[1]!, descriptor: 6 }
        ])
      })
  )

  it.scoped("starts afresh when the parent has gone before or during its message, at every byte", () =>
    Effect.gen(function*() {
      for (let length = 0; length < bytes.length; length++) {
        const { closed, received } = receive(length === 0 ? [] : [bytes.subarray(0, length)], "end")
        const ancestry = Either.getOrThrow(yield* received)
        assert.strictEqual(ancestry.hasParent, false)
        assert.deepStrictEqual(ancestry.inherited, [])
        assert.deepStrictEqual(closed, [3, 5, 6])
      }
    }))

  it.scoped("gives up on a parent that falls silent in the middle", () =>
    Effect.gen(function*() {
      const { closed, received } = receive([bytes.subarray(0, 9)], "silence")
      const waiting = yield* Effect.fork(received)
      yield* TestClock.adjust("10 seconds")
      const result = yield* Fiber.join(waiting)
      assert.isTrue(isProtocolError(result))
      assert.deepStrictEqual(closed, [5, 6])
    }))

  it.scoped("refuses more or fewer names than descriptors, and closes those", () =>
    Effect.gen(function*() {
      for (const descriptors of ["5", "5,6,7"]) {
        const { closed, received } = receive([bytes], "silence", descriptors)
        assert.isTrue(isProtocolError(yield* received))
        assert.deepStrictEqual(closed.map(String), descriptors.split(","))
      }
    }))

  it.scoped("tells of garbage behind the message", () =>
    Effect.gen(function*() {
      const { received } = receive([Buffer.concat([bytes, Buffer.from("x")])], "silence")
      const ancestry = Either.getOrThrow(yield* received)
      assert.strictEqual((yield* Effect.flip(ancestry.parentSilence))._tag, "ProtocolError")
    }))

  it.scoped("tells of garbage later", () =>
    Effect.gen(function*() {
      const { received } = receive([bytes, Uint8Array.of(0)], "end")
      const ancestry = Either.getOrThrow(yield* received)
      yield* ancestry.lifelines[0]!.read
      assert.strictEqual((yield* Effect.flip(ancestry.parentSilence))._tag, "ProtocolError")
    }))
})
