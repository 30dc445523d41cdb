/** The unit with nothing but a signal: the main process is another one after each reload. */
import * as fs from "node:fs"
import * as path from "node:path"
import { root } from "../../test/kit/paths.ts"
import type { Service, Unit } from "./unit.ts"
import { answer, until } from "./unit.ts"

/** Word for word but for the path of Node. */
const plainUnit = (): string => {
  const page = fs.readFileSync(path.join(root, "docs/deploying.md"), "utf8")
  const [, unit] = /^```ini\n(\[Service\]\nExecStart=\/usr\/bin\/node .*?)^```/ms.exec(page) ?? []
  if (unit === undefined) throw new Error("docs/deploying.md has no unit with a PID file alone any more")
  return unit.replace("/usr/bin/node", process.execPath)
}

const pidFile = "/run/app/app.pid"

const tryOut = async (unit: Unit, reloads: number): Promise<void> => {
  const { mainPid, members, name, note, port, release, run, show } = unit
  const inFile = () => Number(unit.read(pidFile))
  /** What systemd, the PID file, clients and the control group say agrees. */
  const agree = async (pid: number) => {
    const seen = { main: mainPid(), file: inFile(), answers: await answer(port), members: members() }
    const isRight = seen.main === pid && seen.file === pid && seen.answers === pid &&
      show("ActiveState") === "active" && unit.status().includes(`Main PID: ${pid} `) &&
      String(seen.members) === String(pid)
    return {
      isRight,
      seen: `main ${seen.main}, PID file ${seen.file}, answers ${seen.answers}, in it ${seen.members.join(" ")}`
    }
  }
  const serving = (pid: number) =>
    until(
      `process ${pid} to be alone`,
      async () => mainPid() === pid && (await agree(pid)).isRight,
      async () => `${(await agree(pid)).seen}; ${unit.status()}`
    )

  release("0")
  run("systemctl", "start", name)
  await until("the first answer", async () => await answer(port) > 0)
  let pid = await answer(port)
  const started = await agree(pid)
  note("start", started.isRight, started.seen)

  const endLoad = unit.underLoad()
  let disagreements = 0
  for (let round = 1; round <= reloads; round++) {
    release(String(round))
    const before = pid
    run("systemctl", "reload", name)
    await until("another process to answer", async () => (pid = await answer(port)) !== before)
    // The old one may still drain; whoever is the main process then is one that lives.
    const rightAfter = mainPid()
    if (rightAfter !== pid && rightAfter !== before) disagreements++
    await serving(pid)
    const title = unit.titleOf(pid)
    if (title !== `app-${round}`) note(`reload ${round}`, false, `runs ${title}, not app-${round}`)
  }
  const { failures, requests } = await endLoad()
  note(
    `${reloads} reloads under load, each with a new release`,
    failures.length === 0 && disagreements === 0 && requests > 0,
    `${requests} requests, ${failures.length} failed ${[...new Set(failures)].join(", ")}`
  )
  const reloaded = await agree(pid)
  note("the main process after them", reloaded.isRight, reloaded.seen)

  release("broken", "throw new Error(\"broken on purpose\")\n")
  run("systemctl", "reload", name)
  await until("the failure to be logged", () => unit.log().includes("No upgrade: "))
  const kept = await agree(pid)
  note("reload of a release that does not start", kept.isRight, kept.seen)

  release("last")
  const crash = async (step: string, before?: () => Promise<void>) => {
    const victim = mainPid()
    const restarts = Number(show("NRestarts"))
    await before?.()
    run("kill", "-KILL", String(victim))
    await until("the restart", async () => Number(show("NRestarts")) > restarts && await answer(port) === mainPid())
    await serving(mainPid())
    const seen = await agree(mainPid())
    note(step, seen.isRight && mainPid() !== victim, seen.seen)
  }
  const reloadHalfway = async () => {
    const [old] = members()
    run("systemctl", "reload", name)
    await until("the new process", () => members().some((pid) => pid !== old))
  }
  await crash("crash of a process that had taken over, and restart")
  await crash("crash of the process that systemd has started, and restart")
  await crash("crash in the middle of a reload, and restart", reloadHalfway)
  await reloadHalfway()
  await unit.stop("stop in the middle of a reload", pidFile)
  run("systemctl", "start", name)
  await until("the first answer", async () => await answer(port) > 0)
  await unit.stop("start, and stop", pidFile)
}

export const upgraded = (port: number): Service => ({
  name: "app",
  unit: plainUnit(),
  port,
  environment: { PID_FILE: pidFile },
  tryOut
})
