/** The app of docs/deploying.md with `WatchdogSec=`. */
import { setTimeout as sleep } from "node:timers/promises"
import { serviceOf } from "./notifying.ts"
import type { Service, Unit } from "./unit.ts"
import { answer, seen, until } from "./unit.ts"

/** A process whose event loop stands still is killed and started again, before an upgrade and after it. */
const tryWatchdog = async (unit: Unit): Promise<void> => {
  const { attempt, mainPid, name, note, port, release, run, show } = unit
  const restarts = () => Number(show("NRestarts"))
  release("0")
  run("systemctl", "start", name)
  const first = mainPid()
  await sleep(3_000)
  note("is left alone as long as it is well", mainPid() === first && restarts() === 0, seen(unit))
  const { output, status } = attempt("systemctl", "reload", name)
  await until("the new process", async () => await answer(port) === mainPid() && mainPid() !== first)
  const second = mainPid()
  await sleep(3_000)
  note(
    "and so is the process of an upgrade",
    status === 0 && mainPid() === second && restarts() === 0,
    `${status} ${output} ${seen(unit)}`
  )
  const stuck = fetch(`http://127.0.0.1:${port}/?stuck=20000`).then(() => "answered", () => "cut off")
  await until("the restart", () => restarts() > 0, async () => seen(unit))
  await until("an answer", async () => await answer(port) === mainPid(), async () => seen(unit))
  note(
    "is killed and started again when its event loop stands still",
    mainPid() !== second && await stuck === "cut off",
    `${restarts()} restart, ${seen(unit)}`
  )
  await unit.stop("stop", `/run/${name}/app.pid`)
}

export const watched = (port: number, version: number): Service => {
  const service = serviceOf({ name: "watched", port, version })
  return { ...service, unit: `${service.unit}WatchdogSec=2\n`, tryOut: tryWatchdog }
}
