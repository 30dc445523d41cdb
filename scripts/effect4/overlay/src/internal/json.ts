/**
 * Values of the app as JSON, by a schema of the app. This is what loads the schema library.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { makeFormatterStandardSchemaV1 } from "effect/SchemaIssue"

/** The first thing that is not as the schema says. */
export interface Mismatch {
  /** Empty where it is the whole. */
  readonly field: string
  readonly detail: string
}

export interface Json<A> {
  readonly encode: (value: A) => Effect.Effect<string, Mismatch>
  readonly decode: (json: string) => Effect.Effect<A, Mismatch>
}

const mismatchOf = (error: Schema.SchemaError): Mismatch => {
  const [first] = makeFormatterStandardSchemaV1()(error.issue).issues
  return { field: first?.path?.map(String).join(".") ?? "", detail: first?.message ?? error.message }
}

export const make = <A, I>(schema: Schema.Codec<A, I>): Json<A> => {
  const json = Schema.fromJsonString(schema)
  const encode = Schema.encodeEffect(json)
  const decode = Schema.decodeEffect(json)
  return {
    encode: (value) => Effect.mapError(encode(value), mismatchOf),
    decode: (text) => Effect.mapError(decode(text), mismatchOf)
  }
}
