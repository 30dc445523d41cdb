import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { spawnSync } from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import type { ServerReport } from "../../src/Drain.ts"
import { load } from "../kit/clients.ts"
import { isEffect4 } from "../kit/effect.ts"
import { deploy, directory } from "../kit/files.ts"
import * as keepers from "../kit/keepers.ts"
import { fixture, root } from "../kit/paths.ts"
import { isLinux } from "../kit/proc.ts"
import { onlyAlive, signal, start } from "../kit/processes.ts"

const here = path.join(root, "dist")

/** Inside of this package, where it finds Effect. */
const unpack = (version: string): string => {
  const folder = path.join(root, "build/releases", version)
  fs.mkdirSync(folder, { recursive: true })
  const { status } = spawnSync("tar", [
    "xzf",
    fixture(`releases/effect-tableflip-${version}.tar.gz`),
    "--strip-components=1",
    "-C",
    folder
  ])
  assert.strictEqual(status, 0)
  return path.join(folder, "dist")
}

// The first release is for Effect 3 alone.
describe.runIf(isLinux && !isEffect4)("an older release of this package", () => {
  it.scopedLive("takes over from this one and hands over to it: nothing is lost, and nothing that it does not know is sent", () =>
    Effect.gen(function*() {
      const older = unpack("0.1.0")
      const current = path.join(yield* directory, "current")
      yield* deploy(current, older)
      const app = yield* start(fixture("release.mjs"), { app: { current } })
      let last = yield* app.up(1)
      const clients = yield* load(last.port)
      const kept = yield* Effect.acquireRelease(
        Effect.promise(() => keepers.connect({ host: "127.0.0.1", port: last.port })),
        (keeper) => Effect.sync(keeper.end)
      )
      assert.strictEqual((yield* Effect.promise(() => kept.ask())).pid, last.pid)
      let stays = kept
      for (const [build, handedOver] of [[here, 0], [older, 0], [here, 0], [here, 1]] as const) {
        if (handedOver === 1) {
          stays = yield* Effect.acquireRelease(
            Effect.promise(() => keepers.connect({ host: "127.0.0.1", port: last.port })),
            (keeper) => Effect.sync(keeper.end)
          )
          yield* Effect.promise(() => stays.ask())
        }
        yield* deploy(current, build)
        yield* signal(last.pid, "SIGHUP")
        const next = yield* app.up(last.generation + 1)
        yield* app.waitFor(new RegExp(`^ALONE ${next.pid}`))
        const [, json] = yield* app.waitFor(new RegExp(`^DRAINED ${last.pid} (.*)`))
        const { servers: [server] } = JSON.parse(json!) as { readonly servers: ReadonlyArray<ServerReport> }
        if (handedOver === 1) assert.isAtLeast(server!.handedOver, 1)
        else assert.strictEqual(server!.handedOver ?? 0, 0)
        last = next
      }
      assert.strictEqual((yield* Effect.promise(() => stays.ask())).pid, last.pid)
      assert.isFalse(stays.wasToldToGo())
      yield* clients.stop
      assert.deepStrictEqual(clients.failures, [])
      assert.strictEqual(clients.answers.size, 5)
      const taken = app.lines().flatMap((line) => /^TAKEN \d+ (\d+)/.exec(line)?.slice(1) ?? [])
      assert.deepStrictEqual(taken, ["0", "0", "1"])
      yield* onlyAlive(app, [last.pid])
    }))
})
