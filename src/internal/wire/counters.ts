/**
 * Counters as they go along with an upgrade. A value of a kind of its own, a `bigint`, is written as text.
 *
 * @internal
 */
import * as Either from "effect/Either"
import type { Counter } from "../metrics.ts"

export const encode = (counters: ReadonlyArray<Counter>): Uint8Array =>
  new TextEncoder().encode(JSON.stringify(
    counters.map(({ value, ...counter }) => ({ ...counter, value: typeof value === "bigint" ? String(value) : value }))
  ))

/** All that can be understood, or on the left what it is instead. */
export const decode = (bytes: Uint8Array): Either.Either<ReadonlyArray<Counter>, string> =>
  Either.flatMap(
    Either.try({ try: () => JSON.parse(new TextDecoder().decode(bytes)) as unknown, catch: () => "no JSON" }),
    (json) => Array.isArray(json) ? Either.right(json.flatMap(decodeCounter)) : Either.left("no list")
  )

const decodeCounter = (json: unknown): ReadonlyArray<Counter> => {
  if (typeof json !== "object" || json === null) return []
  const { description, incremental, name, tags, value: written } = json as Readonly<Record<string, unknown>>
  const value = decodeValue(written)
  return typeof name === "string" && typeof incremental === "boolean" && value !== undefined && areTags(tags)
    ? [{ name, incremental, tags, value, description: typeof description === "string" ? description : undefined }]
    : []
}

const decodeValue = (written: unknown): number | bigint | undefined =>
  typeof written === "number"
    ? written
    : typeof written === "string" && /^-?\d+$/.test(written)
    ? BigInt(written)
    : undefined

const areTags = (tags: unknown): tags is Counter["tags"] =>
  typeof tags === "object" && tags !== null && Object.values(tags).every((value) => typeof value === "string")
