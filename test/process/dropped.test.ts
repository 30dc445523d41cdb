/** An address that a new release no longer asks for. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { load } from "../kit/clients.ts"
import { fixture } from "../kit/paths.ts"
import { freePort } from "../kit/ports.ts"
import { signal, start } from "../kit/processes.ts"

describe("an address that a new release no longer asks for", () => {
  it.scopedLive("refuses those who come later, and resets nobody who has been connected", () =>
    Effect.gen(function*() {
      for (let round = 0; round < 4; round++) {
        const port = yield* freePort
        const old = { host: "127.0.0.1", port, name: "old", until: 1 }
        const app = yield* start(fixture("app.mjs"), { app: { listen: [{ host: "127.0.0.1", port: 0 }, old] } })
        const { pid } = yield* app.up(1)
        const clients = yield* load(port, 60)
        yield* Effect.sleep("300 millis")
        yield* signal(pid, "SIGHUP")
        yield* app.waitFor(new RegExp(`^EXIT ${pid} 0`))
        yield* clients.stop
        assert.isAbove(clients.answers.get(pid) ?? 0, 0)
        const refused = clients.failures.filter((failure) => failure.startsWith("ECONNREFUSED"))
        assert.isAbove(refused.length, 0)
        assert.deepStrictEqual(clients.failures.filter((failure) => !failure.startsWith("ECONNREFUSED")), [])
      }
    }), 60_000)

  it.scopedLive("nor do the workers of a pool whose primary is upgraded", () =>
    Effect.gen(function*() {
      for (let round = 0; round < 2; round++) {
        const port = yield* freePort
        const app = yield* start(fixture("workers.mjs"), { app: { behaviour: { dropped: port } } })
        const { pid } = yield* app.up(1)
        const clients = yield* load(port, 60)
        yield* Effect.sleep("300 millis")
        yield* signal(pid, "SIGHUP")
        yield* app.waitFor(new RegExp(`^EXIT ${pid} 0`))
        yield* clients.stop
        assert.isAbove(clients.answers.size, 0)
        const refused = clients.failures.filter((failure) => failure.startsWith("ECONNREFUSED"))
        assert.isAbove(refused.length, 0)
        assert.deepStrictEqual(clients.failures.filter((failure) => !failure.startsWith("ECONNREFUSED")), [])
      }
    }), 60_000)
})
