/** Three hosts behind a load balancer, to which the playbook of docs/fleets.md brings releases, good ones and others. */
import * as Effect from "effect/Effect"
import type { ChildProcess } from "node:child_process"
import { execFile, spawn, spawnSync } from "node:child_process"
import { once } from "node:events"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import * as crowd from "../../test/kit/crowd/crowd.ts"
import type { Sample } from "../../test/kit/load.ts"
import * as load from "../../test/kit/load.ts"
import { root } from "../../test/kit/paths.ts"
import { freePort } from "../../test/kit/ports.ts"
import * as proxies from "./proxies.ts"
import type { Scenario } from "./scenarios.ts"

interface Host {
  readonly name: string
  readonly folder: string
  readonly port: number
  readonly first: ChildProcess
}

interface Answer {
  readonly release: string
  readonly pid: number
}

const names = ["one", "two", "three"]

/** What is in a release, on how many hosts it is tried before all is as it was, and how many processes that replaces. */
const releases = [
  { name: "2", code: "", tried: 3, upgrades: 3 },
  { name: "throws", code: `throw new Error("broken on purpose")`, tried: 1, upgrades: 1 },
  { name: "unwell", code: `process.env.UNWELL = "${names.join(" ")}"`, tried: 1, upgrades: 2 },
  { name: "unwell-on-two", code: `process.env.UNWELL = "two"`, tried: 2, upgrades: 4 },
  { name: "1", code: "", tried: 3, upgrades: 3 }
]

const playbook = (): string => {
  const page = fs.readFileSync(path.join(root, "docs/fleets.md"), "utf8")
  const [, text] = /^```yaml rollout.yml\n(.*?)^```/ms.exec(page) ?? []
  if (text === undefined) throw new Error("docs/fleets.md has no rollout.yml any more")
  return text
}

const write = (file: string, text: string, mode = 0o644) => {
  fs.mkdirSync(path.dirname(file), { recursive: true })
  fs.writeFileSync(file, text, { mode })
}

const ask = async ({ port }: Host): Promise<Answer> => {
  const text = await (await fetch(`http://127.0.0.1:${port}/`, { headers: { connection: "close" } })).text()
  const [, release = "", pid] = /release (\S+), process (\d+)/.exec(text) ?? []
  return { release, pid: Number(pid) }
}

const until = async (what: string, look: () => boolean | Promise<boolean>) => {
  const end = performance.now() + 20_000
  while (!await Promise.resolve().then(look).catch(() => false)) {
    if (performance.now() > end) throw new Error(`waited in vain for ${what}`)
    await sleep(40)
  }
}

const startHost = async (name: string, folder: string): Promise<Host> => {
  const program = path.join(root, "build/scripts/proof/host.js")
  for (const release of releases) {
    const file = path.join(folder, "releases", release.name, "app.js")
    write(
      file,
      `process.env.RELEASE = "${release.name}"\nprocess.env.UNWELL = ""\n${release.code}\nawait import("${program}")\n`
    )
    write(path.join(path.dirname(file), "package.json"), `{"type":"module"}`)
  }
  fs.symlinkSync("releases/1", path.join(folder, "current"))
  const port = await Effect.runPromise(freePort)
  const env = { ...process.env, HOST_NAME: name, HOST_PORT: String(port) }
  const first = spawn(process.execPath, ["current/app.js"], {
    cwd: folder,
    env,
    stdio: ["ignore", "ignore", "inherit"]
  })
  const host: Host = { name, folder, port, first }
  await until(`host ${name}`, async () => (await ask(host)).release === "1")
  return host
}

/** By the exit code of Ansible. */
const rollout = (folder: string, release: string) =>
  new Promise<{ readonly code: number; readonly output: string }>((resolve) => {
    const env = {
      ...process.env,
      PATH: `${folder}/bin:${process.env["PATH"]}`,
      ANSIBLE_HOME: `${folder}/ansible`,
      ANSIBLE_LOCAL_TEMP: `${folder}/ansible`,
      ANSIBLE_REMOTE_TEMP: `${folder}/ansible`,
      ANSIBLE_NOCOLOR: "1"
    }
    const args = ["-i", "hosts.ini", "-e", `release=${release}`, "rollout.yml"]
    const run = execFile(
      "ansible-playbook",
      args,
      { cwd: folder, env, timeout: 180_000 },
      (_, stdout, stderr) => resolve({ code: run.exitCode ?? -1, output: `${stdout}${stderr}` })
    )
  })

const linkOf = ({ folder }: Host) => fs.readlinkSync(path.join(folder, "current"))

