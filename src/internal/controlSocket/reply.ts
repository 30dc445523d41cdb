/**
 * Answers, and which status of HTTP says what kind of refusal it is.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import { errorJson } from "./json.ts"
import type { ErrorJson, Identity } from "./protocol.ts"

export interface Reply {
  readonly status: number
  readonly json: object
  readonly headers?: Readonly<Record<string, string>> | undefined
}

export const ok = (json: object): Reply => ({ status: 200, json })

/** It is going on, and nobody waits for its end. */
export const accepted = (json: object): Reply => ({ status: 202, json })

/** What went wrong, and which process says so. */
export const refusal = (status: number, error: ErrorJson, by: Identity): Reply => ({ status, json: { error, ...by } })

const statusByTag: Readonly<Partial<Record<string, number>>> = {
  // Nothing was tried, and may be later.
  NotReadyError: 409,
  UpgradeInProgressError: 409,
  AlreadyUpgradedError: 409,
  TerminatingError: 409,
  ParentRunningError: 409,
  InvalidOptionError: 400,
  NotSupportedError: 501,
  // The new process has failed, and the old one goes on.
  SpawnError: 502,
  ChildExitedError: 502,
  ProtocolError: 502,
  ProcessStartError: 502,
  ReplaceError: 502,
  ReloadError: 502,
  UpgradeTimeoutError: 504
}

type Failure = Error & { readonly _tag: string }

/** Whatever fails becomes the answer that says so. */
export const replyWith = <A, E extends Failure>(
  effect: Effect.Effect<A, E>,
  by: () => Identity,
  reply: (value: A) => Reply
): Effect.Effect<Reply> =>
  Effect.match(effect, {
    onSuccess: reply,
    onFailure: (error) => refusal(statusByTag[error._tag] ?? 500, errorJson(error), by())
  })

export const notSupported = (reason: string, by: Identity): Reply =>
  refusal(501, { _tag: "NotSupportedError", message: reason }, by)

export const invalid = (message: string, by: Identity): Reply =>
  refusal(400, { _tag: "InvalidRequestError", message }, by)
