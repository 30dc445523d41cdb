/**
 * Events, errors and reports as JSON: durations are milliseconds, and an error has its tag, its message and its fields.
 *
 * @internal
 */
import * as Duration from "effect/Duration"
import type { ErrorJson } from "./protocol.ts"

/** What refers to itself must end somewhere. */
const deepest = 8

const fieldsOf = (value: object, depth: number): Record<string, unknown> =>
  Object.fromEntries(
    Object.entries(value).filter(([, field]) => field !== undefined && typeof field !== "function").map((
      [name, field]
    ) => [name, toJson(field, depth + 1)])
  )

export const toJson = (value: unknown, depth = 0): unknown => {
  if (depth > deepest) return String(value)
  if (typeof value !== "object" || value === null) return typeof value === "bigint" ? Number(value) : value
  if (Duration.isDuration(value)) return Math.round(Duration.toMillis(value))
  if (value instanceof Error) return errorOf(value, depth)
  if (Array.isArray(value)) return value.map((item) => toJson(item, depth + 1))
  return fieldsOf(value, depth)
}

const errorOf = (error: Error, depth: number): ErrorJson => ({
  ...fieldsOf(error, depth),
  // No field of its own that could be listed.
  ...error.cause instanceof Error && depth < deepest ? { cause: errorOf(error.cause, depth + 1) } : {},
  _tag: "_tag" in error ? String(error._tag) : error.name,
  message: error.message
})

export const errorJson = (error: Error): ErrorJson => errorOf(error, 0)

export const timeJson = (millis: number): string => new Date(millis).toISOString()
