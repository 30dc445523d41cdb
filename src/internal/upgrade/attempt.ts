/**
 * One try at an upgrade, from the start of the new process to the moment in which it takes over, or to the moment in
 * which nothing is left of it.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Tracer from "effect/Tracer"
import type { NamedDescriptor } from "../../ChildProcess.ts"
import * as ChildProcess from "../../ChildProcess.ts"
import type { UpgradeError } from "../../TableflipError.ts"
import { ChildExitedError, UpgradeTimeoutError } from "../../TableflipError.ts"
import { within } from "../span.ts"
import type { System } from "../system/env.ts"
import { Env } from "../system/env.ts"
import type { Command } from "../system/process.ts"
import type { Settings } from "./options.ts"

export interface AttemptOptions {
  readonly settings: Settings
  readonly generation: number
  readonly descriptors: ReadonlyArray<NamedDescriptor>
  readonly lifelines: ReadonlyArray<number>
  readonly state: ReadonlyMap<string, Uint8Array>
  readonly span: Tracer.Span
  readonly onStart: (child: ChildProcess.ChildProcess) => Effect.Effect<void>
}

const partOf = (parent: Tracer.Span) => <A, E, R>(name: string, part: Effect.Effect<A, E, R>) =>
  within(`tableflip.upgrade.${name}`, { parent }, () => part)

export const resolveCommand = Effect.fnUntraced(function*(options: Settings["command"]) {
  const env = yield* Env
  const { args, directory = env.directory, executable = env.executable } = options
  // Only what is not given must be repeated: a program from `node -e` can name a script to go on with.
  return { executable, directory, args: args ?? (yield* env.start).args }
})

/**
 * Succeeds with the id of the process that has taken over. If it fails or is interrupted, that process has ended.
 * Only the waits can be interrupted, so a process that was given up is never one that has taken over.
 */
export const attempt: (options: AttemptOptions) => Effect.Effect<number, UpgradeError, Env> = (options) =>
  Effect.gen(function*() {
    const { settings } = options
    const command = yield* resolveCommand(settings.command)
    const part = partOf(options.span)
    const child = yield* part(
      "spawn",
      ChildProcess.spawn({
        command,
        channel: settings.handOver && isNode(command, yield* Env),
        environment: settings.environment,
        baseEnvironment: settings.baseEnvironment,
        descriptors: options.descriptors,
        generation: options.generation,
        lifelines: options.lifelines,
        state: options.state,
        control: "successor",
        stopTimeout: settings.stopTimeout
      })
    )
    yield* options.onStart(child)
    yield* Effect.interruptible(Effect.zipRight(
      part("wait_ready", readyInTime(child, settings)),
      part("probation", onProbation(child, settings))
    ))
    yield* child.release
    return child.pid
  }).pipe(Effect.scoped, Effect.uninterruptible)

/** A program of another kind would hand Node's variable for the channel down to whatever it starts. */
export const isNode = ({ executable }: Command, env: System): boolean =>
  executable === env.executable || /(^|\/)node[^/]*$/.test(executable)

const readyInTime = (child: ChildProcess.ChildProcess, { upgradeTimeout }: Settings) =>
  Effect.timeoutFail(child.ready, {
    duration: upgradeTimeout,
    onTimeout: () => new UpgradeTimeoutError({ pid: child.pid, timeout: upgradeTimeout })
  })

/**
 * The child has said that it is ready. If it ends before the probation is over, it was not. Without probation, one that
 * is known to have ended is still not handed over to.
 */
const onProbation = (child: ChildProcess.ChildProcess, { probation }: Settings) =>
  Effect.flatMap(
    Effect.timeoutOption(child.exit, probation),
    Option.match({
      onNone: () => Effect.void,
      onSome: (status) => new ChildExitedError({ pid: child.pid, status, ready: true })
    })
  )
