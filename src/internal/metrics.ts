/**
 * What this package measures, and counters as they go along with an upgrade. Effect's majors name and keep metrics
 * differently: this is all that is said to them.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import * as Metric from "effect/Metric"
import * as MetricBoundaries from "effect/MetricBoundaries"
import * as MetricKeyType from "effect/MetricKeyType"
import * as MetricState from "effect/MetricState"
import * as Option from "effect/Option"

export type Tags = Readonly<Record<string, string>>

interface Named {
  readonly name: string
  readonly description: string
}

const withTags = <Type, In, Out>(metric: Metric.Metric<Type, In, Out>, tags: Tags): Metric.Metric<Type, In, Out> =>
  Object.entries(tags).reduce((tagged, [name, value]) => Metric.tagged(tagged, name, value), metric)

export const gauge = ({ description, name }: Named) => {
  const metric = Metric.gauge(name, { description })
  return (value: number, tags: Tags = {}): Effect.Effect<void> => Metric.update(withTags(metric, tags), value)
}

export const counter = ({ description, name }: Named) => {
  const metric = Metric.counter(name, { description, incremental: true })
  return (tags: Tags = {}, by = 1): Effect.Effect<void> => Metric.update(withTags(metric, tags), by)
}

const bounds = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300]

export const seconds = ({ description, name }: Named) => {
  const metric = Metric.histogram(name, MetricBoundaries.fromIterable(bounds), description)
  return (value: number, tags: Tags = {}): Effect.Effect<void> => Metric.update(withTags(metric, tags), value)
}

/** The sum of a gauge of the app or of a library, over all its tags; zero if nobody has set it. */
export const gaugeValue = (name: string): Effect.Effect<number> =>
  Effect.map(
    Metric.snapshot,
    (pairs) =>
      pairs.reduce(
        (sum, { metricKey, metricState }) =>
          metricKey.name === name && MetricState.isGaugeState(metricState) ? sum + Number(metricState.value) : sum,
        0
      )
  )

/** A counter of this process, of the app or of a library. */
export interface Counter {
  readonly name: string
  readonly description?: string | undefined
  readonly tags: Tags
  readonly incremental: boolean
  readonly value: number | bigint
}

/** All of them, as they are now. */
export const counters: Effect.Effect<ReadonlyArray<Counter>> = Effect.map(
  Metric.snapshot,
  (pairs) =>
    pairs.flatMap(({ metricKey: { description, keyType, name, tags }, metricState }) =>
      MetricKeyType.isCounterKey(keyType) && MetricState.isCounterState(metricState)
        ? [{
          name,
          description: Option.getOrUndefined(description),
          tags: Object.fromEntries(tags.map(({ key, value }) => [key, value])),
          incremental: keyType.incremental,
          value: metricState.count
        }]
        : []
    )
)

/** Counts that much more. */
export const add = ({ description, incremental, name, tags, value }: Counter): Effect.Effect<void> =>
  typeof value === "bigint"
    ? Metric.update(withTags(Metric.counter(name, { description, incremental, bigint: true }), tags), value)
    : Metric.update(withTags(Metric.counter(name, { description, incremental }), tags), value)
