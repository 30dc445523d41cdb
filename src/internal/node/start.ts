/**
 * How this process was started, so that it can be started again: new code must be found where the old code was typed,
 * behind the same symbolic links.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as fs from "node:fs"
import * as path from "node:path"
import { SpawnError } from "../../TableflipError.ts"
import type { Command } from "../system/process.ts"

const notRepeatable = (detail: string) =>
  Either.left(
    new SpawnError({
      reason: "NotRepeatable",
      command: process.execPath,
      detail: `${detail}, which cannot be repeated; start a script file or set the option command`
    })
  )

/**
 * The working directory as it was typed. The shell (and every upgrade) keeps it in `PWD`, while the system knows only
 * the directory that a symbolic link led to. `PWD` is believed when both are the same directory.
 */
export const startDirectory = (): string => {
  const typed = process.env["PWD"]
  const current = Either.getOrUndefined(Either.try(() => process.cwd()))
  if (typed === undefined || !path.isAbsolute(typed)) return current ?? "/"
  return current === undefined || isSameDirectory(typed, current) ? typed : current
}

/** Under Node's permission model a directory may not be looked at. */
const lookAt = (directory: string): fs.Stats | undefined =>
  Either.getOrUndefined(Either.try(() => fs.statSync(directory)))

const isSameDirectory = (one: string, other: string): boolean => {
  const first = lookAt(one)
  const second = lookAt(other)
  return first !== undefined && second !== undefined && first.ino === second.ino && first.dev === second.dev
}

// -e 'code', --eval=code, -p, and their clusters such as -pe
const isInlineCode = (flag: string): boolean => /^(-[a-z]*[ep]|--eval|--print)(=|$)/.test(flag)

/** The program that runs: as typed when it was typed with its directory, so that `current/bin/node` is followed. */
export const startExecutable = (directory: string): string => {
  const typed = process.argv0
  if (!typed.includes(path.sep)) return process.execPath
  const resolved = path.resolve(directory, typed)
  return isProgram(resolved) ? resolved : process.execPath
}

/** A wrapper can lend its own name to the Node that it starts (`exec -a "$0"`). Run again, it would add to our arguments. */
const isProgram = (file: string): boolean =>
  Either.getOrElse(
    Either.try(() => fs.realpathSync(file) === fs.realpathSync(process.execPath)),
    () => false
  )

/** Node makes the script's path absolute with the resolved directory; this puts the typed one back. */
const scriptAsTyped = (script: string, directory: string): string => {
  const current = Either.getOrUndefined(Either.try(() => process.cwd()))
  return current !== undefined && (script === current || script.startsWith(current + path.sep))
    ? directory + script.slice(current.length)
    : script
}

/** How Node says that this process was started. */
interface Started {
  readonly argv: ReadonlyArray<string>
  readonly execArgv: ReadonlyArray<string>
  /** The program is in the file of Node itself, which then has no script among its arguments. */
  readonly isSingleExecutable: boolean
}

export const started = (): Started => ({
  argv: process.argv,
  execArgv: process.execArgv,
  isSingleExecutable: process.getBuiltinModule?.("node:sea")?.isSea() === true
})

/** The command that repeats the start of this process. Taken once, before the app can change directory. */
export const startCommand = (
  directory: string,
  executable: string,
  { argv, execArgv, isSingleExecutable }: Started
): Either.Either<Command, SpawnError> => {
  const [, script, ...args] = argv
  // Its flags are in it.
  if (isSingleExecutable) return Either.right({ executable, args, directory })
  if (execArgv.some(isInlineCode)) return notRepeatable("this process runs code from its command line")
  if (script === undefined) return notRepeatable("this process runs code from standard input or a prompt")
  if (script === "-") return notRepeatable("this process runs code from standard input")
  return Either.right({ executable, args: [...execArgv, scriptAsTyped(script, directory), ...args], directory })
}

/** Whoever may not look at a directory under Node's permission model may still start there. */
const lookUnlessDenied = (directory: string): fs.Stats | undefined => {
  try {
    return fs.statSync(directory)
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === "ERR_ACCESS_DENIED") return undefined
    throw cause
  }
}

/** The system says ENOENT for a missing program and for a missing directory alike; this tells them apart. */
export const checkDirectory = (command: Command): Effect.Effect<void, SpawnError> =>
  Effect.try({
    try: () => {
      if (lookUnlessDenied(command.directory)?.isDirectory() === false) throw new Error("it is not a directory")
    },
    catch: (cause) =>
      new SpawnError({
        reason: "WorkingDirectory",
        command: command.executable,
        detail: `the directory to start in, ${command.directory}, cannot be used any more (${
          cause instanceof Error ? cause.message : String(cause)
        }); put it back or start from a directory that stays`,
        cause
      })
  })
