/**
 * Workers that cannot notice that their primary is gone, because their event loop is blocked.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as path from "node:path"
import { ask } from "../kit/clients.ts"
import { directory } from "../kit/files.ts"
import { fixture } from "../kit/paths.ts"
import { freePort } from "../kit/ports.ts"
import { isLinux } from "../kit/proc.ts"
import type { Handle } from "../kit/processes.ts"
import { signal, start } from "../kit/processes.ts"
import { until } from "../kit/waiting.ts"

const startPool = (behaviour: object) => start(fixture("workers.mjs"), { app: { behaviour } })

const isAlive = (pid: number) => {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}

/** One of the workers computes for ever. */
const blockOne = Effect.fnUntraced(function*(program: Handle, target: number | string) {
  yield* Effect.forkScoped(Effect.ignore(ask(target, { path: "/?block" })))
  const [, pid] = yield* program.waitFor(/^BLOCKED (\d+)/)
  return Number(pid)
})

const targets: Record<string, Effect.Effect<readonly [object, number | string], never, any>> = {
  "a port": Effect.map(freePort, (port) => [{ port }, port]),
  "a Unix path": Effect.map(directory, (dir) => [{ path: path.join(dir, "api.sock") }, path.join(dir, "api.sock")])
}

describe.runIf(isLinux)("the next start after the primary was killed", () => {
  for (const [name, target] of Object.entries(targets)) {
    it.scopedLive(`has ${name} that a blocked worker had held`, () =>
      Effect.gen(function*() {
        const [behaviour, to] = yield* target
        const first = yield* startPool(behaviour)
        const primary = yield* first.up(1)
        const blocked = yield* blockOne(first, to)
        yield* signal(primary.pid, "SIGKILL")
        const second = yield* startPool(behaviour)
        yield* second.up(1)
        const { pid } = yield* ask(to)
        assert.strictEqual(second.count(new RegExp(`^WORKER ${pid} `)), 1)
        yield* until("the end of the blocked worker", () => !isAlive(blocked))
        assert.isAtLeast(second.count(new RegExp(`${blocked}.*its primary is gone`)), 1, second.dump())
      }) as Effect.Effect<void>)
  }

  it.scopedLive("of another pool leaves one alone that lives, blocked or not", () =>
    Effect.gen(function*() {
      const port = yield* freePort
      const first = yield* startPool({ port })
      const primary = yield* first.up(1)
      const blocked = yield* blockOne(first, port)
      const second = yield* startPool({ port })
      yield* until("the end of the second", () => second.alive().length === 0)
      assert.isTrue(isAlive(blocked))
      assert.isTrue(isAlive(primary.pid))
    }))
})
