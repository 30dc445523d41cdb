/**
 * What a drain looks at in a WebSocket of `ws` before that goes to another process. What another release of `ws` may lack is
 * taken for a WebSocket that cannot go.
 *
 * @internal
 */
import type * as net from "node:net"
import { webSocketOf } from "../node/internals.ts"

interface Receiver {
  readonly _state?: number
  readonly _bufferedBytes?: number
  readonly _fragmented?: number
  readonly _fragments?: ReadonlyArray<unknown>
  readonly writableLength?: number
}

interface Sender {
  readonly _state?: number
  readonly _deflating?: boolean
  readonly _bufferedBytes?: number
  readonly _queue?: ReadonlyArray<unknown>
}

export interface Ws {
  readonly readyState?: number
  readonly extensions?: string
  /** The protocol that was agreed on; none is empty. */
  readonly protocol?: string
  readonly _socket?: unknown
  readonly _receiver?: Receiver
  readonly _sender?: Sender
  _closeCode?: number
  _closeMessage?: Uint8Array
  once(event: "close", listener: () => void): unknown
}

const open = 1

const isNextFrame = ({ _bufferedBytes, _fragmented, _fragments, _state, writableLength }: Receiver) =>
  _state === 0 && _bufferedBytes === 0 && _fragmented === 0 && _fragments?.length === 0 && writableLength === 0

const isSilent = ({ _bufferedBytes, _deflating = false, _queue, _state = 0 }: Sender) =>
  _state === 0 && !_deflating && _bufferedBytes === 0 && _queue?.length === 0

/** The WebSocket of a connection, if it is one of `ws`. */
export const wsOf = (socket: net.Socket): Ws | undefined => {
  const webSocket = webSocketOf(socket)
  return typeof webSocket === "object" && webSocket !== null && "_receiver" in webSocket ? webSocket as Ws : undefined
}

/**
 * Whether nothing of a message has come or is to be sent. An extension, such as deflate, may know of what came before, and
 * what that is cannot be passed on.
 */
export const isBetweenMessages = (ws: Ws, socket: net.Socket): boolean =>
  ws.readyState === open && ws.extensions === "" && ws._socket === socket &&
  ws._receiver !== undefined && isNextFrame(ws._receiver) && ws._sender !== undefined && isSilent(ws._sender)

/** What the app is told by `close`, once the connection is closed here. Nothing of it is sent. */
export const closesWith = (ws: Ws, code: number, reason: string): void => {
  ws._closeCode = code
  ws._closeMessage = new TextEncoder().encode(reason)
}
