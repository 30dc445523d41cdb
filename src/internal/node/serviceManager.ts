/**
 * Telling a service manager of the kind of systemd how this process does, by the protocol of sd_notify(3). It takes
 * datagrams on a Unix socket, which Node cannot send, so a program of systemd does.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import * as childProcess from "node:child_process"
import { logWarning } from "../logging.ts"
import { findProgram } from "./program.ts"

/** Milliseconds; far more than it takes. */
const timeout = 5_000

const run = (program: string, state: ReadonlyArray<string>): Effect.Effect<void> =>
  Effect.async((resume) => {
    childProcess.execFile(program, [...state], { timeout, killSignal: "SIGKILL" }, (error, _, said) => {
      const detail = said.trim() === "" ? error?.message : said.trim()
      resume(error === null ? Effect.void : logWarning(`The service manager could not be told: ${detail}`))
    })
  })

let isMissing = false

export const tellServiceManager = (state: ReadonlyArray<string>): Effect.Effect<void> =>
  Effect.suspend(() => {
    const { NOTIFY_SOCKET, PATH } = process.env
    if (NOTIFY_SOCKET === undefined || isMissing) return Effect.void
    return Effect.matchEffect(findProgram({ name: "systemd-notify", directory: "/", searchPath: PATH }), {
      onFailure: () => {
        isMissing = true
        return logWarning(
          "NOTIFY_SOCKET is set, but there is no program systemd-notify to tell it that the command is ready; " +
            "use Type=exec, or install it"
        )
      },
      onSuccess: (program) => run(program, state)
    })
  })
