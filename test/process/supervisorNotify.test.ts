/**
 * What a service manager is told that wants to know by sd_notify(3).
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { existsSync } from "node:fs"
import * as path from "node:path"
import { directory } from "../kit/files.ts"
import { bin } from "../kit/paths.ts"
import { signal, start } from "../kit/processes.ts"

/** A service manager that starts what its arguments say and prints what it is told. */
const manager = `
import os, socket, sys, threading
server = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
server.bind(sys.argv[1])
pid = os.fork()
if pid == 0:
    os.environ.update(NOTIFY_SOCKET=sys.argv[1], WATCHDOG_PID=str(os.getpid()), WATCHDOG_USEC="300000")
    os.execv(sys.argv[2], sys.argv[2:])
print("MAIN", pid, flush=True)
def wait():
    os.waitpid(pid, 0)
    socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b"", sys.argv[1])
threading.Thread(target=wait).start()
while message := server.recv(4096): print("TOLD", " ".join(message.decode().split("\\n")), flush=True)
`

describe.runIf(existsSync("/usr/bin/systemd-notify"))("a service manager", () => {
  it.scopedLive("is told by tableflip how it does, and the command does not speak for it", () =>
    Effect.gen(function*() {
      const socket = path.join(yield* directory, "notify")
      const command = ["sh", "-c", "echo VARIABLES $NOTIFY_SOCKET$WATCHDOG_PID$WATCHDOG_USEC.; exec sleep 60"]
      const app = yield* start(undefined, {
        executable: "python3",
        args: ["-u", "-c", manager, socket, process.execPath, bin, "run", "--warmup", "0.5", "--", ...command]
      })
      const [, pid] = yield* app.waitFor(/^MAIN (\d+)/)
      yield* app.waitFor(/^VARIABLES \.$/)
      yield* app.waitFor(/^TOLD WATCHDOG=1/)
      assert.strictEqual(app.count(/^TOLD READY=1/), 0)
      yield* app.waitFor(/^TOLD READY=1 STATUS=Serving/)
      yield* signal(Number(pid), "SIGHUP")
      yield* app.waitFor(/^TOLD RELOADING=1 MONOTONIC_USEC=\d+/)
      yield* app.waitForCount(/^TOLD READY=1/, 2)
      yield* app.waitFor(/generation 2 has taken over/)
      yield* signal(Number(pid), "SIGTERM")
      yield* app.waitFor(/^TOLD STOPPING=1/)
      yield* app.exit
    }))
})
