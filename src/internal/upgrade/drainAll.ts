/**
 * Draining a whole process: the hooks of the app, then every server and UDP socket of the registry at once.
 *
 * @internal
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import type * as Scope from "effect/Scope"
import type * as dgram from "node:dgram"
import type * as net from "node:net"
import type * as Drain from "../../Drain.ts"
import type { DrainHook, DrainReport, ExitReason } from "../../UpgraderEvent.ts"
import * as drainPacket from "../drain/packet.ts"
import * as drainServer from "../drain/server.ts"
import type { Sender, Successor } from "../handOver/sender.ts"
import { logWarning } from "../logging.ts"
import { disconnect, drain as clear } from "../seam.ts"
import { samePress } from "../signals.ts"
import type { System } from "../system/env.ts"
import type { Settings } from "./options.ts"

export interface Draining {
  /**
   * Follows a server from before its first connection until the scope closes. What it gives stops the server from
   * accepting when its accept queue is empty.
   */
  readonly follow: (
    server: net.Server,
    address: string,
    successor?: (sender: Sender) => Successor | undefined
  ) => Effect.Effect<Effect.Effect<void>, never, Scope.Scope>
  readonly followPacket: (socket: dgram.Socket) => Effect.Effect<void, never, Scope.Scope>
  /** Another process has taken over, and takes connections too. */
  readonly handOverBy: (sender: Sender) => void
  readonly onDrain: (hook: DrainHook) => Effect.Effect<void, never, Scope.Scope>
  /** How many connections are open. */
  readonly connections: () => number
  /** Runs the hooks, stops accepting by `stopAccepting`, and lets everything finish. To be run once, interruptibly. */
  readonly drain: (reason: ExitReason, stopAccepting: Effect.Effect<void>) => Effect.Effect<DrainReport>
}

interface Followed {
  readonly address: string
  readonly drainable: drainServer.Followed
}

export const make = (env: System, settings: Settings): Draining => {
  const servers = new Set<Followed>()
  const packets = new Set<Drain.DrainablePacket>()
  const hooks = new Set<DrainHook>()
  let sender: Sender | undefined

  const during = <A>(set: Set<A>, item: A) =>
    Effect.acquireRelease(Effect.sync(() => set.add(item)), () => Effect.sync(() => set.delete(item)))

  const runHooks = (reason: ExitReason) =>
    Effect.forEach(hooks, (hook) => runHook(hook, reason, settings.hookTimeout), {
      concurrency: "unbounded",
      discard: true
    })

  const hasten = Effect.zipRight(
    logWarning(
      "Told to stop again; closing what is left. If nobody has: a library that handles signals may raise them anew when it " +
        "has cleaned up (signal-exit and others do); have it leave them alone"
    ),
    Effect.forEach(servers, ({ drainable }) => drainable.hasten, { concurrency: "unbounded", discard: true })
  )

  /** A process that drains because it was told to stop hears the word once more; any other hears it for the first time. */
  const hastenOnSignals = (reason: ExitReason) =>
    Effect.forEach(["SIGTERM", "SIGINT"] as const, (signal) =>
      Effect.flatMap(env.signals(signal), (deliveries) => {
        const next = Queue.take(deliveries)
        const ignored = reason._tag === "Stopped"
          ? Effect.sleep(samePress)
          : Effect.zipRight(next, Effect.sleep(samePress))
        return Effect.zipRight(ignored, Effect.zipRight(clear(deliveries), next)).pipe(
          Effect.zipRight(hasten),
          Effect.interruptible,
          Effect.forkScoped
        )
      }), { discard: true })

  const drainAll = Effect.all({
    servers: Effect.forEach(
      servers,
      ({ address, drainable }) => Effect.map(drainable.drain, (report) => ({ address, ...report })),
      { concurrency: "unbounded" }
    ),
    packets: Effect.forEach(packets, ({ drain }) => drain, { concurrency: "unbounded", discard: true })
  }, { concurrency: "unbounded" })

  return {
    follow: (server, address, successor) =>
      drainServer.make(
        server,
        { ...settings.drain, drainTimeout: settings.drainTimeout },
        () => sender === undefined ? undefined : successor?.(sender)
      ).pipe(
        // Checked when the upgrader was built.
        Effect.orDie,
        Effect.tap((drainable) => during(servers, { address, drainable })),
        Effect.map((drainable) => drainable.emptyQueue)
      ),
    followPacket: (socket) =>
      Effect.asVoid(Effect.flatMap(Effect.orDie(drainPacket.make(socket)), (drainable) => during(packets, drainable))),
    handOverBy: (to) => {
      sender = to
    },
    onDrain: (hook) => Effect.asVoid(during(hooks, hook)),
    connections: () => [...servers].reduce((sum, { drainable }) => sum + drainable.connections(), 0),
    drain: (reason, stopAccepting) =>
      Effect.gen(function*() {
        yield* hastenOnSignals(reason)
        // A newer process accepts already. Without one, whoever sends clients here is told before they are refused.
        if (reason._tag === "Stopped") yield* runHooks(reason)
        yield* stopAccepting
        yield* Effect.forEach(servers, ({ drainable }) => drainable.stopAccepting, { discard: true })
        if (reason._tag === "Upgraded") yield* runHooks(reason)
        const [duration, reports] = yield* Effect.timed(Effect.suspend(() => drainAll))
        return { servers: reports.servers, duration }
      }).pipe(Effect.scoped)
  }
}

const runHook = (hook: DrainHook, reason: ExitReason, timeout: Duration.Duration) =>
  Effect.suspend(() => hook(reason)).pipe(
    // A hook that cannot be interrupted is left behind.
    disconnect,
    Effect.timeoutTo({
      duration: timeout,
      onSuccess: () => Effect.void,
      onTimeout: () => logWarning(`An onDrain hook took longer than ${Duration.format(timeout)}; going on`)
    }),
    Effect.flatten,
    Effect.catchAllCause((cause) => logWarning("An onDrain hook failed; going on", cause))
  )
