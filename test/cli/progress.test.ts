import { assert, describe, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as ExitStatus from "../../src/ExitStatus.ts"
import { describe as say } from "../../src/internal/cli/progress.ts"
import { toJson } from "../../src/internal/controlSocket/json.ts"
import { ProcessStartError, ReadyTimeoutError, ReplaceError } from "../../src/PoolError.ts"
import { PoolEvent } from "../../src/PoolEvent.ts"
import { UpgradeInProgressError, UpgradeTimeoutError } from "../../src/TableflipError.ts"
import { UpgraderEvent } from "../../src/UpgraderEvent.ts"

/** As a command hears it. */
const told = (event: { readonly _tag: string }) =>
  say({
    ...toJson(event) as object,
    _tag: event._tag,
    seq: 1,
    at: "1970-01-01T00:00:00.000Z",
    by: { pid: 100, generation: 3 }
  })

const worker = { name: "worker", index: 1, pid: 201, generation: 4 }
const extra = { name: "scheduler", index: 0, pid: 301, generation: 4 }
const timedOut = new UpgradeTimeoutError({ pid: 7, timeout: Duration.seconds(2) })
const late = new ReadyTimeoutError({ pid: 7, timeout: Duration.seconds(2) })
const notStarted = new ProcessStartError({ process: "worker 1", cause: late })
const notReplaced = new ReplaceError({ replaced: 0, kept: 2, cause: notStarted })
const busy = new UpgradeInProgressError()

const report = (connections: { readonly handedOver: number; readonly forced: number }) => ({
  duration: Duration.millis(1_234),
  servers: [{
    address: "127.0.0.1:8080",
    open: 1,
    finished: 1,
    sentAway: 0,
    timedOut: 0,
    ...connections,
    idle: 0,
    fresh: 0,
    inFlight: 0,
    opaque: 0,
    webSockets: 0,
    droppedRequests: 0,
    refused: 0,
    duration: Duration.zero
  }]
})

/** Every event has its words: one that is new must be told here before it compiles. */
const ofUpgrader: {
  readonly [Tag in UpgraderEvent["_tag"]]: readonly [Extract<UpgraderEvent, { _tag: Tag }>, string]
} = {
  Ready: [UpgraderEvent.Ready({ generation: 3 }), "process 100 serves as generation 3"],
  UpgradeStarted: [
    UpgraderEvent.UpgradeStarted({ pid: 7, generation: 4 }),
    "started process 7 as generation 4"
  ],
  UpgradeFailed: [UpgraderEvent.UpgradeFailed({ error: timedOut, generation: 4 }), `no upgrade: ${timedOut.message}`],
  UpgradeRefused: [UpgraderEvent.UpgradeRefused({ error: busy, generation: 3 }), `no upgrade: ${busy.message}`],
  Upgraded: [
    UpgraderEvent.Upgraded({ pid: 7, generation: 4 }),
    "process 7 has taken over as generation 4"
  ],
  ParentExited: [UpgraderEvent.ParentExited({ generation: 3 }), "every older process has ended"],
  Stopped: [UpgraderEvent.Stopped({ generation: 3 }), "told to stop"],
  Draining: [UpgraderEvent.Draining({ generation: 3 }), "process 100 is draining 0 connections"],
  Drained: [
    UpgraderEvent.Drained({ generation: 3, report: report({ handedOver: 33, forced: 1 }) }),
    "process 100 has drained in 1.23 s, 33 connections handed over, 1 connection closed by force"
  ]
}

const ofPool: { readonly [Tag in PoolEvent["_tag"]]: readonly [Extract<PoolEvent, { _tag: Tag }>, string] } = {
  Started: [PoolEvent.Started(worker), "started worker 1 (process 201), generation 4"],
  Ready: [PoolEvent.Ready(extra), "scheduler (process 301) is ready"],
  Retired: [PoolEvent.Retired(worker), "worker 1 (process 201) is told to finish"],
  RecycleRequested: [
    PoolEvent.RecycleRequested({ ...worker, reason: "Memory" }),
    "worker 1 (process 201) asks to be replaced, because of its memory"
  ],
  Unresponsive: [PoolEvent.Unresponsive(worker), "worker 1 (process 201) does not respond and gets SIGKILL"],
  Killed: [PoolEvent.Killed(worker), "worker 1 (process 201) has not ended in time and gets SIGKILL"],
  Exited: [
    PoolEvent.Exited({ ...worker, status: ExitStatus.Killed({ signal: "SIGSEGV" }), expected: false }),
    "worker 1 (process 201) was killed by SIGSEGV, by itself"
  ],
  StartFailed: [
    PoolEvent.StartFailed({ name: "worker", index: 1, error: notStarted }),
    `worker 1 has not come up again: ${notStarted.message}`
  ],
  Replaced: [PoolEvent.Replaced({ generation: 4 }), "generation 4 has taken the place of every older process"],
  ReplaceFailed: [
    PoolEvent.ReplaceFailed({ generation: 4, error: notReplaced }),
    `no replacement: ${notReplaced.message}`
  ],
  Resized: [PoolEvent.Resized({ from: 2, to: 3 }), "resized from 2 to 3"],
  Stopped: [PoolEvent.Stopped({ killed: 2 }), "everything has stopped, 2 by SIGKILL"]
}

describe("what a command says while it waits", () => {
  for (const [tag, [event, words]] of Object.entries(ofUpgrader)) {
    it(`of ${tag}, of an upgrader`, () => assert.strictEqual(told(event), words))
  }

  for (const [tag, [event, words]] of Object.entries(ofPool)) {
    it(`of ${tag}, of a pool`, () => assert.strictEqual(told(event), words))
  }

  it("leaves out what is nothing, and counts in the singular", () => {
    const drained = UpgraderEvent.Drained({ generation: 3, report: report({ handedOver: 0, forced: 0 }) })
    assert.strictEqual(told(drained), "process 100 has drained in 1.23 s")
    assert.strictEqual(say({ _tag: "Missed", count: 1 }), "1 event missed: this was read too slowly")
    assert.strictEqual(
      told(PoolEvent.RecycleRequested({ ...worker, reason: "Asked" })),
      "worker 1 (process 201) asks to be replaced"
    )
    const stopped = ExitStatus.Exited({ code: 0 })
    assert.strictEqual(
      told(PoolEvent.Exited({ ...worker, status: stopped, expected: true })),
      "worker 1 (process 201) exited with code 0"
    )
  })

  it("of an event that it does not know, from a newer release, is its name", () => {
    assert.strictEqual(say({ _tag: "Teleported", by: { pid: 1, generation: 1 } }), "Teleported")
  })
})
