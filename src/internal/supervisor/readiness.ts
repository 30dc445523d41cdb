/**
 * Waiting until a command serves.
 *
 * @internal
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { ChildProcess } from "../../ChildProcess.ts"
import { ReadyTimeoutError } from "../../PoolError.ts"
import type { Probing } from "../../Readiness.ts"
import * as Readiness from "../../Readiness.ts"
import { ChildExitedError, ProtocolError } from "../../TableflipError.ts"
import type { System } from "../system/env.ts"
import type { ProbeOutcome, ProbeTarget } from "../system/probe.ts"
import type { ByteReader } from "../system/stream.ts"

const newline = 10

const untilNewline = (number: number, reader: ByteReader): Effect.Effect<void, ProtocolError> =>
  Effect.flatMap(
    reader.read,
    Option.match({
      // If it has ended, its status says more, and is known in a moment.
      onNone: () =>
        Effect.delay(
          new ProtocolError({
            source: `descriptor ${number}`,
            detail: "was closed without the newline of a ready process"
          }),
          "250 millis"
        ),
      onSome: (chunk) => chunk.includes(newline) ? Effect.void : untilNewline(number, reader)
    })
  )

/** How many probes that went to another process are repeated at once. */
const straysInARow = 20

const untilProbed = (
  probe: Effect.Effect<ProbeOutcome>,
  { interval = "100 millis", timeout = "1 second" }: Probing,
  remember: (detail: string) => void
): Effect.Effect<void> => {
  const once = Effect.timeoutTo(probe, {
    duration: timeout,
    onSuccess: (outcome) => outcome,
    onTimeout: (): ProbeOutcome => ({
      _tag: "Refused",
      detail: `nothing came within ${Duration.format(Duration.decode(timeout))}`
    })
  }).pipe(Effect.tap((outcome) => Effect.sync(() => outcome._tag !== "Served" && remember(outcome.detail))))
  const round = Effect.repeat(once, { until: ({ _tag }) => _tag !== "Elsewhere", times: straysInARow })
  return Effect.asVoid(
    Effect.repeat(Effect.tap(round, ({ _tag }) => _tag === "Served" ? Effect.void : Effect.sleep(interval)), {
      until: ({ _tag }) => _tag === "Served"
    })
  )
}

/** Its last output goes with the error: it tells why. */
const withOutput = (child: ChildProcess) => (error: ChildExitedError) =>
  Effect.timeoutOption(Effect.interruptible(child.outputEnd), "250 millis").pipe(
    Effect.zipRight(child.lastLines),
    Effect.flatMap((output) => new ChildExitedError({ ...error, output }))
  )

/** Completes when the command serves, and fails as soon as it is known that it will not, at the latest after the timeout. */
export const waitUntilReady = (
  env: System,
  child: ChildProcess,
  readiness: Readiness.Readiness,
  readyTimeout: Duration.Duration
): Effect.Effect<void, ChildExitedError | ProtocolError | ReadyTimeoutError> =>
  Effect.suspend(() => {
    const { pid } = child
    // Without a probe here, options that ask for one have been refused.
    const probe = (target: ProbeTarget) =>
      Option.match(env.probe, { onNone: () => Effect.never, onSome: (probe) => probe(target) })
    let seen = ""
    const remember = (detail: string) => {
      seen = detail
    }
    // Programs that know nothing of the stream may close it.
    const word = Effect.catchTag(child.ready, "ProtocolError", () => Effect.never)
    const strategy = Readiness.match(readiness, {
      Wire: (): Effect.Effect<void, ProtocolError> => Effect.never,
      Descriptor: ({ number }) =>
        Option.match(child.notification, {
          onNone: () => Effect.never,
          onSome: (reader) => untilNewline(number, reader)
        }),
      Http: ({ url, ...probing }) => untilProbed(probe({ _tag: "Http", url, pid }), probing, remember),
      Tcp: ({ host, port, ...probing }) => untilProbed(probe({ _tag: "Tcp", host, port, pid }), probing, remember),
      Warmup: ({ duration }) =>
        Effect.raceFirst(
          Effect.as(Effect.sleep(duration), Effect.void),
          Effect.as(child.greeting, Effect.never)
        ).pipe(Effect.flatten)
    })
    return Effect.raceFirst(word, strategy).pipe(
      Effect.timeoutFail({
        duration: readyTimeout,
        onTimeout: () =>
          new ReadyTimeoutError({
            pid,
            timeout: readyTimeout,
            waitedFor: `${Readiness.describe(readiness)}${seen === "" ? "" : ` (${seen})`}`
          })
      }),
      Effect.catchTag("ChildExitedError", withOutput(child)),
      Effect.ensuring(Option.match(child.notification, { onNone: () => Effect.void, onSome: ({ discard }) => discard }))
    )
  })
