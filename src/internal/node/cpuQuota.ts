/**
 * How much processor time the control groups of this process leave it (cgroups(7)), both versions of them. Node's own
 * count knows of it only from libuv 1.49 on, and then of where the groups usually are.
 *
 * @internal
 */
import * as path from "node:path"

/** The content of a file; none where it may not be read. */
export type Read = (file: string) => string | undefined

interface Mount {
  /** Which group is seen at the mount point: not the root of all in a container that has no namespace of its own. */
  readonly root: string
  readonly point: string
  readonly version: 1 | 2
}

// A space in a path is written as \040.
const unescape = (text: string) =>
  text.replace(/\\(\d{3})/g, (_, octal) => String.fromCharCode(Number.parseInt(octal, 8)))

const parseMount = (line: string): ReadonlyArray<Mount> => {
  const [place = "", system = ""] = line.split(" - ")
  const [, , , root = "", point = ""] = place.split(" ").map(unescape)
  const [type, , options = ""] = system.split(" ")
  return type === "cgroup2"
    ? [{ root, point, version: 2 }]
    : type === "cgroup" && options.split(",").includes("cpu")
    ? [{ root, point, version: 1 }]
    : []
}

/** The group that this process is in, by version. */
const parseGroups = (text: string): ReadonlyMap<1 | 2, string> =>
  new Map(
    text.split("\n").flatMap((line): ReadonlyArray<readonly [1 | 2, string]> => {
      const [, id, controllers = "", group = ""] = /^(\d+):([^:]*):(.*)$/.exec(line) ?? []
      return id === "0" && controllers === ""
        ? [[2, group]]
        : controllers.split(",").includes("cpu")
        ? [[1, group]]
        : []
    })
  )

/** From the group of this process up to the one at the mount point: the tightest limit is the one that holds. */
const directories = ({ point, root }: Mount, group: string): ReadonlyArray<string> => {
  const relative = path.posix.relative(root, group)
  // What is outside of the mount cannot be seen; the mount point is the nearest.
  const parts = relative.startsWith("..") ? [] : relative.split("/").filter((part) => part !== "")
  return Array.from({ length: parts.length + 1 }, (_, n) => path.posix.join(point, ...parts.slice(0, n)))
}

const ratio = (quota: string | undefined, period: string | undefined): number =>
  Number(quota) > 0 && Number(period) > 0 ? Number(quota) / Number(period) : Infinity

const limitIn = (read: Read, version: Mount["version"], directory: string): number => {
  const words = (file: string) => read(path.posix.join(directory, file))?.trim().split(/\s+/) ?? []
  if (version === 1) return ratio(words("cpu.cfs_quota_us")[0], words("cpu.cfs_period_us")[0])
  const [quota, period] = words("cpu.max")
  return ratio(quota, period)
}

/** In processors, not rounded; infinite without a limit, or where nothing tells of one. */
export const cpuQuota = (read: Read): number => {
  const groups = parseGroups(read("/proc/self/cgroup") ?? "")
  const mounts = (read("/proc/self/mountinfo") ?? "").split("\n").flatMap(parseMount)
  return Math.min(
    Infinity,
    ...mounts.flatMap((mount) => {
      const group = groups.get(mount.version)
      return group === undefined
        ? []
        : directories(mount, group).map((directory) => limitIn(read, mount.version, directory))
    })
  )
}

/** Rounded down, as newer releases of Node do by themselves. */
export const withQuota = (processors: number, quota: number): number =>
  Math.max(1, Math.min(processors, Math.floor(quota)))
