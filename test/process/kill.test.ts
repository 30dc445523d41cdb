import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as fs from "node:fs"
import * as path from "node:path"
import { ask, load } from "../kit/clients.ts"
import { deploy, directory, goodVersion, pidIn, waitForPid } from "../kit/files.ts"
import { fixture } from "../kit/paths.ts"
import { isLinux } from "../kit/proc.ts"
import type { Up } from "../kit/processes.ts"
import { onlyAlive, signal, start } from "../kit/processes.ts"
import { sameState, stateOf } from "../kit/state.ts"

/** A version that waits for the test at two places: before it has read anything, and before it is ready. */
const stopsTwice = (dir: string) => `
import * as fs from "node:fs"
fs.writeSync(1, "SPAWNED " + process.pid + "\\n")
while (!fs.existsSync(${
  JSON.stringify(path.join(dir, "read"))
})) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 5)
process.env.APP = JSON.stringify({ ...JSON.parse(process.env.APP), gate: ${JSON.stringify(path.join(dir, "ready"))} })
await import(${JSON.stringify(fixture("app.mjs"))})
`

const startOne = (upgrader: object = {}) =>
  Effect.gen(function*() {
    const dir = yield* directory
    const program = path.join(dir, "main.mjs")
    const pidFile = path.join(dir, "app.pid")
    yield* deploy(program, goodVersion())
    const app = yield* start(program, { app: { upgrader: { pidFile, ...upgrader } } })
    const up = yield* app.up(1)
    const before = yield* stateOf(app, up.pid)
    yield* deploy(program, stopsTwice(dir))
    yield* signal(up.pid, "SIGHUP")
    const child = Number((yield* app.waitFor(/^SPAWNED (\d+)/))[1])
    const open = (gate: "read" | "ready") => Effect.sync(() => fs.writeFileSync(path.join(dir, gate), ""))
    return {
      app,
      up,
      child,
      before,
      pidFile,
      open,
      /** Brings the child to the moment before it is ready. */
      untilNamesAreRead: Effect.zipRight(open("read"), app.waitFor(new RegExp(`^WAITING ${child}`))),
      repair: deploy(program, goodVersion())
    }
  })

type One = Effect.Effect.Success<ReturnType<typeof startOne>>

/** The parent serves as if nothing had been, and the next upgrade works. */
const parentServes = ({ app, before, child, pidFile, repair, up }: One) =>
  Effect.gen(function*() {
    yield* app.waitFor(
      new RegExp(`^EVENT ${up.pid} UpgradeFailed ChildExitedError .*process ${child} was killed by SIGKILL`)
    )
    assert.strictEqual((yield* ask(up.port)).pid, up.pid)
    yield* waitForPid(pidFile, up.pid)
    yield* onlyAlive(app, [up.pid])
    yield* sameState(app, up.pid, before)
    yield* repair
    yield* signal(up.pid, "SIGHUP")
    yield* app.exit
    const [, next] = yield* app.waitFor(new RegExp(`^UP (?!${child} )(\\d+) 2 `))
    yield* onlyAlive(app, [Number(next)])
  })

/** The child serves on the same port, and can be upgraded itself. */
const childServes = ({ app, child, pidFile, repair }: One, port: number) =>
  Effect.gen(function*() {
    const up: Up = yield* app.up(2)
    assert.deepStrictEqual([up.pid, up.port], [child, port])
    yield* app.waitFor(new RegExp(`^ALONE ${child}`))
    assert.strictEqual((yield* ask(port)).pid, child)
    assert.strictEqual(pidIn(pidFile), child)
    yield* onlyAlive(app, [child])
    yield* repair
    yield* signal(child, "SIGHUP")
    const next = yield* app.up(3)
    assert.strictEqual(next.port, port)
    yield* onlyAlive(app, [next.pid])
    assert.strictEqual(pidIn(pidFile), next.pid)
  })

describe.runIf(isLinux)("a child that is killed", () => {
  it.scopedLive("after its start", () =>
    Effect.gen(function*() {
      const one = yield* startOne()
      yield* signal(one.child, "SIGKILL")
      yield* parentServes(one)
    }))

  it.scopedLive("after it has read the names", () =>
    Effect.gen(function*() {
      const one = yield* startOne()
      yield* one.untilNamesAreRead
      yield* signal(one.child, "SIGKILL")
      yield* parentServes(one)
    }))

  it.scopedLive("under probation, after it was ready", () =>
    Effect.gen(function*() {
      const one = yield* startOne({ probation: 3000 })
      yield* one.untilNamesAreRead
      yield* one.open("ready")
      yield* waitForPid(one.pidFile, one.child)
      yield* one.app.up(2)
      yield* signal(one.child, "SIGKILL")
      yield* parentServes(one)
    }))
})

