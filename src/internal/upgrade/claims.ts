/**
 * The registry as the app sees it.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import * as ExecutionStrategy from "effect/ExecutionStrategy"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import type * as net from "node:net"
import type { Address, FdName } from "../../Address.ts"
import type { Fds, Listener } from "../../Fds.ts"
import { DescriptorError, ListenError } from "../../TableflipError.ts"
import { keepUrls } from "../handOver/opening.ts"
import type { Sender } from "../handOver/sender.ts"
import { hasOwnSocket } from "../node/internals.ts"
import type { System } from "../system/env.ts"
import type { BoundListener, BoundPacket } from "../system/socket.ts"
import * as fdName from "../wire/fdName.ts"
import type { State } from "../wire/handOff.ts"
import type { Activated } from "./activation.ts"
import type { DescriptorTable, Entry } from "./descriptorTable.ts"
import type { Draining } from "./drainAll.ts"
import type { Opening } from "./opening.ts"
import * as tlsTickets from "./tlsTickets.ts"

export interface ClaimsOptions {
  readonly env: System
  readonly table: DescriptorTable
  readonly opening: Opening
  readonly activated: Activated
  readonly draining: Draining
  readonly state: State
  readonly isActive: () => boolean
  readonly unlinkIfLast: (listener: BoundListener) => Effect.Effect<void>
}

export const make = (
  { activated, draining, env, isActive, opening, state, table, unlinkIfLast }: ClaimsOptions
): Fds["Type"] => {
  /** What this process does at once if it is ready already. */
  const listenLate = Effect.fnUntraced(function*(listener: BoundListener) {
    yield* listener.prepare
    const error = listener.publish() ?? listener.listen()
    if (error === undefined) return
    listener.retract()
    return yield* error
  })

  const takeActivated = (descriptor: Option.Option<number>) =>
    Option.getOrUndefined(Option.map(descriptor, activated.take))

  const serve = (entry: Entry, listener: BoundListener): Listener["serve"] => {
    let isTaken = false
    return (server, { drain = true, handOver = true, takes = [] } = {}) =>
      Effect.suspend(() => {
        const { name } = entry
        if (server.listening) return Effect.fail(alreadyServing(name))
        if (isTaken && Option.isSome(listener.descriptor())) return Effect.fail(alreadyServed(name))
        if (Option.isNone(listener.descriptor())) return Effect.fail(closed(name))
        isTaken = true
        return Effect.gen(function*() {
          if (isActive()) yield* listenLate(listener)
          entry.isDrained = drain
          entry.handsOver = drain && handOver
          entry.takes = takes
          if (takes.length > 0) keepUrls(server)
          if (drain) entry.emptyQueue = yield* draining.follow(server, boundTo(entry, listener), successorFor(entry))
          if (Option.isNone(listener.descriptor())) return yield* closed(name)
          entry.server = server
          listener.attach(server)
          if (!isActive()) return
          tlsTickets.restore(server, name, state)
          listener.accept()
        }).pipe(
          Effect.onError(() =>
            Effect.sync(() => {
              isTaken = false
            })
          ),
          Effect.uninterruptible
        )
      })
  }

  const listener = (at: Address): Effect.Effect<Listener, ListenError, Scope.Scope> => {
    const name = fdName.listener(at)
    return table.claim<BoundListener, ListenError>({
      name,
      onTaken: alreadyListening(name),
      open: opening.listener(at),
      toEntry: (listener) => ({
        name,
        descriptor: listener.descriptor,
        listener,
        inherited: listener.inherited,
        activated: takeActivated(listener.descriptor())
      }),
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
      if (Option.isNone(descriptor)) return Effect.succeedNone
      const opening = open(descriptor.value)
      return table.claim({ ...opening, name: key, onTaken: alreadyClaimed(name), open: () => opening.open }).pipe(
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
        open: () => Effect.void,
        toEntry: () => entry,
        close: () => Effect.void
      })
    )

  return {
    listener,
    // A server that is refused leaves the address as it was, inherited or free.
    listen: (server, at, options) =>
      Effect.suspend(() => server.listening ? Effect.fail(alreadyServing(fdName.listener(at))) : Effect.scope).pipe(
        Effect.flatMap((scope) => Scope.fork(scope, ExecutionStrategy.sequential)),
        Effect.flatMap((own) =>
          Effect.flatMap(listener(at), (claimed) => Effect.as(claimed.serve(server, options), claimed.address)).pipe(
            Scope.extend(own),
            Effect.onError(() => Scope.close(own, Exit.void))
          )
        )
      ),
    packet: (at) => {
      const name = fdName.packet(at)
      return table.claim<BoundPacket, ListenError>({
        name,
        onTaken: alreadyListening(name),
        open: (restore) =>
          Effect.tap(opening.packet(at)(restore), (bound) => Effect.sync(() => isActive() && bound.start())),
        toEntry: (bound) => ({
          name,
          descriptor: bound.descriptor,
          start: bound.start,
          activated: takeActivated(bound.descriptor())
        }),
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
      return inheritedOnly(key, name, (descriptor) => {
        const entry = { ...fileEntry(env, key, descriptor), activated: activated.take(descriptor) }
        return {
          open: Effect.succeed(descriptor),
          toEntry: () => entry,
          close: () =>
            Effect.suspend(() => Option.isSome(entry.descriptor()) ? env.closeDescriptor(descriptor) : Effect.void)
        }
      })
    },
    takeFile: (name) =>
      Effect.suspend(() => {
        const key = fdName.file(name)
        return table.isTaken(key) ? Effect.fail(alreadyClaimed(name)()) : Effect.succeed(table.takeInherited(key))
      }),
    addListener: (at, server) => {
      const name = fdName.listener(at)
      const listener = env.borrowListener(server)
      const entry: Entry = { name, descriptor: listener.descriptor, listener, server, handsOver: true }
      return borrow(entry, alreadyListening(name)).pipe(
        Effect.zipRight(draining.follow(server, name.address, successorFor(entry))),
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
      Effect.suspend(() => {
        const entry = fileEntry(env, fdName.file(name), descriptor)
        return Option.isSome(entry.descriptor())
          ? borrow(entry, alreadyClaimed(name))
          : new DescriptorError({ reason: "NotOpen", name, detail: `descriptor ${descriptor} is not open` })
      })
  }
}

/** Whoever closes a file sets its number free for another one, which is neither to be handed over nor to be closed. */
const fileEntry = (env: System, name: FdName, descriptor: number): Entry => {
  const identity = env.fileIdentity(descriptor)
  const isThis = (now: string) => Option.contains(identity, now)
  return { name, descriptor: () => Option.as(Option.filter(env.fileIdentity(descriptor), isThis), descriptor) }
}

/** Who takes the connections of a server: the one of the same name. */
const successorFor = ({ handsOver, name }: Entry) => (sender: Sender) =>
  handsOver === true ? sender.to([name.network, name.address]) : undefined

/** The address as the app wrote it, with the port that was chosen for port 0. */
export const boundTo = ({ name }: Entry, { address }: BoundListener): string =>
  address !== null && typeof address === "object" && name.address.endsWith(":0")
    ? `${name.address.slice(0, -1)}${address.port}`
    : name.address

const alreadyListening = (name: FdName) => () =>
  new ListenError({
    reason: "AlreadyClaimed",
    address: name.address,
    detail: "this process has claimed the address already; give each of several sockets on it a name of its own"
  })

const alreadyClaimed = (name: string) => () =>
  new DescriptorError({ reason: "AlreadyClaimed", name, detail: "this process has claimed or added it already" })

const alreadyServing = (name: FdName) =>
  new ListenError({
    reason: "AlreadyClaimed",
    address: name.address,
    detail: "the server listens somewhere already; a server has one socket, and listen must not be called on it"
  })

const alreadyServed = (name: FdName) =>
  new ListenError({
    reason: "AlreadyClaimed",
    address: name.address,
    detail: "another server accepts on this socket; a socket has one server"
  })

const closed = (name: FdName) =>
  new ListenError({
    reason: "Closed",
    address: name.address,
    detail: "the socket has been closed, by the end of its scope or by its server; claim the address again"
  })
