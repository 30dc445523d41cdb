/**
 * What a control socket controls.
 *
 * @internal
 */
import type * as Effect from "effect/Effect"
import type { Identity, Status, Wait } from "./protocol.ts"
import type { Reply } from "./reply.ts"

export interface Target {
  readonly identity: () => Identity
  readonly status: Effect.Effect<Status>
  /** With `leave`, a newer process that has taken over hears whoever comes from then on. */
  readonly reload: (wait: Wait, leave: Effect.Effect<void>) => Effect.Effect<Reply>
  readonly stop: (wait: Wait | undefined) => Effect.Effect<Reply>
  readonly scale: (size: unknown) => Effect.Effect<Reply>
  readonly replace: (index: number | undefined) => Effect.Effect<Reply>
  /** Nothing more will happen: what is waited for is answered with what is known. */
  readonly end: Effect.Effect<void>
}
