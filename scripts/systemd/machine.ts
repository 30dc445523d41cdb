/** A systemd of our own: process 1 of namespaces in which nothing of this machine can be changed. */
import { spawn, spawnSync } from "node:child_process"
import { once } from "node:events"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { root } from "../../test/kit/paths.ts"
import { children } from "../../test/kit/proc.ts"

export interface Machine {
  /** Runs a command in it and returns what it printed; fails if it fails. */
  readonly run: (command: string, ...args: ReadonlyArray<string>) => string
  /** The same, with the exit code instead of a failure. */
  readonly attempt: (
    command: string,
    ...args: ReadonlyArray<string>
  ) => { readonly status: number; readonly output: string }
  /** A path in it, as it is seen from here. */
  readonly path: (inside: string) => string
  readonly end: () => Promise<void>
}

const cgroups = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"]

const isCgroup2 = (directory: string) => fs.existsSync(path.join(directory, "cgroup.procs"))

const works = (command: string, ...args: ReadonlyArray<string>) => spawnSync(command, args).status === 0

/** Of the systemd that is booted. */
export const version = (): number =>
  Number(/^systemd (\d+)/.exec(spawnSync("/lib/systemd/systemd", ["--version"], { encoding: "utf8" }).stdout)?.[1])

/** Why there can be none here. */
export const missing = (): string | undefined => {
  if (process.platform !== "linux") return "systemd runs on Linux only"
  if (process.getuid?.() !== 0) return "only root can boot a systemd in namespaces"
  if (!fs.existsSync("/lib/systemd/systemd")) return "systemd is not installed"
  if (!works("unshare", "--mount", "--uts", "--ipc", "--cgroup", "--pid", "--fork", "true")) {
    return "namespaces are refused here"
  }
  const directory = cgroups.find(isCgroup2)
  if (directory === undefined) return "there is no cgroup2 file system"
  try {
    fs.rmdirSync(fs.mkdtempSync(path.join(directory, "tableflip-")))
    return undefined
  } catch (error) {
    return `no control group can be made here (${(error as Error).message})`
  }
}

const removeCgroup = (directory: string): void => {
  for (const entry of fs.readdirSync(directory, { withFileTypes: true })) {
    if (entry.isDirectory()) removeCgroup(path.join(directory, entry.name))
  }
  fs.rmdirSync(directory)
}

/** Targets that units depend on by default, and the one to boot into. Nothing else is known to this systemd. */
const targets = ["sysinit", "basic", "shutdown", "tiny"]

const writeUnits = (directory: string, units: Readonly<Record<string, string>>) => {
  for (const name of targets) {
    fs.writeFileSync(path.join(directory, `${name}.target`), `[Unit]\nDescription=${name}\nDefaultDependencies=no\n`)
  }
  for (const [name, content] of Object.entries(units)) fs.writeFileSync(path.join(directory, name), content)
}

/** Boots the systemd of this machine, or one that was unpacked into a directory. */
export const boot = async (units: Readonly<Record<string, string>>, systemd = ""): Promise<Machine> => {
  const cgroup = fs.mkdtempSync(path.join(cgroups.find(isCgroup2)!, "tableflip-"))
  const unitDirectory = fs.mkdtempSync(path.join(os.tmpdir(), "units-"))
  writeUnits(unitDirectory, units)
  const script = path.join(root, "scripts/systemd/boot.sh")
  const unshare = spawn("sh", [script, root, unitDirectory, cgroup, systemd], { stdio: ["ignore", "pipe", "pipe"] })
  let said = ""
  for (const stream of [unshare.stdout, unshare.stderr]) stream.on("data", (text: Buffer) => said += String(text))
  const ended = once(unshare, "exit")

  const end = async () => {
    const init = children(unshare.pid!)[0]
    // With process 1 the kernel ends every process of its namespace.
    if (init !== undefined) process.kill(init.pid, "SIGKILL")
    else unshare.kill("SIGKILL")
    await ended
    // The kernel counts a process that has ended for a moment more.
    for (
      let left = 100;
      fs.readFileSync(path.join(cgroup, "cgroup.events"), "utf8").includes("populated 1") && left > 0;
      left--
    ) {
      await sleep(20)
    }
    removeCgroup(cgroup)
    fs.rmSync(unitDirectory, { recursive: true })
  }

  let init = 0
  const attempt: Machine["attempt"] = (command, ...args) => {
    const { error, status, stderr, stdout } = spawnSync("nsenter", ["-t", String(init), "-a", command, ...args], {
      encoding: "utf8",
      timeout: 60_000
    })
    return { status: status ?? -1, output: `${stdout}${stderr}${error?.message ?? ""}` }
  }
  try {
    for (let left = 200;; left--) {
      init = children(unshare.pid!)[0]?.pid ?? 0
      const state = init === 0 ? "not there" : attempt("systemctl", "is-system-running").output.trim()
      if (state === "running") break
      if (left === 0 || unshare.exitCode !== null) throw new Error(`systemd has not come up: ${state}\n${said}`)
      await sleep(50)
    }
  } catch (error) {
    await end()
    throw error
  }
  return {
    attempt,
    run: (command, ...args) => {
      const { output, status } = attempt(command, ...args)
      if (status !== 0) throw new Error(`${command} ${args.join(" ")} ended with ${status}: ${output}`)
      return output.trim()
    },
    path: (inside) => `/proc/${init}/root${inside}`,
    end
  }
}
