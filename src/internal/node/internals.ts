/**
 * Everything that leans on parts of Node that its documentation does not promise. Node's own cluster module stands on
 * the same functions; each is there on Node 20, 22, 24 and 26, and what is missing is named before anything starts.
 *
 * @internal
 */
import * as Option from "effect/Option"
import * as childProcess from "node:child_process"
import type * as dgram from "node:dgram"
import * as diagnosticsChannel from "node:diagnostics_channel"
import * as fs from "node:fs"
import type { IncomingMessage, ServerResponse } from "node:http"
import type { ServerHttp2Session } from "node:http2"
import * as net from "node:net"
import type * as tls from "node:tls"
import { longestTimer } from "../timer.ts"

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

export interface DatagramHandle extends SocketHandle {
  bind(ip: string, port: number, flags: number): number
  bind6(ip: string, port: number, flags: number): number
  connect(ip: string, port: number): number
  connect6(ip: string, port: number): number
  disconnect(): number
  getpeername(out: Partial<net.AddressInfo>): number
  getsockname(out: Partial<net.AddressInfo>): number
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

/** What runs this: others than Node give a version of Node too. */
export const runtimeOf = ({ bun, deno, node }: Readonly<Record<string, string | undefined>>): string =>
  bun !== undefined ? `Bun ${bun}` : deno !== undefined ? `Deno ${deno}` : `Node ${node}`

/**
 * Has calls on sockets wait, as programs expect that get theirs from systemd; libuv opens all as O_NONBLOCK. It takes the
 * flag off what becomes standard input, output or error of a process, and does so before it finds that there is no such
 * program. Only for sockets that nobody accepts from yet: an event loop would be held up.
 */
export const makeBlocking = (descriptors: ReadonlyArray<number>): void => {
  for (const descriptor of descriptors) {
    childProcess.spawnSync("/dev/null/none", { stdio: [descriptor, "ignore", "ignore"] })
  }
}

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

/**
 * Has the system queue no more than one connection. It is the socket that changes, for every process that accepts on it,
 * until one of them calls listen(2) anew.
 */
export const shrinkQueue = (server: net.Server): void => void serverHandle(server)?.listen?.(0)

/** The same in a process of its own, for the sockets at descriptor 3, 4, …: one for each argument. */
export const shrinkProgram = `
const net = require("node:net")
process.argv.slice(1).forEach((_, index) => {
  const server = net.createServer()
  server.on("error", () => {})
  server.listen({ fd: index + 3 })
  // Node itself takes 0 for no number.
  server._handle?.listen(0)
})
process.nextTick(() => process.exit(0))
`

interface Builtins {
  getBuiltinModule?(name: "node:cluster"): { readonly isWorker: boolean }
}

/** A process that `node:cluster` has started gets its sockets from the primary. */
const isClusterWorker = (): boolean => {
  const cluster = (process as Builtins).getBuiltinModule?.("node:cluster")
  return cluster === undefined ? process.send !== undefined : cluster.isWorker
}

/**
 * Whether this process has bound the socket of a server that listens, by the key that Node keeps of it; one that it was
 * given, by a parent or by the primary of a cluster, may be another's too.
 */
export const hasOwnSocket = (server: net.Server): boolean => {
  const key = (server as unknown as { readonly _connectionKey?: unknown })._connectionKey
  return serverHandle(server) !== null && typeof key === "string" && !key.startsWith("null:") &&
    !key.startsWith("-1:null") && !isClusterWorker()
}

/** Whether a connection is made, as the system knows it before Node says so. */
export const isConnected = (socket: net.Socket): boolean => {
  const handle = (socket as unknown as { readonly _handle: { getpeername?(out: object): number } | null })._handle
  return handle?.getpeername?.({}) === 0
}

/**
 * Takes the one place that a queue has after `shrinkQueue`, which proves that nobody else is in it, and has the system
 * leave everybody who comes now without an answer until the socket is closed. `done` is called in the turn in which that
 * is so. Elsewhere than on Linux such a queue is one of the usual length, and a place in it tells nothing.
 */
export const takePlace = (host: string, port: number, done: (taken: boolean) => void): void => {
  if (process.platform !== "linux") return done(false)
  const socket = net.connect({ host, port })
  socket.on("error", () => {})
  // Node connects in the tick that `connect` has put on the queue, and on one machine the handshake ends within it.
  process.nextTick(() => {
    done(isConnected(socket))
    socket.destroy()
  })
}

const bySymbol = (target: object, description: string): unknown => {
  const symbol = Object.getOwnPropertySymbols(target).find((symbol) => symbol.description === description)
  return symbol === undefined ? undefined : (target as Record<symbol, unknown>)[symbol]
}

/** The handle of a bound datagram socket. There is no way to it that does not warn, save this symbol. */
export const datagramHandle = (socket: dgram.Socket): DatagramHandle | undefined =>
  (bySymbol(socket, "state symbol") as { readonly handle: DatagramHandle | null } | undefined)?.handle ?? undefined

/** Whether the app has given a datagram socket a peer, in this process. */
export const hasAskedForPeer = (socket: dgram.Socket): boolean => {
  const state = bySymbol(socket, "state symbol") as { readonly connectState?: number } | undefined
  return state?.connectState !== undefined && state.connectState !== 0
}

/** The number behind a handle; none once it is closed. */
export const descriptorOf = (handle: SocketHandle | null | undefined): Option.Option<number> =>
  handle != null && handle.fd >= 0 ? Option.some(handle.fd) : Option.none()

/** The descriptor of a connection. */
export const connectionDescriptor = (socket: net.Socket): Option.Option<number> =>
  descriptorOf((socket as unknown as { readonly _handle: SocketHandle | null })._handle)

interface ReadingHandle {
  reading: boolean
  readStart(): number
  readStop(): number
}

const readingHandle = (socket: net.Socket) => (socket as unknown as { readonly _handle: ReadingHandle | null })._handle

/** What each connection that is not read now asked for meanwhile. */
const stoppedReading = new WeakMap<net.Socket, { wanted: boolean }>()

/**
 * Leaves what has not been read to whoever else has the connection. The stream itself is not paused: whoever reads it, in
 * whatever way, is not to notice, and goes on as before when this is taken back. HTTP resumes the handle and not the stream.
 */
export const stopReading = (socket: net.Socket): void => {
  const handle = readingHandle(socket)
  if (handle === null || stoppedReading.has(socket)) return
  const state = { wanted: handle.reading }
  const want = (wanted: boolean) => () => {
    state.wanted = wanted
    return 0
  }
  stoppedReading.set(socket, state)
  handle.readStop()
  Object.assign(socket, { _read: want(true) })
  Object.assign(handle, { readStart: want(true), readStop: want(false) })
}

/** Takes back what `stopReading` did. */
export const resumeReading = (socket: net.Socket): void => {
  const state = stoppedReading.get(socket)
  if (state === undefined) return
  stoppedReading.delete(socket)
  delete (socket as { _read?: unknown })._read
  const handle = readingHandle(socket)
  if (handle === null) return
  for (const name of ["readStart", "readStop"]) delete (handle as unknown as Record<string, unknown>)[name]
  handle.reading = false
  if (state.wanted && !socket.destroyed) socket._read(0)
}

/** A connection on an inherited descriptor that leaves its bytes in the kernel until somebody reads. */
export const openConnection = (descriptor: number): net.Socket =>
  new net.Socket(
    { fd: descriptor, readable: true, writable: true, manualStart: true } as net.SocketConstructorOpts
  )

// ---------------------------------------------------------------------------------------------------------------------
// Connections that go to another process. What is missing means that none goes.
// ---------------------------------------------------------------------------------------------------------------------

/** What Node passes on: it stays as it is here, and is opened once more there. */
export interface ConnectionHandle extends SocketHandle, ReadingHandle {
  readonly writeQueueSize: number
}

/** The handle of a plain connection. */
export const connectionHandle = (socket: net.Socket): ConnectionHandle | undefined => {
  const handle = (socket as unknown as { readonly _handle?: ConnectionHandle | null })._handle ?? undefined
  return handle !== undefined && handle.fd >= 0 ? handle : undefined
}

interface AcceptingHandle extends ServerHandle {
  onconnection?(status: number, handle: ConnectionHandle): void
}

interface AcceptingServer {
  readonly _connections?: number
}

const isPlaceFor = (server: net.Server, more: number): boolean => {
  const { _connections: connections = 0 } = server as unknown as AcceptingServer
  return connections + more <= (server.maxConnections ?? Infinity)
}

/** Whether a server listens and takes so many more connections. */
export const hasRoomFor = (server: net.Server, more: number): boolean =>
  typeof (serverHandle(server) as AcceptingHandle | null)?.onconnection === "function" && isPlaceFor(server, more)

/**
 * Gives a server a connection in the way in which the event loop does, and so do the workers of `node:cluster`. Nothing is
 * given to one that would drop it.
 */
export const acceptOn = (
  server: net.Server,
  handle: ConnectionHandle,
  /** Called before any listener of the server. */
  before: (socket: net.Socket) => void = () => {}
): net.Socket | undefined => {
  const listening = serverHandle(server) as AcceptingHandle | null
  if (typeof listening?.onconnection !== "function" || !isPlaceFor(server, 1)) return undefined
  let accepted: net.Socket | undefined
  const onConnection = (socket: net.Socket) => {
    accepted = socket
    before(socket)
  }
  server.prependOnceListener("connection", onConnection)
  try {
    listening.onconnection(0, handle)
  } finally {
    server.off("connection", onConnection)
  }
  return accepted
}

interface SendingProcess {
  _handleQueue?: unknown
  send(words: object, handle: unknown, options: object, callback: () => void): boolean
}

/** Whether this Node lets several connections be on their way to a child at once. */
export const canPassSeveral = (child: childProcess.ChildProcess): boolean => "_handleQueue" in child

/**
 * Sends words with a connection to a child, which is not to acknowledge it: Node would hold back the next one until then. The
 * connection stays open here, and as it is.
 */
export const passOn = (
  child: childProcess.ChildProcess,
  words: object,
  handle: ConnectionHandle,
  /** Called when it has been written, or cannot be. */
  onWritten: () => void = () => {}
): void => {
  const process = child as unknown as SendingProcess
  // A child that has gone shows by the end of the channel.
  process.send(words, handle, {}, onWritten)
  process._handleQueue = null
}

interface ChannelHandle extends ConnectionHandle {
  pendingHandle?: ConnectionHandle | null
  onread: (this: unknown, ...args: Array<unknown>) => unknown
}

/**
 * Reads all that has been sent by a process that is gone. libuv takes a read that does not fill its buffer for the last one
 * then; but what comes with a connection comes alone. Whether that was the end only another read can tell.
 */
const readToTheEnd = (handle: ChannelHandle): void => {
  const { onread } = handle
  let hasRead = false
  handle.onread = function(...args) {
    const isMore = args[0] === undefined && hasRead && handle.readStart() === 0
    hasRead = args[0] !== undefined
    return isMore ? undefined : onread.apply(this, args)
  }
}

interface Received {
  readonly cmd?: unknown
}

/**
 * The same in the process that has started the other, which may be any program. What that says there must not end this one:
 * Node throws at what is no JSON and at an acknowledgement that it does not wait for, and makes sockets that listen of handles.
 */
export const hearToTheEnd = (child: childProcess.ChildProcess): void => {
  const handle = bySymbol(child, "kChannelHandle") as ChannelHandle | null | undefined
  if (handle == null) return
  readToTheEnd(handle)
  const { onread } = handle
  handle.onread = function(...args) {
    try {
      return onread.apply(this, args)
    } catch {
      return child.disconnect()
    }
  }
  for (const listener of child.listeners("internalMessage")) {
    child.off("internalMessage", listener as () => void)
    child.on("internalMessage", (message: Received, passed: unknown) => {
      if (message.cmd === "NODE_HANDLE") listener.call(child, { ...message, type: "net.Native" }, passed)
    })
  }
}

/** What makes a channel of Node's visible, or keeps its handle. */
const channelProperties = [
  "send",
  "_send",
  "connected",
  "disconnect",
  "_disconnect",
  "channel",
  "_channel",
  "_handleQueue",
  "_pendingMessage"
]

interface ParentChannel {
  readonly socket: net.Socket
  readonly takeHandle: () => ConnectionHandle | undefined
  /** The stream would end with the first word that nobody is there to hear, and with it what has come and is not read yet. */
  readonly send: (words: object, handle: ConnectionHandle | undefined, onWritten: () => void) => void
}

interface ForkingModule {
  _forkChild?(descriptor: number, serialization: "json"): void
}

/**
 * Opens a channel as Node does at the start of a process that finds its number in a variable. What is no socket would end the
 * process by an assertion.
 */
const openChannel = (descriptor: number): void => {
  try {
    if (fs.fstatSync(descriptor).isSocket()) (childProcess as ForkingModule)._forkChild?.(descriptor, "json")
  } catch {
    // It is not open.
  }
}

type Send = (
  this: object,
  words: object,
  handle: ConnectionHandle | undefined,
  options: object,
  callback: () => void
) => unknown

/**
 * Takes the channel at this number, which Node has opened unless it is hidden from it, away from `process`: what comes is
 * read from the socket, and the handles that came along from `takeHandle`, in their order. From then on this is a process without a channel.
 */
export const parentChannel = (
  descriptor: number
): ParentChannel | undefined => {
  const self = process as unknown as Record<PropertyKey, unknown>
  const findKey = () =>
    Object.getOwnPropertySymbols(process).find(({ description }) => description === "kChannelHandle")
  if (findKey() === undefined && process.send === undefined) openChannel(descriptor)
  const key = findKey()
  const handle = (key === undefined ? undefined : self[key]) as ChannelHandle | null | undefined
  const send = self["_send"] as Send | undefined
  if (key === undefined || handle == null || handle.fd !== descriptor || typeof send !== "function") return undefined
  for (const name of [...channelProperties, key]) delete self[name]
  handle.readStop()
  const socket = new net.Socket(
    { handle, readable: true, writable: true, manualStart: true } as net.SocketConstructorOpts
  )
  socket.unref()
  // Listeners of "message" that the app adds would have Node keep this process alive.
  Object.assign(handle, { ref: () => {} })
  const received: Array<ConnectionHandle> = []
  const { onread } = handle
  handle.onread = function(...args) {
    const { pendingHandle } = handle
    handle.pendingHandle = null
    if (pendingHandle != null) received.push(pendingHandle)
    return onread.apply(this, args)
  }
  readToTheEnd(handle)
  socket.on("close", () => received.splice(0).forEach((left) => left.close()))
  return {
    socket,
    takeHandle: () => received.shift(),
    send: (words, handle, onWritten) => {
      // Of the process Node looks only whether it has a channel, and what waits for an acknowledgement: nothing does.
      send.call({ connected: true, _handleQueue: null }, words, handle, {}, onWritten)
    }
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// Connections, for draining. What another release of Node may lack is answered with "unknown" and never with an
// exception, so that a drain degrades into waiting rather than into breaking connections.
// ---------------------------------------------------------------------------------------------------------------------

interface Parser {
  readonly incoming: IncomingMessage | null
}

interface HttpSocket {
  readonly parser?: Parser | null | undefined
  readonly _httpMessage?: ServerResponse | null | undefined
}

/**
 * Closes the listening handle and nothing else. `http.Server.prototype.close` would also destroy idle connections (whose
 * next request may be on its way) and stop the timer that enforces `headersTimeout`. An app that closes the server too
 * is told when it is closed, and not that it never ran.
 */
export const closeListener = (server: net.Server): void => {
  const isOpen = serverHandle(server) !== null
  net.Server.prototype.close.call(server)
  if (!isOpen) return
  const { close } = server
  let isClosed = false
  server.once("close", () => {
    isClosed = true
  })
  server.close = (callback) => {
    if (serverHandle(server) !== null) return close.call(server, callback)
    if (callback !== undefined && isClosed) process.nextTick(callback)
    else if (callback !== undefined) server.once("close", () => callback())
    return server
  }
}

/**
 * `http.Server.prototype.close` clears this timer; `closeListener` leaves it running, to be cleared when all is over.
 */
export const stopCheckingConnections = (server: net.Server): void => {
  const timer = bySymbol(server, "http.server.connectionsCheckingInterval")
  if (typeof timer === "object" && timer !== null) clearInterval(timer as NodeJS.Timeout)
}

export const isTlsServer = (server: net.Server): server is tls.Server => "setSecureContext" in server

interface TlsServerInternals extends tls.TlsOptions {
  readonly _contexts?: ReadonlyArray<unknown> | undefined
}

/** Whether the app has configured keys for session tickets, rather than left them to Node. */
export const hasOwnTicketKeys = (server: tls.Server): boolean =>
  (server as unknown as TlsServerInternals).ticketKeys !== undefined

const crypto = () => process.getBuiltinModule("node:crypto")

/**
 * What a session stands on: it was begun under these settings and is resumed without another look at them. None if that
 * cannot be seen: what contexts by name trust, and which authorities Node brings along. Where no client is asked for a
 * certificate, nobody needs to know.
 */
export const sessionBasis = (server: tls.Server): Uint8Array | undefined => {
  const { _contexts: contexts = [], ...settings } = server as unknown as TlsServerInternals
  const { ca, ciphers, crl, maxVersion, minVersion, pfx, rejectUnauthorized, requestCert, secureOptions } = settings
  const asks = requestCert === true
  if (asks && (ca === undefined || contexts.length > 0 || bySymbol(server, "snicallback") !== undefined)) {
    return undefined
  }
  const basis = [ciphers, minVersion, maxVersion, secureOptions, ...asks ? [rejectUnauthorized, ca, crl, pfx] : [asks]]
  return crypto().createHash("sha256").update(JSON.stringify(basis)).digest()
}

/** The same keys for the same secret and the same basis. */
export const ticketKeysFrom = (secret: Uint8Array, basis: Uint8Array): Buffer =>
  crypto().createHmac("sha384", secret).update(basis).digest()

/** The plain socket under a TLS socket. */
export const plainSocketOf = (socket: net.Socket): net.Socket | undefined =>
  (socket as { readonly _parent?: net.Socket | null | undefined })._parent ?? undefined

/** The HTTP server that speaks on a connection, which need not be the one that has accepted it. */
export const httpServerOf = (socket: net.Socket): net.Server | undefined =>
  (bySymbol(socket, "server") ?? (socket as { readonly server?: unknown }).server ?? undefined) as
    | net.Server
    | undefined

const isSession = (value: unknown): value is ServerHttp2Session =>
  (value as { readonly constructor?: { readonly name?: string } } | null | undefined)?.constructor?.name ===
    "ServerHttp2Session"

/** Under which key of its socket Node keeps an HTTP/2 session. It has no name, and is the same for all. */
let sessionKey: PropertyKey | undefined

/** The HTTP/2 session that an HTTP/2 server has on a connection, whoever has accepted that. */
export const sessionOf = (socket: net.Socket): ServerHttp2Session | undefined => {
  const server = httpServerOf(socket)
  if (server === undefined || !("updateSettings" in server)) return undefined
  const values = socket as unknown as Readonly<Record<PropertyKey, unknown>>
  sessionKey ??= Reflect.ownKeys(socket).find((key) => isSession(values[key]))
  const session = sessionKey === undefined ? undefined : values[sessionKey]
  return isSession(session) ? session : undefined
}

interface TlsPrototype {
  _finishInit?: () => void
}

const securedListeners = new Set<(socket: net.Socket) => void>()
let unwatchHandshakes: (() => void) | undefined

const isTlsLoaded = () =>
  (process as unknown as { readonly moduleLoadList?: ReadonlyArray<string> }).moduleLoadList?.includes(
    "NativeModule tls"
  ) !== false

const watchHandshakes = () => {
  // Where nobody has loaded it, nobody speaks it.
  if (unwatchHandshakes !== undefined || !isTlsLoaded()) return
  const prototype = process.getBuiltinModule("node:tls").TLSSocket.prototype as unknown as TlsPrototype
  const finish = prototype._finishInit
  if (finish === undefined) return
  const watched = function(this: net.Socket) {
    for (const listener of securedListeners) listener(this)
    return finish.call(this)
  }
  prototype._finishInit = watched
  unwatchHandshakes = () => {
    if (prototype._finishInit === watched) prototype._finishInit = finish
    unwatchHandshakes = undefined
  }
}

/**
 * What is told of each TLS socket of the process when its handshake is over, before its server is: a plain socket does not
 * know what has been made of it. To be called again when there are connections, because TLS may have been loaded since.
 */
export const onSecured = (listener: (socket: net.Socket) => void): () => void => {
  securedListeners.add(listener)
  watchHandshakes()
  return () => {
    securedListeners.delete(listener)
    if (securedListeners.size === 0) unwatchHandshakes?.()
  }
}

/** What is told before a request is given to its server, of every HTTP/1 server of the process. */
export const onRequestStart = (
  listener: (start: { readonly server: net.Server; readonly socket: net.Socket }) => void
): () => void => {
  const onMessage = (message: unknown) => listener(message as Parameters<typeof listener>[0])
  diagnosticsChannel.subscribe("http.server.request.start", onMessage)
  return () => void diagnosticsChannel.unsubscribe("http.server.request.start", onMessage)
}

/** Whether an HTTP/1 parser reads this connection: false after an upgrade, where the parser has been taken away. */
export const speaksHttp1 = (socket: net.Socket): boolean => {
  const parser = (socket as HttpSocket).parser
  return parser !== undefined && parser !== null
}

/** The connection of an HTTP/1 request that may become something else, such as a WebSocket. */
export const upgradedSocket = (request: object): net.Socket | undefined =>
  "upgrade" in request && request.upgrade === true && "socket" in request ? request.socket as net.Socket : undefined

/**
 * What an upgraded connection that closes is taken for: one that has been ended in order, as after a closing handshake, or
 * one that its client has cut off, which interrupts handlers.
 */
export const closesAs = (socket: net.Socket, how: "ended" | "cutOff"): void =>
  void Object.defineProperty(socket, "writableEnded", { value: how === "ended", configurable: true })

/** The response whose turn it is on this connection. */
export const currentResponse = (socket: net.Socket): ServerResponse | undefined =>
  (socket as HttpSocket)._httpMessage ?? undefined

/** The request that was parsed last, until it has been read to its end: for ever, if the app has begun that and stopped. */
export const newestRequest = (socket: net.Socket): IncomingMessage | undefined =>
  (socket as HttpSocket).parser?.incoming ?? undefined

/** Whether the rest of a request is still to come, or the app still reads it, be it answered or not. */
export const isReceiving = (socket: net.Socket): boolean => {
  const request = newestRequest(socket)
  if (request === undefined) return false
  const isRead = !request.destroyed && request.listenerCount("data") + request.listenerCount("readable") > 0
  return !request.complete || isRead
}

interface ConnectionsList {
  idle?(): ReadonlyArray<{ readonly socket?: object }>
  active?(): ReadonlyArray<{ readonly socket?: object }>
}

/**
 * What tells the connections of a server on which no message has begun from the others: its own list, the only thing that
 * knows of half a request line. Undefined where there is no such list. Before Node 26 never-used connections count as if a
 * message had begun. What `active` gives holds for one turn of the event loop; who is in `listed` stays in the list until a
 * parser reads that connection no more.
 */
export const messagesOf = (
  server: net.Server
): { readonly active: () => ReadonlySet<unknown>; readonly idle: () => ReadonlyArray<object> } | undefined => {
  const list = bySymbol(server, "http.server.connections") as ConnectionsList | undefined
  if (typeof list?.idle !== "function" || typeof list.active !== "function") return undefined
  return {
    active: () => new Set(list.active!().map(({ socket }) => socket)),
    idle: () => list.idle!().flatMap(({ socket }) => socket ?? [])
  }
}

/** What is told when a response of an HTTP/1 server of the process is out, before Node does what it does after it. */
export const onResponseFinish = (listener: (socket: net.Socket) => void): () => void => {
  const onMessage = (message: unknown) => listener((message as { readonly socket: net.Socket }).socket)
  diagnosticsChannel.subscribe("http.server.response.finish", onMessage)
  return () => void diagnosticsChannel.unsubscribe("http.server.response.finish", onMessage)
}

/**
 * Whether a server is one of `node:http` whose connections carry nothing but HTTP: what reads a header of a proxy first, say,
 * has put a listener of its own in the place of Node's.
 */
export const isPlainHttp = (server: net.Server): boolean =>
  "requestTimeout" in server && "closeIdleConnections" in server && !isTlsServer(server) &&
  server.listeners("connection").some(({ name }) => name === "connectionListener")

interface QuietSocket {
  readonly _paused?: boolean
}

interface DecodingSocket {
  readonly _readableState?: { readonly decoder?: { readonly lastNeed?: number } | null }
}

/** A character that has come by half is in no buffer, but with the decoder that `setEncoding` makes. */
const hasHalfCharacter = (socket: net.Socket): boolean =>
  ((socket as unknown as DecodingSocket)._readableState?.decoder?.lastNeed ?? 0) > 0

/** Whether a connection is open both ways, all that was written is out, and all that was read has been given to the app. */
export const isStill = (socket: net.Socket): boolean =>
  connectionHandle(socket)?.writeQueueSize === 0 && !socket.destroyed && socket.writable && !socket.readableEnded &&
  socket.writableLength === 0 && socket.readableLength === 0 && !hasHalfCharacter(socket)

/** Whether nobody has stopped reading from it. */
export const isRead = (socket: net.Socket): boolean => !stoppedReading.has(socket)

/**
 * Whether nothing is under way on an HTTP/1 connection, as far as one can tell without the server's list of those that are
 * between two messages: no response, none that is not written yet, nothing read that waits.
 */
export const isQuiet = (socket: net.Socket, server: net.Server): boolean =>
  isStill(socket) && isRead(socket) && speaksHttp1(socket) && httpServerOf(socket) === server &&
  currentResponse(socket) === undefined && !isReceiving(socket) &&
  (socket as QuietSocket)._paused !== true

/** A connection without TLS, neither under it nor within it. */
export const isPlain = (socket: net.Socket): boolean =>
  connectionHandle(socket) !== undefined && plainSocketOf(socket) === undefined && !("encrypted" in socket)

/** Calls back after each write to a connection, from now on. */
export const onWrite = (socket: net.Socket, listener: () => void): void => {
  const write = socket.write as (...args: Array<unknown>) => boolean
  Object.assign(socket, {
    write: (...args: Array<unknown>) => {
      const result = write.apply(socket, args)
      listener()
      return result
    }
  })
}

/** Connections that have had requests in an older process, and none here yet. */
const cameUsed = new WeakSet<net.Socket>()

/** Whether a connection has had a request, here or before. */
export const isUsed = (socket: net.Socket): boolean => socket.bytesRead > 0 || cameUsed.has(socket)

interface ServerParser extends Parser {
  onIncoming?: unknown
  execute?(bytes: Uint8Array): unknown
}

const anyRequest = new TextEncoder().encode("GET / HTTP/1.1\r\n\r\n")

/**
 * Has Node take a connection without a request so far for one that is between two: the first one is awaited for
 * `headersTimeout`, of which the answer is a 408. Its parser is shown a request that nobody hears of.
 */
export const beAfterRequest = (socket: net.Socket): void => {
  const parser = (socket as { readonly parser?: ServerParser | null }).parser
  if (parser == null || socket.bytesRead > 0 || typeof parser.onIncoming !== "function") return
  const { onIncoming } = parser
  parser.onIncoming = () => 0
  parser.execute?.(anyRequest)
  Object.assign(parser, { onIncoming, incoming: null })
}

/**
 * A connection that has come from an older process between two requests is idle, and not new: it may take
 * `keepAliveTimeout` until its next request, and not `headersTimeout`.
 */
export const beginIdleTime = (server: net.Server, socket: net.Socket): void => {
  cameUsed.add(socket)
  beAfterRequest(socket)
  const settings = server as { readonly keepAliveTimeout?: number; readonly keepAliveTimeoutBuffer?: number }
  const { keepAliveTimeout = 0, keepAliveTimeoutBuffer = 0 } = settings
  if (keepAliveTimeout <= 0) return
  const timer = setTimeout(() => {
    // A drain suspends it.
    if (socket.bytesRead === 0 && settings.keepAliveTimeout !== 0) socket.destroy()
  }, Math.min(keepAliveTimeout + keepAliveTimeoutBuffer, longestTimer))
  timer.unref()
  socket.once("close", () => clearTimeout(timer))
}

/** A handler that removed the header would otherwise have its response end the connection without a word. */
export const forgetRemovedConnectionHeader = (response: ServerResponse): void => {
  const internals = response as unknown as { _removedConnection?: boolean }
  if (internals._removedConnection === true) internals._removedConnection = false
}

/**
 * Replaces how the server closes this connection after its last response. Node's `destroySoon` closes the descriptor as
 * soon as the output is flushed; if input is unread at that moment (an upload that was answered early) the kernel sends a
 * reset, and a reset makes the client's kernel throw away the response (RFC 9112 9.6). So: end our side, read on and
 * discard until the client ends its own, or until nothing has come for `patience` milliseconds.
 */
export const lingerOnClose = (socket: net.Socket, patience: number, onLinger: () => void): void => {
  // Zero would be for ever.
  const delay = Math.min(Math.max(patience, 1), longestTimer)
  const wait = () => {
    onLinger()
    // A stream in user land has no such timer.
    if (typeof socket.setTimeout === "function") return void socket.setTimeout(delay, () => socket.destroy())
    const timer = setTimeout(() => socket.destroy(), delay)
    socket.once("close", () => clearTimeout(timer))
  }
  Object.assign(socket, {
    destroySoon: () => {
      const request = newestRequest(socket)
      socket.end()
      // what Node does itself with a body that no handler has begun to read
      const dump = (request as { _dump?: () => void } | undefined)?._dump
      if (request !== undefined && dump !== undefined) dump.call(request)
      socket.resume()
      if (socket.writableFinished) wait()
      else socket.once("finish", wait)
    }
  })
}

/** Milliseconds for which a client that reads nothing can keep us from reading. It may wait for us in its turn. */
const longestGoAway = 1_000

/**
 * Sends a GOAWAY and leaves the session open, so that the client hangs up when it has read all answers; `written` is
 * called when it is on its way. Nothing is read until then: the GOAWAY names the last stream as of now, and a later one
 * would be executed although the client takes it for refused.
 */
export const goAway = (session: ServerHttp2Session, socket: net.Socket, written: () => void): void => {
  const handle = readingHandle(socket)
  const begin = performance.now()
  const goOn = () => {
    if (session.destroyed || socket.destroyed) return
    const isWritten = (session.state.outboundQueueSize ?? 0) === 0
    if (!isWritten && performance.now() - begin < longestGoAway) return void setTimeout(goOn, 5).unref()
    // Node refuses new streams of a session that has been closed.
    if (!isWritten) session.close()
    handle?.readStart()
    written()
  }
  handle?.readStop()
  session.goaway(0)
  // What is to be written is written before this runs, unless an earlier write is still under way.
  setImmediate(goOn)
}

/** How many streams an HTTP/2 session has open. */
export const openStreams = (session: ServerHttp2Session): number => {
  const state = bySymbol(session, "state") as { readonly streams?: { readonly size?: number } } | undefined
  return state?.streams?.size ?? 0
}

/**
 * The `ws` WebSocket that owns an upgraded connection: how a drain finds those behind a framework that keeps its
 * WebSocketServer to itself.
 */
export const webSocketOf = (socket: net.Socket): unknown => bySymbol(socket, "websocket")

/** Stops reading from a UDP socket that is to stay open for replies, which `dgram` cannot do by itself. */
export const stopReceiving = (socket: dgram.Socket): void => void datagramHandle(socket)?.recvStop()
