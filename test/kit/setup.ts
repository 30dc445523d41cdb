import { addEqualityTesters } from "@effect/vitest"
import * as Option from "effect/Option"
import { chai } from "vitest"

addEqualityTesters()

/** By itself chai takes any `Option` for another, as long as one of them has no value. */
const comparator = (one: unknown, other: unknown): boolean | null =>
  Option.isOption(one) && Option.isOption(other) && one._tag !== other._tag ? false : null

chai.config.deepEqual = (one, other) => chai.util.eql(one, other, { comparator } as never)
