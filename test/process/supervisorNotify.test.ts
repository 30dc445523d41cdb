/**
 * What a service manager is told that wants to know by sd_notify(3).
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { existsSync, rmSync, writeFileSync } from "node:fs"
import * as path from "node:path"
import { post } from "../kit/control.ts"
import { directory } from "../kit/files.ts"
import { bin, fixture } from "../kit/paths.ts"
import { isLinux } from "../kit/proc.ts"
import { signal, start } from "../kit/processes.ts"

describe.runIf(isLinux)("a service manager", () => {
  const ways = existsSync("/usr/bin/systemd-notify") ? ["opened", "named"] : ["opened"]

  it.scopedLive.each(ways)(
    "is told by tableflip how it does, over a socket that is %s, and the command does not speak for it",
    (how) =>
      Effect.gen(function*() {
        const socket = path.join(yield* directory, "notify")
        const command = [
          "sh",
          "-c",
          "echo VARIABLES $NOTIFY_SOCKET$WATCHDOG_PID$WATCHDOG_USEC$LISTEN_FDS.; exec sleep 60"
        ]
        const app = yield* start(undefined, {
          executable: "python3",
          args: [
            "-u",
            fixture("commands/manager.py"),
            how,
            socket,
            process.execPath,
            bin,
            "run",
            "--warmup",
            "0.5",
            "--",
            ...command
          ]
        })
        const [, main] = yield* app.waitFor(/^MAIN (\d+)/)
        const pid = how === "opened" ? main : "\\d+"
        const told = (what: string) => new RegExp(`^TOLD ${pid} ${what}`)
        yield* app.waitFor(/^VARIABLES \.$/)
        yield* app.waitFor(told("WATCHDOG=1"))
        assert.strictEqual(app.count(told("READY=1")), 0)
        yield* app.waitFor(told("READY=1 STATUS=Serving"))
        yield* signal(Number(main), "SIGHUP")
        yield* app.waitFor(told("RELOADING=1 MONOTONIC_USEC=\\d+"))
        yield* app.waitForCount(told("READY=1"), 2)
        yield* app.waitFor(/generation 2 has taken over/)
        yield* signal(Number(main), "SIGTERM")
        yield* app.waitFor(told("STOPPING=1"))
        yield* app.waitFor(/^ENDED/)
      })
  )

  it.scopedLive("is told of a reload that was asked for at the control socket, and how it ended", () =>
    Effect.gen(function*() {
      const dir = yield* directory
      const control = path.join(dir, "control.sock")
      const broken = path.join(dir, "broken")
      const options = ["--warmup", "0.3", "--control", control, "--", "sh", "-c", `[ ! -e ${broken} ] && exec sleep 60`]
      const app = yield* start(undefined, {
        executable: "python3",
        args: ["-u", fixture("commands/manager.py"), "opened", path.join(dir, "notify"), process.execPath, bin, "run"]
          .concat(options)
      })
      const told = () => app.lines().flatMap((line) => /^TOLD \d+ (READY|RELOADING)=1/.exec(line)?.[1] ?? [])
      yield* app.waitFor(/^TOLD \d+ READY=1 STATUS=Serving/)
      assert.strictEqual((yield* post(control, "/v1/reload?wait=drained")).status, 200)
      yield* app.waitForCount(/^TOLD \d+ READY=1/, 2)
      assert.deepStrictEqual(told(), ["READY", "RELOADING", "READY"])
      writeFileSync(broken, "")
      assert.strictEqual((yield* post(control, "/v1/reload")).status, 502)
      yield* app.waitFor(/^TOLD \d+ READY=1 STATUS=Serving; the last reload failed: /)
      assert.deepStrictEqual(told(), ["READY", "RELOADING", "READY", "RELOADING", "READY"])
      yield* post(control, "/v1/stop")
      yield* app.waitFor(/^ENDED/)
    }))

  it.scopedLive("is told that nothing serves where the old one had been stopped first, and when something does again", () =>
    Effect.gen(function*() {
      const dir = yield* directory
      const control = path.join(dir, "control.sock")
      const broken = path.join(dir, "broken")
      const options = ["--warmup", "0.3", "--control", control, "--stop-first", "--restart-delay", "0.2"]
      const command = ["--", "sh", "-c", `[ ! -e ${broken} ] && exec sleep 60`]
      const app = yield* start(undefined, {
        executable: "python3",
        args: ["-u", fixture("commands/manager.py"), "opened", path.join(dir, "notify"), process.execPath, bin, "run"]
          .concat(options, command)
      })
      yield* app.waitFor(/^TOLD \d+ READY=1 STATUS=Serving$/)
      writeFileSync(broken, "")
      assert.strictEqual((yield* post(control, "/v1/reload")).status, 502)
      yield* app.waitFor(/^TOLD \d+ READY=1 STATUS=Starting again; the last reload failed: /)
      rmSync(broken)
      yield* app.waitForCount(/^TOLD \d+ READY=1 STATUS=Serving$/, 2)
    }))
})
