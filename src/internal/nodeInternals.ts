/**
 * Everything that leans on parts of Node that its documentation does not promise. Node's own cluster module stands on
 * the same functions; each is there on Node 20, 22, 24 and 26, and what is missing is named before anything starts.
 *
 * @internal
 */
import * as Option from "effect/Option"
import type * as dgram from "node:dgram"
import * as net from "node:net"

/** A libuv socket handle. Its descriptor turns negative once it is closed. */
export interface SocketHandle {
  readonly fd: number
  close(): void
}

/** A socket that is bound and can be listened on. */
export interface ServerHandle extends SocketHandle {
  listen(backlog: number): number
  getsockname?(out: Partial<net.AddressInfo>): number
}

interface DatagramHandle extends SocketHandle {
  recvStart(): number
  recvStop(): number
}

interface NetInternals {
  _createServerHandle(
    address: string | null,
    port: number | null,
    addressType: number | null,
    fd: number | undefined,
    flags: number
  ): ServerHandle | number
}

interface ServerInternals {
  _handle: ServerHandle | null
  _pipeName: string | undefined
  _listen2(
    address: string | null,
    port: number,
    addressType: number,
    backlog: number | undefined,
    fd: number | undefined,
    flags: number
  ): void
}

const netInternals = net as unknown as NetInternals
const serverInternals = (server: net.Server) => server as unknown as ServerInternals

/** The first function of Node that is needed and not there. */
export const missingFunction: Option.Option<string> = Option.firstSomeOf([
  typeof netInternals._createServerHandle === "function" ? Option.none() : Option.some("net._createServerHandle"),
  typeof (net.Server.prototype as unknown as ServerInternals)._listen2 === "function"
    ? Option.none()
    : Option.some("net.Server.prototype._listen2")
])

const ipv6OnlyFlag = 1

/** A bound TCP socket, or a negative error number. */
export const bindTcp = (ip: string, port: number, ipv6Only: boolean): ServerHandle | number =>
  netInternals._createServerHandle(ip, port, net.isIPv6(ip) ? 6 : 4, undefined, ipv6Only ? ipv6OnlyFlag : 0)

/** A bound Unix socket, or a negative error number. */
export const bindPipe = (path: string): ServerHandle | number =>
  netInternals._createServerHandle(path, -1, -1, undefined, 0)

/** The handle of an inherited TCP or Unix socket, or a negative error number. It owns the descriptor. */
export const openServerHandle = (descriptor: number): ServerHandle | number =>
  netInternals._createServerHandle(null, null, null, descriptor, 0)

/** The address of a TCP handle, or a negative error number: a failed bind may show only here. */
export const boundAddress = (handle: ServerHandle): net.AddressInfo | number | undefined => {
  if (handle.getsockname === undefined) return undefined
  const out: Partial<net.AddressInfo> = {}
  const error = handle.getsockname(out)
  return error !== 0 ? error : out as net.AddressInfo
}

export const serverHandle = (server: net.Server): ServerHandle | null => serverInternals(server)._handle

/**
 * Makes a bound handle the one of a server. `server.listen({ _handle })` would do for TCP, but it starts accepting at
 * once, and for Unix sockets it makes a second handle on the same descriptor, which then is closed twice.
 */
export const attachHandle = (server: net.Server, handle: ServerHandle, path: string | undefined): void => {
  const internals = serverInternals(server)
  internals._handle = handle
  internals._pipeName = path
}

/** What `server.listen` ends in once it has a handle. The handle must have taken `listen` before: then this cannot fail. */
export const startAccepting = (server: net.Server, backlog: number): void =>
  serverInternals(server)._listen2(null, -1, -1, backlog, undefined, 0)

/** A server that was given no backlog uses this one. */
export const defaultBacklog = 511

/** The handle of a bound datagram socket. There is no way to it that does not warn, save this symbol. */
export const datagramHandle = (socket: dgram.Socket): DatagramHandle | undefined => {
  const symbol = Object.getOwnPropertySymbols(socket).find((symbol) => symbol.description === "state symbol")
  const state = symbol &&
    (socket as unknown as Record<symbol, { readonly handle: DatagramHandle | null } | undefined>)[symbol]
  return state?.handle ?? undefined
}

const openDescriptor = (handle: SocketHandle | null | undefined): Option.Option<number> =>
  handle != null && handle.fd >= 0 ? Option.some(handle.fd) : Option.none()

export { openDescriptor as descriptorOf }

/** The descriptor of a connection. */
export const connectionDescriptor = (socket: net.Socket): Option.Option<number> =>
  openDescriptor((socket as unknown as { readonly _handle: SocketHandle | null })._handle)

/** A connection on an inherited descriptor that leaves its bytes in the kernel until somebody reads. */
export const openConnection = (descriptor: number): net.Socket =>
  new net.Socket(
    { fd: descriptor, readable: true, writable: true, manualStart: true } as net.SocketConstructorOpts
  )
