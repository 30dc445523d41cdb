/** A service under systemd: what its unit promises, tried step by step under load. */
import * as fs from "node:fs"
import * as path from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { root } from "../../test/process/harness.ts"
import type { Load, Sample } from "../lib/load.ts"
import * as load from "../lib/load.ts"
import type { Machine } from "./machine.ts"

/** The unit of the README, word for word but for the path of Node. */
export const readmeUnit = (): string => {
  const readme = fs.readFileSync(path.join(root, "README.md"), "utf8")
  const [, unit] = /^```ini\n(\[Service\]\nExecStart=\/usr\/bin\/node .*?)^```/ms.exec(readme) ?? []
  if (unit === undefined) throw new Error("README.md has no unit for systemd any more")
  return unit.replace("/usr/bin/node", process.execPath)
}

export interface Service {
  readonly name: string
  readonly unit: string
  readonly port: number
  readonly environment: Readonly<Record<string, string>>
  readonly pidFile: string
}

export const unitsOf = ({ environment, name, port, unit }: Service): Readonly<Record<string, string>> => ({
  [`${name}.service`]: `${unit}\nEnvironment=PORT=${port} ${
    Object.entries(environment).map(([name, value]) => `${name}=${value}`).join(" ")
  }\nStandardOutput=append:/var/log/${name}.log\nStandardError=inherit\n`
})

export interface Step {
  readonly step: string
  readonly seen: string
  readonly isRight: boolean
}

const program = (tag: string) => `process.title = "app-${tag}"\nawait import("/srv/package/build/examples/http.js")\n`

/** Puts a release where the unit looks for it, as deployments do: a new directory, and a link that is switched. */
const release = (machine: Machine, name: string, code: string) => {
  const directory = machine.path(`/srv/releases/${name}`)
  fs.mkdirSync(directory, { recursive: true })
  fs.writeFileSync(path.join(directory, "app.js"), code)
  fs.writeFileSync(path.join(directory, "package.json"), `{"type":"module"}`)
  fs.symlinkSync(`/srv/releases/${name}`, machine.path("/srv/next"))
  fs.renameSync(machine.path("/srv/next"), machine.path("/srv/current"))
}

const answer = async (port: number): Promise<number> => {
  const response = await fetch(`http://127.0.0.1:${port}/`, { headers: { connection: "close" } })
  return Number(/process (\d+)/.exec(await response.text())?.[1])
}

const patience = 20_000

const until = async (
  what: string,
  look: () => boolean | Promise<boolean>,
  seen?: () => Promise<string>
): Promise<void> => {
  const from = performance.now()
  while (!await Promise.resolve().then(look).catch(() => false)) {
    if (performance.now() - from > patience) throw new Error(`waited in vain for ${what}: ${await seen?.() ?? ""}`)
    await sleep(40)
  }
}

export const tryOut = async (machine: Machine, service: Service, reloads: number): Promise<ReadonlyArray<Step>> => {
  const loads: Array<Load> = []
  try {
    return await run(machine, service, reloads, loads)
  } finally {
    await Promise.all(loads.map((each) => each.stop()))
  }
}

