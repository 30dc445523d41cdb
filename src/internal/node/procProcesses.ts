/**
 * What Linux tells of processes.
 *
 * @internal
 */
import { read, readDirectory, readLink, readOrEmpty } from "./proc.ts"

export const childrenOf = (pid: number): ReadonlyArray<number> => {
  const threads = readDirectory(`/proc/${pid}/task`)
  return threads.flatMap((thread) =>
    readOrEmpty(`/proc/${pid}/task/${thread}/children`).split(" ").filter((child) => child !== "").map(Number)
  )
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
