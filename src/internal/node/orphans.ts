/**
 * Processes of a pool whose primary is gone, and which hold its sockets all the same: one whose event loop is blocked
 * does not see that the stream from its primary has ended. The kernel could end it, but only together with those that
 * still finish what they serve; a thread that watches costs each worker some 10 MB. So whoever wants the socket looks.
 *
 * @internal
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as fs from "node:fs"
import * as path from "node:path"
import type { Address } from "../../Address.ts"
import { isPath } from "../../Address.ts"
import type { OrphansEnded } from "../system/env.ts"
import { primaryVariable } from "../wire/handOff.ts"
import * as proc from "./proc.ts"
import * as procProcesses from "./procProcesses.ts"
import * as procSockets from "./procSockets.ts"
import { decode } from "./startVariables.ts"

/** One whose event loop turns lets go of the socket at once. */
const reactsWithin = Duration.seconds(1)
const pause = Duration.millis(50)
/** Only a process that the kernel cannot end outlives SIGKILL by that much. */
const endsWithin = Duration.seconds(5)

/** What tells a process from another that gets its id later. */
const markOf = (pid: number): string | undefined => {
  const startedAt = procProcesses.startedAt(pid)
  return startedAt === undefined ? undefined : `${pid}:${startedAt}`
}

export const ownMark = (): string | undefined => markOf(process.pid)

const link = (file: string): string | undefined => {
  try {
    return fs.readlinkSync(file)
  } catch {
    return undefined
  }
}

/** Ids of other namespaces mean other processes here. */
const isOfThisNamespace = (pid: number): boolean => {
  const own = link("/proc/self/ns/pid")
  return own !== undefined && link(`/proc/${pid}/ns/pid`) === own
}

const hasLostPrimary = (pid: number): boolean => {
  const primary = decode(proc.read(`/proc/${pid}/environ`) ?? "")[primaryVariable]
  return primary !== undefined && isOfThisNamespace(pid) && markOf(Number(primary.split(":")[0])) !== primary
}

/** A Unix socket is known to the kernel by the name under which it was bound, in the same directory. */
const isAt = (address: Address, found: Address): boolean =>
  isPath(address) || isPath(found)
    ? isPath(address) && isPath(found) && path.dirname(address.path) === path.dirname(found.path)
    : address.port === found.port

const socketsAt = (address: Address): ReadonlySet<string> =>
  new Set(
    procSockets.listeningSockets().filter((one) => isAt(address, one.address)).map(({ inode }) => `socket:[${inode}]`)
  )

interface Orphan {
  readonly pid: number
  /** What it holds of what was looked for. */
  readonly sockets: ReadonlyArray<string>
}

const orphansAt = (address: Address): ReadonlyArray<Orphan> => {
  const wanted = socketsAt(address)
  if (wanted.size === 0) return []
  return procProcesses.processes().filter(hasLostPrimary).flatMap((pid) => {
    const sockets = procProcesses.descriptorLinks(pid).filter((target) => wanted.has(target))
    return sockets.length > 0 ? [{ pid, sockets }] : []
  })
}

const waitUntil = (condition: () => boolean, within: Duration.Duration): Effect.Effect<unknown> =>
  Effect.sync(condition).pipe(
    Effect.tap((isSo) => isSo ? Effect.void : Effect.sleep(pause)),
    Effect.repeat({ until: (isSo) => isSo }),
    Effect.timeoutOption(within)
  )

/** None of them holds the socket any more when this completes. Tells whether there was one, and which had to be killed. */
export const endOrphans = (address: Address): Effect.Effect<OrphansEnded> =>
  Effect.gen(function*() {
    if (orphansAt(address).length === 0) return { found: false, killed: [] }
    yield* waitUntil(() => orphansAt(address).length === 0, reactsWithin)
    const stuck = orphansAt(address)
    for (const { pid } of stuck) yield* Effect.ignore(Effect.try(() => process.kill(pid, "SIGKILL")))
    // The threads of a process end after it is said to have ended, and until then its descriptors are open.
    const sockets = stuck.flatMap(({ sockets }) => sockets)
    const areOpen = () => {
      const open = socketsAt(address)
      return sockets.some((socket) => open.has(socket))
    }
    yield* waitUntil(() => !areOpen(), endsWithin)
    return { found: true, killed: stuck.map(({ pid }) => pid) }
  })
