/**
 * What a pool tells a process about its place in it, and a primary its successor about the pool. Both travel in the state.
 *
 * @internal
 */
import * as Option from "effect/Option"
import type { State } from "../wire/handOff.ts"

export interface Role {
  /** `worker`, or the name of an extra process. */
  readonly name: string
  readonly index: number
  readonly size: number
  readonly generation: number
  readonly restarts: number
}

const roleName = "worker"
const poolName = "pool"
const valueName = "main"

const encodeJson = (json: unknown): Uint8Array => new TextEncoder().encode(JSON.stringify(json))

const decodeJson = (bytes: Uint8Array): unknown => {
  try {
    return JSON.parse(new TextDecoder().decode(bytes))
  } catch {
    return undefined
  }
}

const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && Number(value) >= 0

const isRecord = (value: unknown): value is Record<string, unknown> => typeof value === "object" && value !== null

/** What a process of a pool gets: its place, and the value of the main context as JSON. */
export const encode = (role: Role, value: Option.Option<string>): State =>
  new Map([
    [roleName, encodeJson(role)],
    ...Option.toArray(Option.map(value, (json) => [valueName, new TextEncoder().encode(json)] as const))
  ])

export const decode = (state: State): Option.Option<Role> => {
  const bytes = state.get(roleName)
  const role = bytes === undefined ? undefined : decodeJson(bytes)
  if (!isRecord(role)) return Option.none()
  const { generation, index, name, restarts, size } = role
  return typeof name === "string" && isCount(index) && isCount(size) && isCount(generation) && isCount(restarts)
    ? Option.some({ name, index, size, generation, restarts })
    : Option.none()
}

export const decodeValue = (state: State): Option.Option<string> =>
  Option.map(Option.fromNullable(state.get(valueName)), (bytes) => new TextDecoder().decode(bytes))

/** The generation of the newest processes of the pool, so that those of the next primary count on from there. */
export const encodePool = (generation: number): State => new Map([[poolName, encodeJson({ generation })]])

export const decodePool = (state: State): number => {
  const bytes = state.get(poolName)
  const pool = bytes === undefined ? undefined : decodeJson(bytes)
  return isRecord(pool) && isCount(pool["generation"]) ? pool["generation"] : 0
}
