/** Numbers drawn by lot, the same ones again for the same seed. */

export type Draw = () => number

/** Mulberry32: small, and good enough to choose what to break. */
export const generator = (seed: number): Draw => {
  let state = seed | 0
  return () => {
    state = state + 0x6d2b79f5 | 0
    let mixed = Math.imul(state ^ state >>> 15, 1 | state)
    mixed = mixed + Math.imul(mixed ^ mixed >>> 7, 61 | mixed) ^ mixed
    return ((mixed ^ mixed >>> 14) >>> 0) / 2 ** 32
  }
}

export const whole = (draw: Draw, below: number) => Math.floor(draw() * below)

export const pick = <A>(draw: Draw, items: ReadonlyArray<A>): A => items[whole(draw, items.length)]!
