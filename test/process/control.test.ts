/**
 * A control socket of a process that upgrades itself: what it answers, what it bounds, and how it passes on.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Fiber from "effect/Fiber"
import * as fs from "node:fs"
import * as http from "node:http"
import { follow, post, raw, request, status } from "../kit/control.ts"
import { controlled, slowRequest } from "../kit/controlled.ts"
import { deploy, goodVersion } from "../kit/files.ts"
import { fixture } from "../kit/paths.ts"
import { isAlive, isLinux } from "../kit/proc.ts"
import { onlyAlive, signal } from "../kit/processes.ts"
import { until } from "../kit/waiting.ts"

describe.runIf(isLinux)("the control socket of a process", () => {
  it.scopedLive("tells its status, and is for its user alone", () =>
    Effect.gen(function*() {
      const { socket, up } = yield* controlled()
      assert.strictEqual(fs.statSync(socket).mode & 0o777, 0o600)
      const { headers, json, status } = yield* request(socket, "/v1/status")
      assert.strictEqual(status, 200)
      assert.strictEqual(headers["tableflip-control"], "1")
      const { since, startedAt, ...others } = json
      assert.deepStrictEqual(others, {
        protocol: 1,
        kind: "upgrader",
        pid: up.pid,
        generation: 1,
        state: "serving",
        olderDraining: 0,
        connections: 0,
        lastUpgrade: null,
        node: process.version
      })
      assert.isAtLeast(Date.parse(since), Date.parse(startedAt))
    }))

  it.scopedLive("answers a reload when the new process has taken over, and passes to it", () =>
    Effect.gen(function*() {
      const { app, socket, up } = yield* controlled()
      const { json, status: code } = yield* post(socket, "/v1/reload")
      const next = yield* app.up(2)
      assert.strictEqual(code, 200)
      const { millis, ...outcome } = json
      assert.isAbove(millis, 0)
      assert.deepStrictEqual(outcome, {
        outcome: "upgraded",
        pid: next.pid,
        generation: 2,
        from: { pid: up.pid, generation: 1 }
      })
      const after = yield* status(socket)
      assert.strictEqual(after.pid, next.pid)
      assert.deepInclude(after.lastUpgrade, { outcome: "upgraded", pid: next.pid, generation: 2 })
      yield* onlyAlive(app, [next.pid])
    }))

  it.scopedLive("answers a reload that waits for the drain with what that did", () =>
    Effect.gen(function*() {
      const { app, socket, up } = yield* controlled()
      const slow = yield* slowRequest(up.port, 3_000)
      yield* app.waitFor(/^SERVING/)
      assert.strictEqual((yield* status(socket)).connections, 1)
      const { json } = yield* post(socket, "/v1/reload?wait=drained")
      assert.isTrue(Either.isRight(yield* slow))
      assert.deepInclude(json.drained, { open: 1, forced: 0 })
      yield* until("the end of the old process", () => !isAlive(up.pid))
    }))

  it.scopedLive("says why a reload has failed, and remembers it", () =>
    Effect.gen(function*() {
      const { program, socket, up } = yield* controlled()
      yield* deploy(program, `process.exit(7)`)
      const { json, status: code } = yield* post(socket, "/v1/reload?wait=drained")
      assert.strictEqual(code, 502)
      assert.strictEqual(json.error._tag, "ChildExitedError")
      assert.deepStrictEqual(json.error.status, { _tag: "Exited", code: 7 })
      assert.include(json.error.message, "code 7")
      assert.strictEqual(json.pid, up.pid)
      const { lastUpgrade, state } = yield* status(socket)
      assert.strictEqual(state, "serving")
      assert.deepInclude(lastUpgrade, { outcome: "failed", generation: 2, pid: json.error.pid })
      assert.strictEqual(lastUpgrade.error.message, json.error.message)
      yield* deploy(program, goodVersion())
      assert.strictEqual((yield* post(socket, "/v1/reload")).status, 200)
    }))

  it.scopedLive("says that a new process was not ready in time", () =>
    Effect.gen(function*() {
      const { program, socket } = yield* controlled({ upgradeTimeout: 500 })
      yield* deploy(program, `setInterval(() => {}, 1000)`)
      const { json, status } = yield* post(socket, "/v1/reload")
      assert.strictEqual(status, 504)
      assert.strictEqual(json.error._tag, "UpgradeTimeoutError")
      assert.strictEqual(json.error.timeout, 500)
    }))

  it.scopedLive("does one of twelve reloads that are asked for at once, and refuses the others", () =>
    Effect.gen(function*() {
      const { socket } = yield* controlled()
      const answers = yield* Effect.forEach(Array.from({ length: 12 }), () => post(socket, "/v1/reload"), {
        concurrency: "unbounded"
      })
      assert.strictEqual(answers.filter(({ status }) => status === 200).length, 1)
      assert.strictEqual(answers.filter(({ status }) => status === 409).length, 11)
      assert.strictEqual((yield* status(socket)).generation, 2)
    }))

  it.scopedLive("leaves whoever comes after the answer to the new process", () =>
    Effect.gen(function*() {
      const { socket } = yield* controlled()
      yield* post(socket, "/v1/reload")
      const all = yield* Effect.forEach(Array.from({ length: 20 }), () => status(socket), { concurrency: "unbounded" })
      assert.deepStrictEqual([...new Set(all.map(({ generation }) => generation))], [2])
    }))

  it.scopedLive("refuses a reload while the older process drains, and says so", () =>
    Effect.gen(function*() {
      const { app, socket, up } = yield* controlled()
      const slow = yield* slowRequest(up.port, 2_000)
      yield* app.waitFor(/^SERVING/)
      yield* post(socket, "/v1/reload")
      assert.strictEqual((yield* status(socket)).olderDraining, 1)
      const { json, status: code } = yield* post(socket, "/v1/reload")
      assert.strictEqual(json.generation, 2)
      assert.strictEqual(code, 409)
      assert.strictEqual(json.error._tag, "ParentRunningError")
      yield* slow
    }))

  it.scopedLive("goes on with the upgrade of a client that has gone", () =>
    Effect.gen(function*() {
      const { app, socket } = yield* controlled()
      const { events, waitFor } = yield* follow(socket)
      const reload = yield* Effect.fork(post(socket, "/v1/reload?wait=drained"))
      yield* waitFor("UpgradeStarted")
      yield* Fiber.interrupt(reload)
      yield* app.up(2)
      yield* waitFor("Ended")
      assert.include(events.map(({ _tag }) => _tag), "Upgraded")
      assert.strictEqual((yield* status(socket)).generation, 2)
    }))

  it.scopedLive("stops the process, and answers until everything is over", () =>
    Effect.gen(function*() {
      const { app, socket, up } = yield* controlled()
      const slow = yield* slowRequest(up.port, 1_500)
      yield* app.waitFor(/^SERVING/)
      const waiting = yield* Effect.fork(post(socket, "/v1/stop?wait=drained"))
      yield* app.waitFor(/^EVENT \d+ Draining/)
      assert.strictEqual((yield* status(socket)).state, "stopping")
      const at = yield* post(socket, "/v1/stop")
      assert.deepStrictEqual([at.status, at.json.outcome], [202, "stopping"])
      const { json, status: code } = yield* Fiber.join(waiting)
      assert.deepStrictEqual([code, json.outcome, json.drained.open, json.drained.forced], [200, "stopped", 1, 0])
      assert.isTrue(Either.isRight(yield* slow))
      assert.deepStrictEqual(yield* app.exit, { code: 0, signal: null })
      assert.isFalse(fs.existsSync(socket))
    }))

  it.scopedLive("tells its events from the status to the end, each with its number, time and process", () =>
    Effect.gen(function*() {
      const { app, socket, up } = yield* controlled()
      const { events, isOver, waitFor } = yield* follow(socket)
      yield* post(socket, "/v1/reload")
      yield* app.up(2)
      yield* waitFor("Ended")
      yield* until("the end of the events", isOver)
      const tags = events.map(({ _tag }) => _tag)
      assert.deepStrictEqual(tags, ["Status", "UpgradeStarted", "Upgraded", "Draining", "Drained", "Ended"])
      const [first, ...others] = events
      assert.deepStrictEqual(others.map(({ seq }) => seq), others.map((_, index) => first.seq + 1 + index))
      for (const { at, by } of events) {
        assert.deepStrictEqual(by, { pid: up.pid, generation: 1 })
        assert.isFalse(Number.isNaN(Date.parse(at)))
      }
      assert.isNumber(events[4].report.duration)
    }))

  it.scopedLive("passes to a release that has none, and back", () =>
    Effect.gen(function*() {
      const { app, program, socket, up } = yield* controlled()
      yield* deploy(
        program,
        `process.env.APP = JSON.stringify({ ...JSON.parse(process.env.APP), control: undefined })\n` +
          `await import(${JSON.stringify(fixture("app.mjs"))})\n`
      )
      assert.strictEqual((yield* post(socket, "/v1/reload")).status, 200)
      yield* until("the end of the first process", () => !isAlive(up.pid))
      const second = yield* app.up(2)
      assert.isTrue(Either.isLeft(yield* Effect.either(request(socket, "/v1/status"))))
      yield* deploy(program, goodVersion())
      yield* signal(second.pid, "SIGHUP")
      const third = yield* app.up(3)
      assert.strictEqual((yield* status(socket)).pid, third.pid)
    }))

  it.scopedLive("answers what makes no sense, and lives on", () =>
    Effect.gen(function*() {
      const { socket } = yield* controlled()
      const cases: ReadonlyArray<readonly [path: string, method: string, body: string | undefined, status: number]> = [
        ["/", "GET", undefined, 404],
        ["/v2/status", "GET", undefined, 404],
        ["/v1/status", "POST", undefined, 405],
        ["/v1/reload", "GET", undefined, 405],
        ["/v1/events", "POST", undefined, 405],
        ["/v1/reload?wait=lunch", "POST", undefined, 400],
        ["/v1/scale", "POST", "nonsense", 400],
        ["/v1/scale", "POST", `{"size":2}`, 501],
        ["/v1/replace", "POST", undefined, 501],
        ["/v1/replace/0", "POST", undefined, 501],
        ["/v1/stop", "POST", "x".repeat(20_000), 413]
      ]
      for (const [path, method, body, expected] of cases) {
        const { json, status } = yield* request(socket, path, { method, ...body === undefined ? {} : { body } })
        assert.strictEqual(status, expected, `${method} ${path}`)
        assert.isString(json.error._tag)
        assert.isString(json.error.message)
        assert.isNumber(json.pid)
      }
      const big = yield* request(socket, "/v1/status", { headers: { "x-big": "x".repeat(12_000) } })
      assert.deepStrictEqual([big.status, big.json.error._tag], [431, "HeadersTooLargeError"])
      assert.match(yield* raw(socket, Buffer.from("16030100aa010000a60303", "hex")), /^HTTP\/1.1 400 /)
      assert.match(yield* raw(socket, "POST /v1/stop HTTP/1.1\r\nHost: x\r\nContent-"), /^HTTP\/1.1 408 /)
      assert.match(
        yield* raw(socket, "POST /v1/stop HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{"),
        /^HTTP\/1.1 408 /
      )
      assert.strictEqual((yield* status(socket)).state, "serving")
    }))

  it.scopedLive("has a bound for clients, who hold up no upgrade", () =>
    Effect.gen(function*() {
      const { app, socket, up } = yield* controlled()
      const followers: Array<http.ClientRequest> = []
      yield* Effect.addFinalizer(() => Effect.sync(() => followers.forEach((follower) => follower.destroy())))
      let answered = 0
      for (let count = 0; count < 64; count++) {
        const follower = http.request({ socketPath: socket, path: "/v1/events", agent: false }, (response) => {
          // It takes nothing.
          response.pause().on("error", () => {})
          answered += 1
        })
        followers.push(follower.on("error", () => {}))
        follower.end()
      }
      yield* until("as many answers", () => answered === 64)
      const { json, status: code } = yield* request(socket, "/v1/status")
      assert.deepStrictEqual([code, json.error._tag], [503, "TooManyConnectionsError"])
      yield* signal(up.pid, "SIGHUP")
      const next = yield* app.up(2)
      yield* onlyAlive(app, [next.pid])
      assert.strictEqual((yield* status(socket)).pid, next.pid)
    }))
})