/** Brings a release to them, and has all as it was but where the release is good. */
const tryOut = async (folder: string, hosts: ReadonlyArray<Host>, { name, tried }: (typeof releases)[number]) => {
  const isGood = tried === hosts.length
  const before = await Promise.all(hosts.map(ask))
  const { code, output } = await rollout(folder, name)
  const after = await Promise.all(hosts.map(ask))
  const wrong = hosts.flatMap((host, index) => {
    const wanted = isGood ? name : before[index]!.release
    const isReplaced = after[index]!.pid !== before[index]!.pid
    return [
      ...after[index]!.release === wanted ? [] : [`${host.name} has release ${after[index]!.release}, not ${wanted}`],
      ...linkOf(host) === `releases/${wanted}` ? [] : [`the link of ${host.name} is to ${linkOf(host)}`],
      ...isReplaced === index < tried ? [] : [`the process of ${host.name} was ${isReplaced ? "" : "not "}replaced`]
    ]
  })
  if ((code === 0) !== isGood) wrong.push(`Ansible has ended with ${code}`)
  if (wrong.length > 0) throw new Error(`release ${name}: ${wrong.join(", ")}\n${output}`)
}

const counted = (samples: ReadonlyArray<Sample>): crowd.Tally => {
  const failed: Record<string, number> = {}
  for (const { failure } of samples) if (failure !== undefined) failed[failure] = (failed[failure] ?? 0) + 1
  return { requests: samples.length, failed, again: {}, ordinary: 0 }
}

const sum = (tallies: ReadonlyArray<crowd.Tally>): crowd.Tally => {
  const failed: Record<string, number> = {}
  for (const [kind, count] of tallies.flatMap((tally) => Object.entries(tally.failed))) {
    failed[kind] = (failed[kind] ?? 0) + count
  }
  const requests = tallies.reduce((all, tally) => all + tally.requests, 0)
  return { requests, failed, again: {}, ordinary: tallies.reduce((all, { ordinary }) => all + ordinary, 0) }
}

const inventory = (hosts: ReadonlyArray<Host>) =>
  [
    "[app]",
    ...hosts.map(({ folder, name, port }) =>
      `${name} folder=${folder} control=${folder}/control.sock health=http://127.0.0.1:${port}/health`
    ),
    "[app:vars]",
    "ansible_connection=local",
    "ansible_python_interpreter=auto_silent\n"
  ].join("\n")

export const fleet: Scenario = {
  name: "fleet",
  title: "3 hosts behind HAProxy, Ansible brings releases, good ones and others",
  lacks: () =>
    !proxies.isInstalled(proxies.balancer)
      ? "haproxy is not installed"
      : spawnSync("ansible-playbook", ["--version"]).error === undefined
      ? undefined
      : "ansible-playbook is not installed",
  run: async (quick) => {
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), "fleet-"))
    const hosts: Array<Host> = []
    let proxy: proxies.Proxy | undefined
    let posts: crowd.Crowd | undefined
    let gets: ReadonlyArray<load.Load> = []
    const samples = async () => {
      const all = await Promise.all(gets.map((each) => each.stop()))
      gets = []
      return all
    }
    try {
      write(`${folder}/bin/tableflip`, `#!/bin/sh\nexec ${process.execPath} ${root}/build/src/bin.js "$@"\n`, 0o755)
      for (const name of names) hosts.push(await startHost(name, path.join(folder, name)))
      for (const host of hosts) await until(`host ${host.name}`, async () => (await ask(host)).release === "1")
      write(`${folder}/rollout.yml`, playbook())
      write(`${folder}/hosts.ini`, inventory(hosts))
      proxy = await proxies.start(proxies.balancer, ...hosts.map(({ port }) => port))
      const { port } = proxy
      posts = crowd.start("posts", {
        port,
        client: "agent",
        clients: 20,
        longestPause: 1_000,
        keepAliveTimeout: 60_000
      })
      gets = [true, false].map((keepAlive) => load.start({ port, clients: 8, pause: 5, keepAlive }))
      const rounds = quick ? 1 : 3
      for (let round = 0; round < rounds; round++) {
        for (const release of releases) await tryOut(folder, hosts, release)
      }
      return {
        upgrades: rounds * releases.reduce((all, { upgrades }) => all + upgrades, 0),
        tally: sum([...(await samples()).map(counted), await posts.stop()]),
        drained: [],
        note: `${rounds * releases.length} rollouts, of which ${rounds * 3} stopped and went back`
      }
    } finally {
      posts?.end()
      await samples()
      await proxy?.end()
      await Promise.all(hosts.map(async (host) => {
        process.kill(await ask(host).then(({ pid }) => pid, () => host.first.pid!), "SIGKILL")
        if (host.first.exitCode === null && host.first.signalCode === null) await once(host.first, "exit")
      }))
      fs.rmSync(folder, { recursive: true, force: true })
    }
  }
}
