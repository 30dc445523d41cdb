/** Directories, PID files and programs of tests. */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { fixture } from "./paths.ts"
import { readOrEmpty } from "./proc.ts"
import { eventually } from "./waiting.ts"

/** A directory that is gone after the test. The name is short: Unix paths are. */
export const directory: Effect.Effect<string, never, Scope.Scope> = Effect.acquireRelease(
  Effect.sync(() => fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), "tf-")))),
  (dir) =>
    Effect.sync(() => {
      fs.chmodSync(dir, 0o755)
      fs.rmSync(dir, { recursive: true, force: true })
    })
)

export const pidIn = (file: string): number => Number(readOrEmpty(file))

/** Readers of a PID file never see anything but the number of a process. */
export const waitForPid = (file: string, pid: number): Effect.Effect<void> =>
  Effect.asVoid(eventually(`${file} to name ${pid}`, () => pidIn(file) === pid, { seen: () => readOrEmpty(file) }))

/** Puts the code of a version where the program is started from. */
export const deploy = (program: string, code: string): Effect.Effect<void> =>
  Effect.sync(() => {
    fs.writeFileSync(`${program}.new`, code)
    fs.renameSync(`${program}.new`, program)
  })

/** Code of a program that is the fixture. A test puts other code in its place to deploy another version. */
export const goodVersion = (name = "app.mjs"): string => `import ${JSON.stringify(fixture(name))}\n`
