/**
 * The commands that ask at a control socket: what they say, and how they end, for each thing that can be there.
 */
import { assert, describe, it } from "@effect/vitest"
import { spawnSync } from "node:child_process"
import * as fs from "node:fs"
import * as http from "node:http"
import * as net from "node:net"
import * as os from "node:os"
import * as path from "node:path"
import { afterAll, afterEach, beforeEach, vi } from "vitest"
import { main } from "../../src/internal/cli/main.ts"
import * as protocol from "../../src/internal/controlSocket/protocol.ts"

const written = vi.hoisted(() => ({ 1: [] as Array<string>, 2: [] as Array<string> }))

vi.mock(import("../../src/internal/node/writer.ts"), async (original) => ({
  ...await original(),
  to: (descriptor: 1 | 2) => ({
    write: async (bytes: Uint8Array) => void written[descriptor].push(Buffer.from(bytes).toString()),
    line: (text: string) => void written[descriptor].push(text),
    writtenAt: () => 0,
    isBusy: () => false
  })
}))

const dir = fs.mkdtempSync(path.join(os.tmpdir(), "tf-"))
let count = 0
const socketPath = () => path.join(dir, `${++count}.sock`)

const tableflip = (...args: ReadonlyArray<string>) => main(args, { onRunning: () => {}, endBy: () => {} })

const now = "2026-11-21T14:00:00.000Z"

const serving = {
  protocol: 1,
  kind: "upgrader",
  state: "serving",
  pid: process.pid,
  generation: 1,
  since: now,
  startedAt: now,
  olderDraining: 0,
  lastUpgrade: null,
  node: "20.0.0"
}

/** A process that has ended, so that its number is nobody's. */
const ended = () => Number(spawnSync(process.execPath, ["-p", "process.pid"], { encoding: "utf8" }).stdout)

type Answer = readonly [status: number, json: unknown] | "lost" | "nothing"

interface Asked {
  readonly to: string
  readonly body: string
}

let servers: Array<http.Server> = []

/** Somebody at a control socket, who answers each request as he is told, the last words for ever. */
const somebody = async (
  answers: Readonly<Record<string, ReadonlyArray<Answer>>>,
  { events = [], header = true }: { readonly events?: ReadonlyArray<object> | number; readonly header?: boolean } = {}
) => {
  const at = socketPath()
  const asked: Array<Asked> = []
  const left = new Map(Object.entries(answers).map(([to, all]) => [to, [...all]]))
  const server = http.createServer((request, response) => {
    let body = ""
    request.setEncoding("utf8").on("data", (text: string) => body += text)
    request.on("end", () => {
      const to = request.url ?? ""
      if (header) response.setHeader(protocol.header, String(protocol.version))
      if (to === "/v1/events") {
        if (typeof events === "number") return void response.writeHead(events).end()
        for (const event of events) response.write(`${JSON.stringify({ seq: 1, at: now, by: serving, ...event })}\n`)
        return void response.end()
      }
      asked.push({ to, body })
      const all = left.get(to) ?? (to === "/v1/status" ? [[200, serving]] : [])
      const answer = all.length > 1 ? all.shift() : all[0]
      if (answer === "lost" || answer === undefined) return void request.socket.destroy()
      if (answer !== "nothing") response.writeHead(answer[0]).end(JSON.stringify(answer[1]))
    })
  })
  servers.push(server)
  await new Promise<void>((resolve) => server.listen(at, resolve))
  return { at, posts: () => asked.filter(({ to }) => to !== "/v1/status") }
}

const out = () => written[1].join("\n")
const err = () => written[2].join("\n")

