/**
 * Programs under `tableflip run`, reloaded again and again while wrk asks them, over new connections and over connections
 * that are kept alive. Every request counts.
 *
 *     npm run reloads [-- --reloads 20] [--only gunicorn]
 */
import * as Effect from "effect/Effect"
import type { ChildProcess } from "node:child_process"
import { spawn, spawnSync } from "node:child_process"
import { once } from "node:events"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { parseArgs } from "node:util"
import { total } from "../test/kit/crowd/crowd.ts"
import * as wrk from "../test/kit/crowd/wrk.ts"
import { root } from "../test/kit/paths.ts"
import { freePort } from "../test/kit/ports.ts"
import { table } from "../test/kit/table.ts"

const { values } = parseArgs({ options: { reloads: { type: "string", default: "20" }, only: { type: "string" } } })
const reloads = Number(values.reloads)

const fixture = (name: string) => path.join(root, "test/fixtures/commands", name)
const folder = fs.mkdtempSync(path.join(os.tmpdir(), "reloads-"))

const has = (program: string) => spawnSync("sh", ["-c", `command -v ${program}`]).status === 0

interface Program {
  readonly name: string
  /** The program that it takes to run it. */
  readonly needs: string
  readonly command: (port: number) => ReadonlyArray<string>
  readonly options?: ReadonlyArray<string>
  readonly env?: Readonly<Record<string, string>>
  /** Whether its author says that it lets every request finish. What it loses is its own. */
  readonly keepsAlive: boolean
}

const programs: ReadonlyArray<Program> = [
  {
    name: "UpgradableHttpServer",
    needs: "node",
    command: () => [process.execPath, path.join(root, "build/scripts/demo/server.js")],
    options: ["--ready-wire"],
    keepsAlive: true
  },
  {
    name: "Python, http.server",
    needs: "python3",
    command: () => ["python3", fixture("listen_fds.py")],
    keepsAlive: true
  },
  {
    name: "Go, net/http with Shutdown",
    needs: "go",
    command: () => {
      const program = path.join(folder, "server")
      const env = { ...process.env, GO111MODULE: "off", GOTOOLCHAIN: "local" }
      if (!fs.existsSync(program)) {
        spawnSync("go", ["build", "-o", program, fixture("listen_fds.go")], { env, stdio: "inherit" })
      }
      return [program]
    },
    keepsAlive: true
  },
  {
    name: "gunicorn, sync workers",
    needs: "gunicorn",
    command: () => {
      fs.writeFileSync(
        path.join(folder, "app.py"),
        `def app(environ, start_response):\n    start_response("200 OK", [("Content-Length", "2")])\n    return [b"ok"]\n`
      )
      return ["gunicorn", "--workers", "2", "app:app"]
    },
    options: ["--cwd", folder],
    keepsAlive: false
  }
]

/** Waits until it has said something as often. */
const says = async (text: () => string, pattern: RegExp, what: string) => {
  for (let n = 0; n < 600; n++) {
    if (pattern.test(text())) return
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  throw new Error(`waited in vain for ${what}:\n${text()}`)
}

const end = async (child: ChildProcess) => {
  child.kill("SIGTERM")
  await once(child, "exit")
}

const measure = async (program: Program, isNew: boolean) => {
  const port = await Effect.runPromise(freePort)
  const url = `http://127.0.0.1:${port}/`
  const ready = program.options?.includes("--ready-wire") === true ? [] : ["--ready-http", url]
  const tableflip = spawn(process.execPath, [
    path.join(root, "dist/bin.js"),
    "run",
    "--listen",
    `127.0.0.1:${port}`,
    ...ready,
    ...program.options ?? [],
    "--",
    ...program.command(port)
  ], { stdio: ["ignore", "ignore", "pipe"], env: { ...process.env, ...program.env, PORT: String(port) } })
  let said = ""
  tableflip.stderr.setEncoding("utf8").on("data", (text: string) => said += text)
  try {
    await says(() => said, /generation 1: process \d+ is ready/, "the first generation")
    const crowd = wrk.start({ url, connections: 32, headers: isNew ? ["Connection: close"] : [] })
    for (let generation = 2; generation <= reloads + 1; generation++) {
      tableflip.kill("SIGHUP")
      await says(() => said, new RegExp(`generation ${generation} has taken over`), `generation ${generation}`)
    }
    const { failed, requests } = await crowd.stop()
    return { requests, failed: total(failed), kinds: Object.entries(failed).map(([kind, count]) => `${count} ${kind}`) }
  } finally {
    await end(tableflip)
  }
}

const rows: Array<ReadonlyArray<string>> = []
try {
  for (const program of programs.filter(({ name }) => values.only === undefined || name.includes(values.only))) {
    if (!has(program.needs)) {
      rows.push([program.name, "", `skipped: there is no ${program.needs}`, "", "", ""])
      continue
    }
    for (const isNew of program.keepsAlive ? [true, false] : [true]) {
      const { failed, kinds, requests } = await measure(program, isNew)
      const connections = isNew ? "new" : "kept alive"
      rows.push([program.name, connections, String(reloads), String(requests), String(failed), kinds.join(", ")])
    }
  }
  console.log(`\n32 connections of wrk, Node ${process.version}\n`)
  table(["program", "connections", "reloads", "requests", "failed", "which"], rows)
} finally {
  fs.rmSync(folder, { recursive: true, force: true })
}
