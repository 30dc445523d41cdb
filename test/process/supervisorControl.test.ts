/**
 * `tableflip run --control`: the supervisor is operated at a socket.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as fs from "node:fs"
import * as path from "node:path"
import { follow, post, request, status } from "../kit/control.ts"
import { deploy, directory } from "../kit/files.ts"
import { isAlive, isLinux } from "../kit/proc.ts"
import { signal } from "../kit/processes.ts"
import { run } from "../kit/tableflip.ts"
import { until } from "../kit/waiting.ts"

/** Says at descriptor 3 that it is ready, when the gate is there, and takes its time to end. */
const program = (gate: string | undefined, slow = 0) => `
import * as fs from "node:fs"
process.on("SIGTERM", () => setTimeout(() => process.exit(), ${slow}))
const timer = setInterval(() => {
  if (${gate === undefined ? "false" : `!fs.existsSync(${JSON.stringify(gate)})`}) return
  fs.writeSync(3, "\\n")
  clearInterval(timer)
}, 10)
setInterval(() => {}, 1000)
`

const supervised = (code: (dir: string) => string = () => program(undefined), ...options: ReadonlyArray<string>) =>
  Effect.gen(function*() {
    const dir = yield* directory
    const socket = path.join(dir, "control.sock")
    const script = path.join(dir, "app.mjs")
    yield* deploy(script, code(dir))
    const handle = yield* run({
      options: ["--control", socket, "--ready-fd", "3", ...options],
      command: [process.execPath, script]
    })
    return { dir, handle, script, socket }
  })

const inState = (socket: string, state: string) =>
  Effect.repeat(Effect.orElseSucceed(status(socket), () => ({})), { until: (now: any) => now.state === state })

const pidOf = (now: any): number => now.processes[0].pid

