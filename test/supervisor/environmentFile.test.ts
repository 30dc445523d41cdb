import { assert, describe, it } from "@effect/vitest"
import * as Either from "effect/Either"
import * as environmentFile from "../../src/internal/supervisor/environmentFile.ts"

describe("a file of variables", () => {
  it.each([
    ["HASH=pa#ss", { HASH: "pa#ss" }],
    ["URL=http://a/#b # c", { URL: "http://a/#b # c" }],
    ["\uFEFFA=1\r\nB=2\r\n", { A: "1", B: "2" }],
    ["# A=1\n; B=2\n\n  C = 3 \n", { C: "3" }],
    ["A='1 # $X \\'\nB=\"a \\\" \\$ \\x\"", { A: "1 # $X \\", B: "a \" $ \\x" }],
    ["KEY=\"one\ntwo\"\nA=1", { KEY: "one\ntwo", A: "1" }],
    ["A=one\\\ntwo\nB=a\\ b\\ ", { A: "onetwo", B: "a b " }],
    ["export A=b=c\nB=", { A: "b=c", B: "" }],
    ["spring.name=x", { "spring.name": "x" }],
    ["", {}]
  ])("%j", (content, expected) => {
    assert.deepStrictEqual(Either.getOrThrow(environmentFile.parse(content)), expected)
  })

  it.each([
    ["A=1\nB\n", 2, "is \"B\", without a = and a value"],
    ["A=1\n\nB='x\n\n", 3, "has a quote (') that is not closed"],
    ["A=1\nB=\uFFFD", 2, "is not text in UTF-8"],
    ["A B=1", 1, "has the name \"A B\", which no variable can have"],
    ["=1", 1, "has the name \"\", which no variable can have"]
  ])("not %j", (content, line, detail) => {
    assert.deepStrictEqual(environmentFile.parse(content), Either.left({ line, detail }))
  })
})
