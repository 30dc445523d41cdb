import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as fs from "node:fs"
import * as path from "node:path"
import { ask, load } from "../kit/clients.ts"
import { directory, pidIn, waitForPid } from "../kit/files.ts"
import { fixture } from "../kit/paths.ts"
import { isAlive, isLinux } from "../kit/proc.ts"
import { onlyAlive, signal, start } from "../kit/processes.ts"
import { sameState, stateOf } from "../kit/state.ts"
import { canRun } from "../kit/users.ts"
import { eventually } from "../kit/waiting.ts"

const app = fixture("app.mjs")

const startWithPidFile = (upgrader: object = {}, others: object = {}) =>
  Effect.gen(function*() {
    const dir = yield* directory
    const pidFile = path.join(dir, "app.pid")
    const handle = yield* start(app, { app: { upgrader: { pidFile, ...upgrader }, ...others } })
    const up = yield* handle.up(1)
    return { dir, pidFile, handle, up }
  })

describe.runIf(isLinux)("a process that is told to stop", () => {
  for (const name of ["SIGTERM", "SIGINT"] as const) {
    it.scopedLive(`ends with exit code 0 on ${name}, and takes its PID file along`, () =>
      Effect.gen(function*() {
        const { dir, handle, up } = yield* startWithPidFile()
        yield* signal(up.pid, name)
        assert.deepStrictEqual(yield* handle.exit, { code: 0, signal: null })
        assert.strictEqual(handle.count(new RegExp(`^RELEASED ${up.pid}`)), 1)
        assert.deepStrictEqual(fs.readdirSync(dir), [])
        yield* onlyAlive(handle, [])
      }))
  }

  it.scopedLive("finishes the request that it is serving", () =>
    Effect.gen(function*() {
      const { handle, up } = yield* startWithPidFile()
      const slow = yield* Effect.fork(ask(up.port, { path: "/?slow=700" }))
      yield* handle.waitFor(/^SERVING/)
      yield* signal(up.pid, "SIGTERM")
      assert.strictEqual((yield* Fiber.join(slow)).pid, up.pid)
      assert.deepStrictEqual(yield* handle.exit, { code: 0, signal: null })
    }))

  it.scopedLive("leaves a PID file alone that names another process", () =>
    Effect.gen(function*() {
      const { handle, pidFile, up } = yield* startWithPidFile()
      fs.writeFileSync(pidFile, "1\n")
      yield* signal(up.pid, "SIGTERM")
      yield* handle.exit
      assert.strictEqual(pidIn(pidFile), 1)
    }))

  it.scopedLive("before it is ready, ends as well", () =>
    Effect.gen(function*() {
      const dir = yield* directory
      const handle = yield* start(app, {
        app: { upgrader: { pidFile: path.join(dir, "app.pid") }, gate: path.join(dir, "gate") }
      })
      yield* handle.waitFor(/^WAITING/)
      yield* signal(handle.pid, "SIGTERM")
      assert.deepStrictEqual(yield* handle.exit, { code: 0, signal: null })
      assert.deepStrictEqual(fs.readdirSync(dir), [])
    }))

  for (const order of [["SIGHUP", "SIGTERM"], ["SIGTERM", "SIGHUP"]] as const) {
    it.scopedLive(`and to upgrade at once (${order.join(", ")}), ends with no process left over`, () =>
      Effect.gen(function*() {
        for (let round = 0; round < 4; round++) {
          const { dir, handle, up } = yield* startWithPidFile()
          yield* Effect.sync(() => {
            for (const name of order) process.kill(up.pid, name)
          })
          assert.deepStrictEqual(yield* handle.exit, { code: 0, signal: null })
          yield* onlyAlive(handle, [])
          assert.deepStrictEqual(fs.readdirSync(dir), [])
        }
      }))
  }

  it.scopedLive("at any moment of an upgrade, leaves the new process or nothing", () =>
    Effect.gen(function*() {
      for (const delay of [0, 5, 20, 60, 120, 180, 240, 300, 360, 420, 480]) {
        const { dir, handle, pidFile, up } = yield* startWithPidFile()
        yield* signal(up.pid, "SIGHUP")
        yield* Effect.sleep(delay)
        if (isAlive(up.pid)) yield* signal(up.pid, "SIGTERM")
        const ended = yield* handle.exit
        // Node lets go of its handlers a moment before the process is gone. By then all has been done.
        const wasGoing = ended.signal === "SIGTERM" && handle.count(new RegExp(`^EXIT ${up.pid} 0`)) === 1
        if (!wasGoing) assert.deepStrictEqual(ended, { code: 0, signal: null }, handle.dump())
        const survivor = handle.alive()
        if (survivor.length > 0) {
          assert.strictEqual(survivor.length, 1)
          yield* waitForPid(pidFile, survivor[0]!)
          assert.strictEqual((yield* ask(up.port)).pid, survivor[0])
          yield* signal(survivor[0]!, "SIGTERM")
        }
        yield* onlyAlive(handle, [])
        assert.deepStrictEqual(fs.readdirSync(dir), [])
      }
    }))
})

