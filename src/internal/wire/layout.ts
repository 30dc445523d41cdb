/**
 * Which descriptor lands where in a process that is started. Who writes the numbers down for it and who puts the
 * descriptors there both ask here.
 *
 * @internal
 */

/** The first descriptor after standard input, output and error. */
export const firstNumber = 3

/** What of a request decides where things land. */
export interface Parts {
  /** How many descriptors come first, for readers of other protocols. */
  readonly leading: number
  /** How many are handed on. */
  readonly inherit: number
  readonly state: boolean
  readonly control: boolean
  /** Whether connections can be passed on later: only to Node, which takes the stream for its own at its start. */
  readonly channel: boolean
}

export type Slot =
  | { readonly what: "leading" | "inherit"; readonly index: number }
  | { readonly what: "ready" | "names" | "state" | "control" | "channel" }

/** Numbers as they are in the process that is started. */
export interface Layout {
  /** From `firstNumber` on without a gap: Node closes inherited descriptors to its own children only up to the first. */
  readonly slots: ReadonlyArray<Slot>
  readonly leading: ReadonlyArray<number>
  readonly ready: number
  readonly names: number
  readonly inherit: ReadonlyArray<number>
  readonly state: number | undefined
  readonly control: number | undefined
  readonly channel: number | undefined
}

const many = (what: "leading" | "inherit", count: number): ReadonlyArray<Slot> =>
  Array.from({ length: count }, (_, index) => ({ what, index }))

/** What is new comes last, so that no number moves on which others rely. */
export const layoutOf = ({ channel, control, inherit, leading, state }: Parts): Layout => {
  const slots: ReadonlyArray<Slot> = [
    ...many("leading", leading),
    { what: "ready" },
    { what: "names" },
    ...many("inherit", inherit),
    ...state ? [{ what: "state" } as const] : [],
    ...control ? [{ what: "control" } as const] : [],
    ...channel ? [{ what: "channel" } as const] : []
  ]
  const numbersOf = (what: Slot["what"]) =>
    slots.flatMap((slot, index) => slot.what === what ? [firstNumber + index] : [])
  return {
    slots,
    leading: numbersOf("leading"),
    ready: numbersOf("ready")[0]!,
    names: numbersOf("names")[0]!,
    inherit: numbersOf("inherit"),
    state: numbersOf("state")[0],
    control: numbersOf("control")[0],
    channel: numbersOf("channel")[0]
  }
}
