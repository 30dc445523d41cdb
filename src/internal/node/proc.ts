/**
 * What Linux tells in /proc about sockets and processes. Elsewhere, and where it may not be read, nothing is known.
 *
 * @internal
 */
import * as fs from "node:fs"
import type { Address } from "../../Address.ts"
import type { DescriptorKind } from "../system/socket.ts"

export const read = (file: string): string | undefined => {
  try {
    return fs.readFileSync(file, "latin1")
  } catch {
    return undefined
  }
}

export const readOrEmpty = (file: string): string => read(file) ?? ""

/** Whether it can be read here. */
export const isThere = (): boolean => {
  try {
    return process.platform === "linux" && fs.existsSync("/proc/self/net/tcp")
  } catch {
    // Node's permission model may deny even the question.
    return false
  }
}

// fcntl.h, in the octal digits of fdinfo
const O_NONBLOCK = 0o4000

/** Whether calls on a descriptor wait, for everybody who shares what is behind it. */
export const isBlocking = (descriptor: number): boolean => {
  const [, flags] = /^flags:\s*([0-7]+)$/m.exec(readOrEmpty(`/proc/self/fdinfo/${descriptor}`)) ?? []
  return flags !== undefined && (Number.parseInt(flags, 8) & O_NONBLOCK) === 0
}

interface InetSocket {
  readonly localAddress: string
  readonly localPort: number
  /** Of one that listens, how many wait to be accepted; of others, how many bytes wait to be read. */
  readonly waiting: number
  /** 0 for one that is connected to nobody. */
  readonly remotePort: number
  /** "0" for a connection that nobody has accepted yet. */
  readonly inode: string
}

const parseInet = (line: string): InetSocket | undefined => {
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

const childrenOf = (pid: number): ReadonlyArray<number> => {
  const threads = readDirectory(`/proc/${pid}/task`)
  return threads.flatMap((thread) =>
    readOrEmpty(`/proc/${pid}/task/${thread}/children`).split(" ").filter((child) => child !== "").map(Number)
  )
}

const readDirectory = (directory: string): ReadonlyArray<string> => {
  try {
    return fs.readdirSync(directory)
  } catch {
    return []
  }
}

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

const readLink = (file: string): string | undefined => {
  try {
    return fs.readlinkSync(file)
  } catch {
    // Closed meanwhile.
    return undefined
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

/** All that descends from a process, parents first. */
export const descendantsOf = (pid: number): ReadonlyArray<number> =>
  childrenOf(pid).flatMap((child) => [child, ...descendantsOf(child)])

/** What lives in a session. Zombies have ended, whether somebody looks after them or not. */
export const sessionOf = (session: number): ReadonlyArray<number> =>
  processes().filter((pid) => {
    const [state = "", , , found] = processStat(pid)
    return found === String(session) && !["Z", "X"].includes(state)
  })

/** From the state of the process on: the name of the program before it, in parentheses, may hold anything. */
const processStat = (pid: number): ReadonlyArray<string> => {
  const stat = readOrEmpty(`/proc/${pid}/stat`)
  return stat.slice(stat.lastIndexOf(")") + 2).split(" ")
}

/** When it was started, in a unit of the kernel; nothing if it is not there or has ended. */
export const startedAt = (pid: number): string | undefined => {
  const stat = processStat(pid)
  return ["Z", "X"].includes(stat[0] ?? "") ? undefined : stat[19]
}

export const processes = (): ReadonlyArray<number> =>
  readDirectory("/proc").filter((name) => /^\d+$/.test(name)).map(Number)

/** What its descriptors are, as far as this process may look. */
export const descriptorLinks = (pid: number): ReadonlyArray<string> =>
  readDirectory(`/proc/${pid}/fd`).flatMap((descriptor) => readLink(`/proc/${pid}/fd/${descriptor}`) ?? [])

export const parentOf = (pid: number): number | undefined => {
  const [, parent] = processStat(pid)
  return parent === undefined ? undefined : Number(parent)
}

/** What it is called, which it can change; cut to 15 bytes. */
export const nameOf = (pid: number): string | undefined => read(`/proc/${pid}/comm`)?.trimEnd()

export const argumentsOf = (pid: number): ReadonlyArray<string> =>
  readOrEmpty(`/proc/${pid}/cmdline`).split("\0").slice(0, -1)

export const terminalOf = (pid: number): "foreground" | "background" | "none" => {
  const [, , group, , terminal, foreground] = processStat(pid)
  if (terminal === undefined || terminal === "0") return "none"
  return group === foreground ? "foreground" : "background"
}
