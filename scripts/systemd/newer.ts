/** A newer systemd than that of this machine, from the backports of Debian, unpacked into a directory. */
import { spawnSync } from "node:child_process"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"

const packages = ["systemd", "libsystemd-shared", "libsystemd0"]

const keyring = "/usr/share/keyrings/debian-archive-keyring.gpg"

export interface Newer {
  readonly directory: string
  readonly version: number
}

const run = (directory: string, command: string, ...args: ReadonlyArray<string>): string => {
  const { error, status, stderr, stdout } = spawnSync(command, args, {
    cwd: directory,
    encoding: "utf8",
    timeout: 180_000
  })
  if (error !== undefined) throw error
  if (status !== 0) throw new Error(`${command} ended with ${status}: ${stderr.trim().split("\n").at(-1)}`)
  return stdout
}

/** It, or why it cannot be had here. The directory is the caller's to remove. */
export const fetch = (): Newer | string => {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), "systemd-"))
  try {
    const [, codename] = /^VERSION_CODENAME=(\w+)$/m.exec(fs.readFileSync("/etc/os-release", "utf8")) ?? []
    for (const folder of ["lists", "archives"]) fs.mkdirSync(path.join(directory, folder))
    const source = `deb [signed-by=${keyring}] http://deb.debian.org/debian ${codename}-backports main\n`
    fs.writeFileSync(path.join(directory, "source.list"), source)
    const options = [
      `Dir::Etc::sourcelist=${directory}/source.list`,
      "Dir::Etc::sourceparts=-",
      `Dir::State::lists=${directory}/lists`
    ]
      .flatMap((option) => ["-o", option])
    run(directory, "apt-get", "update", ...options)
    run(directory, "apt-get", "download", ...options, ...packages.map((name) => `${name}/${codename}-backports`))
    for (const file of fs.readdirSync(directory).filter((name) => name.endsWith(".deb"))) {
      run(directory, "dpkg-deb", "-x", file, "root")
    }
    const [, version] = /^libsystemd-shared_(\d+)/m.exec(fs.readdirSync(directory).join("\n")) ?? []
    if (version === undefined) throw new Error("the backports have no systemd")
    return { directory, version: Number(version) }
  } catch (error) {
    fs.rmSync(directory, { recursive: true, force: true })
    return (error as Error).message
  }
}
