import { assert, describe, it } from "@effect/vitest"
import type { Send } from "../../src/internal/node/writer.ts"
import { make } from "../../src/internal/node/writer.ts"

/** A disk that takes so many bytes, and no more until there is room again. */
const makeDisk = () => {
  let text = ""
  let room = Infinity
  let failure = "ENOSPC"
  const send: Send = (bytes, done) =>
    void setImmediate(() => {
      const taken = Math.min(room, bytes.length)
      if (taken === 0) return done(Object.assign(new Error(failure), { code: failure }), 0)
      room -= taken
      text += Buffer.from(bytes.subarray(0, taken)).toString()
      done(null, taken)
    })
  return {
    send,
    text: () => text,
    has: (bytes: number, code = failure) => {
      room = bytes
      failure = code
    }
  }
}

const bytes = (text: string) => Buffer.from(text)

const withoutTime = (text: string) => text.replaceAll(/^\S+Z /gm, "")

describe("the output of tableflip, on a disk that is full", () => {
  it("goes on in whole lines when there is room again, and says how many were lost", async () => {
    const disk = makeDisk()
    const writer = make(disk.send)
    await writer.write(bytes("one\n"))
    disk.has("tw".length)
    await writer.write(bytes("two\nthree\n"))
    await writer.write(bytes("four\n"))
    disk.has(Infinity)
    await writer.write(bytes("five\n"))
    assert.strictEqual(
      withoutTime(disk.text()),
      "one\ntw\nWARN  tableflip: 3 line(s) of the output were lost\nfive\n"
    )
  })

  it("counts no line twice and none for nothing, however often it has tried to tell", async () => {
    const disk = makeDisk()
    const writer = make(disk.send)
    disk.has(0)
    for (let count = 0; count < 10; count++) writer.line(`line ${count}`)
    await writer.write(bytes("and\nmore\n"))
    disk.has(Infinity)
    await writer.write(bytes("end\n"))
    await writer.write(bytes("all\n"))
    assert.strictEqual(withoutTime(disk.text()), "WARN  tableflip: 12 line(s) of the output were lost\nend\nall\n")
  })

  it("is tried again where it is only busy, and given up where nobody is left who reads", async () => {
    const disk = makeDisk()
    const writer = make(disk.send)
    disk.has(2, "EAGAIN")
    const written = writer.write(bytes("one\n"))
    setTimeout(() => disk.has(Infinity), 30)
    await written
    assert.strictEqual(disk.text(), "one\n")
    disk.has(0, "EPIPE")
    await writer.write(bytes("two\n"))
    disk.has(Infinity)
    await writer.write(bytes("three\n"))
    assert.strictEqual(disk.text(), "one\n")
    assert.isFalse(writer.isBusy())
  })

  it("gives up everything that waits when nobody is left who reads, however much that is", async () => {
    const waiting: Array<Parameters<Send>[1]> = []
    const writer = make((_, done) => void waiting.push(done))
    const all = Array.from({ length: 50_000 }, () => writer.write(bytes("line\n")))
    assert.strictEqual(waiting.length, 1)
    waiting[0]!(Object.assign(new Error("EPIPE"), { code: "EPIPE" }), 0)
    await Promise.all(all)
    await writer.write(bytes("line\n"))
    assert.strictEqual(waiting.length, 1)
  })

  it("keeps lines for a reader that is slow up to a bound, in their order", async () => {
    const kept: Array<() => void> = []
    let text = ""
    const writer = make((bytes, done) =>
      void kept.push(() => {
        text += Buffer.from(bytes).toString()
        done(null, bytes.length)
      })
    )
    const line = "x".repeat(1023)
    for (let count = 0; count < 1_030; count++) writer.line(line)
    while (kept.length > 0) kept.shift()!()
    assert.strictEqual(text.split("\n").filter((one) => one === line).length, 1_024)
    writer.line("next")
    while (kept.length > 0) kept.shift()!()
    assert.match(text, /WARN {2}tableflip: 6 line\(s\) of the output were lost\nnext\n$/)
  })
})
