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
import type { Command } from "../../Env.ts"
import { SpawnError } from "../../TableflipError.ts"

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

const isSameDirectory = (one: string, other: string): boolean => {
  const first = fs.statSync(one, { throwIfNoEntry: false })
  const second = fs.statSync(other, { throwIfNoEntry: false })
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

/** The command that repeats the start of this process. Taken once, before the app can change directory. */
export const startCommand = (directory: string, executable: string): Either.Either<Command, SpawnError> => {
  const script = process.argv[1]
  if (process.execArgv.some(isInlineCode)) return notRepeatable("this process runs code from its command line")
  if (script === undefined) return notRepeatable("this process runs code from standard input or a prompt")
  if (script === "-") return notRepeatable("this process runs code from standard input")
  return Either.right({
    executable,
    args: [...process.execArgv, scriptAsTyped(script, directory), ...process.argv.slice(2)],
    directory
  })
}

/** The system says ENOENT for a missing program and for a missing directory alike; this tells them apart. */
export const checkDirectory = (command: Command): Effect.Effect<void, SpawnError> =>
  Effect.try({
    try: () => {
      const stat = fs.statSync(command.directory)
      if (!stat.isDirectory()) throw new Error("it is not a directory")
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
