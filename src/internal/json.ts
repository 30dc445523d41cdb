/**
 * Values of the app as JSON, by a schema of the app. This is what loads the schema library.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import * as ParseResult from "effect/ParseResult"
import * as Schema from "effect/Schema"

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

const mismatchOf = (error: ParseResult.ParseError): Mismatch => {
  const [first] = ParseResult.ArrayFormatter.formatErrorSync(error)
  return { field: first?.path.map(String).join(".") ?? "", detail: first?.message ?? error.message }
}

export const make = <A, I>(schema: Schema.Schema<A, I>): Json<A> => {
  const json = Schema.parseJson(schema)
  const encode = Schema.encode(json)
  const decode = Schema.decode(json)
  return {
    encode: (value) => Effect.mapError(encode(value), mismatchOf),
    decode: (text) => Effect.mapError(decode(text), mismatchOf)
  }
}