describe.sequential("asking at a control socket", () => {
  beforeEach(() => {
    written[1].length = 0
    written[2].length = 0
  })

  afterEach(() => {
    for (const server of servers) {
      server.closeAllConnections()
      server.close()
    }
    servers = []
    vi.unstubAllEnvs()
  })

  afterAll(() => fs.rmSync(dir, { recursive: true, force: true }))

  it("shows the status as a table, or as it came", async () => {
    const processes = [{ name: "worker", index: 0, pid: 7, generation: 2, state: "serving", since: now, restarts: 3 }]
    const lastUpgrade = { at: now, generation: 3, outcome: "failed", error: { _tag: "X", message: "it has no port" } }
    const status = { ...serving, kind: "pool", size: 1, connections: 12, olderDraining: 2, lastUpgrade, processes }
    const { at } = await somebody({ "/v1/status": [[200, status]] })
    assert.strictEqual(await tableflip("status", "--control", at), 0)
    assert.match(out(), /^state +serving for /m)
    assert.match(out(), /^generation +1, 2 older draining$/m)
    assert.match(out(), /^connections +12$/m)
    assert.match(out(), /^last upgrade +to generation 3 failed, .*: it has no port$/m)
    assert.match(out(), /^worker 0 +7 +2 +serving +.* 3$/m)
    written[1].length = 0
    vi.stubEnv("TABLEFLIP_CONTROL_SOCKET", at)
    assert.strictEqual(await tableflip("status", "--json"), 0)
    assert.deepStrictEqual(JSON.parse(out()), status)
  })

  it.each<[ReadonlyArray<string>, RegExp]>([
    [["status"], /the control socket is missing: name it with --control PATH, or in TABLEFLIP_CONTROL_SOCKET/],
    [["status", "--control", "x", "more"], /"more" is one argument too many/],
    [["scale", "--control", "x"], /the size is missing/],
    [["scale", "0", "--control", "x"], /the size is "0"; it must be a whole number from 1/],
    [["scale", "2", "3", "--control", "x"], /"3" is one argument too many/],
    [["replace", "-1", "--control", "x"], /-1/],
    [["replace", "one", "--control", "x"], /the index of the worker is "one"; it must be a whole number from 0/]
  ])("says what is wrong with %j, and ends with 2", async (args, message) => {
    vi.stubEnv("TABLEFLIP_CONTROL_SOCKET", "")
    assert.strictEqual(await tableflip(...args), 2)
    assert.match(err(), message)
  })

  describe("where there is nobody, ends with 69 and says whether", () => {
    it("there is nothing", async () => {
      assert.strictEqual(await tableflip("status", "--control", path.join(dir, "nothing")), 69)
      assert.match(err(), /^tableflip: There is no control socket at .*nothing: is the service running/)
    })

    it("there is something else", async () => {
      const file = path.join(dir, "file")
      fs.writeFileSync(file, "")
      assert.strictEqual(await tableflip("status", "--control", file), 69)
      assert.match(err(), /^tableflip: .*file is no socket$/)
    })

    it("its process is gone, for a program to read", async () => {
      const at = socketPath()
      const server = net.createServer()
      await new Promise<void>((resolve) => server.listen(`${at}.first`, resolve))
      fs.renameSync(`${at}.first`, at)
      await new Promise((resolve) => server.close(resolve))
      assert.strictEqual(await tableflip("status", "--json", "--control", at), 69)
      assert.strictEqual(JSON.parse(out()).error._tag, "NobodyThereError")
      assert.match(JSON.parse(out()).error.message, /Nobody answers at .*: the process that had this socket is gone/)
    })
  })

  it("finds a socket whose path is too long for one by the way that leads there from here", async () => {
    const { at } = await somebody({})
    const deep = path.join(dir, "d".repeat(100))
    fs.mkdirSync(deep)
    const link = path.join(deep, "control.sock")
    fs.linkSync(at, link)
    assert.isAbove(Buffer.byteLength(link), 107)
    const before = process.cwd()
    process.chdir(deep)
    try {
      assert.strictEqual(await tableflip("status", "--control", link), 0)
    } finally {
      process.chdir(before)
    }
  })

  it("does not take somebody else's word, and ends with 76", async () => {
    const other = await somebody({}, { header: false })
    assert.strictEqual(await tableflip("status", "--control", other.at), 76)
    const at = socketPath()
    const raw = net.createServer((socket) => void socket.end("220 mail.example.com ESMTP\r\n"))
    servers.push(raw as http.Server)
    Object.assign(raw, { closeAllConnections: () => {} })
    await new Promise<void>((resolve) => raw.listen(at, resolve))
    assert.strictEqual(await tableflip("status", "--control", at), 76)
    assert.strictEqual(written[2].filter((line) => line.includes("is no control socket of effect-tableflip")).length, 2)
  })

  it("tells a reload that went well, in what time, and what it cost", async () => {
    const outcome = { outcome: "upgraded", pid: 7, generation: 2, millis: 1_234, from: { pid: ended(), generation: 1 } }
    const drained = { millis: 60_000, forced: 2 }
    const { at, posts } = await somebody({
      "/v1/reload?wait=switched": [[200, outcome]],
      "/v1/reload?wait=drained": [[200, { ...outcome, drained }]]
    }, { events: [{ _tag: "UpgradeStarted", pid: 7, generation: 2 }] })
    assert.strictEqual(await tableflip("reload", "--control", at), 0)
    assert.strictEqual(out(), "reloaded: generation 2 serves, process 7 (ready in 1.23 s)")
    assert.strictEqual(err(), "started process 7 as generation 2")
    written[1].length = 0
    assert.strictEqual(await tableflip("reload", "--wait", "ended", "--control", at), 0)
    assert.strictEqual(
      out(),
      "reloaded: generation 2 serves, process 7 (ready in 1.23 s; drained in 60.0 s, 2 closed by force; " +
        `process ${outcome.from.pid} has ended)`
    )
    written[1].length = 0
    assert.strictEqual(await tableflip("reload", "--wait", "ended", "--json", "--control", at), 0)
    assert.deepStrictEqual(JSON.parse(out()), { ...outcome, drained, ended: true })
    assert.strictEqual(posts().length, 3)
  })

  it("does not know the outcome of a reload whose old process does not end in time", async () => {
    const outcome = { outcome: "upgraded", pid: 7, generation: 2, from: { pid: process.pid, generation: 1 } }
    const { at } = await somebody({ "/v1/reload?wait=drained": [[200, outcome]] })
    assert.strictEqual(await tableflip("reload", "--wait", "ended", "--timeout", "0.3", "--control", at), 75)
    assert.match(err(), new RegExp(`Process 7 has taken over, and process ${process.pid} has not ended in time`))
  })

  const error = (message: string) => ({ error: { _tag: "SomeError", message }, pid: 1, generation: 1 })

  it.each<[number, number]>([[502, 1], [504, 1], [400, 2], [409, 3], [503, 3]])(
    "ends by the kind of refusal: status %s, exit code %s",
    async (status, code) => {
      const { at } = await somebody({ "/v1/reload?wait=switched": [[status, error("so it is")]] })
      assert.strictEqual(await tableflip("reload", "--control", at), code)
      assert.strictEqual(err(), "tableflip: so it is")
    }
  )

  it("says so where an answer has no reason", async () => {
    const { at } = await somebody({ "/v1/scale": [[500, {}]] })
    assert.strictEqual(await tableflip("scale", "3", "--control", at), 1)
    assert.strictEqual(err(), "tableflip: An answer with status 500 and without a reason")
  })

  it("asks again for as long as it is to, if it is refused", async () => {
    const outcome = { outcome: "upgraded", pid: 7, generation: 2, from: { pid: 1, generation: 1 } }
    const answers: ReadonlyArray<Answer> = [[409, error("busy")], [503, error("full")], [200, outcome]]
    const { at, posts } = await somebody({ "/v1/reload?wait=switched": answers })
    assert.strictEqual(await tableflip("reload", "--retry", "20", "--control", at), 0)
    assert.strictEqual(posts().length, 3)
    const other = await somebody({ "/v1/reload?wait=switched": [[502, error("broken")]] })
    assert.strictEqual(await tableflip("reload", "--retry", "20", "--control", other.at), 1)
    assert.strictEqual(other.posts().length, 1)
  })

  describe("when the answer to a reload is lost, asks what came of it:", () => {
    const reloading = (after: object) =>
      somebody({
        "/v1/reload?wait=switched": ["lost"],
        "/v1/status": [[200, serving], [200, { ...serving, state: "upgrading" }], [200, { ...serving, ...after }]]
      })

    it("a newer process serves", async () => {
      const { at } = await reloading({ pid: 8, generation: 2 })
      assert.strictEqual(await tableflip("reload", "--control", at), 0)
      assert.strictEqual(out(), "reloaded: generation 2 serves, process 8")
    })

    it("no newer process has come up", async () => {
      const lastUpgrade = {
        at: "2026-11-21T14:00:09.000Z",
        generation: 2,
        outcome: "failed",
        error: error("no port").error
      }
      const { at } = await reloading({ lastUpgrade })
      assert.strictEqual(await tableflip("reload", "--control", at), 1)
      assert.strictEqual(err(), "tableflip: no port")
    })

    it("nobody knows", async () => {
      const { at } = await reloading({})
      assert.strictEqual(await tableflip("reload", "--control", at), 75)
      assert.match(err(), new RegExp(`process ${process.pid} serves, still as generation 1`))
    })
  })

  it("does not wait longer than it is to", async () => {
    const { at } = await somebody({
      "/v1/reload?wait=switched": ["nothing"],
      "/v1/status": [[200, serving], "nothing"]
    })
    assert.strictEqual(await tableflip("reload", "--timeout", "0.3", "--control", at), 75)
    assert.match(err(), /No answer has come in time/)
    const silent = await somebody({ "/v1/status": ["nothing"] })
    assert.strictEqual(await tableflip("status", "--timeout", "0.1", "--control", silent.at), 75)
  })

  it("tells a stop when the process has ended, is told, or is stopped by somebody else", async () => {
    const pid = ended()
    const gone = { ...serving, pid }
    const outcome = { outcome: "stopped", pid, generation: 1 }
    const stops = await somebody({
      "/v1/status": [[200, gone]],
      "/v1/stop?wait=drained": [[200, outcome]],
      "/v1/stop": [[202, { ...outcome, outcome: "stopping" }]]
    })
    assert.strictEqual(await tableflip("stop", "--control", stops.at), 0)
    assert.strictEqual(await tableflip("stop", "--wait", "told", "--control", stops.at), 0)
    assert.strictEqual(await tableflip("stop", "--wait", "drained", "--control", stops.at), 0)
    assert.deepStrictEqual(written[1], [
      `process ${pid} has ended`,
      `process ${pid} has been told to stop`,
      `process ${pid} has stopped serving`
    ])
    const vanishing = await somebody({ "/v1/status": [[200, gone]], "/v1/stop?wait=drained": ["lost"] })
    assert.strictEqual(await tableflip("stop", "--json", "--control", vanishing.at), 0)
    assert.deepStrictEqual(JSON.parse(written[1].at(-1)!), { ...outcome, ended: true })
  })

  it("fails to stop what has upgraded meanwhile, or lives on", async () => {
    const upgraded = await somebody({
      "/v1/stop?wait=drained": [[200, { outcome: "upgraded", pid: 9, generation: 2 }]]
    })
    assert.strictEqual(await tableflip("stop", "--control", upgraded.at), 3)
    assert.match(err(), /Process 9 had taken over by then, and serves/)
    const outcome = { outcome: "stopped", pid: process.pid, generation: 1 }
    const living = await somebody({ "/v1/stop?wait=drained": [[200, outcome]] })
    assert.strictEqual(await tableflip("stop", "--timeout", "0.3", "--control", living.at), 75)
    assert.match(err(), /has been told to stop and has not ended in time/)
    const lost = await somebody({ "/v1/stop?wait=drained": ["lost"] })
    assert.strictEqual(await tableflip("stop", "--timeout", "0.3", "--control", lost.at), 75)
  })

  it("resizes a pool, and replaces all of it or one", async () => {
    const { at, posts } = await somebody({
      "/v1/scale": [[200, { from: 2, to: 3 }]],
      "/v1/replace": [[200, { outcome: "replaced" }]],
      "/v1/replace/0": [[200, { outcome: "replaced" }]]
    })
    for (const args of [["scale", "3"], ["replace"], ["replace", "0"]]) {
      assert.strictEqual(await tableflip(...args, "--control", at), 0)
    }
    assert.deepStrictEqual(written[1], ["resized from 2 to 3", "replaced every process", "replaced worker 0"])
    assert.deepStrictEqual(posts(), [
      { to: "/v1/scale", body: `{"size":3}` },
      { to: "/v1/replace", body: "" },
      { to: "/v1/replace/0", body: "" }
    ])
  })

  describe("tells events as they come", () => {
    const told = async (...args: ReadonlyArray<string>) => {
      const lines: Array<string> = []
      const write = vi.spyOn(process.stdout, "write").mockImplementation((text) => {
        lines.push(String(text))
        return true
      })
      try {
        return { code: await tableflip("events", ...args), lines }
      } finally {
        write.mockRestore()
        process.stdout.removeAllListeners("error")
      }
    }
    const events = [{ _tag: "Status", kind: "pool", pid: 5, generation: 1, state: "serving" }, { _tag: "Ended" }]

    it("to the end of the process", async () => {
      const { at } = await somebody({}, { events })
      assert.deepStrictEqual(await told("--control", at), {
        code: 0,
        lines: [`${now} pool, process 5, generation 1: serving\n`, `${now} process ${process.pid} ends\n`]
      })
      const { lines } = await told("--json", "--control", at)
      assert.deepStrictEqual(lines.map((line) => JSON.parse(line)._tag), ["Status", "Ended"])
    })

    it("and says when that was a sudden one, or there are too many who listen", async () => {
      const { at } = await somebody({}, { events: events.slice(0, 1) })
      assert.strictEqual((await told("--control", at)).code, 75)
      assert.match(err(), /The events have ended without the last one: the process was killed/)
      const full = await somebody({}, { events: 503 })
      assert.strictEqual((await told("--control", full.at)).code, 3)
      assert.match(err(), /The control socket takes no more clients now/)
    })
  })
})
