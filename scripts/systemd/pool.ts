/** The app of docs/deploying.md as a pool. */
import { setTimeout as sleep } from "node:timers/promises"
import { serviceOf, slowly } from "./notifying.ts"
import type { Service, Unit } from "./unit.ts"
import { answer, seen, until } from "./unit.ts"

/** A pool, whose primary is the main process. */
const tryPool = async (unit: Unit, reloads: number): Promise<void> => {
  const { attempt, mainPid, members, name, note, port, release, run, titleOf } = unit
  release("0")
  run("systemctl", "start", name)
  note("starts, with its workers", members().length === 3 && await answer(port) !== mainPid(), seen(unit))
  const endLoad = unit.underLoad()
  let problems = ""
  for (let round = 1; round <= reloads; round++) {
    release(String(round))
    const before = mainPid()
    const { output, status } = attempt("systemctl", "reload", name)
    const titles = new Set(members().map(titleOf))
    if (status !== 0 || mainPid() === before || members().length !== 3 || String([...titles]) !== `app-${round}`) {
      problems += ` reload ${round}: ${status} ${output} main ${before} then ${seen(unit)}, ${[...titles].join(" ")};`
    }
  }
  const { failures, requests } = await endLoad()
  note(
    `${reloads} reloads under load, each of which returns when primary and workers are new and the old ones gone`,
    problems === "" && failures.length === 0 && requests > 0,
    `${requests} requests, ${failures.length} failed ${[...new Set(failures)].join(", ")}${problems}`
  )
  const kept = mainPid()
  const worker = await answer(port)
  run("kill", "-KILL", String(worker))
  await until("another worker", () => members().length === 3 && !members().includes(worker), async () => seen(unit))
  note("a worker that is killed is started again", mainPid() === kept && await answer(port) !== worker, seen(unit))
  const longest = slowly(port, 6_000)
  await sleep(300)
  await unit.stop("stop, with TimeoutStopSec=2", `/run/${name}/app.pid`)
  note("a request that takes 6 s is answered at the stop", typeof await longest === "number", `by ${await longest}`)
}

export const pool = (port: number, version: number): Service => ({
  ...serviceOf({ name: "pool", port, version }),
  environment: { WORKERS: "2" },
  tryOut: tryPool
})
