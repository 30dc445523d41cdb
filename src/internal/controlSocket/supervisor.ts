/**
 * A supervisor of a command, as what a control socket controls.
 *
 * @internal
 */
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type * as net from "node:net"
import type { PathAddress } from "../../Address.ts"
import type { PoolEvent } from "../../PoolEvent.ts"
import type { Supervisor } from "../../Supervisor.ts"
import type { ListenError } from "../../TableflipError.ts"
import { logInfo } from "../logging.ts"
import type { ProcessStatus } from "../pool/status.ts"
import { forkApart, monotonicMillis } from "../seam.ts"
import * as reloads from "../supervisor/reloads.ts"
import { Env } from "../system/env.ts"
import { hear } from "./hear.ts"
import type { Journal } from "./journal.ts"
import * as journalOf from "./journal.ts"
import { errorJson, timeJson, toJson } from "./json.ts"
import type { Identity, ProcessJson, State } from "./protocol.ts"
import * as recordOf from "./record.ts"
import { accepted, notSupported, ok, replyWith } from "./reply.ts"
import { serve } from "./serve.ts"
import type { Target } from "./target.ts"

/** Somebody who waits until each process is one of a reload that he has asked for. */
interface Switch {
  readonly done: Deferred.Deferred<void>
  /** Completes when the status tells of the end of his reload. */
  readonly told: Deferred.Deferred<void>
  /** The generation that is to be replaced; none while another reload is still going on. */
  after: number | undefined
}

const isCurrent = ({ state }: ProcessStatus) => state !== "draining"

/** What was there has been stopped first, or there has been nothing yet. */
const isToCome = ({ state }: ProcessStatus) => state === "starting"

/** It has ended by itself, or has not come up, and is started again. */
const isRestarting = ({ state }: ProcessStatus) => state === "restarting"

/** A process is to be there and is not. */
const isEmpty = (status: ProcessStatus) => isToCome(status) || isRestarting(status)

/** What has happened is told in a moment. */
const toldDelay = "1 second"

