/**
 * What an upgrader says in the log: in words, and in fields for those who count.
 *
 * @internal
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as address from "../../Address.ts"
import type { NamedDescriptor } from "../../ChildProcess.ts"
import type { UpgradeError } from "../../TableflipError.ts"
import type { DrainReport, ExitReason } from "../../UpgraderEvent.ts"
import { logFailure, logInfo, logWarning } from "../logging.ts"
import type { System } from "../system/env.ts"
import type { Settings } from "./options.ts"

export const annotate = <A, E, R>(effect: Effect.Effect<A, E, R>, generation: number): Effect.Effect<A, E, R> =>
  Effect.annotateLogs(effect, { package: "effect-tableflip", module: "Upgrader", generation })

/** What has happened has happened: what is looked up to tell of it must not make a hand-over look like a failure. */
export const afterTheFact = (effect: Effect.Effect<void>): Effect.Effect<void> =>
  Effect.catchAllCause(effect, () => Effect.void)

/** Each failure once: an upgrade that was tried is told of when it ends, whoever waits for it, and not again. */
export const failures = (): (what: string, error: UpgradeError) => Effect.Effect<void> => {
  const told = new WeakSet<UpgradeError>()
  return (what, error) =>
    Effect.suspend(() => {
      if (told.has(error)) return Effect.void
      told.add(error)
      return logFailure(error, `${what}: ${error.message}`)
    })
}

export const ready = (pid: number, generation: number, addresses: ReadonlyArray<string>): Effect.Effect<void> =>
  logInfo(
    `Process ${pid} is ready as generation ${generation}${addresses.length === 0 ? "" : ` on ${addresses.join(", ")}`}`
  )

/** An app that is left under `Layer.launch` is built, looks as if it served, and accepts nobody. */
export const notReady = (addresses: ReadonlyArray<string>): Effect.Effect<void> =>
  logWarning(
    `This process has not said for 10 seconds that it is ready${
      addresses.length === 0 ? "" : `: ${addresses.join(", ")} accepts nothing until then`
    }. Upgrader.launch says it when the app is built (Layer.launch does not); an app that runs in another way calls ready`
  )

export const notUpgradable = ({ signals }: Settings, refusal: Option.Option<string>): Effect.Effect<void> =>
  Option.match(refusal, {
    onNone: () => Effect.void,
    onSome: (reason) => (signals.length === 0 ? logInfo : logWarning)(`This process cannot be upgraded: ${reason}`)
  })

/** What a library has opened by itself, such as the port of an exporter, would be gone without a word. */
export const notHandedOver = (env: System, descriptors: ReadonlyArray<NamedDescriptor>): Effect.Effect<void> =>
  Effect.flatMap(
    env.listensBesides(descriptors.map(({ descriptor }) => descriptor)),
    Effect.forEach((at) =>
      logWarning(
        `${
          address.format(at)
        } was not handed over, and the new process does not listen there: something has opened it ` +
          "without Fds. Have it opened by Fds.listen, add the server by Fds.addListener, or let it share the port (reusePort)"
      ), { discard: true })
  )

export const draining = (
  reason: ExitReason,
  addresses: ReadonlyArray<string>,
  { drainTimeout }: Settings
): Effect.Effect<void> =>
  logInfo(
    `Draining${addresses.length === 0 ? "" : ` ${addresses.join(", ")}`} for ${
      Duration.format(drainTimeout)
    } at most: ` +
      (reason._tag === "Upgraded" ? `process ${reason.pid} has taken over` : "this process was told to stop")
  )

export const drained = ({ servers }: DrainReport): Effect.Effect<void> =>
  Effect.forEach(servers, ({ duration, ...server }) =>
    logInfo(
      `Drained ${server.address} in ${Duration.format(duration)}: ${server.open} connection(s), ` +
        `${server.handedOver} handed over, ${server.sentAway} sent away, ${server.finished} finished, ${server.timedOut} timed out, ` +
        `${server.forced} forced`
    ).pipe(Effect.annotateLogs({ ...server, millis: Duration.toMillis(duration) })), { discard: true })

export const olderGone: Effect.Effect<void> = logInfo("Every older process has ended")
