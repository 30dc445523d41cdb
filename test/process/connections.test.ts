import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { ask } from "../kit/clients.ts"
import { ours } from "../kit/descriptors.ts"
import { fixture } from "../kit/paths.ts"
import { isLinux } from "../kit/proc.ts"
import { onlyAlive, signal, start } from "../kit/processes.ts"

const hears = ["message", "disconnect", "internalMessage"]

const nothing = ["undefined", "undefined", "undefined", "undefined", "undefined"].join(",")

describe.runIf(isLinux)("the channel between two generations", () => {
  it.scopedLive("is not seen by the app, nor by what it starts, and keeps nobody alive", () =>
    Effect.gen(function*() {
      const app = yield* start(fixture("keeping.mjs"), { app: { hears } })
      let last = yield* app.up(1)
      for (const generation of [2, 3]) {
        yield* signal(last.pid, "SIGHUP")
        const next = yield* app.up(generation)
        const [, seen] = yield* app.waitFor(new RegExp(`^CHANNEL ${next.pid} ${generation} (.*)`))
        assert.strictEqual(seen, nothing)
        yield* onlyAlive(app, [next.pid])
        yield* app.waitFor(new RegExp(`^EXIT ${last.pid} 0`))
        const { body } = yield* ask(next.port, { path: "/grandchild" })
        assert.notMatch(body, /NODE_CHANNEL|TABLEFLIP/)
        assert.deepStrictEqual(ours(body), [])
        last = next
      }
      yield* signal(last.pid, "SIGTERM")
      yield* app.waitFor(new RegExp(`^EXIT ${last.pid} 0`))
      assert.notMatch(app.lines().join("\n"), /^HEARD/m)
    }))
})
