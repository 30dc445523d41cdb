/** How the programs of the peers say what becomes of them, and how they end: as a careful author would write it. */
import * as fs from "node:fs"
import type * as net from "node:net"
import type { Protocol } from "../../test/kit/servers/apps.ts"
import { createServer, echoWebSockets } from "../../test/kit/servers/apps.ts"

// Synchronous, so that the last words of a process are not lost.
export const say = (...words: ReadonlyArray<string | number>): void => void fs.writeSync(1, `${words.join(" ")}\n`)

process.on("exit", (code) => say("EXIT", process.pid, code))

/** Milliseconds until a process that does not end is ended: what pm2 gives it by default. */
const grace = 1_600

export interface App {
  readonly server: net.Server
  /** Stops accepting, ends when every connection has, and in any case after the grace. */
  readonly close: () => void
}

export const makeApp = (): App => {
  const protocol = (process.env["PROTOCOL"] ?? "http") as Protocol
  const webSockets = protocol === "ws" ? echoWebSockets() : undefined
  const server = webSockets?.server ?? createServer(protocol)
  return {
    server,
    close: () => {
      server.close(() => process.exit())
      for (const webSocket of webSockets?.clients ?? []) webSocket.close(1012)
      setTimeout(() => process.exit(), grace)
    }
  }
}
