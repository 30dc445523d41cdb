/**
 * The state machine of an upgrader. Everything that can happen is a message in one inbox, and one fiber answers them in
 * order; so two things never happen at once, and no request can be lost between two waits.
 *
 * @internal
 */
import * as Cause from "effect/Cause"
import * as Data from "effect/Data"
import * as Deferred from "effect/Deferred"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import type * as Option from "effect/Option"
import * as Queue from "effect/Queue"
import type * as Scope from "effect/Scope"
import type { ReadyError, UpgradeError } from "../../TableflipError.ts"
import {
  AlreadyUpgradedError,
  NotReadyError,
  ParentRunningError,
  TerminatingError,
  UpgradeInProgressError
} from "../../TableflipError.ts"
import type { UpgraderStatus } from "../../UpgraderEvent.ts"
import { ExitReason, UpgraderEvent } from "../../UpgraderEvent.ts"
import { logError } from "../logging.ts"
import { forkToTheEnd } from "../seam.ts"

/** What a successful upgrade tells. */
export interface Successor {
  readonly pid: number
  readonly generation: number
}

type Reply<A, E> = Deferred.Deferred<A, E>

type Message = Data.TaggedEnum<{
  Ready: { readonly reply: Reply<void, ReadyError> }
  Upgrade: { readonly reply: Reply<Successor, UpgradeError> }
  Stop: {}
  Replaced: Successor
  OlderExited: {}
  AttemptEnded: { readonly exit: Exit.Exit<Successor, UpgradeError> }
  Close: {}
}>
const Message = Data.taggedEnum<Message>()

type State = Data.TaggedEnum<{
  Starting: {}
  Serving: {}
  Upgrading: { readonly reply: Reply<Successor, UpgradeError>; readonly attempt: Fiber.RuntimeFiber<void> }
  /** Told to stop while a new process was being started, which is being ended; if another starts it, that decides. */
  Cancelling: { readonly reply: Reply<Successor, UpgradeError> }
  Upgraded: Successor
  Stopped: {}
}>
const State = Data.taggedEnum<State>()

export interface MachineOptions {
  readonly generation: number
  readonly maxDraining: number
  /** How many older generations live. */
  readonly older: number
  readonly becomeReady: Effect.Effect<void, Exclude<ReadyError, TerminatingError>>
  /** Ends with the new process in charge, or with nothing left of it. Interruptible while that is open. */
  readonly attempt: Effect.Effect<Successor, UpgradeError>
  readonly publish: (event: UpgraderEvent) => Effect.Effect<void>
  /** How long a stop may take, in which a process that was just started is ended. */
  readonly endTimeout: Duration.Duration
  /** All older generations are gone. */
  readonly onOlderGone: Effect.Effect<void>
}

export interface Machine {
  readonly ready: Effect.Effect<void, ReadyError>
  readonly upgrade: Effect.Effect<Successor, UpgradeError>
  readonly stop: Effect.Effect<void>
  /** Another process has taken over without this one having started it. */
  readonly replaced: (successor: Successor) => Effect.Effect<void>
  readonly exit: Effect.Effect<ExitReason>
  /** The same if it has been decided: it never waits. */
  readonly exitReason: Effect.Effect<Option.Option<ExitReason>>
  /** One of the older generations has ended. */
  readonly olderExited: Effect.Effect<void>
  readonly status: Effect.Effect<Pick<UpgraderStatus, "state" | "olderDraining">>
}

const stateNames = {
  Starting: "starting",
  Serving: "serving",
  Upgrading: "upgrading",
  Cancelling: "stopping",
  Upgraded: "draining",
  Stopped: "stopping"
} as const

