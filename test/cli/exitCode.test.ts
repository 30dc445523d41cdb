/** The exit codes of `tableflip run`, as docs/supervisor.md has them. */
import { assert, describe, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as ExitStatus from "../../src/ExitStatus.ts"
import * as exitCode from "../../src/internal/cli/exitCode.ts"
import {
  EnvironmentFileError,
  ProcessEndedError,
  ProcessStartError,
  ReadyTimeoutError,
  RestartsExhaustedError
} from "../../src/PoolError.ts"
import type { StartFailure } from "../../src/PoolError.ts"
import {
  ChildExitedError,
  InvalidOptionError,
  ListenError,
  NotSupportedError,
  PidFileError,
  ProtocolError,
  SpawnError
} from "../../src/TableflipError.ts"

const exited = (code: number) => ExitStatus.Exited({ code })
const killed = (signal: NodeJS.Signals) => ExitStatus.Killed({ signal })

const start = (cause: StartFailure) => new ProcessStartError({ process: "process app", cause })
const child = (status: ExitStatus.ExitStatus) => start(new ChildExitedError({ pid: 1, status, ready: false }))
const spawn = (reason: SpawnError["reason"]) => start(new SpawnError({ command: "app", reason, detail: "", cause: "" }))
const listen = (reason: ListenError["reason"]) => new ListenError({ reason, address: "127.0.0.1:80", detail: "" })
const ended = (status: ExitStatus.ExitStatus) => new ProcessEndedError({ process: "process app", status })
const exhausted = (status: ExitStatus.ExitStatus) =>
  new RestartsExhaustedError({ process: "process app", restarts: 5, status })

const cases: ReadonlyArray<readonly [string, Parameters<typeof exitCode.ofError>[0], number]> = [
  ["the command failed", ended(exited(3)), 3],
  ["the command was killed", ended(killed("SIGKILL")), 137],
  ["the command failed before it was ready", child(exited(7)), 7],
  ["the command was done before it was ready", child(exited(0)), 1],
  ["an option makes no sense", new InvalidOptionError({ option: "workers", value: "0", expected: "more" }), 2],
  ["an address makes no sense", listen("InvalidAddress"), 2],
  ["the directory is not there", spawn("WorkingDirectory"), 66],
  ["a file of variables is not there", start(new EnvironmentFileError({ path: "env", cause: "" })), 66],
  ["the port is taken", listen("AddressInUse"), 69],
  ["the address is of another machine", listen("AddressNotAvailable"), 69],
  ["the first process was late", start(new ReadyTimeoutError({ pid: 1, timeout: Duration.seconds(60) })), 70],
  ["the PID file could not be written", new PidFileError({ path: "app.pid", reason: "InUse", cause: "" } as never), 73],
  ["the port is not for this user", listen("PermissionDenied"), 77],
  ["the command may not be run", spawn("PermissionDenied"), 126],
  ["the command was not found", spawn("NotFound"), 127],
  ["the restarts are used up with a command that fails", exhausted(exited(4)), 4],
  ["the restarts are used up with a command that ends well", exhausted(exited(0)), 1],
  ["the arguments are too large", spawn("TooBig"), 1],
  ["what was inherited is something else", listen("WrongDescriptor"), 1],
  ["the wire was broken", start(new ProtocolError({ detail: "" } as never)), 1],
  ["the system cannot do it", new NotSupportedError({ reason: "" }), 1]
]

describe("tableflip run ends", () => {
  it.each(cases)("when %s", (_, error, code) => {
    assert.strictEqual(exitCode.ofError(error), code)
  })

  it("by the signal that has stopped the command in good order, and otherwise with 128 and its number", () => {
    assert.strictEqual(exitCode.signalOf(killed("SIGTERM")), "SIGTERM")
    assert.strictEqual(exitCode.signalOf(killed("SIGHUP")), "SIGHUP")
    assert.isUndefined(exitCode.signalOf(killed("SIGSEGV")))
    assert.isUndefined(exitCode.signalOf(exited(0)))
    assert.deepStrictEqual([exitCode.ofStatus(killed("SIGSEGV")), exitCode.ofStatus(exited(0))], [139, 0])
  })
})
