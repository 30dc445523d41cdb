/**
 * What a service manager is told that wants to know by sd_notify(3).
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { existsSync } from "node:fs"
import * as path from "node:path"
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
})
