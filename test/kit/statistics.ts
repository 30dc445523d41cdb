/** The value below which the given share of the samples lies. */
export const percentile = (samples: ReadonlyArray<number>, share: number): number => {
  const sorted = Float64Array.from(samples)
  sorted.sort()
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN
}

export const median = (samples: ReadonlyArray<number>): number => percentile(samples, 0.5)

/** Milliseconds on one clock for all threads and processes of this machine. */
export const now = (): number => performance.timeOrigin + performance.now()

/** Forwards and backwards by turns, so that nobody always comes first. */
export const alternating = <A>(items: ReadonlyArray<A>, round: number): ReadonlyArray<A> =>
  items.map((_, index) => items[round % 2 === 0 ? index : items.length - 1 - index]!)
