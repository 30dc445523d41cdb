/**
 * Runners of a cluster that are upgraded in place, with clients that send to them all the time.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as fs from "node:fs"
import * as path from "node:path"
import { mariadb, postgres, sqlite } from "../kit/databases.ts"
import { directory } from "../kit/files.ts"
import { isLinux } from "../kit/proc.ts"
import { signal } from "../kit/processes.ts"
import type { Runner } from "../kit/runners.ts"
import { cluster, isUp, patience, results, served, startRunner, tookOver, upgrade } from "../kit/runners.ts"

const nothingWrong = { failed: [], undone: [], twice: [], lost: [], together: [], alternating: 0 }

describe.runIf(isLinux)("a runner of a cluster", () => {
  it.scopedLive(
    "is upgraded in place, also after a release that failed, and nothing is lost or done twice",
    () =>
      Effect.gen(function*() {
        const failing = path.join(yield* directory, "failing")
        const all = yield* cluster({ transport: "http", failing })
        const [one, other] = all.runners as [Runner, Runner]
        yield* upgrade(one)
        yield* tookOver(one)
        yield* served(all.client)

        fs.writeFileSync(failing, "")
        yield* signal(other.pid, "SIGHUP")
        // It is a part of the cluster by then, and has none of the shards.
        yield* other.handle.waitFor(/^FAILING/, patience)
        yield* served(all.client)
        yield* other.handle.waitFor(new RegExp(`^EVENT ${other.pid} UpgradeFailed`), patience)
        fs.rmSync(failing)
        yield* served(all.client)

        for (const runner of [other, one]) {
          yield* upgrade(runner)
          yield* tookOver(runner)
          yield* served(all.client)
        }
        const { asked, done, wrong } = yield* results(all)
        assert.deepStrictEqual(wrong, nothingWrong)
        assert.isAbove(asked, 100)
        assert.isAbove(done, 50)
      }),
    300_000
  )

  it.scopedLive("that speaks by sockets is so too", () =>
    Effect.gen(function*() {
      const all = yield* cluster({ transport: "socket" })
      for (const runner of all.runners) {
        yield* upgrade(runner)
        yield* tookOver(runner)
        yield* served(all.client)
      }
      assert.deepStrictEqual((yield* results(all)).wrong, nothingWrong)
    }), 300_000)

  // Shown as skipped on a machine without it.
  for (const { isInstalled, name, start } of [postgres, mariadb]) {
    for (const [locks, where] of [["session", "of its sessions"], ["table", "in a table"]] as const) {
      it.scopedLive.skipIf(!isInstalled)(
        `that has its locks ${where} of ${name} is so too`,
        () =>
          Effect.gen(function*() {
            const all = yield* cluster({ transport: "http", ...yield* start, locks })
            for (const runner of [...all.runners, ...all.runners]) {
              yield* upgrade(runner)
              yield* tookOver(runner)
              yield* served(all.client)
            }
            assert.deepStrictEqual((yield* results(all)).wrong, nothingWrong)
          }),
        300_000
      )
    }
  }

  // What was locked by a session that has ended so is free when its server has seen that.
  for (const { isInstalled, name, start } of [sqlite, postgres, mariadb]) {
    it.scopedLive.skipIf(!isInstalled)(
      `loses nothing when either process is killed in an upgrade, on ${name}`,
      () =>
        Effect.gen(function*() {
          const all = yield* cluster({ transport: "http", ...yield* start, locks: "session" })
          const [one, other] = all.runners as [Runner, Runner]
          const killed: Array<number> = []
          const kill = (pid: number) =>
            Effect.suspend(() => {
              killed.push(pid)
              return signal(pid, "SIGKILL")
            })

          yield* signal(one.pid, "SIGHUP")
          const newer = yield* isUp(one.handle, 2)
          yield* kill(one.pid)
          yield* one.handle.waitFor(new RegExp(`^ALONE ${newer}`), patience)
          yield* served(all.client, 5)

          // What is left of the runner ends, and whoever looks after it starts it again.
          yield* signal(other.pid, "SIGHUP")
          yield* kill(yield* isUp(other.handle, 2))
          yield* other.handle.waitFor(new RegExp(`^EXIT ${other.pid}`), patience)
          yield* startRunner(other.app)
          yield* served(all.client, 5)

          const { wrong: { alternating: _, together, twice: __, ...wrong } } = yield* results(all)
          // What was being done when its process was killed is done again; what that process has served had no end.
          assert.deepStrictEqual(wrong, { failed: [], undone: [], lost: [] })
          assert.deepStrictEqual(together.filter(({ pid }: { pid: number }) => !killed.includes(pid)), [])
        }),
      300_000
    )
  }
})
