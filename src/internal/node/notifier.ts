/**
 * Telling a service manager of the kind of systemd how this process does, by the protocol of sd_notify(3): datagrams on a
 * Unix socket. Node can write to one that is connected already (`OpenFile=`), and cannot connect one by itself, so without
 * it a program of systemd does.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import * as childProcess from "node:child_process"
import * as fs from "node:fs"
import { logWarning } from "../logging.ts"
import { forkApart } from "../seam.ts"
import { findProgram } from "./program.ts"

type State = ReadonlyArray<string>

/** What could not be told, and why. */
type Send = (state: State) => Effect.Effect<Option.Option<string>>

/** Milliseconds; far more than it takes. */
const timeout = 5_000

/** Not blocking: a manager that is busy, or being exchanged itself, takes nothing for a while. */
const toSocket = (descriptor: number): Send => (state) =>
  Effect.async((resume) => {
    fs.write(descriptor, state.join("\n"), (error) => {
      resume(Effect.succeed(Option.fromNullable(error?.message)))
    })
  })

const byProgram: Send = (state) =>
  Effect.matchEffect(
    findProgram({ name: "systemd-notify", directory: "/", searchPath: process.env["PATH"] }),
    {
      onFailure: () =>
        Effect.succeedSome(
          "NOTIFY_SOCKET is set, but there is no program systemd-notify to send it anything; open the socket for this " +
            "program (OpenFile=/run/systemd/notify:notify), use Type=exec, or install it"
        ),
      onSuccess: (program) =>
        Effect.async((resume) => {
          childProcess.execFile(program, [...state], { timeout, killSignal: "SIGKILL" }, (error, _, said) => {
            const detail = said.trim() === "" ? error?.message : said.trim()
            resume(Effect.succeed(error === null ? Option.none() : Option.fromNullable(detail)))
          })
        })
    }
  )

/** Of a manager that takes nothing for long, the rest is of no use any more. */
const maxWaiting = 64

export const notifier = (
  socket: Option.Option<number>
): Effect.Effect<(state: State) => Effect.Effect<void>, never, Scope.Scope> =>
  Effect.gen(function*() {
    const send = Option.match(socket, { onNone: () => byProgram, onSome: toSocket })
    const turn = yield* Effect.makeSemaphore(1)
    let waiting = 0
    let isClosed = false
    let hasFailed = false
    const report = (problem: Option.Option<string>) => {
      const isNew = Option.isSome(problem) && !hasFailed
      hasFailed = Option.isSome(problem)
      return isNew ? logWarning(`The service manager could not be told: ${Option.getOrThrow(problem)}`) : Effect.void
    }
    yield* Effect.addFinalizer(() =>
      Effect.yieldNow().pipe(
        Effect.zipRight(Effect.timeoutOption(Effect.interruptible(turn.withPermits(1)(Effect.void)), "1 second")),
        Effect.zipRight(Effect.sync(() => {
          isClosed = true
        }))
      )
    )
    // In the order in which it was said, one at a time. Whoever does not wait for it does not take it back.
    return (state) =>
      Effect.suspend(() => {
        if (waiting >= maxWaiting || isClosed) return Effect.void
        waiting += 1
        return Effect.suspend(() => isClosed ? Effect.void : Effect.flatMap(send(state), report)).pipe(
          turn.withPermits(1),
          Effect.ensuring(Effect.sync(() => {
            waiting -= 1
          })),
          forkApart,
          Effect.flatMap((fiber) => Effect.timeoutOption(Effect.interruptible(Fiber.await(fiber)), timeout)),
          Effect.asVoid
        )
      })
  })
