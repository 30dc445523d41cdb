/**
 * Under what name state goes along, and where it cannot.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { HandOverError } from "../../TableflipError.ts"

export const maxKeyLength = 200

export const isKey = (key: string): boolean => key.length > 0 && key.length <= maxKeyLength

export const checkKey = (key: string, refusal: Option.Option<string>): Effect.Effect<void, HandOverError> => {
  if (!isKey(key)) {
    return new HandOverError({ key, reason: "WrongKey", detail: `a key has 1 to ${maxKeyLength} characters` })
  }
  return Option.isSome(refusal)
    ? new HandOverError({ key, reason: "NotHere", detail: refusal.value })
    : Effect.void
}
