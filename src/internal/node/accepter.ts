/**
 * Who has accepted a connection to this machine.
 *
 * @internal
 */
import * as fs from "node:fs"
import { readLink, readOrEmpty } from "./proc.ts"
import { childrenOf } from "./procProcesses.ts"
import type { InetSocket } from "./procSockets.ts"
import { parseInet } from "./procSockets.ts"

type Holds = "yes" | "no" | "unknown"

const holds = (pid: number, target: string): Holds => {
  const directory = `/proc/${pid}/fd`
  try {
    return fs.readdirSync(directory).some((descriptor) => readLink(`${directory}/${descriptor}`) === target)
      ? "yes"
      : "no"
  } catch (cause) {
    // Of another user, or one that has changed its user.
    return ["EACCES", "EPERM"].includes(String((cause as NodeJS.ErrnoException).code)) ? "unknown" : "no"
  }
}

const familyHolds = (pid: number, target: string): Holds => {
  const all = [holds(pid, target), ...childrenOf(pid).map((child) => familyHolds(child, target))]
  return all.find((found) => found === "yes") ?? all.find((found) => found === "unknown") ?? "no"
}

const hexPort = (port: number) => port.toString(16).toUpperCase().padStart(4, "0")

/** The other end of a connection to this machine. There may be very many lines, so only one is taken apart. */
const findPeer = (
  { localPort, remotePort }: { readonly localPort: number; readonly remotePort: number }
): InetSocket | undefined => {
  const pattern = new RegExp(`^.*:${hexPort(remotePort)} [0-9A-F]+:${hexPort(localPort)} .*$`, "m")
  for (const file of ["/proc/self/net/tcp", "/proc/self/net/tcp6"]) {
    const line = pattern.exec(readOrEmpty(file))?.[0]
    if (line !== undefined) return parseInet(line)
  }
  return undefined
}

/**
 * Who has accepted a connection to this machine: the process or one that descends from it, another one, or nobody as far
 * as can be known. Unknown where the system does not let this process look.
 */
export const accepterOf = (
  connection: { readonly localPort: number; readonly remotePort: number },
  pid: number
): "family" | "other" | "nobody" | "unknown" => {
  const socket = findPeer(connection)
  if (socket === undefined || socket.inode === "0") return "nobody"
  const found = familyHolds(pid, `socket:[${socket.inode}]`)
  return found === "yes" ? "family" : found === "no" ? "other" : "unknown"
}