export const make: (sources: {
  readonly supervisor: Supervisor["Type"]
  readonly stop: Effect.Effect<void>
}) => Effect.Effect<{ readonly target: Target; readonly journal: Journal }, never, Env | Scope.Scope> = Effect
  .fnUntraced(
    function*({ stop, supervisor }) {
      const { pid } = yield* Env
      let generation = 1
      let isReady = false
      let isStopping = false
      /** The generation that is being started to replace the others. */
      let next: number | undefined
      let asked = 0
      const switches = new Set<Switch>()
      const self = (): Identity => ({ pid, generation })
      const journal = journalOf.make(self)
      const stopped = yield* Deferred.make<{ readonly killed: number }>()
      const over = yield* Deferred.make<void>()

      const stateNow = (all: ReadonlyArray<ProcessStatus>): State =>
        isStopping || (isReady && !all.some(isCurrent))
          ? "stopping"
          : !isReady || all.filter(isCurrent).every(isRestarting)
          ? "starting"
          : next === undefined && !all.some(isToCome)
          ? "serving"
          : "upgrading"

      const record = yield* recordOf.make(Effect.map(supervisor.status, (all) => ({
        kind: "supervisor" as const,
        ...self(),
        state: stateNow(all),
        olderDraining: all.filter((each) => !isCurrent(each)).length,
        size: all.filter(isCurrent).length,
        processes: all.map((each): ProcessJson => ({ ...each, since: timeJson(each.since) }))
      })))

      const settleSwitches = Effect.flatMap(supervisor.status, (all) => {
        if (all.some(isEmpty)) return Effect.void
        const oldest = Math.min(...all.filter(isCurrent).map(({ generation }) => generation))
        return Effect.forEach(
          switches,
          ({ after, done }) =>
            after !== undefined && Number.isFinite(oldest) && oldest > after
              ? Deferred.succeed(done, void 0)
              : Effect.void,
          { discard: true }
        )
      })

      const endReload = Effect.suspend(() => {
        next = undefined
        return Effect.forEach(switches, (each) => {
          if (each.after !== undefined) return Deferred.succeed(each.told, void 0)
          each.after = generation
          return Effect.void
        }, { discard: true })
      })

      const handle = (event: PoolEvent): Effect.Effect<unknown> => {
        switch (event._tag) {
          case "Started":
            if (event.generation > generation) next = event.generation
            return Effect.void
          case "Ready":
            isReady = true
            return Effect.void
          case "Replaced":
            generation = event.generation
            return Effect.zipRight(record.upgraded({ pid, generation: event.generation }), endReload)
          case "ReplaceFailed":
            if (event.error.replaced > 0 || event.error.stopped !== undefined) generation = event.generation
            return Effect.zipRight(
              record.failed({ generation: event.generation }, errorJson(event.error)),
              endReload
            )
          case "Stopped":
            isStopping = true
            return Deferred.succeed(stopped, { killed: event.killed })
          default:
            return Effect.void
        }
      }

      const rest = yield* hear(yield* supervisor.events, (event) =>
        Effect.zipRight(handle(event), settleSwitches).pipe(
          Effect.zipRight(record.look),
          Effect.zipRight(Clock.currentTimeMillis),
          Effect.map((now) => journal.tell(toJson(event) as { readonly _tag: string }, now))
        ))
      yield* record.look

      const reload: Effect.Effect<void, Effect.Effect.Error<Supervisor["Type"]["reload"]>> = Effect.suspend(() => {
        asked += 1
        return supervisor.reload.pipe(
          Effect.tapError(reloads.logFailed),
          Effect.ensuring(Effect.sync(() => {
            asked -= 1
          }))
        )
      })

      const reloadAndTell = (told: Effect.Effect<unknown>) =>
        reload.pipe(
          Effect.tap(() => told),
          Effect.tapError((error) => error._tag === "ReplaceError" ? told : Effect.void)
        )

      const target: Target = {
        identity: self,
        status: record.status,
        reload: (wait) =>
          Effect.gen(function*() {
            yield* logInfo("Asked for a reload at the control socket")
            const begun = yield* monotonicMillis
            const from = self()
            const isReloading = next !== undefined || isReady && (yield* supervisor.status).some(isToCome)
            const mine: Switch = {
              done: yield* Deferred.make<void>(),
              told: yield* Deferred.make<void>(),
              after: asked === 0 && !isReloading ? from.generation : undefined
            }
            switches.add(mine)
            let switchedAt: number | undefined
            const switched = Effect.zipRight(Deferred.await(mine.done), monotonicMillis)
            const ended = yield* Deferred.make<void, Effect.Effect.Error<typeof reload>>()
            // It goes on whoever waits for it.
            const told = Effect.timeoutOption(Deferred.await(mine.told), toldDelay)
            yield* forkApart(
              Effect.interruptible(Effect.intoDeferred(reloadAndTell(told), ended))
            )
            const noted = Effect.map(switched, (now) => {
              switchedAt = now
            })
            const waited = wait === "switched"
              ? Effect.raceFirst(Deferred.await(ended), noted)
              : Effect.raceFirst(Deferred.await(ended), Effect.zipRight(noted, Effect.never))
            return yield* replyWith(
              Effect.zipRight(waited, monotonicMillis),
              self,
              (now) => {
                const at = switchedAt ?? now
                return ok({
                  outcome: "upgraded",
                  pid,
                  generation: Math.max(generation, next ?? 0),
                  from,
                  millis: Math.round(at - begun),
                  ...wait === "switched" ? {} : { drained: { millis: Math.round(now - at) } }
                })
              }
            ).pipe(Effect.ensuring(Effect.sync(() => switches.delete(mine))))
          }),
        stop: (wait) =>
          Effect.gen(function*() {
            yield* logInfo("Told to stop at the control socket")
            isStopping = true
            yield* forkApart(stop)
            if (wait !== "drained") return accepted({ outcome: "stopping", ...self() })
            const report = yield* Effect.raceFirst(
              Effect.map(Deferred.await(stopped), (drained) => ({ drained })),
              Effect.as(Deferred.await(over), {})
            )
            return ok({ outcome: "stopped", ...self(), ...report })
          }),
        scale: () =>
          Effect.succeed(
            notSupported("A supervisor has as many copies of its command as it was started with (--workers)", self())
          ),
        replace: () => Effect.succeed(notSupported("A supervisor replaces its command by a reload", self())),
        end: Effect.zipRight(rest, Effect.asVoid(Deferred.succeed(over, void 0)))
      }
      return { target, journal }
    }
  )

/** Listens at once: a supervisor has nobody from whom it could take a socket over. */
const listen = (address: PathAddress) => (server: net.Server): Effect.Effect<void, ListenError, Env | Scope.Scope> =>
  Effect.gen(function*() {
    const env = yield* Env
    const listener = yield* Effect.acquireRelease(
      env.bind(address),
      (listener) => Effect.zipRight(listener.unlink, Effect.sync(listener.close))
    )
    yield* listener.prepare
    const error = listener.publish() ?? listener.listen()
    if (error !== undefined) return yield* error
    listener.attach(server)
    listener.accept()
  })

/** `stop` has this process end as its supervisor's `launch` would have it end. */
export const open = (
  { stop, supervisor, ...address }: PathAddress & {
    readonly supervisor: Supervisor["Type"]
    readonly stop: Effect.Effect<void>
  }
): Effect.Effect<void, ListenError, Env | Scope.Scope> =>
  Effect.flatMap(make({ supervisor, stop }), (controlled) => serve(controlled, listen({ mode: 0o600, ...address })))