describe.runIf(isLinux)("a child that has taken over", () => {
  it.scopedLive("and is killed while the parent drains makes that end with a failure, which the log tells", () =>
    Effect.gen(function*() {
      const one = yield* startOne()
      const slow = yield* Effect.fork(ask(one.up.port, { path: "/?slow=3000" }))
      yield* one.app.waitFor(new RegExp(`^SERVING ${one.up.pid}`))
      yield* one.untilNamesAreRead
      yield* one.open("ready")
      yield* one.app.waitFor(new RegExp(`^EVENT ${one.up.pid} Draining`))
      yield* signal(one.child, "SIGKILL")
      yield* one.app.waitFor(new RegExp(`Process ${one.child}, which had taken over, was killed by SIGKILL`))
      assert.strictEqual((yield* Fiber.join(slow)).pid, one.up.pid)
      assert.deepStrictEqual(yield* one.app.exit, { code: 1, signal: null })
    }))

  it.scopedLive("and is told to stop does not", () =>
    Effect.gen(function*() {
      const one = yield* startOne()
      const slow = yield* Effect.fork(ask(one.up.port, { path: "/?slow=3000" }))
      yield* one.app.waitFor(new RegExp(`^SERVING ${one.up.pid}`))
      yield* one.untilNamesAreRead
      yield* one.open("ready")
      yield* one.app.waitFor(new RegExp(`^EVENT ${one.up.pid} Draining`))
      yield* signal(one.child, "SIGTERM")
      assert.strictEqual((yield* Fiber.join(slow)).pid, one.up.pid)
      assert.deepStrictEqual(yield* one.app.exit, { code: 0, signal: null })
    }))
})

describe.runIf(isLinux)("a parent that is killed", () => {
  it.scopedLive("after it has started the child", () =>
    Effect.gen(function*() {
      const one = yield* startOne()
      yield* signal(one.up.pid, "SIGKILL")
      yield* one.app.exit
      yield* one.open("read")
      yield* one.open("ready")
      yield* childServes(one, one.up.port)
    }))

  it.scopedLive("after the child has read the names; whoever connects meanwhile is served by the child", () =>
    Effect.gen(function*() {
      const one = yield* startOne()
      yield* one.untilNamesAreRead
      yield* signal(one.up.pid, "SIGKILL")
      yield* one.app.exit
      const early = yield* Effect.fork(ask(one.up.port))
      yield* one.app.waitFor(new RegExp(`^ALONE ${one.child}`))
      yield* one.open("ready")
      assert.strictEqual((yield* Fiber.join(early)).pid, one.child)
      yield* childServes(one, one.up.port)
    }))

  it.scopedLive("while the child is on probation", () =>
    Effect.gen(function*() {
      const one = yield* startOne({ probation: 60_000 })
      yield* one.untilNamesAreRead
      yield* one.open("ready")
      yield* one.app.up(2)
      yield* signal(one.up.pid, "SIGKILL")
      // The version that comes next is on probation for as long; what matters is that it serves.
      const { app, child, pidFile, up } = one
      yield* app.waitFor(new RegExp(`^ALONE ${child}`))
      assert.strictEqual((yield* ask(up.port)).pid, child)
      assert.strictEqual(pidIn(pidFile), child)
      yield* onlyAlive(app, [child])
    }))

  it.scopedLive("in the moment in which the child is ready", () =>
    Effect.gen(function*() {
      const one = yield* startOne()
      yield* one.untilNamesAreRead
      yield* one.open("ready")
      yield* waitForPid(one.pidFile, one.child)
      yield* signal(one.up.pid, "SIGKILL")
      yield* childServes(one, one.up.port)
    }))
})

describe.runIf(isLinux)("a child that takes its time", () => {
  it.scopedLive("accepts nothing before it is ready, and nobody notices", () =>
    Effect.gen(function*() {
      const { app, child, open, untilNamesAreRead, up } = yield* startOne()
      yield* untilNamesAreRead
      const clients = yield* load(up.port)
      yield* Effect.sleep("2 seconds")
      assert.deepStrictEqual([...clients.answers.keys()], [up.pid])
      assert.isAbove(clients.answers.get(up.pid) ?? 0, 100)
      yield* open("ready")
      yield* app.up(2)
      yield* app.exit
      while (!clients.answers.has(child)) yield* Effect.sleep("5 millis")
      yield* clients.stop
      assert.deepStrictEqual(clients.failures, [])
      assert.isBelow(clients.slowest(), 1500)
    }))

  it.scopedLive("refuses connections before it is ready, if it is the first", () =>
    Effect.gen(function*() {
      const gate = path.join(yield* directory, "gate")
      const app = yield* start(fixture("app.mjs"), { app: { gate } })
      const [, port] = yield* app.waitFor(/^BOUND \d+ - (\d+)/)
      yield* app.waitFor(/^WAITING/)
      assert.strictEqual((yield* Effect.flip(ask(Number(port)))).code, "ECONNREFUSED")
      fs.writeFileSync(gate, "")
      const up = yield* app.up(1)
      assert.strictEqual((yield* ask(up.port)).pid, up.pid)
    }))
})
