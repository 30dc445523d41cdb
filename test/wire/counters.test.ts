import { assert, describe, it } from "@effect/vitest"
import * as Either from "effect/Either"
import type { Counter } from "../../src/internal/metrics.ts"
import { decode, encode } from "../../src/internal/wire/counters.ts"

const some: ReadonlyArray<Counter> = [
  { name: "requests", description: "of all kinds", tags: { path: "/", "error.type": "" }, incremental: true, value: 3 },
  { name: "bytes", description: undefined, tags: {}, incremental: false, value: -123_456_789_012_345_678_901n }
]

const bytes = (json: unknown) => new TextEncoder().encode(typeof json === "string" ? json : JSON.stringify(json))

describe("counters that go along", () => {
  it("come back as they were sent", () => {
    assert.deepStrictEqual(Either.getOrThrow(decode(encode(some))), some)
  })

  it("are left out where they are no counters", () => {
    const right = { name: "a", tags: {}, incremental: true, value: 1 }
    const wrong = [null, 1, { ...right, value: "x" }, { ...right, tags: { a: 1 } }, { ...right, name: 1 }, {
      name: "b"
    }]
    assert.deepStrictEqual(
      Either.getOrThrow(decode(bytes([...wrong, right]))).map(({ name, value }) => [name, value]),
      [["a", 1]]
    )
  })

  it("are refused as a whole where they are no list", () => {
    assert.deepStrictEqual([decode(bytes("{")), decode(bytes({}))], [Either.left("no JSON"), Either.left("no list")])
  })
})
