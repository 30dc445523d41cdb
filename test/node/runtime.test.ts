import { assert, describe, it } from "@effect/vitest"
import { runtimeOf } from "../../src/internal/node/internals.ts"

describe("what runs this", () => {
  it("is called by its own name, although each claims a version of Node", () => {
    assert.strictEqual(runtimeOf(process.versions), `Node ${process.version.slice(1)}`)
    assert.strictEqual(runtimeOf({ node: "26.3.0", bun: "1.4.5" }), "Bun 1.4.5")
    assert.strictEqual(runtimeOf({ node: "26.3.0", deno: "2.9.6" }), "Deno 2.9.6")
  })
})
