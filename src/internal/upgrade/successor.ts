/**
 * The process that has taken over, as long as this one lives.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import type { ChildProcess } from "../../ChildProcess.ts"
import type { ExitStatus } from "../../ExitStatus.ts"
import * as exitStatus from "../../ExitStatus.ts"
import { logError } from "../logging.ts"
import type { System } from "../system/env.ts"
import type { Settings } from "./options.ts"

/** One that was told to stop, or that has handed over to the next. */
const endedInOrder = (status: ExitStatus, { forcedExitCode }: Settings): boolean =>
  status._tag === "Exited"
    ? status.code === 0 || status.code === forcedExitCode
    : status.signal === "SIGTERM" || status.signal === "SIGINT"

/**
 * Whoever started this process looks at how it ends. If what it has handed over to is dead by then, nothing serves any more,
 * and an end in good order would keep the program from being started again.
 */
export const watch = (
  env: System,
  settings: Settings,
  { exit, pid }: Pick<ChildProcess, "exit" | "pid">
): Effect.Effect<void> =>
  Effect.flatMap(exit, (status) =>
    endedInOrder(status, settings) ? Effect.void : Effect.zipRight(
      env.setExitCode(1),
      logError(
        `Process ${pid}, which had taken over, ${
          exitStatus.describe(status)
        } while this process drains: nothing accepts ` +
          "any more. This process ends with exit code 1, so that whoever started it starts it again"
      ).pipe(Effect.annotateLogs({ pid }))
    ))
