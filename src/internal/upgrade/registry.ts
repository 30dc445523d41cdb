/**
 * The registry of descriptors: what the app sees of it, and what the upgrader does with it.
 *
 * @internal
 */
import * as Arr from "effect/Array"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import type * as net from "node:net"
import type { Address, FdName } from "../../Address.ts"
import * as address from "../../Address.ts"
import type { NamedDescriptor } from "../../ChildProcess.ts"
import type { BoundListener, BoundPacket, Env } from "../../Env.ts"
import type { Fds, Listener } from "../../Fds.ts"
import { DescriptorError, ListenError } from "../../TableflipError.ts"
import type { ExitReason } from "../../UpgraderEvent.ts"
import { hasOwnSocket } from "../node/internals.ts"
import * as fdName from "../wire/fdName.ts"
import type { Entry } from "./descriptorTable.ts"
import * as descriptorTable from "./descriptorTable.ts"
import type { Draining } from "./drainAll.ts"
import * as tlsTickets from "./tlsTickets.ts"

export interface Registry {
  readonly service: Fds["Type"]
  /** What a child that is started now inherits. */
  readonly descriptors: Effect.Effect<ReadonlyArray<NamedDescriptor>>
  /** What that child should know. */
  readonly state: Effect.Effect<ReadonlyMap<string, Uint8Array>>
  /** Starts accepting and receiving everywhere, or nowhere. */
  readonly activate: Effect.Effect<void, ListenError>
  /** Closes what was inherited and not asked for. */
  readonly closeUnclaimed: Effect.Effect<void>
  /** No other process serves the Unix paths any more: those that nobody asked for are removed. */
  readonly parentExited: Effect.Effect<void>
  /** A child serves the Unix paths too, or is about to, and reads the connections: they are left to it. */
  readonly shareWithChild: Effect.Effect<void>
  /** There is no such child any more. */
  readonly takeBackFromChild: Effect.Effect<void>
  /** Closes this process's side of the connections that the newer process has. Their other end notices nothing. */
  readonly letGoOfConnections: Effect.Effect<void>
  /**
   * Stops accepting everywhere. What is connected stays. A socket that other processes go on accepting from is closed at
   * once; of any other what is in its accept queue is served first.
   */
  readonly stopAccepting: (reason: ExitReason) => Effect.Effect<void>
}

const alreadyListening = (name: FdName) => () =>
  new ListenError({
    reason: "AlreadyClaimed",
    address: name.address,
    detail: "this process has claimed the address already; give each of several sockets on it a name of its own"
  })

const alreadyClaimed = (name: string) => () =>
  new DescriptorError({ reason: "AlreadyClaimed", name, detail: "this process has claimed or added it already" })

