/**
 * What Linux tells of sockets, as far as they are in the network that this process sees.
 *
 * @internal
 */
import * as fs from "node:fs"
import type { Address } from "../../Address.ts"
import type { DescriptorKind } from "../system/socket.ts"
import { readOrEmpty } from "./proc.ts"

// fcntl.h, in the octal digits of fdinfo
const O_NONBLOCK = 0o4000

/** Whether calls on a descriptor wait, for everybody who shares what is behind it. */
export const isBlocking = (descriptor: number): boolean => {
  const [, flags] = /^flags:\s*([0-7]+)$/m.exec(readOrEmpty(`/proc/self/fdinfo/${descriptor}`)) ?? []
  return flags !== undefined && (Number.parseInt(flags, 8) & O_NONBLOCK) === 0
}

export interface InetSocket {
  readonly localAddress: string
  readonly localPort: number
  /** Of one that listens, how many wait to be accepted; of others, how many bytes wait to be read. */
  readonly waiting: number
  /** 0 for one that is connected to nobody. */
  readonly remotePort: number
  /** "0" for a connection that nobody has accepted yet. */
  readonly inode: string
}

export const parseInet = (line: string): InetSocket | undefined => {
  const [, local = "", remote = "", , queues = "", , , , , inode] = line.trim().split(/\s+/)
  const [localAddress, localPort] = local.split(":")
  const [, remotePort = "0"] = remote.split(":")
  const [, waiting = "0"] = queues.split(":")
  if (localAddress === undefined || localPort === undefined || inode === undefined) return undefined
  const numberOf = (hex: string) => Number.parseInt(hex, 16)
  return {
    localAddress,
    localPort: numberOf(localPort),
    remotePort: numberOf(remotePort),
    waiting: numberOf(waiting),
    inode
  }
}

const tables = { tcp: ["tcp", "tcp6"], udp: ["udp", "udp6"] } as const

const find = (
  protocol: keyof typeof tables,
  matches: (socket: InetSocket) => boolean
): InetSocket | undefined => {
  for (const table of tables[protocol]) {
    for (const line of readOrEmpty(`/proc/self/net/${table}`).split("\n").slice(1)) {
      const socket = line === "" ? undefined : parseInet(line)
      if (socket !== undefined && matches(socket)) return socket
    }
  }
  return undefined
}

/** The kernel tells of the sockets that listen first, and of connections, of which there may be very many, only then. */
const listeningLines = (file: string): ReadonlyArray<string> => {
  try {
    const descriptor = fs.openSync(file, "r")
    try {
      const buffer = Buffer.alloc(64 * 1024)
      let text = ""
      for (;;) {
        const length = fs.readSync(descriptor, buffer)
        text += buffer.toString("latin1", 0, length)
        const lines = text.split("\n").slice(1, -1)
        const end = lines.findIndex((line) => !isListenLine(line))
        if (length === 0 || end >= 0) return end < 0 ? lines : lines.slice(0, end)
      }
    } finally {
      fs.closeSync(descriptor)
    }
  } catch {
    return []
  }
}

const isListenLine = (line: string) => line.trim().split(/\s+/, 4)[3] === "0A"

/** Whether a TCP socket listens, as far as the network that this process sees knows. */
export const isListening = (descriptor: number): boolean => {
  const inode = inodeOf(descriptor)
  return inode !== undefined &&
    ["/proc/self/net/tcp", "/proc/self/net/tcp6"].some((file) =>
      listeningLines(file).some((line) => parseInet(line)?.inode === inode)
    )
}

/** How many wait to be accepted at a socket that listens; none as far as nothing is known. */
export const queueLength = (descriptor: number): number => {
  const inode = inodeOf(descriptor)
  for (const file of ["/proc/self/net/tcp", "/proc/self/net/tcp6"]) {
    const socket = listeningLines(file).map(parseInet).find((socket) => socket?.inode === inode)
    if (socket !== undefined) return socket.waiting
  }
  const lines = readOrEmpty("/proc/self/net/unix").split("\n").map((line) => line.split(/\s+/))
  const own = lines.find(([, , , , , , found]) => found === inode)?.slice(7).join(" ")
  // What nobody has accepted has the path of the one that listens, and no number yet.
  return own === undefined || own === ""
    ? 0
    : lines.filter(([, , , , , , found, ...path]) => found === "0" && path.join(" ") === own).length
}

