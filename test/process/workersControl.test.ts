/**
 * A control socket as a part of the main context of a pool.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as fs from "node:fs"
import * as path from "node:path"
import { follow, post, request, status } from "../kit/control.ts"
import { directory } from "../kit/files.ts"
import { fixture } from "../kit/paths.ts"
import { isAlive, isLinux } from "../kit/proc.ts"
import { start } from "../kit/processes.ts"

const pool = (behaviour: object = {}) =>
  Effect.gen(function*() {
    const dir = yield* directory
    const socket = path.join(dir, "control.sock")
    const broken = path.join(dir, "broken")
    const app = yield* start(fixture("workers.mjs"), {
      app: { control: socket, behaviour: { failIfExists: broken, ...behaviour } }
    })
    const up = yield* app.up(1)
    return { app, broken, socket, up }
  })

const pids = (now: any): ReadonlyArray<number> => now.processes.map(({ pid }: any) => pid)

describe.runIf(isLinux)("the control socket of a pool", () => {
  it.scopedLive("tells its size and its processes, and changes them", () =>
    Effect.gen(function*() {
      const { socket, up } = yield* pool()
      const before = yield* status(socket)
      assert.deepInclude(before, { kind: "pool", pid: up.pid, generation: 1, state: "serving", size: 2 })
      assert.deepStrictEqual(before.processes.map(({ state }: any) => state), ["serving", "serving"])
      const { events, waitFor } = yield* follow(socket)
      const scaled = yield* post(socket, "/v1/scale", { size: 3, unknown: true })
      assert.deepStrictEqual([scaled.status, scaled.json], [200, { outcome: "resized", from: 2, to: 3 }])
      yield* waitFor("Resized")
      assert.strictEqual((yield* status(socket)).size, 3)
      const [first, second] = pids(yield* status(socket))
      assert.deepStrictEqual((yield* post(socket, "/v1/replace/0")).json, { outcome: "replaced", index: 0 })
      const after = pids(yield* status(socket))
      assert.notStrictEqual(after[0], first)
      assert.strictEqual(after[1], second)
      assert.deepStrictEqual((yield* post(socket, "/v1/replace")).json, { outcome: "replaced" })
      assert.notStrictEqual(pids(yield* status(socket))[1], second)
      assert.includeMembers(events.map(({ _tag }) => _tag), ["Started", "Ready", "Retired", "Exited", "Replaced"])
    }))

  it.scopedLive("says what cannot be, and why workers did not come up", () =>
    Effect.gen(function*() {
      const { broken, socket } = yield* pool()
      for (const [path, body] of [["/v1/scale", `{"size":0}`], ["/v1/scale", `{"size":"2"}`], ["/v1/replace/9", ""]]) {
        assert.strictEqual((yield* request(socket, path!, { method: "POST", body: body! })).status, 400, path)
      }
      fs.writeFileSync(broken, "")
      const scaled = yield* post(socket, "/v1/scale", { size: 3 })
      assert.deepStrictEqual([scaled.status, scaled.json.error._tag], [502, "ProcessStartError"])
      const replaced = yield* post(socket, "/v1/replace")
      assert.deepStrictEqual([replaced.status, replaced.json.error._tag], [502, "ReplaceError"])
      const reloaded = yield* post(socket, "/v1/reload")
      assert.deepStrictEqual([reloaded.status, reloaded.json.error._tag], [502, "ChildExitedError"])
      assert.deepInclude(yield* status(socket), { size: 2, generation: 1, state: "serving" })
    }))

  it.scopedLive("answers a reload when the new pool serves, and the drain when the old one has ended", () =>
    Effect.gen(function*() {
      const { socket, up } = yield* pool()
      const old = pids(yield* status(socket))
      const { json } = yield* post(socket, "/v1/reload?wait=drained")
      assert.deepInclude(json, { outcome: "upgraded", generation: 2, from: { pid: up.pid, generation: 1 } })
      assert.strictEqual(json.drained.killed, 0)
      assert.deepStrictEqual(old.filter(isAlive), [])
      assert.deepInclude(yield* status(socket), { kind: "pool", generation: 2, size: 2 })
    }))

  it.scopedLive("stops it, and tells when nothing is left", () =>
    Effect.gen(function*() {
      const { app, socket } = yield* pool()
      const old = pids(yield* status(socket))
      const { json } = yield* post(socket, "/v1/stop?wait=drained")
      assert.deepInclude(json, { outcome: "stopped" })
      assert.strictEqual(json.drained.killed, 0)
      assert.deepStrictEqual(old.filter(isAlive), [])
      assert.deepStrictEqual(yield* app.exit, { code: 0, signal: null })
    }))
})