describe.runIf(isLinux)("SIGHUP", () => {
  it.scopedLive("50 times within a moment is one upgrade, and every refusal is logged", () =>
    Effect.gen(function*() {
      const { handle, pidFile, up } = yield* startWithPidFile()
      const clients = yield* load(up.port)
      yield* Effect.sync(() => {
        process.kill(up.pid, "SIGHUP")
      })
      yield* handle.waitFor(new RegExp(`^EVENT ${up.pid} UpgradeStarted`))
      for (let i = 0; i < 50; i++) {
        yield* signal(up.pid, "SIGHUP")
        yield* Effect.yieldNow()
      }
      const next = yield* handle.up(2)
      yield* handle.exit
      yield* clients.stop
      assert.deepStrictEqual(clients.failures, [])
      assert.strictEqual(handle.count(/UpgradeStarted/), 1)
      assert.isAbove(handle.count(/^LOG \d+ ERROR No upgrade on SIGHUP: An upgrade is already in progress/), 0)
      assert.strictEqual(pidIn(pidFile), next.pid)
      yield* onlyAlive(handle, [next.pid])
      assert.strictEqual(handle.count(/^LOG \d+ INFO Process \d+ has taken over as generation 2/), 1)
    }))

  it.scopedLive("50 times in one tick is one upgrade", () =>
    Effect.gen(function*() {
      const { handle, up } = yield* startWithPidFile()
      yield* Effect.sync(() => {
        for (let i = 0; i < 50; i++) process.kill(up.pid, "SIGHUP")
      })
      const next = yield* handle.up(2)
      assert.deepStrictEqual(yield* handle.exit, { code: 0, signal: null })
      assert.strictEqual(handle.count(/UpgradeStarted/), 1)
      yield* onlyAlive(handle, [next.pid])
    }))

  it.scopedLive("to the whole process group is one upgrade", () =>
    Effect.gen(function*() {
      const handle = yield* start(app, { app: {}, detached: true })
      const first = yield* handle.up(1)
      yield* Effect.sync(() => process.kill(-first.pid, "SIGHUP"))
      const second = yield* handle.up(2)
      yield* handle.exit
      yield* Effect.sync(() => process.kill(-first.pid, "SIGHUP"))
      const third = yield* handle.up(3)
      yield* onlyAlive(handle, [third.pid])
      assert.strictEqual(handle.count(/UpgradeStarted/), 2)
      yield* eventually("the second to go", () => !isAlive(second.pid))
    }))

  it.scopedLive("before the process is ready is refused and logged", () =>
    Effect.gen(function*() {
      const gate = path.join(yield* directory, "gate")
      const handle = yield* start(app, { app: { gate } })
      yield* handle.waitFor(/^WAITING/)
      yield* signal(handle.pid, "SIGHUP")
      yield* handle.waitFor(/^LOG \d+ ERROR No upgrade on SIGHUP: This process has not called ready yet/)
      fs.writeFileSync(gate, "")
      const up = yield* handle.up(1)
      yield* onlyAlive(handle, [up.pid])
    }))

  it.scopedLive("to a process that has handed over and drains is refused, and the drain goes on", () =>
    Effect.gen(function*() {
      const { handle, up } = yield* startWithPidFile()
      const slow = yield* Effect.fork(ask(up.port, { path: "/?slow=2500" }))
      yield* handle.waitFor(/^SERVING/)
      yield* signal(up.pid, "SIGHUP")
      const next = yield* handle.up(2)
      yield* handle.waitFor(/^LOG \d+ INFO Process \d+ has taken over/)
      yield* signal(up.pid, "SIGHUP")
      yield* handle.waitFor(
        new RegExp(`^LOG ${up.pid} ERROR No upgrade on SIGHUP: .*already handed over to process ${next.pid}`)
      )
      assert.strictEqual((yield* Fiber.join(slow)).pid, up.pid)
      assert.deepStrictEqual(yield* handle.exit, { code: 0, signal: null })
    }))

  it.scopedLive("is left alone if the option signals says so, and another signal upgrades", () =>
    Effect.gen(function*() {
      const { handle, up } = yield* startWithPidFile({ signals: ["SIGWINCH"] })
      yield* signal(up.pid, "SIGWINCH")
      const next = yield* handle.up(2)
      yield* handle.exit
      yield* signal(next.pid, "SIGHUP")
      yield* onlyAlive(handle, [])
    }))
})

