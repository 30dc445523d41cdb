import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as fs from "node:fs"
import * as path from "node:path"
import { ask } from "../kit/clients.ts"
import { deploy, directory, goodVersion, pidIn } from "../kit/files.ts"
import { isLinux } from "../kit/proc.ts"
import { onlyAlive, signal, start } from "../kit/processes.ts"
import { sameState, stateOf } from "../kit/state.ts"

interface Version {
  readonly code: string
  /** Tag and message of the error. */
  readonly error: RegExp
  readonly upgrader?: object
  /** Whether it leaves a process of its own, which it started and said so. */
  readonly leaves?: boolean
}

const prelude = `import * as fs from "node:fs"
import { spawn } from "node:child_process"
const options = JSON.parse(process.env.APP)
const live = () => setInterval(() => {}, 1000)
fs.writeSync(1, "BROKEN " + process.pid + "\\n")
`

const versions: Readonly<Record<string, Version>> = {
  "has a syntax error": { code: "import {", error: /ChildExitedError .*exited with code 1 before it was ready/ },
  "throws in start-up": { code: `throw new Error("broken")`, error: /ChildExitedError .*code 1 before/ },
  "cannot listen": {
    code: `options.listen = [{ port: 70000 }]; process.env.APP = JSON.stringify(options); await import(GOOD)`,
    error: /ChildExitedError .*code 1 before/
  },
  "cannot write its PID file": {
    code:
      `options.upgrader.pidFile = "/nowhere/app.pid"; process.env.APP = JSON.stringify(options); await import(GOOD)`,
    error: /ChildExitedError .*code 1 before/
  },
  "exits with 0": { code: "process.exit(0)", error: /ChildExitedError .*exited with code 0 before/ },
  "exits with 3": { code: "process.exit(3)", error: /ChildExitedError .*exited with code 3 before/ },
  "is killed": {
    code: `process.kill(process.pid, "SIGKILL"); live()`,
    error: /ChildExitedError .*killed by SIGKILL before/
  },
  "hangs": {
    code: "live()",
    error: /UpgradeTimeoutError .*not ready within 3s/,
    upgrader: { upgradeTimeout: 3000 }
  },
  "hangs and ignores SIGTERM": {
    code: `process.on("SIGTERM", () => {}); live()`,
    error: /UpgradeTimeoutError .*not ready within 3s/,
    upgrader: { upgradeTimeout: 3000, stopTimeout: 200 }
  },
  "blocks its event loop": {
    code: `process.on("SIGTERM", () => {}); for (;;);`,
    error: /UpgradeTimeoutError/,
    upgrader: { upgradeTimeout: 3000, stopTimeout: 200 }
  },
  "says another byte": {
    code: "fs.writeSync(3, Buffer.of(7)); live()",
    error: /ProtocolError .*the ready stream carried/
  },
  "says too much": {
    code: `fs.writeSync(3, Buffer.of(42, 42)); live()`,
    error: /ProtocolError .*the ready stream carried/
  },
  "closes the ready stream without a word": {
    code: "fs.closeSync(3); live()",
    error: /ProtocolError .*the ready stream ended without a word/
  },
  "leaves the ready stream to a process of its own": {
    code: `const child = spawn("sleep", ["60"], { stdio: ["ignore", "inherit", "inherit", 3], detached: true })
fs.writeSync(1, "LEFT " + child.pid + "\\n"); process.exit(5)`,
    error: /ChildExitedError .*code 5 before/,
    leaves: true
  },
  "claims to be ready and dies under probation": {
    code: `fs.writeFileSync(options.upgrader.pidFile, String(process.pid))
fs.writeSync(3, Buffer.of(42)); setTimeout(() => process.exit(9), 200)`,
    error: /ChildExitedError .*code 9 soon after it said that it was ready/,
    upgrader: { probation: 2000 }
  },
  "writes the PID file and dies": {
    code: "fs.writeFileSync(options.upgrader.pidFile, String(process.pid)); process.exit(1)",
    error: /ChildExitedError .*code 1 before/
  },
  "writes the PID file and hangs": {
    code: "fs.writeFileSync(options.upgrader.pidFile, String(process.pid)); live()",
    error: /UpgradeTimeoutError/,
    upgrader: { upgradeTimeout: 3000 }
  }
}

const code = ({ code }: Version) =>
  prelude + code.replace("GOOD", JSON.stringify(goodVersion().slice("import \"".length, -2)))

describe.runIf(isLinux)("a new version that", () => {
  for (const [what, version] of Object.entries(versions)) {
    it.scopedLive(`${what} changes nothing, and the next upgrade works`, () =>
      Effect.gen(function*() {
        const dir = yield* directory
        const program = path.join(dir, "main.mjs")
        const pidFile = path.join(dir, "app.pid")
        yield* deploy(program, goodVersion())
        const app = yield* start(program, { app: { upgrader: { pidFile, ...version.upgrader } } })
        const up = yield* app.up(1)
        const before = yield* stateOf(app, up.pid)

        yield* deploy(program, code(version))
        for (const attempt of version.upgrader === undefined ? [1, 2] : [1]) {
          yield* signal(up.pid, "SIGHUP")
          yield* app.waitForCount(/^EVENT \d+ UpgradeFailed/, attempt)
          const expected = new RegExp(`^EVENT ${up.pid} UpgradeFailed ${version.error.source}`)
          assert.strictEqual(app.count(expected), attempt, app.dump())
          assert.strictEqual((yield* ask(up.port)).pid, up.pid)
          assert.strictEqual(pidIn(pidFile), up.pid)
          const left = version.leaves === true ? Number((yield* app.waitFor(/^LEFT (\d+)$/))[1]) : undefined
          yield* onlyAlive(app, [up.pid, ...left === undefined ? [] : [left]])
          yield* sameState(app, up.pid, before)
          if (left === undefined) continue
          yield* signal(left, "SIGKILL")
          break
        }
        assert.deepStrictEqual(fs.readdirSync(dir).filter((name) => name.startsWith(".")), [])

        yield* deploy(program, goodVersion())
        yield* signal(up.pid, "SIGHUP")
        const next = yield* app.up(2)
        assert.deepStrictEqual(yield* app.exit, { code: 0, signal: null })
        assert.strictEqual((yield* ask(next.port)).pid, next.pid)
        assert.strictEqual(pidIn(pidFile), next.pid)
        yield* onlyAlive(app, [next.pid])
        assert.strictEqual(app.count(/Unhandled|unhandled|Warning/), 0, app.dump())
      }))
  }

  it.scopedLive("cannot be started changes nothing, and the next upgrade works", () =>
    Effect.gen(function*() {
      const dir = yield* directory
      const executable = path.join(dir, "node")
      fs.writeFileSync(executable, "not a program")
      const app = yield* start(goodVersion().slice("import \"".length, -2), {
        app: { upgrader: { command: { executable } } }
      })
      const up = yield* app.up(1)
      const before = yield* stateOf(app, up.pid)
      yield* signal(up.pid, "SIGHUP")
      yield* app.waitFor(/UpgradeFailed SpawnError .*may not be run/)
      yield* sameState(app, up.pid, before)
      fs.unlinkSync(executable)
      yield* signal(up.pid, "SIGHUP")
      yield* app.waitFor(/UpgradeFailed SpawnError .*there is no such program/)
      yield* sameState(app, up.pid, before)
      assert.strictEqual((yield* ask(up.port)).pid, up.pid)
      fs.symlinkSync(process.execPath, executable)
      yield* signal(up.pid, "SIGHUP")
      const next = yield* app.up(2)
      yield* onlyAlive(app, [next.pid])
    }))
})
