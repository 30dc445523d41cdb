/**
 * The registry of descriptors: what the app sees of it, and what the upgrader does with it.
 *
 * @internal
 */
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import type { FdName } from "../../Address.ts"
import type { NamedDescriptor } from "../../ChildProcess.ts"
import type { Fds } from "../../Fds.ts"
import { ListenError } from "../../TableflipError.ts"
import type { ExitReason } from "../../UpgraderEvent.ts"
import type { Served } from "../handOver/receiver.ts"
import { logDebug, logWarning } from "../logging.ts"
import { isPlainHttp, isTlsServer } from "../node/internals.ts"
import type { System } from "../system/env.ts"
import type { BoundListener } from "../system/socket.ts"
import * as fdName from "../wire/fdName.ts"
import * as activation from "./activation.ts"
import * as claims from "./claims.ts"
import type { Entry } from "./descriptorTable.ts"
import * as descriptorTable from "./descriptorTable.ts"
import type { Draining } from "./drainAll.ts"
import * as openingOf from "./opening.ts"
import * as tlsTickets from "./tlsTickets.ts"

export interface Registry {
  readonly service: Fds["Type"]
  /** What a child that is started now inherits. Of connections nothing more is read. */
  readonly descriptors: Effect.Effect<ReadonlyArray<NamedDescriptor>>
  /** What that child should know. */
  readonly state: Effect.Effect<ReadonlyMap<string, Uint8Array>>
  /** Starts accepting and receiving everywhere, or nowhere. */
  readonly activate: Effect.Effect<void, ListenError>
  /** Where servers of this process listen, or are to listen when it is ready. */
  readonly addresses: Effect.Effect<ReadonlyArray<string>>
  /** The servers that can take connections of older processes. */
  readonly takingServers: () => ReadonlyArray<Served>
  /** Closes what was inherited and not asked for. */
  readonly closeUnclaimed: Effect.Effect<void>
  /** No other process serves the Unix paths any more: those that nobody asked for are removed. */
  readonly parentExited: Effect.Effect<void>
  /** A child serves the Unix paths too, or is about to, and reads the connections: they are left to it. */
  readonly shareWithChild: Effect.Effect<void>
  /** There is no such child any more. */
  readonly takeBackFromChild: Effect.Effect<void>
  /** Waits until the system has all that was written to connections. Gives how many are not so far when the time is over. */
  readonly flushConnections: (within: Duration.Duration) => Effect.Effect<number>
  /** Closes this process's side of the connections that the newer process has. Their other end notices nothing. */
  readonly letGoOfConnections: Effect.Effect<void>
  /**
   * Stops accepting everywhere. What is connected stays. A socket that other processes go on accepting from is closed at
   * once; of any other, and of those that the newer process has not claimed, what is in its accept queue is served first.
   */
  readonly stopAccepting: (reason: ExitReason, unclaimed: ReadonlyArray<string>) => Effect.Effect<void>
  /** The sockets that this process has inherited, which nobody accepts from in it. */
  readonly unclaimedListeners: Effect.Effect<ReadonlyArray<FdName>>
  /** The sockets that are there for others when this process has been told to stop. */
  readonly keptListeners: Effect.Effect<ReadonlyArray<FdName>>
}

