/**
 * Finding a program, as a shell would.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as childProcess from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import { SpawnError } from "../../TableflipError.ts"
import type { ProgramQuery } from "../system/process.ts"

// What execvp(3) searches without PATH.
const defaultPath = "/usr/local/bin:/usr/bin:/bin"

type Look = "program" | "not executable" | "missing"

const look = (file: string): Look => {
  try {
    if (!fs.statSync(file).isFile()) return "not executable"
    fs.accessSync(file, fs.constants.X_OK)
    return "program"
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException
    return code === "EACCES" || code === "EPERM" ? "not executable" : "missing"
  }
}

/** The kernel says of a script whose interpreter is missing that the script is. */
const missingInterpreter = (file: string): string | undefined => {
  try {
    const descriptor = fs.openSync(file, "r")
    try {
      const buffer = Buffer.alloc(256)
      const [line = ""] = buffer.toString("latin1", 0, fs.readSync(descriptor, buffer)).split("\n")
      const [, interpreter] = /^#![ \t]*([^ \t]+)/.exec(line) ?? []
      if (interpreter === undefined || fs.existsSync(interpreter)) return undefined
      return line.endsWith("\r")
        ? "its first line ends with a carriage return (CRLF), as on Windows"
        : `${file} begins with #!${interpreter}, which is not there`
    } finally {
      fs.closeSync(descriptor)
    }
  } catch {
    // One that may be run and not be read is no script.
    return undefined
  }
}

const candidates = ({ directory, name, searchPath }: ProgramQuery): ReadonlyArray<string> =>
  name.includes("/")
    ? [path.resolve(directory, name)]
    // An empty entry is the directory itself.
    : (searchPath ?? defaultPath).split(":").map((entry) => path.resolve(directory, entry, name))

/** The first that can be run, as it was typed: symbolic links are kept, to be followed anew at each start. */
export const findProgram = (query: ProgramQuery): Effect.Effect<string, SpawnError> =>
  Effect.suspend(() => {
    const { name, searchPath } = query
    const files = name === "" ? [] : candidates(query)
    const looks = files.map(look)
    const found = files[looks.indexOf("program")]
    const missing = found === undefined ? undefined : missingInterpreter(found)
    if (found !== undefined && missing === undefined) return Effect.succeed(found)
    const locked = files[looks.indexOf("not executable")]
    const fail = (reason: SpawnError["reason"], detail: string) =>
      Effect.fail(new SpawnError({ reason, command: name, detail }))
    if (missing !== undefined) return fail("NotFound", missing)
    if (locked !== undefined) {
      return fail("PermissionDenied", `${locked} is not a program that may be run; is it executable (chmod +x)?`)
    }
    return fail(
      "NotFound",
      name.includes("/")
        ? `there is no file ${files[0]}`
        : `there is no such program in PATH (${searchPath ?? defaultPath})`
    )
  })

/** What it takes to ask the kernel for a signal when this process dies, in a form that survives exec(2). */
const setpriv = (signal: string) => ["--pdeathsig", signal, "--"]

/**
 * The start of a command line that runs the rest of it with a signal at the death of this process; none where there is
 * no such program. The one of BusyBox does not know the option, so it is tried.
 */
export const deathSignalPrefix = (signal: NodeJS.Signals): Effect.Effect<Option.Option<ReadonlyArray<string>>> =>
  Effect.gen(function*() {
    const { PATH } = process.env
    const program = yield* findProgram({ name: "setpriv", directory: "/", searchPath: PATH })
    const self = yield* findProgram({ name: "true", directory: "/", searchPath: PATH })
    const options = setpriv(signal.replace(/^SIG/, ""))
    const works = yield* Effect.async<boolean>((resume) => {
      childProcess.execFile(program, [...options, self], (error) => resume(Effect.succeed(error === null)))
    })
    return works ? Option.some([program, ...options]) : Option.none()
  }).pipe(Effect.catchAll(() => Effect.succeedNone))
