/**
 * Properties, which hold whatever FastCheck thinks of.
 */
import { it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as TestClock from "effect/testing/TestClock"
import * as FastCheck from "fast-check"

type Arbitraries<A extends ReadonlyArray<unknown>> = { [K in keyof A]: FastCheck.Arbitrary<A[K]> }

interface Options {
  readonly numRuns?: number | undefined
  /** Milliseconds. */
  readonly timeout?: number | undefined
}

export const property = <A extends [unknown, ...Array<unknown>]>(
  name: string,
  arbitraries: Arbitraries<A>,
  holds: (values: A) => void,
  { numRuns, timeout }: Options = {}
) =>
  it(name, () =>
    FastCheck.assert(
      FastCheck.property(...arbitraries, (...values: A) => holds(values)),
      numRuns === undefined ? {} : { numRuns }
    ), timeout)

/** Each run has a clock and a scope of its own. */
export const effectProperty = <A extends [unknown, ...Array<unknown>], E>(
  name: string,
  arbitraries: Arbitraries<A>,
  holds: (values: A) => Effect.Effect<unknown, E, Scope.Scope>,
  { numRuns, timeout }: Options = {}
) =>
  it(name, () =>
    FastCheck.assert(
      FastCheck.asyncProperty(...arbitraries, async (...values: A) => {
        await Effect.runPromise(Effect.scoped(holds(values)).pipe(Effect.provide(TestClock.layer())))
      }),
      numRuns === undefined ? {} : { numRuns }
    ), timeout)
