/**
 * The README's unit under a real systemd, and a command under `tableflip run`, also on a socket of systemd's: start,
 * reloads under load, a release that does not start, crashes, stop. It boots in namespaces of its own, on a root that
 * cannot be written, and ends with them.
 *
 *     npm run systemd [-- --reloads 10] [app] [supervised] [activated]
 */
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { parseArgs } from "node:util"
import { table } from "../test/kit/table.ts"
import { boot, missing } from "./systemd/machine.ts"
import { activated, supervised } from "./systemd/supervised.ts"
import type { Service } from "./systemd/unit.ts"
import { tryOut, unitsOf } from "./systemd/unit.ts"
import { upgraded } from "./systemd/upgraded.ts"

const { positionals: names, values } = parseArgs({
  allowPositionals: true,
  options: { reloads: { type: "string", default: "10" } }
})

const reason = missing()
if (reason !== undefined) {
  console.log(`Skipped: ${reason}`)
  process.exit()
}

const port = 18_000 + process.pid % 1_000 * 3
const all: ReadonlyArray<Service> = [upgraded(port), supervised(port + 1), activated(port + 2)]
const unknown = names.filter((name) => !all.some((service) => service.name === name))
if (unknown.length > 0) {
  console.error(`There is ${all.map(({ name }) => name).join(", ")}, but no ${unknown.join(", ")}`)
  process.exit(2)
}
const services = all.filter(({ name }) => names.length === 0 || names.includes(name))

// Cleaning up /tmp is one of the first things that a systemd does that is not as alone as it should be.
const marker = path.join(fs.mkdtempSync(path.join(os.tmpdir(), "marker-")), "marker")
fs.writeFileSync(marker, "still here")

const machine = await boot(Object.assign({}, ...services.map(unitsOf)))
try {
  const rows: Array<ReadonlyArray<string>> = []
  for (const service of services) {
    const steps = await tryOut(machine, service, Number(values.reloads))
    rows.push(...steps.map(({ isRight, seen, step }) => [`${service.name}: ${step}`, seen, isRight ? "ok" : "FAILED"]))
  }
  if (!fs.existsSync(marker)) rows.push(["this machine", "files of it were removed", "FAILED"])
  console.log(`\n${machine.run("/lib/systemd/systemd", "--version").split("\n")[0]}, Node ${process.version}\n`)
  table(["step", "seen", "result"], rows)
  if (rows.some((row) => row.at(-1) === "FAILED")) process.exitCode = 1
} finally {
  await machine.end()
  fs.rmSync(path.dirname(marker), { recursive: true, force: true })
}
