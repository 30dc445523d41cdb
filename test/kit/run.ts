/** Programs that a test runs to their end. */
import { assert } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { execFile } from "node:child_process"

export interface Ended {
  readonly stdout: string
  readonly stderr: string
  /** Undefined if it ended with 0. */
  readonly error: Error | undefined
}

/** Whichever way it ends. Nothing waits for it but this fiber: the runner of the tests takes one that is deaf for dead. */
export const ended = (
  cwd: string,
  command: string,
  args: ReadonlyArray<string>,
  env: Readonly<Record<string, string | undefined>> = {}
): Effect.Effect<Ended> =>
  Effect.async((resume) => {
    const child = execFile(
      command,
      args,
      { cwd, env: { ...process.env, ...env }, timeout: 240_000, maxBuffer: 64 * 1024 * 1024 },
      (error, stdout, stderr) => resume(Effect.succeed({ error: error ?? undefined, stdout, stderr }))
    )
    child.stdin?.end()
    return Effect.sync(() => void child.kill("SIGKILL"))
  })

/** What it has printed; a failure of it is one of the test. */
export const run = (cwd: string, command: string, ...args: ReadonlyArray<string>): Effect.Effect<string> =>
  Effect.map(ended(cwd, command, args), ({ error, stderr, stdout }) => {
    assert.isUndefined(error, `${command} ${args.join(" ")}: ${error?.message}\n${stdout}\n${stderr}`)
    return stdout
  })