export const make: (options: {
  readonly env: Env["Type"]
  readonly inherited: ReadonlyArray<NamedDescriptor>
  readonly state: ReadonlyMap<string, Uint8Array>
  readonly hasParent: boolean
  readonly draining: Draining
  /** Whether this process looks after the Unix paths; in a pool the primary does. */
  readonly keepsPaths?: boolean
  /** Whether another process accepts from what was inherited, or goes on keeping it, when this one is told to stop. */
  readonly inheritedIsShared?: boolean
}) => Effect.Effect<Registry, never, Scope.Scope> = Effect.fnUntraced(
  function*({ draining, env, hasParent, inherited, inheritedIsShared = false, keepsPaths = true, state }) {
    const table = descriptorTable.make(inherited)
    const orphans: Array<BoundListener> = []
    let active = false
    let parentLives = hasParent
    let childShares = false
    const stopped = new Set<net.Socket>()
    let handedOver: ReadonlySet<Entry> = new Set()

    const unlinkIfLast = (listener: BoundListener) =>
      Effect.suspend(() => active && keepsPaths && !parentLives && !childShares ? listener.unlink : Effect.void)

    const unlinkAll = (entries: ReadonlyArray<Entry>) =>
      Effect.forEach(entries, ({ listener }) => listener ? unlinkIfLast(listener) : Effect.void, { discard: true })

    const openListener = Effect.fnUntraced(function*(at: Address) {
      const descriptor = table.takeInherited(fdName.listener(at))
      if (Option.isNone(descriptor)) return yield* env.bind(at)
      if (keepsPaths && address.isFile(at) && !(yield* env.isSocket(at.path))) {
        yield* Effect.logWarning(`The inherited socket is no longer at ${at.path}; listening there anew`)
        yield* env.closeDescriptor(descriptor.value)
        return yield* env.bind(at)
      }
      yield* logUnchangeable(at)
      return yield* env.adopt(at, descriptor.value)
    })

    const serve = (entry: Entry, listener: BoundListener) =>
      Effect.fnUntraced(function*(server: net.Server) {
        if (server.listening) return yield* alreadyServing(entry.name)
        entry.emptyQueue = yield* draining.follow(server, boundTo(entry, listener))
        entry.server = server
        listener.attach(server)
        if (!active) return
        yield* listener.prepare
        tlsTickets.restore(server, entry.name, state)
        const error = listener.listen()
        if (error !== undefined) return yield* error
      })

    const listener = (at: Address): Effect.Effect<Listener, ListenError, Scope.Scope> => {
      const name = fdName.listener(at)
      const isInherited = table.isInherited(name)
      return table.claim<BoundListener, ListenError>({
        name,
        onTaken: alreadyListening(name),
        open: openListener(at),
        toEntry: (listener) => ({ name, descriptor: listener.descriptor, listener, inherited: isInherited }),
        close: (listener) => Effect.zipRight(unlinkIfLast(listener), Effect.sync(listener.close))
      }).pipe(Effect.map(([bound, entry]) => ({
        address: bound.address,
        descriptor: Effect.sync(bound.descriptor),
        serve: serve(entry, bound)
      })))
    }

    /** Claims what only an older process can have added. */
    const inheritedOnly = <A>(
      key: FdName,
      name: string,
      open: (descriptor: number) => {
        readonly open: Effect.Effect<A, DescriptorError>
        readonly toEntry: (opened: A) => Entry
        readonly close: (opened: A) => Effect.Effect<void>
      }
    ): Effect.Effect<Option.Option<A>, DescriptorError, Scope.Scope> =>
      Effect.suspend(() => {
        if (table.isTaken(key)) return Effect.fail(alreadyClaimed(name)())
        const descriptor = table.takeInherited(key)
        return Option.isNone(descriptor)
          ? Effect.succeedNone
          : table.claim({ name: key, onTaken: alreadyClaimed(name), ...open(descriptor.value) }).pipe(
            Effect.map(([opened]) => Option.some(opened))
          )
      })

    const connectionEntry = (name: FdName, connection: net.Socket): Entry => ({
      name,
      descriptor: () => env.connectionDescriptor(connection),
      connection
    })

    /** Hands over what goes on belonging to the caller. */
    const borrow = <E>(entry: Entry, onTaken: () => E): Effect.Effect<void, E, Scope.Scope> =>
      Effect.asVoid(
        table.claim<void, E>({
          name: entry.name,
          onTaken,
          open: Effect.void,
          toEntry: () => entry,
          close: () => Effect.void
        })
      )

    const service: Fds["Type"] = {
      listener,
      listen: (server, at) =>
        Effect.flatMap(
          listener(at),
          (claimed) => Effect.as(claimed.serve(server), claimed.address)
        ),
      packet: (at) => {
        const name = fdName.packet(at)
        const open = Effect.suspend(() =>
          Option.match(table.takeInherited(name), {
            onNone: () => env.bindPacket(at),
            onSome: (descriptor) => env.adoptPacket(at, descriptor)
          })
        )
        return table.claim<BoundPacket, ListenError>({
          name,
          onTaken: alreadyListening(name),
          open: Effect.tap(open, (bound) => Effect.sync(() => active && bound.start())),
          toEntry: (bound) => ({ name, descriptor: bound.descriptor, start: bound.start }),
          close: (bound) => Effect.sync(() => Option.isSome(bound.descriptor()) && bound.socket.close())
        }).pipe(
          Effect.map(([bound]) => bound.socket),
          Effect.tap(draining.followPacket)
        )
      },
      connection: (name) => {
        const key = fdName.connection(name)
        return inheritedOnly(key, name, (descriptor) => ({
          open: env.adoptConnection(name, descriptor),
          toEntry: (socket) => connectionEntry(key, socket),
          close: (socket) => Effect.sync(() => socket.destroy())
        }))
      },
      file: (name) => {
        const key = fdName.file(name)
        return inheritedOnly(key, name, (descriptor) => ({
          open: Effect.succeed(descriptor),
          toEntry: () => ({ name: key, descriptor: () => Option.some(descriptor) }),
          close: () => env.closeDescriptor(descriptor)
        }))
      },
      addListener: (at, server) => {
        const name = fdName.listener(at)
        const listener = env.borrowListener(server)
        const entry: Entry = { name, descriptor: listener.descriptor, listener, server }
        return borrow(entry, alreadyListening(name)).pipe(
          Effect.zipRight(draining.follow(server, name.address)),
          Effect.map((emptyQueue) => {
            entry.emptyQueue = Effect.suspend(() => hasOwnSocket(server) ? emptyQueue : Effect.void)
          })
        )
      },
      addPacket: (at, socket) => {
        const name = fdName.packet(at)
        return Effect.zipRight(
          borrow({ name, descriptor: env.borrowPacket(socket).descriptor }, alreadyListening(name)),
          draining.followPacket(socket)
        )
      },
      addConnection: (name, socket) => borrow(connectionEntry(fdName.connection(name), socket), alreadyClaimed(name)),
      addFile: (name, descriptor) =>
        Effect.if(env.isOpen(descriptor), {
          onTrue: () =>
            borrow(
              { name: fdName.file(name), descriptor: () => Option.some(descriptor) },
              alreadyClaimed(name)
            ),
          onFalse: () =>
            new DescriptorError({ reason: "NotOpen", name, detail: `descriptor ${descriptor} is not open` })
        })
    }

    const connections = () => table.entries().flatMap(({ connection }) => connection ?? [])

    const listeners = () => table.entries().flatMap((entry) => entry.listener && entry.server ? [entry.listener] : [])

    /** Listeners without a server, which other processes accept on. */
    const bare = () => table.entries().flatMap((entry) => entry.listener && !entry.server ? [entry.listener] : [])

    // In one turn of the event loop: if one address fails, nobody has been let in anywhere.
    const startAll = Effect.suspend((): Effect.Effect<void, ListenError> => {
      // Now that the app has told its servers all that it has to tell before they accept.
      for (const { name, server } of table.entries()) if (server !== undefined) tlsTickets.restore(server, name, state)
      const starts = [...listeners().map(({ listen }) => listen), ...bare().map(({ publish }) => publish)]
      for (const start of starts) {
        const error = start()
        if (error !== undefined) {
          listeners().forEach((listener) => listener.close())
          return Effect.fail(error)
        }
      }
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
      yield* Effect.logDebug(`Closed the inherited ${name.kind} ${name.address}, which nothing asked for`)
    })

    const closeUnclaimed = Effect.suspend(() =>
      Effect.forEach(table.takeAllInherited(), closeInherited, { discard: true })
    )
    yield* Effect.addFinalizer(() => closeUnclaimed)

    return {
      service,
      descriptors: Effect.sync(() => {
        const entries = table.entries()
        handedOver = new Set(entries)
        return entries.flatMap((entry) =>
          Option.match(entry.descriptor(), {
            onNone: () => [],
            onSome: (descriptor) => [{ name: entry.name, descriptor }]
          })
        )
      }),
      state: Effect.sync(() => tlsTickets.collect(table.entries())),
      activate: Effect.suspend(() =>
        Effect.zipRight(
          Effect.forEach([...listeners(), ...bare()], (listener) => listener.prepare, { discard: true }),
          startAll
        )
      ),
      closeUnclaimed,
      parentExited: Effect.suspend(() => {
        parentLives = false
        return Effect.forEach(orphans.splice(0), (listener) => listener.unlink, { discard: true })
      }),
      shareWithChild: Effect.suspend(() => {
        childShares = true
        return Effect.forEach(connections(), (socket) => {
          if (!socket.isPaused()) stopped.add(socket)
          return env.stopReading(socket)
        }, { discard: true })
      }),
      takeBackFromChild: Effect.suspend(() => {
        childShares = false
        handedOver = new Set()
        const sockets = [...stopped]
        stopped.clear()
        return Effect.forEach(sockets, env.resumeReading, { discard: true })
      }),
      letGoOfConnections: Effect.sync(() => connections().forEach((socket) => socket.destroy())),
      stopAccepting: (reason) =>
        Effect.suspend(() => {
          const [own, shared] = Arr.partition(
            table.entries().filter(({ listener, server }) => listener && server),
            (entry) =>
              reason._tag === "Upgraded" ? handedOver.has(entry) : inheritedIsShared && entry.inherited === true
          )
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

/** The address as the app wrote it, with the port that was chosen for port 0. */
const boundTo = ({ name }: Entry, { address }: BoundListener): string =>
  address !== null && typeof address === "object" && name.address.endsWith(":0")
    ? `${name.address.slice(0, -1)}${address.port}`
    : name.address

const alreadyServing = (name: FdName) =>
  new ListenError({
    reason: "AlreadyClaimed",
    address: name.address,
    detail: "the server listens somewhere already; a server has one socket, and listen must not be called on it"
  })

const logUnchangeable = (at: Address): Effect.Effect<void> => {
  const option = address.isPath(at) ? "mode" : "ipv6Only"
  const asked = address.isPath(at) ? at.mode : at.ipv6Only
  return asked === undefined
    ? Effect.void
    : Effect.logDebug(`${address.format(at)} was inherited, so ${option} stays as it was when it was first bound`)
}
