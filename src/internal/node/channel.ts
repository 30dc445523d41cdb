/**
 * The two ends of a channel on which connections go to a process that has been started before. The older end is Node's own;
 * the newer one speaks Node's protocol by itself, because what Node offers there would be seen by the app.
 *
 * @internal
 */
import * as Option from "effect/Option"
import type * as childProcess from "node:child_process"
import type { Channel, PassedConnection } from "../system/channel.ts"
import { make as makeInbox } from "../system/inbox.ts"
import type { ConnectionHandle } from "./internals.ts"
import { acceptOn, canPassSeveral, connectionHandle, hearToTheEnd, parentChannel, passOn } from "./internals.ts"

/** Milliseconds after the end of a process for which the end of its channel is waited for. */
const endTimeout = 1_000

/** What has been sent and is not written yet: a state may be larger than what the system takes at once. */
const makeUnwritten = () => {
  let count = 0
  const waiting: Array<() => void> = []
  const over = () => waiting.splice(0).forEach((go) => go())
  return {
    /** Sends something; the callback is to be called when it is written. */
    begin: () => {
      count++
      return () => {
        if (--count === 0) over()
      }
    },
    wait: (go: () => void) => {
      if (count === 0) go()
      else waiting.push(go)
    },
    over
  }
}

/** The end in the process that has started the other. */
export const toChild = (child: childProcess.ChildProcess): Option.Option<Channel> => {
  child.channel?.unref()
  if (!canPassSeveral(child)) return Option.none()
  const inbox = makeInbox()
  const unwritten = makeUnwritten()
  hearToTheEnd(child)
  child.on(
    "message",
    (words, handle) =>
      inbox.words(words, Option.map(Option.fromNullable(handle as unknown as ConnectionHandle | undefined), passed))
  )
  child.on("disconnect", () => {
    unwritten.over()
    inbox.end()
  })
  return Option.some({
    send: (words, connection) => {
      if (!child.connected) return false
      const handle = connection === undefined ? undefined : connectionHandle(connection)
      if (connection !== undefined && handle === undefined) return false
      if (handle === undefined) child.send(words, unwritten.begin())
      else passOn(child, words, handle, unwritten.begin())
      return true
    },
    pass: (words, connection) => {
      const handle = handles.get(connection)
      if (!child.connected || handle === undefined) return false
      const written = unwritten.begin()
      passOn(child, words, handle, () => {
        connection.close()
        written()
      })
      return true
    },
    written: unwritten.wait,
    listen: inbox.listen,
    close: () => {
      const disconnect = () => {
        inbox.drop()
        if (child.connected) child.disconnect()
      }
      if (child.exitCode === null && child.signalCode === null) return disconnect()
      // What it has sent before is still to come, unless somebody else has its end.
      setTimeout(disconnect, endTimeout).unref()
    }
  })
}

const handles = new WeakMap<PassedConnection, ConnectionHandle>()

const passed = (handle: ConnectionHandle): PassedConnection => {
  const connection: PassedConnection = {
    accept: (server, before) => Option.fromNullable(acceptOn(server, handle, before)),
    close: () => handle.close()
  }
  handles.set(connection, handle)
  return connection
}

const parse = (line: string): Readonly<Record<string, unknown>> => {
  try {
    const json: unknown = JSON.parse(line)
    return typeof json === "object" && json !== null ? json as Record<string, unknown> : {}
  } catch {
    return {}
  }
}

/** The end in the process that was started. */
export const fromParent = (descriptor: number): Option.Option<Channel> => {
  const parent = parentChannel(descriptor)
  if (parent === undefined) return Option.none()
  const { send, socket, takeHandle } = parent
  const inbox = makeInbox()
  const unwritten = makeUnwritten()
  const sent: Array<object> = []
  let rest = ""
  const write = (words: object): boolean => {
    if (!socket.writable) return false
    send(words, undefined, unwritten.begin())
    return true
  }
  const sendWith = (words: object, handle: ConnectionHandle | undefined, onWritten: () => void): boolean => {
    if (handle === undefined || !socket.writable) return false
    sent.push(words)
    const written = unwritten.begin()
    send(words, handle, () => {
      onWritten()
      written()
    })
    return true
  }
  const onLine = (line: string) => {
    const words = parse(line)
    // Node says of each connection whether it has come, in their order.
    if (words["cmd"] === "NODE_HANDLE_ACK") return void sent.shift()
    if (words["cmd"] === "NODE_HANDLE_NACK") return inbox.lost(sent.shift() ?? {})
    if (words["cmd"] !== "NODE_HANDLE") return inbox.words(words, Option.none())
    // None has arrived if this process may open no more.
    inbox.words(words["msg"], Option.map(Option.fromNullable(takeHandle()), passed))
  }
  socket.setEncoding("utf8")
  socket.on("data", (chunk: string) => {
    const lines = (rest + chunk).split("\n")
    rest = lines.pop() ?? ""
    lines.forEach(onLine)
  })
  socket.on("error", inbox.end)
  socket.on("close", () => {
    unwritten.over()
    inbox.end()
  })
  return Option.some({
    send: (words, connection) =>
      connection === undefined ? write(words) : sendWith(words, connectionHandle(connection), () => {}),
    pass: (words, connection) => sendWith(words, handles.get(connection), () => connection.close()),
    written: unwritten.wait,
    listen: inbox.listen,
    close: () => {
      inbox.drop()
      socket.destroy()
    }
  })
}
