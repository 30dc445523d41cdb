/**
 * Which descriptors this process has under which names: those that were inherited and not yet asked for, and those in
 * use. A name has one user, and each descriptor one owner.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import type * as net from "node:net"
import type { FdName } from "../../Address.ts"
import type { NamedDescriptor } from "../../ChildProcess.ts"
import type { BoundListener } from "../system/socket.ts"

/** Something in use, which goes to the child at the next upgrade. */
export interface Entry {
  readonly name: FdName
  /** Its number; none once it has been closed by whoever uses it. */
  readonly descriptor: () => Option.Option<number>
  readonly listener?: BoundListener
  /** Whether the listener came from an older process or from a supervisor. */
  readonly inherited?: boolean
  /** What a service manager calls it that has opened it, and keeps it. */
  readonly activated?: string | undefined
  /** The server that accepts on the listener. */
  server?: net.Server
  /** Whether that server is drained with the others. */
  isDrained?: boolean
  /** Whether connections of that server go to the newer process, and come from the older one. */
  handsOver?: boolean
  /** The keys of those that come from the older process by the app's word. */
  takes?: ReadonlyArray<string>
  /** Stops that server from accepting when its accept queue is empty. */
  emptyQueue?: Effect.Effect<void>
  /** A connection, which this process lets go of when another has taken over. */
  readonly connection?: net.Socket
  /** Starts receiving, when this process is ready. */
  readonly start?: () => void
}

/** Lets what must be interruptible be as interruptible as its caller. */
export type Restore = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>

export interface DescriptorTable {
  /** Removes an inherited descriptor and makes the caller its owner. */
  readonly takeInherited: (name: FdName) => Option.Option<number>
  /** What was inherited and nobody has asked for yet. */
  readonly unclaimed: () => ReadonlyArray<NamedDescriptor>
  /** Whether a name is in use. One whose descriptor has been closed is free again. */
  readonly isTaken: (name: FdName) => boolean
  /** What is in use and open. */
  readonly entries: () => ReadonlyArray<Entry>
  /**
   * Takes a name, opens what belongs to it, and gives both back when the scope closes. What may take any time while it is
   * opened is for `restore`.
   */
  readonly claim: <A, E>(options: {
    readonly name: FdName
    readonly onTaken: () => E
    readonly open: (restore: Restore) => Effect.Effect<A, E>
    readonly toEntry: (opened: A) => Entry
    readonly close: (opened: A) => Effect.Effect<void>
  }) => Effect.Effect<readonly [opened: A, entry: Entry], E, Scope.Scope>
}

const keyOf = (name: FdName): string => JSON.stringify([name.kind, name.network, name.address])

export const make = (inherited: ReadonlyArray<NamedDescriptor>): DescriptorTable => {
  const unclaimed = new Map(inherited.map((item) => [keyOf(item.name), item]))
  const opening = new Set<string>()
  const used = new Map<string, Entry>()

  const isTaken = (name: FdName): boolean => {
    const key = keyOf(name)
    const entry = used.get(key)
    return opening.has(key) || (entry !== undefined && Option.isSome(entry.descriptor()))
  }

  return {
    takeInherited: (name) => {
      const item = unclaimed.get(keyOf(name))
      unclaimed.delete(keyOf(name))
      return Option.fromNullable(item?.descriptor)
    },
    unclaimed: () => [...unclaimed.values()],
    isTaken,
    entries: () => [...used.values()].filter((entry) => Option.isSome(entry.descriptor())),
    claim: ({ close, name, onTaken, open, toEntry }) => {
      const key = keyOf(name)
      return Effect.uninterruptibleMask((restore) =>
        Effect.suspend(() => {
          if (isTaken(name)) return Effect.fail(onTaken())
          opening.add(key)
          return open(restore).pipe(
            Effect.map((opened) => {
              const entry = toEntry(opened)
              used.set(key, entry)
              return [opened, entry] as const
            }),
            Effect.ensuring(Effect.sync(() => opening.delete(key)))
          )
        }).pipe(
          Effect.tap(([opened, entry]) =>
            Effect.addFinalizer(() =>
              Effect.suspend(() => {
                if (used.get(key) === entry) used.delete(key)
                return close(opened)
              })
            )
          )
        )
      )
    }
  }
}