const run = async (
  machine: Machine,
  service: Service,
  reloads: number,
  loads: Array<Load>
): Promise<ReadonlyArray<Step>> => {
  const { name, pidFile, port } = service
  const steps: Array<Step> = []
  const note = (step: string, isRight: boolean, seen: string) => {
    steps.push({ step, isRight, seen })
    console.log(`${isRight ? "ok    " : "FAILED"}  ${name}: ${step}: ${seen}`)
  }
  const show = (property: string) => machine.run("systemctl", "show", "-P", property, name)
  const mainPid = () => Number(show("MainPID"))
  const inFile = () => Number(fs.readFileSync(machine.path(pidFile), "utf8"))
  // Read in there: the numbers of processes are others out here.
  const members = () => machine.run("cat", `/sys/fs/cgroup${show("ControlGroup")}/cgroup.procs`).split("\n")
  /** What systemd, the PID file, clients and the control group say agrees. */
  const agree = async (pid: number) => {
    const seen = { main: mainPid(), file: inFile(), answers: await answer(port), members: members() }
    const status = machine.attempt("systemctl", "--no-pager", "status", name).output
    const isRight = seen.main === pid && seen.file === pid && seen.answers === pid &&
      show("ActiveState") === "active" &&
      status.includes(`Main PID: ${pid} `) && String(seen.members) === String(pid)
    return {
      isRight,
      seen: `main ${seen.main}, PID file ${seen.file}, answers ${seen.answers}, in it ${seen.members.join(" ")}`
    }
  }
  const serving = (pid: number) =>
    until(
      `process ${pid} to be alone`,
      async () => mainPid() === pid && (await agree(pid)).isRight,
      async () => `${(await agree(pid)).seen}; ${machine.attempt("systemctl", "--no-pager", "status", name).output}`
    )

  release(machine, "0", program("0"))
  machine.run("systemctl", "start", name)
  await until("the first answer", async () => await answer(port) > 0)
  const first = await answer(port)
  const started = await agree(first)
  note("start", started.isRight, started.seen)

  loads.push(...[true, false].map((keepAlive) => load.start({ port, clients: 4, pause: 2, keepAlive })))
  let pid = first
  let asked = 0
  let disagreements = 0
  for (let round = 1; round <= reloads; round++) {
    release(machine, String(round), program(String(round)))
    const before = pid
    machine.run("systemctl", "reload", name)
    await until("another process to answer", async () => (pid = await answer(port)) !== before)
    // The old one may still drain; whoever is the main process then is one that lives.
    asked++
    const rightAfter = mainPid()
    if (rightAfter !== pid && rightAfter !== before) disagreements++
    await serving(pid)
    const title = fs.readFileSync(machine.path(`/proc/${pid}/comm`), "utf8").trim()
    if (title !== `app-${round}`) note(`reload ${round}`, false, `runs ${title}, not app-${round}`)
  }
  const samples: Array<Sample> = []
  for (const each of loads.splice(0)) samples.push(...await each.stop())
  const failures = samples.flatMap(({ failure }) => failure ?? [])
  note(
    `${asked} reloads under load, each with a new release`,
    failures.length === 0 && disagreements === 0 && samples.length > 0,
    `${samples.length} requests, ${failures.length} failed ${[...new Set(failures)].join(", ")}`
  )
  const reloaded = await agree(pid)
  note("the main process after them", reloaded.isRight, reloaded.seen)

  release(machine, "broken", "throw new Error(\"broken on purpose\")\n")
  machine.run("systemctl", "reload", name)
  await until(
    "the failure to be logged",
    () => fs.readFileSync(machine.path(`/var/log/${name}.log`), "utf8").includes("No upgrade on SIGHUP")
  )
  const kept = await agree(pid)
  note("reload of a release that does not start", kept.isRight, kept.seen)

  release(machine, "last", program("last"))
  const crash = async (step: string, before?: () => Promise<void>) => {
    const victim = mainPid()
    const restarts = Number(show("NRestarts"))
    await before?.()
    machine.run("kill", "-KILL", String(victim))
    await until("the restart", async () => Number(show("NRestarts")) > restarts && await answer(port) === mainPid())
    await serving(mainPid())
    const seen = await agree(mainPid())
    note(step, seen.isRight && mainPid() !== victim, seen.seen)
  }
  await crash("crash of a process that had taken over, and restart")
  await crash("crash of the process that systemd has started, and restart")
  await crash("crash in the middle of a reload, and restart", async () => {
    const [old] = members()
    machine.run("systemctl", "reload", name)
    await until("the new process", () => members().some((pid) => pid !== old))
  })

  const stop = async (step: string) => {
    machine.run("systemctl", "stop", name)
    const clients = await answer(port).then(() => "answered", () => "refused")
    const state = `${show("ActiveState")}, ${show("Result")}, status ${show("ExecMainStatus")}`
    const file = fs.existsSync(machine.path(pidFile)) ? "left" : "gone"
    note(
      step,
      state === "inactive, success, status 0" && clients === "refused" && file === "gone",
      `${state}, clients are ${clients}, PID file ${file}`
    )
  }
  const [old] = members()
  machine.run("systemctl", "reload", name)
  await until("the new process", () => members().some((pid) => pid !== old))
  await stop("stop in the middle of a reload")
  machine.run("systemctl", "start", name)
  await until("the first answer", async () => await answer(port) > 0)
  await stop("start, and stop")
  return steps
}
