/**
 * State that is not of the shape that the app has said.
 *
 * @internal
 */
import { HandOverError } from "../../TableflipError.ts"
import type { Mismatch } from "../json.ts"

export const mismatchError =
  (key: string, reason: "Encode" | "Decode") => ({ detail, field }: Mismatch): HandOverError =>
    new HandOverError({
      key,
      reason,
      detail: `it is not of the shape that its schema says${field === "" ? "" : ` at ${field}`}: ${detail}`
    })
