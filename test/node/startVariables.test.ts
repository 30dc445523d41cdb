import { assert, describe, it } from "@effect/vitest"
import { decode } from "../../src/internal/node/startVariables.ts"

describe("the environment in which a process was started", () => {
  it("is what the kernel keeps of it, the first of each name", () => {
    assert.deepStrictEqual(decode("A=1\0B=\0C=x=y\nz\0A=2\0=odd\0broken\0"), { A: "1", B: "", C: "x=y\nz" })
    assert.deepStrictEqual(decode(""), {})
  })

  it("is without what Node has taken for itself: it is about descriptors that no other process has", () => {
    assert.deepStrictEqual(decode("NODE_CHANNEL_FD=3\0NODE_UNIQUE_ID=1\0NODE_CHANNEL_SERIALIZATION_MODE=json\0A=1\0"), {
      A: "1"
    })
  })
})
