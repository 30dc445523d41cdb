/**
 * A unit with a PID file alone under a real systemd, and a command under `tableflip run`, also on a socket of systemd's: start,
 * reloads under load, a release that does not start, crashes, stop. It boots in namespaces of its own, on a root that
 * cannot be written, and ends with them.
 *
 * The units of docs/deploying.md are tried too, on this machine's systemd and on newer ones, if Debian can be reached (`--newer no`
 * leaves these out, `--newer only` leaves out the other, `--newer 257` all but that).
 *
 *     npm run systemd [-- --reloads 10] [app] [supervised] [activated] [notifying] [notifyingactivated] [watched] [pool] [notifyreload]
 */
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { parseArgs } from "node:util"
import { table } from "../test/kit/table.ts"
import { boot, missing, version } from "./systemd/machine.ts"
import { sources, temporary, unpack } from "./systemd/newer.ts"
import { notifying, notifyingActivated, notifyReload } from "./systemd/notifying.ts"
import { pool } from "./systemd/pool.ts"
import { activated, supervised } from "./systemd/supervised.ts"
import type { Service } from "./systemd/unit.ts"
import { tryOut, unitsOf } from "./systemd/unit.ts"
import { upgraded } from "./systemd/upgraded.ts"
import { watched } from "./systemd/watchdog.ts"

const { positionals: names, values } = parseArgs({
  allowPositionals: true,
  options: { reloads: { type: "string", default: "10" }, newer: { type: "string", default: "yes" } }
})

const choices = ["yes", "no", "only", ...sources.map(({ version }) => String(version))]
if (!choices.includes(values.newer)) {
  console.error(`--newer is one of ${choices.join(", ")}`)
  process.exit(2)
}

const reason = missing()
if (reason !== undefined) {
  console.log(`Skipped: ${reason}`)
  process.exit()
}

const port = 18_000 + process.pid % 1_000 * 10
const servicesOf = (version: number): ReadonlyArray<Service> => [
  upgraded(port),
  supervised(port + 1, version),
  activated(port + 2, version),
  notifying(port + 3, version),
  notifyingActivated(port + 4, version),
  watched(port + 6, version),
  pool(port + 7, version),
  ...version < 253 ? [] : [notifyReload(port + 5, version)]
]

const known = servicesOf(Infinity).map(({ name }) => name)
const unknown = names.filter((name) => !known.includes(name))
if (unknown.length > 0) {
  console.error(`There is ${known.join(", ")}, but no ${unknown.join(", ")}`)
  process.exit(2)
}

// Cleaning up /tmp is one of the first things that a systemd does that is not as alone as it should be.
const marker = path.join(fs.mkdtempSync(path.join(os.tmpdir(), "marker-")), "marker")
fs.writeFileSync(marker, "still here")

const rows: Array<ReadonlyArray<string>> = []

const tryEach = async (version: number, directory?: string): Promise<void> => {
  const services = servicesOf(version).filter(({ name }) => names.length === 0 || names.includes(name))
  const machine = await boot(Object.assign({}, ...services.map(unitsOf)), directory)
  try {
    const booted = machine.run("systemctl", "show", "--property=Version", "--value")
    if (Number.parseInt(booted) !== version) throw new Error(`systemd ${booted} has come up, not ${version}`)
    console.log(`\nsystemd ${booted}, Node ${process.version}\n`)
    for (const service of services) {
      const steps = await tryOut(machine, service, Number(values.reloads))
      rows.push(
        ...steps.map(({ isRight, seen, step }) => [
          String(version),
          `${service.name}: ${step}`,
          seen,
          isRight ? "ok" : "FAILED"
        ])
      )
    }
  } finally {
    await machine.end()
  }
}

const tryAll = (version: number, directory?: string) =>
  tryEach(version, directory).catch((error: Error) => {
    console.error(error)
    rows.push([String(version), "the run", error.message.split("\n")[0]!, "FAILED"])
  })

try {
  const own = version()
  if (["yes", "no"].includes(values.newer)) await tryAll(own)
  const isAskedFor = (version: number) => ["yes", "only", String(version)].includes(values.newer)
  for (const source of sources.filter(({ version }) => version > own && isAskedFor(version))) {
    const directory = temporary()
    try {
      const newer = unpack(source, directory)
      if ("root" in newer) await tryAll(source.version, newer.root)
      else console.log(`\nSkipped with systemd ${source.version}, which cannot be had here: ${newer.reason}`)
    } finally {
      fs.rmSync(directory, { recursive: true, force: true })
    }
  }
  if (!fs.existsSync(marker)) rows.push(["-", "this machine", "files of it were removed", "FAILED"])
  table(["systemd", "step", "seen", "result"], rows)
  if (rows.some((row) => row.at(-1) === "FAILED")) process.exitCode = 1
} finally {
  fs.rmSync(path.dirname(marker), { recursive: true, force: true })
}