/** The words of an address are in the byte order of the machine, as 32-bit numbers. */
const bytesOf = (hex: string): ReadonlyArray<number> =>
  (hex.match(/.{8}/g) ?? []).flatMap((word) => {
    const number = Number.parseInt(word, 16)
    const bytes = new DataView(new ArrayBuffer(4))
    bytes.setUint32(0, number, isLittleEndian)
    return Array.from({ length: 4 }, (_, index) => bytes.getUint8(index))
  })

const isLittleEndian = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1

const hostOf = (hex: string): string => {
  const bytes = bytesOf(hex)
  if (bytes.length === 4) return bytes.join(".")
  const groups = Array.from({ length: 8 }, (_, n) => ((bytes[2 * n] ?? 0) << 8 | (bytes[2 * n + 1] ?? 0)).toString(16))
  // The URL parser writes the address in its shortest form.
  return new URL(`http://[${groups.join(":")}]`).hostname.slice(1, -1)
}

/** Where a socket is bound. */
export const addressOf = (descriptor: number): Address | undefined => {
  const inode = inodeOf(descriptor)
  const isIt = (socket: InetSocket) => socket.inode === inode
  const inet = find("tcp", isIt) ?? find("udp", isIt)
  if (inet !== undefined) return { host: hostOf(inet.localAddress), port: inet.localPort }
  for (const line of readOrEmpty("/proc/self/net/unix").split("\n")) {
    const [, , , , , , found, ...path] = line.split(/\s+/)
    if (found === inode && path.length > 0) return { path: path.join(" ").replace(/^@/, "\0") }
  }
  return undefined
}

// __SO_ACCEPTCON
const acceptsConnections = 0x10000

const SOCK_DGRAM = 2

// net.h
const SS_UNCONNECTED = 1

const unixKindOf = (inode: string): DescriptorKind | undefined => {
  for (const line of readOrEmpty("/proc/self/net/unix").split("\n")) {
    const [, , , flags = "", type = "", state = "", found, ...path] = line.split(/\s+/)
    if (found !== inode) continue
    if ((Number.parseInt(flags, 16) & acceptsConnections) !== 0) return "listener"
    const isOpenToAll = Number.parseInt(type, 16) === SOCK_DGRAM && Number.parseInt(state, 16) === SS_UNCONNECTED
    return isOpenToAll && path.length > 0 ? "packet" : "file"
  }
  return undefined
}

/** What a descriptor is. Of a socket from another network than the one that this process sees nothing is known. */
export const kindOf = (descriptor: number): DescriptorKind | undefined => {
  const stat = statOf(descriptor)
  if (stat === undefined) return undefined
  if (!stat.isSocket()) return "file"
  const inode = String(stat.ino)
  const isIt = (socket: InetSocket) => socket.inode === inode
  if (isListening(descriptor)) return "listener"
  if (find("tcp", isIt) !== undefined) return "file"
  const udp = find("udp", isIt)
  return udp === undefined ? unixKindOf(inode) ?? "unknown" : udp.remotePort === 0 ? "packet" : "file"
}

/** Every socket of this machine, as far as this process sees it, that listens. */
export const listeningSockets = (): ReadonlyArray<{ readonly inode: string; readonly address: Address }> => [
  ...["/proc/self/net/tcp", "/proc/self/net/tcp6"].flatMap(listeningLines).flatMap((line) => {
    const socket = parseInet(line)
    return socket === undefined
      ? []
      : [{ inode: socket.inode, address: { host: hostOf(socket.localAddress), port: socket.localPort } }]
  }),
  ...readOrEmpty("/proc/self/net/unix").split("\n").flatMap((line) => {
    const [, , , flags = "", , , inode, ...path] = line.split(/\s+/)
    const isOurs = inode !== undefined && path.length > 0 && (Number.parseInt(flags, 16) & acceptsConnections) !== 0
    return isOurs ? [{ inode, address: { path: path.join(" ").replace(/^@/, "\0") } }] : []
  })
]

const statOf = (descriptor: number): fs.Stats | undefined => {
  try {
    return fs.fstatSync(descriptor)
  } catch {
    return undefined
  }
}

const inodeOf = (descriptor: number): string | undefined => {
  const stat = statOf(descriptor)
  return stat === undefined ? undefined : String(stat.ino)
}
