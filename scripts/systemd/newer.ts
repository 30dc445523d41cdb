/** Newer systemds than that of this machine, each from a release of Debian, unpacked into a directory with the libraries it needs. */
import { spawnSync } from "node:child_process"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"

export interface Source {
  readonly version: number
  /** The first one has it; the others have what it depends on. */
  readonly suites: readonly [string, ...Array<string>]
}

export const sources: ReadonlyArray<Source> = [
  { version: 254, suites: ["bookworm-backports", "bookworm"] },
  { version: 257, suites: ["trixie"] }
]

const keyring = "/usr/share/keyrings/debian-archive-keyring.gpg"

const run = (command: string, ...args: ReadonlyArray<string>): void => {
  const { error, status, stderr } = spawnSync(command, args, { encoding: "utf8", timeout: 180_000 })
  if (error !== undefined) throw error
  if (status !== 0) throw new Error(`${command} ended with ${status}: ${stderr.trim().split("\n").at(-1)}`)
}

/** As packages before Debian 13 have them; on the machine they are links into /usr, and `dpkg-deb --extract` would replace these. */
const linked = ["bin", "sbin", "lib", "lib64"]
const extract = `dpkg-deb --fsys-tarfile "$1" | tar --extract --keep-directory-symlink --directory "$2"`

/** The root that it was unpacked into, or why it cannot be had here. The directory is the caller's to remove. */
export const unpack = (
  { suites, version }: Source,
  directory: string
): { readonly root: string } | { readonly reason: string } => {
  try {
    for (const folder of ["lists", "archives/partial"]) {
      fs.mkdirSync(path.join(directory, folder), { recursive: true })
    }
    const lines = suites.map((suite) => `deb [signed-by=${keyring}] http://deb.debian.org/debian ${suite} main\n`)
    fs.writeFileSync(path.join(directory, "source.list"), lines.join(""))
    // To a machine that has nothing yet, all that it depends on is missing, and comes along.
    fs.writeFileSync(path.join(directory, "status"), "")
    const options = [
      `Dir::Etc::sourcelist=${directory}/source.list`,
      "Dir::Etc::sourceparts=-",
      `Dir::State::lists=${directory}/lists`,
      `Dir::State::status=${directory}/status`,
      `Dir::Cache::archives=${directory}/archives`
    ]
      .flatMap((option) => ["-o", option])
    run("apt-get", "update", ...options)
    const quietly = ["--yes", "--download-only", "--no-install-recommends", "--target-release", suites[0]]
    run("apt-get", "install", ...options, ...quietly, "systemd")
    const root = path.join(directory, "root")
    for (const folder of linked) {
      fs.mkdirSync(path.join(root, "usr", folder), { recursive: true })
      fs.symlinkSync(`usr/${folder}`, path.join(root, folder))
    }
    const files = fs.readdirSync(path.join(directory, "archives")).filter((name) => name.endsWith(".deb"))
    for (const file of files) run("sh", "-c", extract, "extract", path.join(directory, "archives", file), root)
    if (!files.some((file) => file.startsWith(`systemd_${version}`))) throw new Error(`${suites[0]} has another one`)
    return { root }
  } catch (error) {
    return { reason: (error as Error).message }
  }
}

export const temporary = () => fs.mkdtempSync(path.join(os.tmpdir(), "systemd-"))