describe.runIf(isLinux && canRun("python3", "--version"))("a process in a terminal", () => {
  const under = (dir: string, script: string) => {
    const log = path.join(dir, "log")
    fs.writeFileSync(log, "")
    return Effect.gen(function*() {
      const terminal = yield* start(fixture("commands/terminal.py"), {
        executable: "python3",
        args: ["/bin/bash", "-c", script, "-", process.execPath, app],
        env: { LOG: log },
        app: {},
        extra: ["pipe"]
      })
      const waitFor = (pattern: RegExp) =>
        eventually(`a line like ${pattern}`, () => pattern.exec(fs.readFileSync(log, "utf8")) ?? undefined)
      const { 1: pid } = yield* waitFor(/^UP (\d+) 1 /m)
      return { terminal, waitFor, pid: Number(pid), log: () => fs.readFileSync(log, "utf8") }
    })
  }

  it.scopedLive("stops with exit code 0 when its window is closed, and starts nothing anew", () =>
    Effect.gen(function*() {
      const { log, pid, terminal, waitFor } = yield* under(yield* directory, `exec "$@" > $LOG 2>&1`)
      yield* signal(terminal.pid, "SIGKILL")
      yield* waitFor(new RegExp(`^EXIT ${pid} 0`, "m"))
      assert.match(log(), new RegExp(`^REASON ${pid} Stopped`, "m"))
      assert.notMatch(log(), /UpgradeStarted/)
      yield* onlyAlive(terminal, [])
    }))

  it.scopedLive("that it has outlived is upgraded by SIGHUP", () =>
    Effect.gen(function*() {
      const { pid, waitFor } = yield* under(
        yield* directory,
        `set -m; "$@" > $LOG 2>&1 & until grep -q ^UP $LOG; do sleep 0.01; done; disown`
      )
      yield* waitFor(/SIGHUP is a request from now on/)
      yield* signal(pid, "SIGHUP")
      const { 1: next } = yield* waitFor(/^UP (\d+) 2 /m)
      yield* eventually("the old one to go", () => !isAlive(pid))
      assert.isTrue(isAlive(Number(next)))
    }))
})

describe.runIf(isLinux)("a PID file that cannot be written", () => {
  it.scopedLive("ends the start with nothing half done", () =>
    Effect.gen(function*() {
      const dir = yield* directory
      // A file in place of the directory stops root too.
      fs.writeFileSync(path.join(dir, "file"), "")
      const sock = path.join(dir, "app.sock")
      const handle = yield* start(app, {
        app: { upgrader: { pidFile: path.join(dir, "file/app.pid") }, listen: [{ path: sock }] }
      })
      yield* handle.waitFor(/^FAILED \d+ PidFileError NotWritten Could not write the PID file .*ENOTDIR/)
      assert.deepStrictEqual(yield* handle.exit, { code: 1, signal: null })
      assert.strictEqual(handle.count(/^UP/), 0)
      assert.deepStrictEqual(fs.readdirSync(dir), ["file"])
    }))

  it.scopedLive("any more when the new process wants to, leaves the old one in charge", () =>
    Effect.gen(function*() {
      const { dir, handle, pidFile, up } = yield* startWithPidFile()
      const before = yield* stateOf(handle, up.pid)
      fs.renameSync(dir, `${dir}-moved`)
      fs.writeFileSync(dir, "")
      yield* signal(up.pid, "SIGHUP")
      yield* handle.waitFor(/UpgradeFailed ChildExitedError/)
      yield* handle.waitFor(/^FAILED \d+ PidFileError/)
      fs.unlinkSync(dir)
      fs.renameSync(`${dir}-moved`, dir)
      assert.strictEqual((yield* ask(up.port)).pid, up.pid)
      assert.strictEqual(pidIn(pidFile), up.pid)
      yield* onlyAlive(handle, [up.pid])
      yield* sameState(handle, up.pid, before)
      yield* signal(up.pid, "SIGHUP")
      yield* onlyAlive(handle, [(yield* handle.up(2)).pid])
    }))
})

