/**
 * The processes of a pool that run something of which there may be one: each waits for its turn, and has it until it says
 * that it is done, or has ended.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import { forkHereIn } from "../seam.ts"
import type { Answer } from "../wire/control.ts"
import type { Running } from "./slot.ts"

/** Runs the effect when it is the turn of whoever has that rank. The highest is first. */
export type Hold = (name: string, rank: number, use: Effect.Effect<never>) => Effect.Effect<unknown, unknown>

type LockAnswer = Extract<Answer, { readonly _tag: "Lock" | "Unlock" }>

/** What a process has said about its turns is done. What it has when it ends goes to the next. */
export const make = (
  hold: Hold,
  { generation, member, scope }: Pick<Running, "generation" | "member" | "scope">
): (answer: LockAnswer) => Effect.Effect<void> => {
  const held = new Map<number, Fiber.RuntimeFiber<unknown, unknown>>()
  return (answer) => {
    if (answer._tag === "Lock") {
      const locked = Effect.zipRight(member.locked(answer.id), Effect.never)
      return hold(answer.name, generation, locked).pipe(
        Effect.interruptible,
        forkHereIn(scope),
        Effect.map((fiber) => void held.set(answer.id, fiber))
      )
    }
    const fiber = held.get(answer.id)
    held.delete(answer.id)
    return fiber === undefined ? Effect.void : Effect.asVoid(Fiber.interruptFork(fiber))
  }
}