export const make: (options: MachineOptions) => Effect.Effect<Machine, never, Scope.Scope> = Effect.fnUntraced(
  function*(options) {
    const inbox = yield* Queue.unbounded<Message>()
    let closed = false
    const send = (message: Message) => Effect.sync(() => !closed && inbox.unsafeOffer(message))
    const exit = yield* Deferred.make<ExitReason>()
    let state: State = State.Starting()
    let older = options.older

    const startAttempt = (reply: Reply<Successor, UpgradeError>) =>
      Effect.exit(options.attempt).pipe(
        Effect.flatMap((exit) => send(Message.AttemptEnded({ exit }))),
        Effect.asVoid,
        forkToTheEnd,
        Effect.map((attempt) => {
          state = State.Upgrading({ reply, attempt })
        })
      )

    const finish = (reason: ExitReason, event: UpgraderEvent) =>
      Effect.zipRight(options.publish(event), Deferred.succeed(exit, reason))

    const stopNow = Effect.suspend(() => {
      state = State.Stopped()
      return finish(ExitReason.Stopped(), UpgraderEvent.Stopped({ generation: options.generation }))
    })

    const handOver = (successor: Successor, reply: Reply<Successor, UpgradeError>) =>
      Effect.suspend(() => {
        state = State.Upgraded(successor)
        return Deferred.succeed(reply, successor).pipe(
          Effect.zipRight(finish(ExitReason.Upgraded(successor), UpgraderEvent.Upgraded(successor)))
        )
      })

    const attemptFailed = (cause: Cause.Cause<UpgradeError>, reply: Reply<Successor, UpgradeError>) =>
      Effect.suspend(() => {
        state = State.Serving()
        const failed = Cause.failureOption(cause)
        const told = failed._tag === "Some"
          ? options.publish(UpgraderEvent.UpgradeFailed({ error: failed.value, generation: options.generation + 1 }))
          : logError("An upgrade ended by a defect; this process goes on serving", cause)
        // Told by then, so that whoever asked need not tell it in other words.
        return Effect.ensuring(told, Deferred.failCause(reply, cause))
      })

    const onAttemptEnded = (result: Exit.Exit<Successor, UpgradeError>): Effect.Effect<unknown> => {
      if (state._tag !== "Upgrading" && state._tag !== "Cancelling") return Effect.void
      const { _tag, reply } = state
      return Exit.match(result, {
        // A successor that was in charge before the word to stop came stays so.
        onSuccess: (successor) => handOver(successor, reply),
        onFailure: (cause) =>
          _tag === "Cancelling"
            ? Effect.zipRight(Deferred.fail(reply, new TerminatingError()), stopNow)
            : attemptFailed(cause, reply)
      })
    }

    const onReady = (reply: Reply<void, ReadyError>): Effect.Effect<unknown> => {
      switch (state._tag) {
        case "Starting":
          return options.becomeReady.pipe(
            Effect.tap(() => {
              state = State.Serving()
              return options.publish(UpgraderEvent.Ready({ generation: options.generation }))
            }),
            Effect.intoDeferred(reply)
          )
        case "Stopped":
        case "Cancelling":
          return Deferred.fail(reply, new TerminatingError())
        default:
          return Deferred.succeed(reply, void 0)
      }
    }

    const refuse = (reply: Reply<Successor, UpgradeError>, error: UpgradeError) =>
      Deferred.fail(reply, error).pipe(
        Effect.zipRight(options.publish(UpgraderEvent.UpgradeRefused({ error, generation: options.generation })))
      )

    const onUpgrade = (reply: Reply<Successor, UpgradeError>): Effect.Effect<unknown> => {
      switch (state._tag) {
        case "Starting":
          return refuse(reply, new NotReadyError())
        case "Serving":
          return older >= options.maxDraining
            ? refuse(reply, new ParentRunningError({ draining: older, maxDraining: options.maxDraining }))
            : startAttempt(reply)
        case "Upgrading":
          return refuse(reply, new UpgradeInProgressError())
        case "Upgraded":
          return refuse(reply, new AlreadyUpgradedError({ pid: state.pid }))
        case "Cancelling":
        case "Stopped":
          return refuse(reply, new TerminatingError())
      }
    }

    const onStop = (): Effect.Effect<unknown> => {
      switch (state._tag) {
        case "Starting":
        case "Serving":
          return stopNow
        case "Upgrading": {
          const { attempt, reply } = state
          state = State.Cancelling({ reply })
          return Fiber.interruptFork(attempt)
        }
        default:
          return Effect.void
      }
    }

    const onReplaced = (successor: Successor): Effect.Effect<unknown> => {
      if (state._tag !== "Starting" && state._tag !== "Serving") return Effect.void
      state = State.Upgraded(successor)
      return finish(ExitReason.Upgraded(successor), UpgraderEvent.Upgraded(successor))
    }

    const onOlderExited = (): Effect.Effect<unknown> => {
      older -= 1
      return older > 0 ? Effect.void : Effect.zipRight(
        options.onOlderGone,
        options.publish(UpgraderEvent.ParentExited({ generation: options.generation }))
      )
    }

    const handle = Message.$match({
      Ready: ({ reply }) => onReady(reply),
      Upgrade: ({ reply }) => onUpgrade(reply),
      Stop: onStop,
      Replaced: onReplaced,
      OlderExited: onOlderExited,
      AttemptEnded: (message) => onAttemptEnded(message.exit),
      Close: () => Effect.void
    })

    // A defect of ours must not leave the caller waiting, nor end the loop that answers the others.
    const answer = (message: Message) =>
      Effect.catchAllCause(handle(message), (cause) =>
        Effect.zipRight(
          logError("The upgrader failed to answer a message", cause),
          message._tag === "Ready"
            ? Deferred.die(message.reply, cause)
            : message._tag === "Upgrade"
            ? Deferred.die(message.reply, cause)
            : Effect.void
        ))

    /** Only a process that cannot be killed is still waited for at this point. */
    const settle = Effect.suspend(() =>
      state._tag === "Upgrading" || state._tag === "Cancelling"
        ? Deferred.fail(state.reply, new TerminatingError())
        : Effect.void
    ).pipe(Effect.zipRight(Deferred.succeed(exit, ExitReason.Stopped())))

    // Ends by a message and not by interruption, which could fall between taking a message and answering it.
    const loop = yield* Queue.take(inbox).pipe(
      Effect.tap(answer),
      Effect.repeat({ until: ({ _tag }) => _tag === "Close" }),
      Effect.zipRight(settle),
      forkToTheEnd
    )

    const stop = Effect.zipRight(send(Message.Stop()), Effect.asVoid(Deferred.await(exit)))

    const close = Effect.sync(() => {
      inbox.unsafeOffer(Message.Close())
      closed = true
    })

    yield* Effect.addFinalizer(() =>
      Effect.interruptible(stop).pipe(
        Effect.timeoutOption(options.endTimeout),
        Effect.zipRight(close),
        Effect.zipRight(Effect.timeoutOption(Effect.interruptible(Fiber.await(loop)), options.endTimeout))
      )
    )

    const request = <A, E>(
      message: (reply: Reply<A, E | TerminatingError>) => Message
    ): Effect.Effect<A, E | TerminatingError> =>
      Effect.flatMap(
        Deferred.make<A, E | TerminatingError>(),
        (reply) =>
          Effect.flatMap(
            send(message(reply)),
            (taken) => taken ? Deferred.await(reply) : Effect.fail(new TerminatingError())
          )
      )

    return {
      ready: request<void, ReadyError>((reply) => Message.Ready({ reply })),
      upgrade: request<Successor, UpgradeError>((reply) => Message.Upgrade({ reply })),
      stop,
      replaced: (successor) => Effect.asVoid(send(Message.Replaced(successor))),
      exit: Deferred.await(exit),
      exitReason: Effect.flatMap(Deferred.poll(exit), Effect.transposeOption),
      olderExited: Effect.asVoid(send(Message.OlderExited())),
      status: Effect.sync(() => ({ state: stateNames[state._tag], olderDraining: older }))
    }
  }
)
