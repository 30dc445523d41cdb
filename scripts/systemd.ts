/**
 * The README's unit under a real systemd: start, reloads under load, a release that does not start, crashes, stop. It
 * boots in namespaces of its own, on a root that cannot be written, and ends with them.
 *
 *     npm run systemd [-- --reloads 10]
 */
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { parseArgs } from "node:util"
import { table } from "./lib/table.ts"
import { boot, missing } from "./systemd/machine.ts"
import type { Service } from "./systemd/service.ts"
import { readmeUnit, tryOut, unitsOf } from "./systemd/service.ts"

const { values } = parseArgs({ options: { reloads: { type: "string", default: "10" } } })

const reason = missing()
if (reason !== undefined) {
  console.log(`Skipped: ${reason}`)
  process.exit()
}

const services: ReadonlyArray<Service> = [
  {
    name: "app",
    unit: readmeUnit(),
    port: 18_000 + process.pid % 1_000,
    environment: { PID_FILE: "/run/app/app.pid" },
    pidFile: "/run/app/app.pid"
  }
]

// Cleaning up /tmp is one of the first things that a systemd does that is not as alone as it should be.
const marker = path.join(fs.mkdtempSync(path.join(os.tmpdir(), "marker-")), "marker")
fs.writeFileSync(marker, "still here")

const machine = await boot(Object.assign({}, ...services.map(unitsOf)))
try {
  const rows: Array<ReadonlyArray<string>> = []
  for (const service of services) {
    const steps = await tryOut(machine, service, Number(values.reloads)).catch((error: Error) => {
      console.error(
        fs.readFileSync(machine.path(`/var/log/${service.name}.log`), "utf8").split("\n").slice(-30).join("\n")
      )
      console.error(error)
      return [{ step: "the run", isRight: false, seen: error.message }]
    })
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
