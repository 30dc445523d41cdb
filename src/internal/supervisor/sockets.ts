/**
 * The sockets of a supervisor: bound once, and given to every generation of its command.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import type { Address, FdName } from "../../Address.ts"
import * as addressModule from "../../Address.ts"
import type { Listen } from "../../Supervisor.ts"
import type { ListenError } from "../../TableflipError.ts"
import { ProtocolError } from "../../TableflipError.ts"
import { logInfo } from "../logging.ts"
import { fromResult } from "../seam.ts"
import type { System } from "../system/env.ts"
import * as serviceManager from "../systemd/serviceManager.ts"
import * as socketActivation from "../wire/listenFds.ts"
import type { Settings } from "./options.ts"

export interface Socket {
  readonly descriptor: number
  /** Where it is bound, as far as the system tells. */
  readonly address: Address | undefined
  /** For readers of `LISTEN_FDNAMES`. */
  readonly name: string
  /** For programs on this library, which ask for it by its address. */
  readonly aliases: ReadonlyArray<FdName>
}

/** A name that another socket has already would lead to the wrong one. */
const unique = (sockets: ReadonlyArray<Socket>): ReadonlyArray<Socket> => {
  const taken = new Set<string>()
  const isFree = ({ address, network }: FdName) => {
    const key = `${network} ${address}`
    if (taken.has(key)) return false
    taken.add(key)
    return true
  }
  return sockets.map((socket) => ({ ...socket, aliases: socket.aliases.filter(isFree) }))
}

/** The address as an app asks for it, with the name of the socket as the name of the address. */
const nameAddress = ({ address, name }: Listen): Address =>
  name === undefined || addressModule.isPath(address) ? address : { ...address, name }

/** With the port that the system has chosen, where it was to choose one. */
const boundAddress = (env: System, address: Address, descriptor: number): Effect.Effect<Address> =>
  addressModule.isPath(address) || address.port !== 0
    ? Effect.succeed(address)
    : Effect.map(env.addressOf(descriptor), (found) => ({ ...address, ...portOf(Option.getOrUndefined(found)) }))

const portOf = (address: Address | undefined) =>
  address === undefined || addressModule.isPath(address) ? {} : { port: address.port }

const takeActivated = Effect.fnUntraced(function*(env: System, isWanted: boolean) {
  const environment = yield* env.variables
  const decoded = isWanted ? socketActivation.decode(environment, env.pid) : undefined
  yield* env.removeVariables(socketActivation.variables)
  let notifySocket = Option.none<number>()
  const sockets = yield* Effect.forEach(
    decoded === undefined ? [] : yield* fromResult(decoded),
    ({ descriptor, name }) =>
      Effect.gen(function*() {
        const kind = yield* env.kindOf(descriptor)
        if (Option.isNone(kind)) {
          return yield* new ProtocolError({
            source: "LISTEN_FDS",
            detail: `names descriptor ${descriptor}, which is not open`
          })
        }
        // Such as what `OpenFile=` opens. The first one that a command finds has to be a socket that it can serve.
        if (name === serviceManager.descriptorName && kind.value !== "listener" && kind.value !== "packet") {
          notifySocket = Option.some(descriptor)
          return []
        }
        if (kind.value === "file") {
          yield* logInfo(
            `LISTEN_FDS: descriptor ${descriptor} (${name}) is no socket to serve; the command does not get it`
          )
          return []
        }
        const address = yield* env.addressOf(descriptor)
        const socket: Socket = {
          descriptor,
          name,
          address: Option.getOrUndefined(address),
          aliases: Option.match(address, {
            onNone: () => [],
            onSome: (address) => socketActivation.aliases(nameAddress({ address, name }))
          })
        }
        return [socket]
      })
  )
  return { sockets: sockets.flat(), notifySocket }
})

export interface Sockets {
  readonly all: ReadonlyArray<Socket>
  /** The socket of the service manager that is told how this process does, if it has opened one for that. */
  readonly notifySocket: Option.Option<number>
  /** Uses the descriptors, which are not closed meanwhile. Interrupts once they are. */
  readonly use: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  /** Has those who wait be accepted, and hardly anybody else come. */
  readonly empty: Effect.Effect<void>
  /**
   * Closes what this process has opened, for the command to be the last that has it: a queue is reset by who is last, and
   * that should be who has just accepted from it. Where the descriptors are in use that is left to the end.
   */
  readonly close: Effect.Effect<void>
}

/** The sockets, those that systemd has opened first. `isLeft` tells at the end whether somebody else serves them on. */
export const open: (
  env: System,
  settings: Settings,
  isLeft: () => boolean
) => Effect.Effect<Sockets, ListenError | ProtocolError, Scope.Scope> = Effect.fnUntraced(
  function*(env, settings, isLeft) {
    const activated = yield* takeActivated(env, settings.activated)
    const bound = yield* Effect.forEach(settings.listen, (listen) =>
      Effect.map(
        Effect.acquireRelease(
          env.bind(listen.address),
          (listener) =>
            Effect.zipRight(Effect.suspend(() => isLeft() ? Effect.void : listener.unlink), Effect.sync(listener.close))
        ),
        (listener) => ({ ...listen, listener })
      ))
    yield* env.queueConnections(bound)
    const opened = yield* Effect.forEach(bound, (listen) =>
      Option.match(listen.listener.descriptor(), {
        onNone: () => Effect.succeed<ReadonlyArray<Socket>>([]),
        onSome: (descriptor) =>
          Effect.map(boundAddress(env, listen.address, descriptor), (address) => [{
            descriptor,
            address,
            name: listen.name ?? socketActivation.unnamed,
            aliases: socketActivation.aliases(nameAddress(listen))
          }])
      }))
    let users = 0
    let isClosed = false
    return {
      notifySocket: activated.notifySocket,
      all: unique([...activated.sockets, ...opened.flat()]),
      use: (effect) =>
        Effect.suspend(() => {
          if (isClosed) return Effect.interrupt
          users += 1
          return Effect.ensuring(effect, Effect.sync(() => users -= 1))
        }),
      empty: Effect.zipRight(
        Effect.forEach(bound, ({ listener }) => listener.unlink, { discard: true }),
        Effect.suspend(() => bound.length === 0 ? Effect.void : env.emptyQueues(bound.map(({ listener }) => listener)))
      ),
      close: Effect.sync(() => {
        if (users > 0) return
        isClosed = true
        for (const { listener } of bound) listener.close()
      })
    }
  }
)