describe.runIf(isLinux)("one process", () => {
  it.scopedLive("has one upgrader", () =>
    Effect.gen(function*() {
      const handle = yield* start(fixture("twice.mjs"), { app: {} })
      yield* handle.waitFor(/^SECOND UpgraderExistsError This process already has an upgrader, built at \d{4}-/)
      const up = yield* handle.up(1)
      yield* signal(up.pid, "SIGHUP")
      yield* onlyAlive(handle, [(yield* handle.up(2)).pid])
    }))
})

describe.runIf(isLinux)("several generations", () => {
  it.scopedLive("are refused while the parent drains and maxDraining is 1", () =>
    Effect.gen(function*() {
      const { handle, pidFile, up } = yield* startWithPidFile()
      const slow = yield* Effect.fork(ask(up.port, { path: "/?slow=2500" }))
      yield* handle.waitFor(/^SERVING/)
      yield* signal(up.pid, "SIGHUP")
      const second = yield* handle.up(2)
      yield* handle.waitFor(/has taken over/)
      yield* signal(second.pid, "SIGHUP")
      yield* handle.waitFor(new RegExp(`^LOG ${second.pid} ERROR No upgrade on SIGHUP: 1 older generation`))
      assert.strictEqual(handle.count(/^ALONE/), 1)
      assert.strictEqual((yield* Fiber.join(slow)).pid, up.pid)
      yield* handle.waitFor(new RegExp(`^ALONE ${second.pid}`))
      yield* signal(second.pid, "SIGHUP")
      const third = yield* handle.up(3)
      assert.strictEqual(pidIn(pidFile), third.pid)
      yield* onlyAlive(handle, [third.pid])
    }))

  it.scopedLive("drain at the same time with maxDraining 3, and the newest learns when the last has gone", () =>
    Effect.gen(function*() {
      const { handle, up } = yield* startWithPidFile({ maxDraining: 3 })
      // The oldest drains longest, so that the middle ones go before it.
      const times = [9000, 6000, 3500]
      const slow: Array<Fiber.RuntimeFiber<unknown, unknown>> = []
      let last = up
      const pids = [up.pid]
      for (const [index, time] of times.entries()) {
        slow.push(yield* Effect.fork(ask(last.port, { path: `/?slow=${time}`, within: 20_000 })))
        yield* handle.waitFor(new RegExp(`^SERVING ${last.pid}`))
        yield* signal(last.pid, "SIGHUP")
        last = yield* handle.up(index + 2)
        pids.push(last.pid)
        yield* handle.waitFor(new RegExp(`^REASON ${pids.at(-2)}|Process ${last.pid} has taken over`))
      }
      assert.deepStrictEqual(pids.map(isAlive), [true, true, true, true])
      yield* signal(last.pid, "SIGHUP")
      yield* handle.waitFor(new RegExp(`^LOG ${last.pid} ERROR No upgrade on SIGHUP: 3 older generation`))
      yield* eventually("the third to go", () => !isAlive(pids[2]!))
      assert.strictEqual(handle.count(new RegExp(`^ALONE (${pids.slice(1).join("|")})`)), 0)
      yield* eventually("the second to go", () => !isAlive(pids[1]!))
      assert.strictEqual(handle.count(new RegExp(`^ALONE ${last.pid}`)), 0)
      assert.isTrue(isAlive(pids[0]!))
      yield* eventually("the first to go", () => !isAlive(pids[0]!))
      yield* handle.waitFor(new RegExp(`^ALONE ${last.pid}`))
      yield* handle.waitFor(new RegExp(`^EVENT ${last.pid} ParentExited`))
      yield* Fiber.joinAll(slow)
      yield* signal(last.pid, "SIGHUP")
      yield* onlyAlive(handle, [(yield* handle.up(5)).pid])
    }))
})