describe.runIf(isLinux)("the control socket of a supervisor", () => {
  it.scopedLive("is there from the start, for its user alone, and tells the state of the command", () =>
    Effect.gen(function*() {
      const { dir, handle, socket } = yield* supervised((dir) => program(path.join(dir, "gate")))
      const before = yield* inState(socket, "starting")
      assert.strictEqual(fs.statSync(socket).mode & 0o777, 0o600)
      assert.deepInclude(before, { kind: "supervisor", pid: handle.pid, generation: 1 })
      fs.writeFileSync(path.join(dir, "gate"), "")
      const now = yield* inState(socket, "serving")
      assert.deepInclude(now, { size: 1, olderDraining: 0, lastUpgrade: null })
      assert.deepInclude(now.processes[0], { state: "serving", restarts: 0 })
    }))

  it.scopedLive("answers a reload when the new command is ready, or when the old one has ended", () =>
    Effect.gen(function*() {
      const { handle, socket } = yield* supervised(() => program(undefined, 1_000))
      const old = pidOf(yield* inState(socket, "serving"))
      const first = yield* post(socket, "/v1/reload")
      assert.strictEqual(first.status, 200)
      assert.deepInclude(first.json, { outcome: "upgraded", generation: 2, from: { pid: handle.pid, generation: 1 } })
      assert.isTrue(isAlive(old))
      assert.strictEqual((yield* status(socket)).olderDraining, 1)
      const second = yield* post(socket, "/v1/reload?wait=drained")
      assert.isFalse(isAlive(old))
      assert.deepInclude(second.json, { outcome: "upgraded", generation: 3 })
      const now = yield* status(socket)
      assert.deepInclude(now, { state: "serving", generation: 3, olderDraining: 0 })
      assert.deepInclude(now.lastUpgrade, { outcome: "upgraded", generation: 3 })
    }))

  it.scopedLive("answers a reload that stops the old command first when the new one is ready", () =>
    Effect.gen(function*() {
      const { dir, socket } = yield* supervised((dir) => program(path.join(dir, "gate")), "--stop-first")
      const gate = path.join(dir, "gate")
      fs.writeFileSync(gate, "")
      const old = pidOf(yield* inState(socket, "serving"))
      fs.rmSync(gate)
      const reload = yield* Effect.fork(post(socket, "/v1/reload"))
      const isStarting = ({ processes: [only, ...others], state }: any) =>
        state === "upgrading" && others.length === 0 && only.state === "starting" && only.generation === 2
      yield* Effect.repeat(status(socket), { until: isStarting })
      assert.isFalse(isAlive(old))
      for (let count = 0; count < 20; count++) assert.isTrue(isStarting(yield* status(socket)))
      assert.isNull(reload.unsafePoll())
      fs.writeFileSync(gate, "")
      assert.deepInclude((yield* Fiber.join(reload)).json, { outcome: "upgraded", generation: 2 })
      assert.deepInclude(yield* status(socket), { state: "serving", generation: 2, olderDraining: 0 })
    }))

  it.scopedLive("says why a reload has failed, also in its log, and the old command goes on", () =>
    Effect.gen(function*() {
      const { handle, script, socket } = yield* supervised()
      const old = pidOf(yield* inState(socket, "serving"))
      yield* deploy(script, `process.exit(7)`)
      const { json, status: code } = yield* post(socket, "/v1/reload?wait=drained")
      assert.deepStrictEqual([code, json.error._tag, json.error.cause.cause._tag], [
        502,
        "ReplaceError",
        "ChildExitedError"
      ])
      assert.include(json.error.message, "code 7")
      yield* handle.waitFor(/ERROR tableflip: The reload has failed\. .*code 7/)
      const now = yield* status(socket)
      assert.deepStrictEqual([now.state, now.lastUpgrade.outcome, pidOf(now)], ["serving", "failed", old])
    }))

  it.scopedLive("does one reload after the other, and whoever asks for a further one gets the next", () =>
    Effect.gen(function*() {
      const { socket } = yield* supervised()
      yield* inState(socket, "serving")
      const first = yield* Effect.fork(post(socket, "/v1/reload"))
      // One that has not begun is also that of whoever asks for it meanwhile.
      yield* inState(socket, "upgrading")
      const others = yield* Effect.forEach([2, 3], () => post(socket, "/v1/reload"), { concurrency: "unbounded" })
      assert.deepStrictEqual(others.map(({ json }) => json.generation), [3, 3])
      assert.strictEqual((yield* Fiber.join(first)).json.outcome, "upgraded")
      assert.strictEqual((yield* inState(socket, "serving")).generation, 3)
    }))

  it.scopedLive("does not say that it serves while a command that has been killed is not back", () =>
    Effect.gen(function*() {
      const { script, socket } = yield* supervised()
      const old = pidOf(yield* inState(socket, "serving"))
      yield* deploy(script, "setInterval(() => {}, 1000)")
      yield* signal(old, "SIGKILL")
      assert.strictEqual((yield* inState(socket, "starting")).processes[0].state, "restarting")
    }))

  it.scopedLive("stops it as SIGTERM does, and tells the end", () =>
    Effect.gen(function*() {
      const { handle, socket } = yield* supervised(() => program(undefined, 500))
      yield* inState(socket, "serving")
      const { events, isOver } = yield* follow(socket)
      const stop = yield* Effect.fork(post(socket, "/v1/stop?wait=drained"))
      assert.deepInclude(yield* inState(socket, "stopping"), { pid: handle.pid })
      assert.deepInclude((yield* Fiber.join(stop)).json, { outcome: "stopped", drained: { killed: 0 } })
      assert.deepStrictEqual(yield* handle.exit, { code: 0, signal: null })
      yield* until("the end of the events", isOver)
      const tags = events.map(({ _tag }) => _tag)
      assert.sameMembers(tags, ["Status", "Retired", "Exited", "Stopped", "Ended"])
      assert.deepStrictEqual([tags[0], tags.at(-1)], ["Status", "Ended"])
      assert.isFalse(fs.existsSync(socket))
    }))

  it.scopedLive("has one owner, and no size of its own to change", () =>
    Effect.gen(function*() {
      const { script, socket } = yield* supervised()
      yield* inState(socket, "serving")
      const second = yield* run({ options: ["--control", socket], command: [process.execPath, script] })
      assert.deepStrictEqual(yield* second.exit, { code: 69, signal: null })
      assert.strictEqual((yield* post(socket, "/v1/scale", { size: 2 })).status, 501)
      assert.strictEqual((yield* request(socket, "/v1/replace", { method: "POST" })).status, 501)
    }))
})
