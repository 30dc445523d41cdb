/** What processes have open. */
import * as Effect from "effect/Effect"
import { spawnSync } from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { linkOrEmpty, readOrEmpty } from "./proc.ts"
import { eventually } from "./waiting.ts"

// oxlint-disable-next-line unicorn/no-array-sort -- toSorted is not in ES2022
const sorted = (items: ReadonlyArray<string>): ReadonlyArray<string> => [...items].sort()

/** What a file is called today that has another name than the one under which it was opened. */
const nameOf = (link: string): string => {
  const target = linkOrEmpty(link)
  if (!target.endsWith(" (deleted)")) return target
  const directory = path.dirname(target)
  try {
    const { ino } = fs.statSync(link)
    const name = fs.readdirSync(directory).find((name) => fs.statSync(path.join(directory, name)).ino === ino)
    return name === undefined ? target : path.join(directory, name)
  } catch {
    return target
  }
}

/** What the descriptors of a process are: `socket`, `pipe`, `anon_inode:[eventpoll]`, a path. Sorted, without inodes. */
export const openDescriptors = (pid: number): ReadonlyArray<string> =>
  sorted(
    fs.readdirSync(`/proc/${pid}/fd`)
      .map((name) => nameOf(`/proc/${pid}/fd/${name}`))
      .filter((target) => target !== "")
      .map((target) => target.replace(/:\[\d+\]$/, "").replace(/tableflip-\w+/, "tableflip"))
  )

/** Inodes of the TCP sockets of this machine that are connections, whether their other end still is or not. */
const connections = (): ReadonlySet<string> => {
  const rows = ["/proc/net/tcp", "/proc/net/tcp6"].flatMap((file) => readOrEmpty(file).trim().split("\n").slice(1))
  const listening = "0A"
  return new Set(rows.map((row) => row.trim().split(/\s+/)).filter((row) => row[3] !== listening).map((row) => row[9]!))
}

/** The same list once each client has been let go: a server closes a connection a moment after its client has the answer. */
export const descriptorsAtRest = (pid: number): Effect.Effect<ReadonlyArray<string>> =>
  eventually(`process ${pid} to have no connection`, () => {
    const open = connections()
    const targets = fs.readdirSync(`/proc/${pid}/fd`).map((name) => linkOrEmpty(`/proc/${pid}/fd/${name}`))
    return !targets.some((target) => open.has(/^socket:\[(\d+)\]$/.exec(target)?.[1] ?? "")) && openDescriptors(pid)
  })

/** Sockets of clients that have just been served take a moment to go. */
export const sameDescriptors = (pid: number, before: ReadonlyArray<string>): Effect.Effect<void> =>
  Effect.asVoid(eventually(
    `process ${pid} to have the same descriptors as before`,
    () => String(openDescriptors(pid)) === String(before),
    { within: "5 seconds", seen: () => `before: ${before.join(" ")}\nnow:    ${openDescriptors(pid).join(" ")}` }
  ))

/** The fewest of several counts: clients have a connection open now and then. */
export const fewestDescriptors = async (pid: number): Promise<number> => {
  let fewest = Number.POSITIVE_INFINITY
  for (let count = 0; count < 20; count++) {
    await sleep(50)
    fewest = Math.min(fewest, fs.readdirSync(`/proc/${pid}/fd`).length)
  }
  return fewest
}

const visible = (listing: string): ReadonlyArray<string> =>
  listing.split("\n").flatMap((line) => {
    const [, descriptor, target = ""] = /(\d+) -> (.*)/.exec(line) ?? []
    return descriptor === undefined || Number(descriptor) < 3 || target.startsWith("/proc/")
      ? []
      : [`${descriptor} -> ${target.replace(/:\[\d+\]$/, "")}`]
  })

/** What a program sees of us that the app has started: descriptors that this test itself did not leave open; variables. */
export const ours = (listing: string): ReadonlyArray<string> => {
  const before = visible(spawnSync("ls", ["-l", "/proc/self/fd"], { encoding: "utf8" }).stdout)
  return [
    ...visible(listing).filter((line) => !before.includes(line)),
    ...listing.split("\n").filter((line) => line.startsWith("TABLEFLIP_"))
  ]
}
