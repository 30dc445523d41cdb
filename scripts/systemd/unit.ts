/** A unit under systemd, and what can be seen of it. */
import * as fs from "node:fs"
import * as path from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import type { Load, Sample } from "../../test/kit/load.ts"
import * as load from "../../test/kit/load.ts"
import type { Machine } from "./machine.ts"

export interface Service {
  readonly name: string
  readonly unit: string
  readonly port: number
  /** What a release runs; the example of an HTTP server by default. */
  readonly program?: string
  readonly environment?: Readonly<Record<string, string>>
  /** Its `.socket` unit, if systemd opens the socket. */
  readonly socket?: string
  readonly tryOut: (unit: Unit, reloads: number) => Promise<void>
}

export const unitsOf = ({ environment = {}, name, port, socket, unit }: Service): Readonly<Record<string, string>> => ({
  ...socket === undefined ? {} : { [`${name}.socket`]: socket },
  [`${name}.service`]: `${unit}\nEnvironment=PORT=${port} ${
    Object.entries(environment).map(([name, value]) => `${name}=${value}`).join(" ")
  }\nStandardOutput=append:/var/log/${name}.log\nStandardError=inherit\n`
})

export interface Step {
  readonly step: string
  readonly seen: string
  readonly isRight: boolean
}

const example = "/srv/package/build/examples/http.js"

const program = (file: string, tag: string) => `process.title = "app-${tag}"\nawait import("${file}")\n`

/** Puts a release where the unit looks for it, as deployments do: a new directory, and a link that is switched. */
const deploy = (machine: Machine, name: string, code: string) => {
  const directory = machine.path(`/srv/releases/${name}`)
  fs.mkdirSync(directory, { recursive: true })
  fs.writeFileSync(path.join(directory, "app.js"), code)
  fs.writeFileSync(path.join(directory, "package.json"), `{"type":"module"}`)
  fs.symlinkSync(`/srv/releases/${name}`, machine.path("/srv/next"))
  fs.renameSync(machine.path("/srv/next"), machine.path("/srv/current"))
}

export const answer = async (port: number): Promise<number> => {
  const response = await fetch(`http://127.0.0.1:${port}/`, { headers: { connection: "close" } })
  return Number(/process (\d+)/.exec(await response.text())?.[1])
}

const patience = 20_000

export const until = async (
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

export interface Unit {
  readonly name: string
  readonly port: number
  /** Runs a command in the machine; fails if it fails. */
  readonly run: Machine["run"]
  /** Runs one that may fail. */
  readonly attempt: Machine["attempt"]
  readonly release: (name: string, code?: string) => void
  readonly note: (step: string, isRight: boolean, seen: string) => void
  readonly show: (property: string) => string
  readonly mainPid: () => number
  /** Whose processes are in its control group. */
  readonly members: () => ReadonlyArray<number>
  readonly status: () => string
  readonly log: () => string
  readonly read: (file: string) => string
  readonly exists: (file: string) => boolean
  readonly titleOf: (pid: number) => string
  /** Clients from now on until the function that is returned is called. */
  readonly underLoad: () => () => Promise<{ readonly requests: number; readonly failures: ReadonlyArray<string> }>
  readonly stop: (step: string, file?: string) => Promise<void>
}

/** What a note says of it. */
export const seen = ({ mainPid, members, show }: Unit) =>
  `${show("ActiveState")}, main ${mainPid()}, in it ${members().join(" ")}, ${show("StatusText")}`

const open = (
  machine: Machine,
  { name, port, program: file = example }: Service,
  steps: Array<Step>,
  loads: Set<Load>
): Unit => {
  const note: Unit["note"] = (step, isRight, seen) => {
    steps.push({ step, isRight, seen })
    console.log(`${isRight ? "ok    " : "FAILED"}  ${name}: ${step}: ${seen}`)
  }
  const show = (property: string) => machine.run("systemctl", "show", "-P", property, name)
  const read = (file: string) => fs.readFileSync(machine.path(file), "utf8")
  const exists = (file: string) => fs.existsSync(machine.path(file))
  return {
    name,
    port,
    run: machine.run,
    attempt: machine.attempt,
    release: (tag, code = program(file, tag)) => deploy(machine, tag, code),
    note,
    show,
    mainPid: () => Number(show("MainPID")),
    // Read in there: the numbers of processes are others out here.
    members: () => machine.run("cat", `/sys/fs/cgroup${show("ControlGroup")}/cgroup.procs`).split("\n").map(Number),
    status: () => machine.attempt("systemctl", "--no-pager", "status", name).output,
    log: () => read(`/var/log/${name}.log`),
    read,
    exists,
    titleOf: (pid) => read(`/proc/${pid}/comm`).trim(),
    underLoad: () => {
      const mine = [true, false].map((keepAlive) => load.start({ port, clients: 4, pause: 2, keepAlive }))
      for (const each of mine) loads.add(each)
      return async () => {
        const samples: Array<Sample> = []
        for (const each of mine) {
          loads.delete(each)
          samples.push(...await each.stop())
        }
        return { requests: samples.length, failures: samples.flatMap(({ failure }) => failure ?? []) }
      }
    },
    stop: async (step, file) => {
      machine.run("systemctl", "stop", name)
      const clients = await answer(port).then(() => "answered", () => "refused")
      const state = `${show("ActiveState")}, ${show("Result")}, status ${show("ExecMainStatus")}`
      const left = file !== undefined && exists(file)
      note(
        step,
        state === "inactive, success, status 0" && clients === "refused" && !left,
        `${state}, clients are ${clients}${file === undefined ? "" : `, ${file} is ${left ? "left" : "gone"}`}`
      )
    }
  }
}

/** The steps that were tried, and what was seen. */
export const tryOut = async (machine: Machine, service: Service, reloads: number): Promise<ReadonlyArray<Step>> => {
  const steps: Array<Step> = []
  const loads = new Set<Load>()
  const unit = open(machine, service, steps, loads)
  try {
    await service.tryOut(unit, reloads)
  } catch (error) {
    console.error(unit.exists(`/var/log/${service.name}.log`) ? unit.log().split("\n").slice(-30).join("\n") : "no log")
    console.error(error)
    steps.push({ step: "the run", isRight: false, seen: (error as Error).message.split("\n")[0]! })
  } finally {
    await Promise.all([...loads].map((each) => each.stop()))
  }
  return steps
}
