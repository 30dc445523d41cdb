/**
 * What `tableflip run` does, and the exit code that it ends with.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Queue from "effect/Queue"
import * as Env from "../../Env.ts"
import * as Supervisor from "../../Supervisor.ts"
import { logFailure } from "../logging.ts"
import { drain } from "../seam.ts"
import * as exitCode from "./exitCode.ts"
import { UsageError } from "./flag.ts"
import * as log from "./log.ts"
import * as notUtf8 from "./notUtf8.ts"
import type { Run } from "./runOptions.ts"
import { toOptions, typedFor } from "./runOptions.ts"
import type { Runtime } from "./subcommand.ts"

const announce = Effect.gen(function*() {
  yield* Effect.logInfo(`process ${process.pid} takes over; SIGHUP reloads, SIGTERM stops`)
  const changed = notUtf8.variables()
  if (changed.length > 0) {
    yield* Effect.logWarning(
      `The command gets these variables changed, because they are not UTF-8, which is all that Node knows: ${
        changed.join(", ")
      }`
    )
  }
  if (process.pid !== 1) return
  yield* Effect.logInfo(
    "This is process 1. Node cannot reap processes that others have left behind; where the command leaves some, run " +
      "with an init in front (docker run --init, or tini)"
  )
})

/** What SIGTERM does, it does in all respects. */
const stop = Effect.sync(() => void process.kill(process.pid, "SIGTERM"))

/** Loaded where it is asked for. */
const control = (path: string | undefined, supervisor: Supervisor.Supervisor["Type"]) =>
  path === undefined
    ? Effect.void
    : Effect.flatMap(
      Effect.promise(() => import("../controlSocket/supervisor.ts")),
      ({ open }) => open({ path, supervisor, stop })
    )

const untilEnd = (leaveRunning: boolean, socket: string | undefined, { onRunning }: Runtime) =>
  Effect.gen(function*() {
    const supervisor = yield* Supervisor.Supervisor
    const events = yield* supervisor.events
    yield* control(socket, supervisor)
    yield* announce
    yield* Queue.take(events).pipe(Effect.flatMap(log.event), Effect.forever, Effect.forkScoped)
    onRunning()
    const exit = yield* Effect.exit(Supervisor.launch({ leaveRunning }))
    yield* Effect.flatMap(drain(events), Effect.forEach(log.event, { discard: true }))
    return yield* exit
  }).pipe(Effect.scoped)

export const supervise = async (run: Run, runtime: Runtime): Promise<number> => {
  const [wrong] = notUtf8.args()
  if (wrong !== undefined) {
    throw new UsageError(`the argument ${JSON.stringify(wrong)} is not UTF-8, and Node would pass another one on`)
  }
  const options = toOptions(run)
  const { "leave-running": leaveRunning, "log-format": format = "human", quiet, verbose } = run.values
  const program = untilEnd(leaveRunning, run.values.control, runtime).pipe(
    Effect.provide(Layer.provideMerge(Supervisor.layerWithoutEnv(options), Env.layer)),
    Effect.map((status) => {
      const signal = exitCode.signalOf(status)
      if (signal !== undefined) runtime.endBy(signal)
      return exitCode.ofStatus(status)
    }),
    Effect.catchAll((error): Effect.Effect<number | UsageError> =>
      error._tag === "InvalidOptionError"
        ? Effect.succeed(
          new UsageError(
            `${typedFor(error.option, run) ?? error.option} is ${error.value}; it must be ${error.expected}`
          )
        )
        : Effect.as(logFailure(error), exitCode.ofError(error))
    ),
    Effect.catchAllDefect((defect) => Effect.as(Effect.logFatal("This is a bug in tableflip", defect), 1)),
    Effect.provide(log.layer({ format, quiet, verbosity: verbose }))
  )
  const outcome = await Effect.runPromise(program)
  if (outcome instanceof UsageError) throw outcome
  return outcome
}
