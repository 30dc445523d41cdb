/**
 * On what this process listens by itself. Linux alone tells; where it does not, nothing is known.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import * as fs from "node:fs"
import type { Address } from "../../Address.ts"
import * as procSockets from "./procSockets.ts"

/** How many links are read before others get their turn: this process serves meanwhile. */
const inOneTurn = 256

const inodesOf = (descriptors: ReadonlyArray<string | number>): ReadonlyArray<string> =>
  descriptors.flatMap((descriptor) => {
    try {
      const [, inode] = /^socket:\[(\d+)\]$/.exec(fs.readlinkSync(`/proc/self/fd/${descriptor}`)) ?? []
      return inode ?? []
    } catch {
      return []
    }
  })

const openDescriptors = (): ReadonlyArray<string> => {
  try {
    return fs.readdirSync("/proc/self/fd")
  } catch {
    return []
  }
}

const chunksOf = <A>(all: ReadonlyArray<A>, size: number): ReadonlyArray<ReadonlyArray<A>> =>
  Array.from({ length: Math.ceil(all.length / size) }, (_, index) => all.slice(index * size, (index + 1) * size))

const keyOf = (address: Address) => JSON.stringify(address)

/** Where it listens besides on these descriptors, and nobody else does. */
export const listensBesides = (descriptors: ReadonlyArray<number>): Effect.Effect<ReadonlyArray<Address>> =>
  Effect.gen(function*() {
    const all = procSockets.listeningSockets()
    if (all.length === 0) return []
    const known = new Set(inodesOf(descriptors))
    const chunks = yield* Effect.forEach(
      chunksOf(openDescriptors(), inOneTurn),
      (chunk) => Effect.zipLeft(Effect.sync(() => inodesOf(chunk)), Effect.sleep(0))
    )
    const own = new Set(chunks.flat())
    const others = new Set(
      all.filter(({ inode }) => known.has(inode) || !own.has(inode)).map((one) => keyOf(one.address))
    )
    return all.filter(({ address, inode }) => own.has(inode) && !known.has(inode) && !others.has(keyOf(address)))
      .map(({ address }) => address)
  })
