/** A command under `tableflip run`: the main process stays, and what it runs is replaced. */
import * as fs from "node:fs"
import * as path from "node:path"
import { root } from "../../test/kit/paths.ts"
import type { Service, Unit } from "./unit.ts"
import { answer, until } from "./unit.ts"

/** The unit of the documentation, with other paths and another address. */
const unitOf = (listen: string, version: number): string => {
  const page = fs.readFileSync(path.join(root, "docs/supervisor.md"), "utf8")
  const [, unit] = /^```ini app\.service\n(.*?)^\[Install\]/ms.exec(page) ?? []
  const start = "ExecStart=/usr/bin/tableflip run --listen 8080 -- node server.mjs"
  const directory = "WorkingDirectory=/srv/app"
  if (unit?.includes(start) !== true || !unit.includes(directory)) {
    throw new Error(`docs/supervisor.md has no unit with ${start} and ${directory} any more`)
  }
  const bin = `${process.execPath} /srv/package/dist/bin.js`
  const newer = (given: string) =>
    given.replace(
      "Type=notify\nNotifyAccess=all\n",
      "Type=notify-reload\nNotifyAccess=main\nOpenFile=/run/systemd/notify:notify\n"
    )
      .replace(/^ExecReload=.*\n/m, "")
  return (version < 253 ? unit : newer(unit))
    .replace(start, `ExecStart=${bin} run ${listen} -- ${process.execPath} /srv/current/app.js`)
    .replace(directory, "WorkingDirectory=/srv/current")
}

const tryOut = (isActivated: boolean) => async (unit: Unit, reloads: number): Promise<void> => {
  const { mainPid, members, name, note, port, release, run, show } = unit
  /** One main process, which runs the one that answers. */
  const agree = async () => {
    const main = mainPid()
    const answers = await answer(port)
    const inIt = members()
    return {
      main,
      answers,
      isRight: main !== answers && inIt.length === 2 && inIt.includes(main) && inIt.includes(answers) &&
        show("ActiveState") === "active" && unit.status().includes(`Main PID: ${main} `),
      seen: `main ${main}, answers ${answers}, in it ${inIt.join(" ")}`
    }
  }
  const calm = async () => {
    await until(
      "two processes",
      async () => (await agree()).isRight,
      async () => `${(await agree()).seen} ${unit.status()}`
    )
    return agree()
  }

  release("0")
  if (isActivated) run("systemctl", "start", `${name}.socket`)
  else run("systemctl", "start", name)
  await until("the first answer", async () => await answer(port) > 0)
  const started = await calm()
  note(isActivated ? "start by the first connection" : "start", started.isRight, started.seen)

  const endLoad = unit.underLoad()
  let moved = 0
  for (let round = 1; round <= reloads; round++) {
    const before = await answer(port)
    release(String(round))
    run("systemctl", "reload", name)
    await until("another process to answer", async () => (await answer(port)) !== before)
    if (mainPid() !== started.main) moved++
    const { answers } = await calm()
    const title = unit.titleOf(answers)
    if (title !== `app-${round}`) note(`reload ${round}`, false, `runs ${title}, not app-${round}`)
  }
  const { failures, requests } = await endLoad()
  note(
    `${reloads} reloads under load, each with a new release`,
    failures.length === 0 && moved === 0 && requests > 0,
    `${requests} requests, ${failures.length} failed ${[...new Set(failures)].join(", ")}, main ${mainPid()}`
  )

  const before = await answer(port)
  release("broken", "throw new Error(\"broken on purpose\")\n")
  run("systemctl", "reload", name)
  await until("the failure to be logged", () => unit.log().includes("broken on purpose"))
  const kept = await calm()
  note("reload of a release that does not start", kept.isRight && kept.answers === before, kept.seen)

  release("last")
  /** Clients of the one that is killed are cut off. Whoever connects after that waits, and is not refused. */
  const crash = async (step: string, victim: number, mayRefuse: boolean) => {
    const { main } = await calm()
    const endLoad = unit.underLoad()
    await until("some load", async () => (await answer(port)) > 0)
    run("kill", "-KILL", String(victim))
    await until("another process to answer", async () => ![kept.answers, victim].includes(await answer(port)))
    const now = await calm()
    const { failures } = await endLoad()
    const refused = failures.filter((failure) => failure === "ECONNREFUSED").length
    note(
      step,
      now.isRight && (victim === main) === (now.main !== main) && (mayRefuse || refused === 0),
      `${now.seen}; ${failures.length} requests cut off, ${refused} refused`
    )
  }
  await crash("crash of the command, and restart", kept.answers, false)
  await crash("crash of the supervisor, and restart", kept.main, !isActivated)
  if (isActivated) run("systemctl", "stop", `${name}.socket`)
  await unit.stop("stop")
}

export const supervised = (port: number, version: number): Service => ({
  name: "supervised",
  unit: unitOf(`--listen 127.0.0.1:${port}`, version),
  port,
  tryOut: tryOut(false)
})

export const activated = (port: number, version: number): Service => ({
  name: "activated",
  unit: unitOf("", version),
  socket: `[Socket]\nListenStream=127.0.0.1:${port}\n`,
  port,
  tryOut: tryOut(true)
})
