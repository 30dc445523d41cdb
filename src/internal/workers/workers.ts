/**
 * One program for the primary of a pool and its workers: which of them a process is, it learns from what it inherits.
 *
 * @internal
 */
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import { InvalidOptionError } from "../../TableflipError.ts"
import { launch as launchAlone, Upgrader } from "../../Upgrader.ts"
import { ExitReason } from "../../UpgraderEvent.ts"
import type { Options, Process, ProcessExit, RunOptions, Workers } from "../../Workers.ts"
import { logWarning } from "../logging.ts"
import * as poolEvents from "../pool/events.ts"
import { runUntil } from "../runUntil.ts"
import { endWell, fromResult } from "../seam.ts"
import { Env } from "../system/env.ts"
import type { Begun } from "../upgrade/begin.ts"
import { begin } from "../upgrade/begin.ts"
import * as mainContext from "./mainContext.ts"
import type { PoolSettings } from "./options.ts"
import * as workersOptions from "./options.ts"
import * as primary from "./primary.ts"
import type { Role } from "./role.ts"
import * as workerRole from "./role.ts"
import * as worker from "./worker.ts"

/** What a process of a pool does. */
export type Work<E, R> =
  | { readonly _tag: "Server"; readonly layer: Layer.Layer<any, E, R> }
  | { readonly _tag: "Task"; readonly effect: Effect.Effect<any, E, R> }

type AnyOptions = Options<any, any, any, any>

const beginPool = Effect.fnUntraced(function*(options: AnyOptions) {
  const { availableParallelism } = yield* Env
  const size = options.size ?? (yield* availableParallelism)
  const settings = yield* fromResult(workersOptions.decode({ ...options, size }))
  // What has not come up has nothing to finish.
  const stopTimeout = Duration.min(settings.stopTimeout, "5 seconds")
  const begun = yield* begin({ ...options, signals: settings.upgradeSignals, stopTimeout })
  return { settings, begun }
})

export const launch = (tag: typeof Workers, work: Work<any, any>, options: AnyOptions) =>
  Effect.gen(function*() {
    const { begun, settings } = yield* beginPool(options)
    return Option.isSome(begun.ancestry.control)
      ? yield* asWorker(begun, settings, work, options)
      : yield* primary.run({
        tag,
        begun,
        settings,
        options,
        worker: { restart: "always", fatal: true, serves: true },
        ...yield* poolEvents.make
      })
  }).pipe(Effect.scoped, Effect.onInterrupt(() => endWell))

export const run = (tag: typeof Workers, work: Work<any, any>, given: RunOptions<any, any, any, any>) =>
  Effect.gen(function*() {
    const options: AnyOptions = { ...given, signals: false }
    const { begun, settings } = yield* beginPool(options)
    const exits: Array<ProcessExit> = []
    if (Option.isSome(begun.ancestry.control)) {
      yield* asWorker(begun, settings, work, options)
      return exits
    }
    const { events, publish } = yield* poolEvents.make
    yield* primary.run({
      tag,
      begun,
      settings,
      options,
      worker: { restart: given.restart?.policy ?? "never", fatal: false, serves: false },
      events,
      publish: (event) => {
        if (event._tag === "Exited") {
          exits.push({ name: event.name, index: event.index, pid: event.pid, status: event.status })
        }
        return publish(event)
      }
    }).pipe(Effect.scoped)
    return exits
  }).pipe(Effect.scoped, Effect.onInterrupt(() => endWell))

const gone = Effect.as(
  logWarning("The primary that started this worker is gone before it had handed over; ending"),
  ExitReason.Stopped()
)

const asWorker = Effect.fnUntraced(function*(
  begun: Begun,
  settings: PoolSettings,
  work: Work<any, any>,
  options: AnyOptions
) {
  const role = workerRole.decode(begun.ancestry.state)
  if (!begun.ancestry.hasParent || Option.isNone(begun.ancestry.control) || Option.isNone(role)) return yield* gone
  const own = yield* workOf(role.value, work, options)
  const context = yield* worker.make(begun, begun.ancestry.control.value, role.value, {
    ...settings,
    serves: own._tag === "Server"
  })
  const value = yield* sharedValue(begun, options)
  return yield* Effect.provide(runWork(own), Context.merge(context, value))
}, (effect, { ancestry: { state } }) => Effect.annotateLogs(effect, annotations(workerRole.decode(state))))

const annotations = (role: Option.Option<Role>): Record<string, unknown> =>
  Option.match(role, {
    onNone: () => ({}),
    onSome: ({ index, name }) => name === "worker" ? { worker: index } : { process: name }
  })

const workOf = (role: Role, work: Work<any, any>, { processes }: AnyOptions) => {
  if (role.name === "worker") return Effect.succeed(work)
  const process = processes?.[role.name] as Process<any, any> | undefined
  return process === undefined
    ? Effect.fail(
      new InvalidOptionError({
        option: "processes",
        value: `without ${role.name}`,
        expected: "the same as in the primary, which is of an older version; upgrade it"
      })
    )
    : Effect.succeed(process.work)
}

const sharedValue = Effect.fnUntraced(function*({ ancestry }: Begun, { main }: AnyOptions) {
  const shared = main === undefined ? Option.none() : main.shared
  if (Option.isNone(shared)) return Context.empty() as Context.Context<any>
  const { schema, tag } = shared.value
  const json = Option.getOrElse(workerRole.decodeValue(ancestry.state), () => "")
  return Context.make(tag, yield* mainContext.decode(tag.key, schema, json))
})

const runWork = (work: Work<any, any>): Effect.Effect<ExitReason, any, any> =>
  work._tag === "Server" ? launchAlone(work.layer) : Effect.scoped(Effect.gen(function*() {
    const upgrader = yield* Upgrader
    yield* Effect.addFinalizer(() => Effect.zipRight(upgrader.stop, upgrader.drain))
    yield* upgrader.ready
    return yield* runUntil(Effect.as(work.effect, ExitReason.Stopped()), upgrader.exit)
  }))
