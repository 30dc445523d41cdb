/**
 * The end of a socket that no other process goes on accepting from. What the system has queued by then it would reset,
 * although those clients have seen their connections succeed; so this takes the queue over and closes it empty.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import type * as net from "node:net"
import * as Node from "../node/internals.ts"

/** So many turns of the event loop without a connection, and the queue is taken for empty where nothing proves it. */
const quietTurns = 5

/** Milliseconds after which the queue is closed as it is. */
const longest = 1_000

/** Where a socket is reached from its own machine. */
const ownHosts = (address: string): ReadonlyArray<string> =>
  address === "0.0.0.0" ? ["127.0.0.1"] : address === "::" ? ["::1", "127.0.0.1"] : [address]

/** Serves what is in the accept queue of a server and then calls `close`, which stops it from listening. */
export const closeEmpty = (server: net.Server, close: () => void): Effect.Effect<void> =>
  Effect.async<void>((resume) => {
    const address = server.address()
    const port = address !== null && typeof address === "object" ? address : undefined
    const hosts = port === undefined ? [] : ownHosts(port.address)
    const startedAt = performance.now()
    let hasCome = false
    let quiet = 0
    let turns = 0
    let isOver = false

    const onConnection = () => {
      hasCome = true
    }
    const end = () => {
      if (isOver) return
      isOver = true
      server.off("connection", onConnection)
      server.off("drop", onConnection)
      close()
    }
    const finish = () => {
      end()
      resume(Effect.void)
    }
    const turn = () => {
      if (isOver) return
      quiet = hasCome ? 0 : quiet + 1
      hasCome = false
      if (!server.listening || quiet > quietTurns || performance.now() - startedAt > longest) return finish()
      const host = hosts[turns++ % hosts.length]
      if (host === undefined || port === undefined) return void setImmediate(turn)
      Node.takePlace(host, port.port, (taken) => taken ? finish() : void setImmediate(turn))
    }

    server.on("connection", onConnection)
    server.on("drop", onConnection)
    // At a Unix socket a client is not kept waiting but refused with EAGAIN.
    if (port !== undefined) Node.shrinkQueue(server)
    setImmediate(turn)
    return Effect.sync(end)
  })