export const make: (options: {
  readonly env: System
  readonly inherited: ReadonlyArray<NamedDescriptor>
  readonly state: ReadonlyMap<string, Uint8Array>
  readonly hasParent: boolean
  readonly draining: Draining
  /** Whether this process looks after the Unix paths; in a pool the primary does. */
  readonly keepsPaths?: boolean
  /** Whether another process accepts from what was inherited, or goes on keeping it, when this one is told to stop. */
  readonly inheritedIsShared?: (name: FdName) => boolean
}) => Effect.Effect<Registry, never, Scope.Scope> = Effect.fnUntraced(
  function*({ draining, env, hasParent, inherited, inheritedIsShared = () => false, keepsPaths = true, state }) {
    const table = descriptorTable.make(inherited)
    const orphans: Array<BoundListener> = []
    let active = false
    let parentLives = hasParent
    let childShares = false
    let broken = Option.none<ListenError>()
    let handedOver: ReadonlySet<Entry> = new Set()

    const unlinkIfLast = (listener: BoundListener) =>
      Effect.suspend(() => active && keepsPaths && !parentLives && !childShares ? listener.unlink : Effect.void)

    const unlinkAll = (entries: ReadonlyArray<Entry>) =>
      Effect.forEach(entries, ({ listener }) => listener ? unlinkIfLast(listener) : Effect.void, { discard: true })

    const activated = activation.make(inherited, state)
    const opening = openingOf.make({ env, table, hasParent, keepsPaths, activated })
    const service = claims.make({
      env,
      table,
      activated,
      opening,
      draining,
      state,
      isActive: () => active,
      unlinkIfLast
    })

    /** Another process accepts there, or goes on queueing, when this one is told to stop. */
    const isKept = ({ activated, inherited, name }: Entry) =>
      activated !== undefined || inherited === true && inheritedIsShared(name)

    const connections = () => table.entries().flatMap(({ connection }) => connection ?? [])

    const stopReading = Effect.suspend(() => Effect.forEach(connections(), env.stopReading, { discard: true }))

    const listeners = () => table.entries().flatMap((entry) => entry.listener && entry.server ? [entry.listener] : [])

    /** Listeners without a server, which other processes accept on. */
    const bare = () => table.entries().flatMap((entry) => entry.listener && !entry.server ? [entry.listener] : [])

    const close = (error: ListenError) => {
      for (const listener of listeners()) listener.close()
      broken = Option.some(
        new ListenError({ ...error, detail: `${error.detail}. The sockets are closed: start this program again` })
      )
      return error
    }

    // In one turn of the event loop: if one address fails, nobody has been let in anywhere, and all can be tried again.
    const startAll = Effect.suspend((): Effect.Effect<void, ListenError> => {
      if (Option.isSome(broken)) return Effect.fail(broken.value)
      const served = listeners()
      const all = [...served, ...bare()]
      const error = first(all, ({ publish }) => publish()) ?? first(freshFirst(served), ({ listen }) => listen())
      if (error !== undefined) {
        const lost = all.flatMap(({ retract }) => retract() ?? [])[0]
        return Effect.fail(lost === undefined ? error : close(lost))
      }
      // Now that the app has told its servers all that it has to tell before they accept.
      for (const { name, server } of table.entries()) if (server !== undefined) tlsTickets.restore(server, name, state)
      for (const { accept } of served) accept()
      for (const entry of table.entries()) entry.start?.()
      active = true
      return Effect.void
    })

    const closeInherited = Effect.fnUntraced(function*({ descriptor, name }: NamedDescriptor) {
      const isUnixListener = name.kind === "listener" && name.network === "unix"
      const adopted = isUnixListener
        ? yield* Effect.option(env.adopt({ path: name.address }, descriptor))
        : Option.none()
      if (Option.isSome(adopted)) {
        if (keepsPaths) orphans.push(adopted.value)
        adopted.value.close()
      } else if (!isUnixListener) {
        yield* env.closeDescriptor(descriptor)
      }
      yield* logDebug(`Closed the inherited ${name.kind} ${name.address}, which nothing asked for`)
    })

    const isActivated = ({ descriptor }: NamedDescriptor) => activated.nameOf(descriptor) !== undefined

    const closeUnclaimed = Effect.suspend(() =>
      Effect.forEach(
        table.unclaimed().filter((one) => !isActivated(one)),
        (one) => {
          table.takeInherited(one.name)
          return closeInherited(one)
        },
        { discard: true }
      )
    )
    yield* Effect.addFinalizer(() => closeUnclaimed)

    /** They stay open and go to the next process, which may know what to do with them; so may the app, by their numbers. */
    const unclaimedActivated = () => table.unclaimed().filter(isActivated)

    const tellUnclaimedActivated = Effect.suspend(() =>
      Effect.forEach(
        unclaimedActivated().filter(({ name }) => name.kind === "listener"),
        ({ name }) =>
          logWarning(
            `A service manager listens on ${name.address} for this program, which has not asked for that; who connects waits`
          ),
        { discard: true }
      )
    )

    return {
      service,
      descriptors: Effect.suspend(() => {
        const entries = table.entries()
        handedOver = new Set(entries)
        const descriptors = entries.flatMap((entry) =>
          Option.match(entry.descriptor(), {
            onNone: () => [],
            onSome: (descriptor) => [{ name: entry.name, descriptor }]
          })
        )
        // Some may have come since the others were left to the child.
        return Effect.as(stopReading, [...descriptors, ...unclaimedActivated()])
      }),
      state: Effect.sync(() => {
        const entries = table.entries()
        const claimed = entries.flatMap(({ activated, name }) =>
          activated === undefined ? [] : [[name, activated] as const]
        )
        const unclaimed = unclaimedActivated().map(({ descriptor, name }) =>
          [name, activated.nameOf(descriptor)!] as const
        )
        return new Map([...tlsTickets.collect(entries), ...activation.encode([...claimed, ...unclaimed])])
      }),
      activate: Effect.suspend(() =>
        Effect.zipRight(
          Effect.forEach([...listeners(), ...bare()], (listener) => listener.prepare, { discard: true }),
          startAll
        )
      ),
      addresses: Effect.sync(() =>
        table.entries().flatMap((entry) => entry.listener ? [claims.boundTo(entry, entry.listener)] : [])
      ),
      takingServers: () =>
        table.entries().flatMap(({ handsOver, name, server, takes = [] }) => {
          if (server === undefined || handsOver !== true) return []
          const takesRequests = isPlainHttp(server)
          const keys = isTlsServer(server) ? [] : takes
          return takesRequests || keys.length > 0
            ? [{ place: [name.network, name.address] as const, server, takesRequests, keys }]
            : []
        }),
      closeUnclaimed: Effect.zipRight(closeUnclaimed, tellUnclaimedActivated),
      parentExited: Effect.suspend(() => {
        parentLives = false
        return Effect.forEach(orphans.splice(0), (listener) => listener.unlink, { discard: true })
      }),
      shareWithChild: Effect.suspend(() => {
        childShares = true
        return stopReading
      }),
      takeBackFromChild: Effect.suspend(() => {
        childShares = false
        handedOver = new Set()
        return Effect.forEach(connections(), env.resumeReading, { discard: true })
      }),
      flushConnections: (within) =>
        Effect.map(
          Effect.forEach(connections(), (socket) => Effect.timeoutOption(env.flushed(socket), within), {
            concurrency: "unbounded"
          }),
          (flushed) => flushed.filter(Option.isNone).length
        ),
      // One that was added since the newer process was started is not there.
      letGoOfConnections: Effect.sync(() => handedOver.forEach(({ connection }) => connection?.destroy())),
      unclaimedListeners: Effect.sync(() =>
        table.unclaimed().filter((one) => one.name.kind === "listener" && !isActivated(one)).map(({ name }) => name)
      ),
      keptListeners: Effect.sync(() =>
        table.entries().filter((entry) => entry.listener && isKept(entry)).map(({ name }) => name)
      ),
      stopAccepting: (reason, unclaimed) =>
        Effect.suspend(() => {
          // A process of a pool is replaced without having handed over anything by itself. A service manager goes on queueing.
          const isShared = (entry: Entry) =>
            isKept(entry) ||
            reason._tag === "Upgraded" && handedOver.has(entry) && !unclaimed.includes(fdName.toText(entry.name))
          // One that is not drained answers until everything is over, unless a newer process does.
          const isOver = ({ isDrained }: Entry) => isDrained !== false || reason._tag === "Upgraded"
          const accepting = table.entries().filter((entry) => entry.listener && entry.server && isOver(entry))
          const shared = accepting.filter(isShared)
          const own = accepting.filter((entry) => !isShared(entry))
          const close = (entries: ReadonlyArray<Entry>) =>
            Effect.zipRight(
              Effect.sync(() => entries.forEach(({ listener }) => listener?.close())),
              unlinkAll(entries)
            )
          // Whoever comes to a Unix path from now on is refused, and is not to be reset later.
          return close(shared).pipe(
            Effect.zipRight(unlinkAll(own)),
            Effect.zipRight(Effect.forEach(own, ({ emptyQueue = Effect.void }) => emptyQueue, {
              concurrency: "unbounded",
              discard: true
            })),
            Effect.zipRight(close(own))
          )
        })
    }
  }
)

const first = (
  listeners: ReadonlyArray<BoundListener>,
  step: (listener: BoundListener) => ListenError | undefined
): ListenError | undefined => {
  for (const listener of listeners) {
    const error = step(listener)
    if (error !== undefined) return error
  }
  return undefined
}

/** What was inherited listens already, so that it cannot fail, and nothing that has come after can have to undo it. */
const freshFirst = (listeners: ReadonlyArray<BoundListener>) => {
  const isTcp = ({ address }: BoundListener) => typeof address === "object"
  const rank = (listener: BoundListener) => listener.inherited ? 2 : isTcp(listener) ? 0 : 1
  return [0, 1, 2].flatMap((asked) => listeners.filter((listener) => rank(listener) === asked))
}
