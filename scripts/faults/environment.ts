/** What the system around an upgrade can refuse: disks, descriptors, processes. */
import * as Effect from "effect/Effect"
import { spawnSync } from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import { asOrdinaryUser, canRun, isRoot, withoutOrdinaryUser } from "../../test/kit/users.ts"
import type { Case, Running } from "./case.ts"

const orDie = (command: string, ...args: ReadonlyArray<string>): Effect.Effect<void> =>
  Effect.sync(() => {
    const { error, status, stderr } = spawnSync(command, args, { encoding: "utf8" })
    if (status !== 0) throw new Error(`${command} ${args.join(" ")}: ${error?.message ?? stderr}`)
  })

export const withoutPrlimit = (): string | undefined =>
  canRun("prlimit", "--version") ? undefined : "prlimit (util-linux) is not installed"

const withoutMounts = (): string | undefined =>
  !isRoot ? "only root can mount" : canRun("unshare", "-m", "true") ? undefined : "unshare -m is refused here"

const withoutProcessLimit = (): string | undefined => withoutPrlimit() ?? withoutOrdinaryUser()

/** The program in a mount namespace of its own, with a file system of one page for its PID file. */
const onSmallDisk = (dir: string) => {
  const mount = path.join(dir, "disk")
  fs.mkdirSync(mount)
  return {
    mount,
    executable: "unshare",
    args: ["-m", "sh", "-c", `mount -t tmpfs -o size=4k tmpfs ${mount} && exec "$@"`, "sh", process.execPath]
  }
}

const remount = (options: string) => ({ dir, up }: Running) =>
  orDie("nsenter", "-t", String(up.pid), "-m", "mount", "-o", `remount,${options}`, path.join(dir, "disk"))

/** As the user that the program runs as: the limits of another user's process are not ours to set, even as root. */
const limit = (what: string, value: number, as: ReadonlyArray<string> = []) => ({ up }: Running) => {
  const [command, ...args] = [...as, "prlimit", "--pid", String(up.pid), `--${what}=${value}:`]
  return orDie(command!, ...args)
}

export const environmentCases: ReadonlyArray<Case> = [
  {
    name: "system: no room for the PID file",
    launch: onSmallDisk,
    repair: remount("size=1m"),
    outcome: ["parent"],
    error: /^ChildExitedError .*exited with code 1 before/,
    skipped: withoutMounts
  },
  {
    name: "system: the directory of the PID file is read-only",
    launch: onSmallDisk,
    prepare: remount("size=1m,ro"),
    repair: remount("size=1m,rw"),
    outcome: ["parent"],
    error: /^ChildExitedError .*exited with code 1 before/,
    skipped: withoutMounts
  },
  {
    name: "system: no descriptors left in the parent",
    // What is open stays open. Nobody can be accepted either, so those who ask wait until it is over.
    prepare: limit("nofile", 3),
    disturb: (running) =>
      Effect.zipRight(running.app.waitFor(/^EVENT \d+ UpgradeFailed/), limit("nofile", 1024)(running)),
    outcome: ["parent"],
    error: /^SpawnError .*no descriptors are left \(EMFILE\)/,
    // The pipes for a process that spawn could not start: it returns before it closes them.
    leavesHandles: true,
    skipped: withoutPrlimit
  },
  {
    // The limit does not hold for root.
    name: "system: no processes left",
    launch: (dir) => {
      fs.chmodSync(dir, 0o777)
      const [executable, ...args] = asOrdinaryUser
      return executable === undefined ? {} : { executable, args: [...args, process.execPath] }
    },
    prepare: limit("nproc", 1, asOrdinaryUser),
    repair: limit("nproc", 1_000, asOrdinaryUser),
    outcome: ["parent"],
    error: /^SpawnError .*no processes or memory left \(EAGAIN\)/,
    skipped: withoutProcessLimit
  }
]
