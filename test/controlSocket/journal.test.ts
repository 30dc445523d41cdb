import { assert, describe, it } from "@effect/vitest"
import type { Lines } from "../../src/internal/controlSocket/httpServer.ts"
import * as journal from "../../src/internal/controlSocket/journal.ts"

/** A client that takes what it is told to take. */
const reader = () => {
  const taken: Array<any> = []
  let untaken: Array<string> = []
  let isEnded = false
  let goAway = () => {}
  const lines: Lines = {
    write: (line) => void untaken.push(line),
    buffered: () => untaken.reduce((sum, line) => sum + line.length, 0),
    end: () => {
      isEnded = true
    },
    onGone: (listener) => {
      goAway = listener
    }
  }
  const take = () => {
    taken.push(...untaken.map((line) => JSON.parse(line)))
    untaken = []
    return taken
  }
  return { lines, take, isEnded: () => isEnded, goAway: () => goAway() }
}

const self = { pid: 100, generation: 3 }

const status = { _tag: "Status" }

describe("the journal of a control socket", () => {
  it("tells everything from the status on, numbered, with its time and the process that tells it", () => {
    const { end, follow, tell } = journal.make(() => self)
    const { isEnded, lines, take } = reader()
    tell({ _tag: "Before" }, 0)
    follow(lines, status, 1_000)
    tell({ _tag: "Ready" }, 2_000)
    end(3_000)
    assert.deepStrictEqual(take(), [
      { _tag: "Status", seq: 1, at: "1970-01-01T00:00:01.000Z", by: self },
      { _tag: "Ready", seq: 2, at: "1970-01-01T00:00:02.000Z", by: self },
      { _tag: "Ended", seq: 3, at: "1970-01-01T00:00:03.000Z", by: self }
    ])
    assert.isTrue(isEnded())
  })

  it("keeps no more than 256 KiB for one that does not read, and tells it how much it has missed", () => {
    const { follow, tell } = journal.make(() => self)
    const slow = reader()
    const quick = reader()
    follow(slow.lines, status, 0)
    follow(quick.lines, status, 0)
    const event = { _tag: "Ready", text: "x".repeat(10_000) }
    for (let count = 0; count < 100; count++) {
      tell(event, 0)
      quick.take()
    }
    assert.isAtMost(slow.lines.buffered(), 256 * 1024)
    const got = slow.take().length - 1
    assert.isAbove(got, 20)
    tell({ _tag: "Last" }, 0)
    const [missed, last] = slow.take().slice(got + 1)
    assert.deepInclude(missed, { _tag: "Missed", count: 100 - got })
    assert.strictEqual(last._tag, "Last")
    assert.strictEqual(quick.take().length, 102)
    assert.isUndefined(quick.take().find(({ _tag }) => _tag === "Missed"))
  })

  it("forgets one that has gone, and tells one that comes after the end nothing but the status", () => {
    const { end, follow, tell } = journal.make(() => self)
    const gone = reader()
    follow(gone.lines, status, 0)
    gone.goAway()
    tell({ _tag: "Ready" }, 0)
    assert.strictEqual(gone.take().length, 1)
    end(0)
    const late = reader()
    follow(late.lines, status, 0)
    assert.strictEqual(late.take().length, 1)
    assert.isTrue(late.isEnded())
  })
})
