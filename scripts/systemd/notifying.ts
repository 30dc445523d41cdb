/** The units of docs/deploying.md: an app that tells systemd how it does, and is reloaded by a command that waits. */
import * as fs from "node:fs"
import * as path from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { root } from "../../test/kit/paths.ts"
import type { Service, Unit } from "./unit.ts"
import { answer, until } from "./unit.ts"

/** A block of the page, with other paths, and as an older systemd takes it if that is what there is. */
const unitOf = (name: string, version: number, tableflip: string): string => {
  const page = fs.readFileSync(path.join(root, "docs/deploying.md"), "utf8")
  const [, unit] = new RegExp(`^\`\`\`ini ${name}\\n(.*?)^\`\`\``, "ms").exec(page) ?? []
  if (unit === undefined) throw new Error(`docs/deploying.md has no ${name} any more`)
  const given = unit
    .replace(/^# .*\n/gm, "")
    .replace("/usr/bin/node", process.execPath)
    .replace("/usr/bin/tableflip", tableflip)
    // A stop is to be as long as it takes, however short this is.
    .replace(/^TimeoutStopSec=.*$/m, "TimeoutStopSec=2")
  return version >= 253
    ? given
    : given.replace(/^OpenFile=.*\n/m, "").replace("NotifyAccess=main", "NotifyAccess=all")
}

/** A request that takes a while, answered with the process, or with what has gone wrong. */
export const slowly = (port: number, millis: number) =>
  fetch(`http://127.0.0.1:${port}/?slow=${millis}`, { headers: { connection: "close" } })
    .then((response) => response.text())
    .then((text) => Number(/process (\d+)/.exec(text)?.[1]), (error: Error) => error.message)

const tryOut = (isActivated: boolean) => async (unit: Unit, reloads: number): Promise<void> => {
  const { attempt, mainPid, members, name, note, port, release, run, show } = unit
  const isUp = async () => await answer(port) === mainPid() && String(members()) === String(mainPid())
  const seen = () => `${show("ActiveState")}, main ${mainPid()}, in it ${members().join(" ")}, ${show("StatusText")}`
  /** The process that answers is the main one, and the only one. */
  const alone = () => until("one process", isUp, async () => `${seen()} ${unit.status()}`)
  const reload = () => attempt("systemctl", "reload", name)

  release("0")
  if (isActivated) run("systemctl", "start", `${name}.socket`)
  run("systemctl", "start", name)
  const atOnce = reload()
  await alone()
  note(
    "reload at once after the start",
    atOnce.status === 0 && unit.titleOf(mainPid()) === "app-0",
    `${atOnce.status}, ${seen()}`
  )

  const endLoad = unit.underLoad()
  let problems = ""
  for (let round = 1; round <= reloads; round++) {
    release(String(round))
    const before = mainPid()
    const { output, status } = reload()
    const now = mainPid()
    // With --wait ended the old process is gone when it returns.
    if (status !== 0 || now === before || unit.titleOf(now) !== `app-${round}`) {
      problems += ` reload ${round}: ${status} ${output} main ${before} then ${now};`
    }
  }
  const { failures, requests } = await endLoad()
  note(
    `${reloads} reloads under load, each of which returns when the new release is alone`,
    problems === "" && failures.length === 0 && requests > 0,
    `${requests} requests, ${failures.length} failed ${[...new Set(failures)].join(", ")}${problems}`
  )

  const old = mainPid()
  const long = slowly(port, 6_000)
  await sleep(300)
  const during = reload()
  const answered = await long
  await alone()
  note(
    "reload while a request takes 6 s",
    during.status === 0 && answered === old && mainPid() !== old,
    `${during.status}, answered by ${answered}, main ${old} then ${mainPid()}`
  )

  const kept = mainPid()
  release("broken", "throw new Error(\"broken on purpose\")\n")
  const broken = reload()
  await alone()
  const words = show("StatusText")
  note(
    "reload of a release that does not start fails",
    broken.status !== 0 && mainPid() === kept && words.includes("the last upgrade failed") &&
      show("ActiveState") === "active" && unit.log().includes("broken on purpose"),
    `${broken.status}, main ${kept} then ${mainPid()}, ${words}`
  )

  release("last")
  const crash = async (step: string, victim: () => Promise<number>, during?: () => Promise<unknown>) => {
    const restarts = Number(show("NRestarts"))
    const more = during?.()
    await sleep(more === undefined ? 0 : 300)
    if (more !== undefined) run("systemctl", "reload", "--no-block", name)
    if (more !== undefined) await until("the new process to answer", async () => await answer(port) !== mainPid())
    const killed = await victim()
    const endLoad = unit.underLoad()
    await sleep(100)
    run("kill", "-KILL", String(killed))
    const outcome = await more
    await until("the restart", () => Number(show("NRestarts")) > restarts, async () => `${seen()} ${unit.status()}`)
    await alone()
    const { failures } = await endLoad()
    const refused = failures.filter((failure) => failure === "ECONNREFUSED").length
    note(
      step,
      show("ActiveState") === "active" && mainPid() !== killed && (!isActivated || refused === 0),
      `${seen()}${more === undefined ? "" : `, the old one answered ${outcome}`}; ` +
        `${failures.length} requests cut off, ${refused} refused`
    )
  }
  await crash("kill -9, and restart", () => answer(port))
  await crash(
    "kill -9 of the new process while the old one finishes, and restart",
    () => answer(port),
    () => slowly(port, 3_000)
  )

  await alone()
  const endRestart = unit.underLoad()
  run("systemctl", "restart", name)
  await alone()
  const restarted = await endRestart()
  const refused = restarted.failures.filter((failure) => failure === "ECONNREFUSED").length
  note(
    "restart under load",
    restarted.failures.length === refused && (!isActivated || refused === 0),
    `${restarted.requests} requests, ${restarted.failures.length} failed, ${refused} of them refused`
  )

  const last = mainPid()
  const longest = slowly(port, 6_000)
  await sleep(300)
  if (isActivated) run("systemctl", "stop", `${name}.socket`)
  const from = performance.now()
  await unit.stop("stop, with TimeoutStopSec=2", `/run/${name}/app.pid`)
  const millis = Math.round(performance.now() - from)
  const lastAnswer = await longest
  note(
    "a request that takes 6 s is answered at the stop",
    lastAnswer === last,
    `answered by ${lastAnswer} in ${millis} ms`
  )
}

/** Reloads by systemd itself: each waits for the app's word, which cannot say how it went. */
const tryReloadsOfSystemd = async (unit: Unit, reloads: number): Promise<void> => {
  const { attempt, mainPid, members, name, note, port, release, run, show } = unit
  const seen = () => `main ${mainPid()}, in it ${members().join(" ")}, ${show("StatusText")}`
  const alone = () =>
    until(
      "one process",
      async () => await answer(port) === mainPid() && String(members()) === String(mainPid()),
      async () => `${seen()} ${unit.status()}`
    )
  const timed = () => {
    const from = performance.now()
    const { status } = attempt("systemctl", "reload", name)
    return { status, millis: Math.round(performance.now() - from) }
  }

  release("0")
  run("systemctl", "start", name)
  const atOnce = timed()
  await alone()
  note("reload at once after the start", atOnce.status === 0, `${atOnce.status} in ${atOnce.millis} ms, ${seen()}`)

  const endLoad = unit.underLoad()
  let problems = ""
  for (let round = 1; round <= reloads; round++) {
    release(String(round))
    const { status } = timed()
    const title = unit.titleOf(await answer(port))
    if (status !== 0 || title !== `app-${round}`) problems += ` reload ${round}: ${status}, ${title} answers;`
    await alone()
  }
  const { failures, requests } = await endLoad()
  note(
    `${reloads} reloads under load, each of which returns when the new release serves`,
    problems === "" && failures.length === 0 && requests > 0,
    `${requests} requests, ${failures.length} failed ${[...new Set(failures)].join(", ")}${problems}`
  )

  release("broken", "throw new Error(\"broken on purpose\")\n")
  const kept = mainPid()
  const broken = timed()
  await alone()
  note(
    "reload of a release that does not start",
    broken.status === 0 && mainPid() === kept && show("StatusText").includes("the last upgrade failed"),
    `${broken.status} in ${broken.millis} ms, ${seen()}`
  )

  release("last")
  const old = mainPid()
  const long = slowly(port, 6_000)
  await sleep(300)
  const first = timed()
  const refused = timed()
  const answered = await long
  await alone()
  note(
    "reload while a request takes 6 s, and one more, which is refused and does not hang",
    first.status === 0 && refused.status === 0 && refused.millis < 5_000 && answered === old,
    `${first.millis} ms, ${refused.millis} ms, answered by ${answered}, ${seen()}`
  )

  const last = mainPid()
  const longest = slowly(port, 6_000)
  await sleep(300)
  await unit.stop("stop, with TimeoutStopSec=2", `/run/${name}/app.pid`)
  const lastAnswer = await longest
  note("a request that takes 6 s is answered at the stop", lastAnswer === last, `answered by ${lastAnswer}`)
}

export const serviceOf = (
  { block = "app.service", isActivated = false, name, port, version }: {
    readonly block?: string
    readonly isActivated?: boolean
    readonly name: string
    readonly port: number
    readonly version: number
  }
): Service => ({
  name,
  unit: unitOf(block, version, `${process.execPath} /srv/package/dist/bin.js`)
    .replaceAll("/run/app", `/run/${name}`)
    .replace("RuntimeDirectory=app", `RuntimeDirectory=${name}`),
  port,
  program: "/srv/package/build/scripts/systemd/app.js",
  ...isActivated ? { socket: `[Socket]\nListenStream=127.0.0.1:${port}\n` } : {},
  tryOut: block === "app.service" ? tryOut(isActivated) : tryReloadsOfSystemd
})

export const notifying = (port: number, version: number): Service => serviceOf({ name: "notifying", port, version })

export const notifyingActivated = (port: number, version: number): Service =>
  serviceOf({ name: "notifyingactivated", port, version, isActivated: true })

export const notifyReload = (port: number, version: number): Service =>
  serviceOf({ name: "notifyreload", port, version, block: "app-notify-reload.service" })
