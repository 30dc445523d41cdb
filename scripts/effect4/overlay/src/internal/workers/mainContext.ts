/**
 * A value of the primary on its way to the workers: JSON, by a schema of the app. The schema library is loaded only where
 * there is such a value, because it would add its import time to the start of every worker.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import type * as Schema from "effect/Schema"
import { MainContextError } from "../../PoolError.ts"
import { maxStateLength } from "../wire/handOff.ts"

const load = Effect.promise(() => Promise.all([import("effect/Schema"), import("effect/SchemaIssue")]))

const explain = (direction: MainContextError["direction"], value: string, error: Schema.SchemaError) =>
  Effect.flatMap(load, ([, { makeFormatterStandardSchemaV1 }]) => {
    const first = makeFormatterStandardSchemaV1()(error.issue).issues[0]
    return Effect.fail(
      new MainContextError({
        direction,
        value,
        field: first?.path?.map(String).join(".") ?? "",
        detail: first?.message ?? error.message
      })
    )
  })

/** Half of what a process reads from the one that started it, which is encoded once more on the way. */
const maxLength = maxStateLength / 2

export const encode = <A, I>(
  name: string,
  schema: Schema.Codec<A, I>,
  value: A
): Effect.Effect<string, MainContextError> =>
  Effect.flatMap(load, ([{ encodeEffect, fromJsonString }]) =>
    Effect.catch(
      encodeEffect(fromJsonString(schema))(value),
      (error) => explain("encode", name, error)
    )).pipe(
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
  schema: Schema.Codec<A, I>,
  json: string
): Effect.Effect<A, MainContextError> =>
  Effect.flatMap(load, ([{ decodeEffect, fromJsonString }]) =>
    Effect.catch(
      decodeEffect(fromJsonString(schema))(json),
      (error) => explain("decode", name, error)
    ))
