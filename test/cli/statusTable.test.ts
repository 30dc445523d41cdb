import { assert, describe, it } from "@effect/vitest"
import { table } from "../../src/internal/cli/statusTable.ts"
import type { Status } from "../../src/internal/controlSocket/protocol.ts"

const now = Date.parse("2026-01-02T00:00:00Z")
const ago = (seconds: number) => new Date(now - seconds * 1_000).toISOString()

const status: Status = {
  protocol: 1,
  kind: "upgrader",
  pid: 100,
  generation: 3,
  state: "serving",
  since: ago(59),
  startedAt: ago(90_000),
  olderDraining: 0,
  lastUpgrade: null,
  node: "v24.1.0"
}

describe("the status of a process for people", () => {
  it("is a line for each thing that is known", () => {
    assert.deepStrictEqual(table(status, now).split("\n"), [
      "state         serving for 59 s",
      "process       100, upgrader, started 1 d ago, Node v24.1.0",
      "generation    3",
      "last upgrade  none"
    ])
  })

  it("says who is draining, and how the last upgrade went", () => {
    const lastUpgrade = {
      at: ago(3_600),
      generation: 4,
      outcome: "failed",
      error: { _tag: "X", message: "it broke" }
    } as const
    const lines = table({ ...status, connections: 12, olderDraining: 2, lastUpgrade }, now).split("\n")
    assert.deepStrictEqual(lines.slice(2), [
      "generation    3, 2 older draining",
      "connections   12",
      "last upgrade  to generation 4 failed, 1 h ago: it broke"
    ])
    const upgraded = { at: ago(60), generation: 3, pid: 100, outcome: "upgraded" } as const
    assert.include(table({ ...status, lastUpgrade: upgraded }, now), "last upgrade  to generation 3, 1 min ago")
  })

  it("has the processes of a pool in columns, one that is not there too", () => {
    const of = { generation: 3, since: ago(5), restarts: 0 }
    const processes = [
      { ...of, name: "worker", index: 0, pid: 201, state: "serving" },
      { ...of, name: "worker", index: 10, state: "starting", restarts: 12 },
      { ...of, name: "scheduler", index: 0, pid: 12_345, state: "serving" }
    ]
    assert.deepStrictEqual(table({ ...status, kind: "pool", size: 2, processes }, now).split("\n").slice(3), [
      "size          2",
      "last upgrade  none",
      "",
      "PROCESS    PID    GENERATION  STATE     FOR  RESTARTS",
      "worker 0   201    3           serving   5 s  0",
      "worker 10  -      3           starting  5 s  12",
      "scheduler  12345  3           serving   5 s  0"
    ])
  })

  it("of a clock that was set back is never from the future", () => {
    assert.include(table({ ...status, since: ago(-300) }, now), "serving for 0 s")
  })
})
