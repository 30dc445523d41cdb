/**
 * The two ends of a channel on which connections go to a process that has been started before. The older end is Node's own;
 * the newer one speaks Node's protocol by itself, because what Node offers there would be seen by the app.
 *
 * @internal
 */
import * as Option from "effect/Option"
import type * as childProcess from "node:child_process"
import type { Channel, ChannelListener, PassedConnection } from "../system/channel.ts"
import type { ConnectionHandle } from "./internals.ts"
import { acceptOn, canPassSeveral, connectionHandle, parentChannel, passOn } from "./internals.ts"

/** Keeps what comes until there is somebody to hear it. */
const makeInbox = () => {
  let listener: ChannelListener | undefined
  let kept: Array<Parameters<ChannelListener["onWords"]>> = []
  let isOver = false
  return {
    words: (...words: Parameters<ChannelListener["onWords"]>) => {
      if (listener === undefined) kept.push(words)
      else listener.onWords(...words)
    },
    end: () => {
      if (isOver) return
      isOver = true
      listener?.onEnd()
    },
    listen: (to: ChannelListener) => {
      listener = to
      for (const words of kept) to.onWords(...words)
      kept = []
      if (isOver) to.onEnd()
    },
    /** Nobody is to hear it any more. */
    drop: () => {
      for (const [, connection] of kept) if (Option.isSome(connection)) connection.value.close()
      kept = []
    }
  }
}

/** The end in the process that has started the other. */
export const toChild = (child: childProcess.ChildProcess): Option.Option<Channel> => {
  child.channel?.unref()
  if (!canPassSeveral(child)) return Option.none()
  const inbox = makeInbox()
  child.on("message", (words) => inbox.words(words, Option.none()))
  child.on("disconnect", inbox.end)
  return Option.some({
    send: (words, connection) => {
      if (!child.connected) return false
      const handle = connection === undefined ? undefined : connectionHandle(connection)
      if (connection !== undefined && handle === undefined) return false
      if (handle === undefined) child.send(words, () => {})
      else passOn(child, words, handle)
      return true
    },
    listen: inbox.listen,
    close: () => {
      if (child.connected) child.disconnect()
    }
  })
}

const passed = (handle: ConnectionHandle): PassedConnection => ({
  accept: (server, before) => Option.fromNullable(acceptOn(server, handle, before)),
  close: () => handle.close()
})

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
  const { socket, takeHandle } = parent
  const inbox = makeInbox()
  let rest = ""
  const write = (words: object): boolean => {
    if (!socket.writable) return false
    socket.write(`${JSON.stringify(words)}\n`)
    return true
  }
  const onLine = (line: string) => {
    const words = parse(line)
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
  socket.on("close", inbox.end)
  return Option.some({
    send: (words) => write(words),
    listen: inbox.listen,
    close: () => {
      inbox.drop()
      socket.destroy()
    }
  })
}
