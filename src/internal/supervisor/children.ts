/**
 * The processes that a supervisor has started and that live, and how the last one ended.
 *
 * @internal
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import type * as Scope from "effect/Scope"
import type { ChildProcess } from "../../ChildProcess.ts"
import * as ExitStatus from "../../ExitStatus.ts"

export interface Family {
  readonly add: (child: ChildProcess) => Effect.Effect<void>
  readonly all: () => ReadonlyArray<ChildProcess>
  /** Whether one of them has said by this library's protocol that it is ready, so that the next is expected to. */
  readonly hasSpoken: () => boolean
  readonly withPids: (pids: ReadonlyArray<number>) => ReadonlyArray<ChildProcess>
  /** How the one that ended last has ended. */
  readonly lastStatus: () => ExitStatus.ExitStatus
  /** Completes when what has ended has got the last of its output through. */
  readonly flush: Effect.Effect<void>
}

/** How long the last of the output may take after the end of its process: others may hold it open. */
const outputDelay = Duration.millis(250)

export const make: Effect.Effect<Family, never, Scope.Scope> = Effect.map(Effect.scope, (scope) => {
  const live = new Set<ChildProcess>()
  const unflushed = new Set<ChildProcess>()
  let hasSpoken = false
  let lastStatus: ExitStatus.ExitStatus = ExitStatus.Exited({ code: 0 })

  const flush = (child: ChildProcess) =>
    Effect.zipRight(
      Effect.timeoutOption(Effect.interruptible(child.outputEnd), outputDelay),
      Effect.sync(() => void unflushed.delete(child))
    )

  const follow = (child: ChildProcess) =>
    Effect.gen(function*() {
      const status = yield* child.exit
      live.delete(child)
      lastStatus = status
      yield* flush(child)
    })

  const listen = (child: ChildProcess) =>
    Effect.map(Effect.either(child.ready), (word) => {
      hasSpoken ||= Either.isRight(word)
    })

  return {
    add: (child) => {
      live.add(child)
      unflushed.add(child)
      return Effect.forEach(
        [follow(child), listen(child)],
        (watch) => Effect.forkIn(Effect.interruptible(watch), scope),
        { discard: true }
      )
    },
    hasSpoken: () => hasSpoken,
    all: () => [...live],
    withPids: (pids) => [...live].filter(({ pid }) => pids.includes(pid)),
    lastStatus: () => lastStatus,
    flush: Effect.suspend(() =>
      Effect.forEach([...unflushed].filter((child) => !live.has(child)), flush, {
        concurrency: "unbounded",
        discard: true
      })
    )
  }
})
