/**
 * A value of the primary on its way to the workers: JSON, by a schema of the app. The schema library is loaded only where
 * there is such a value, because it would add its import time to the start of every worker.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import type * as Schema from "effect/Schema"
import { MainContextError } from "../../PoolError.ts"
import type { Mismatch } from "../json.ts"
import { maxStateLength } from "../wire/handOff.ts"

const load = Effect.promise(() => import("../json.ts"))

const errorOf = (direction: MainContextError["direction"], value: string) => ({ detail, field }: Mismatch) =>
  new MainContextError({ direction, value, field, detail })

/** Half of what a process reads from the one that started it, which is encoded once more on the way. */
const maxLength = maxStateLength / 2

export const encode = <A, I>(
  name: string,
  schema: Schema.Schema<A, I>,
  value: A
): Effect.Effect<string, MainContextError> =>
  Effect.flatMap(load, ({ make }) => Effect.mapError(make(schema).encode(value), errorOf("encode", name))).pipe(
    Effect.filterOrFail((json) => Buffer.byteLength(json) <= maxLength, (json) =>
      new MainContextError({
        direction: "encode",
        value: name,
        field: "",
        detail: `it has ${Buffer.byteLength(json)} bytes, and ${maxLength} are taken; pass the name of a file instead`
      }))
  )

export const decode = <A, I>(
  name: string,
  schema: Schema.Schema<A, I>,
  json: string
): Effect.Effect<A, MainContextError> =>
  Effect.flatMap(load, ({ make }) => Effect.mapError(make(schema).decode(json), errorOf("decode", name)))
