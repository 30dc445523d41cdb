/**
 * A socket on which a process is operated: it tells its status and what happens, and it answers whoever has it reloaded or
 * stopped, when that is done or has failed. The command `tableflip` asks there, and so can anything that speaks HTTP.
 *
 * The socket is a Unix socket, and whoever may open it may do everything. It passes to the next process like any other, and
 * is open until this one has finished what it serves.
 *
 * @since 3.0.0
 * @module
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Fds } from "./Fds.ts"
import * as journal from "./internal/controlSocket/journal.ts"
import { serve } from "./internal/controlSocket/serve.ts"
import * as controlledUpgrader from "./internal/controlSocket/upgrader.ts"
import { serviceIfAny } from "./internal/seam.ts"
import type { ListenError } from "./TableflipError.ts"
import { Upgrader } from "./Upgrader.ts"
import type { Workers } from "./Workers.ts"

/**
 * Where a process is operated.
 *
 * @since 3.0.0
 * @category configuration
 */
export interface Options {
  /** The path of the socket. A directory that only its user can enter is the best place. */
  readonly path: string
  /** Permissions of the socket; 0600 by default: this user alone. Not changed on an inherited socket. */
  readonly mode?: number | undefined
}

/**
 * Opens the socket for the upgrader of this process. As a part of `main` of a pool it controls the pool.
 *
 * @since 3.0.0
 * @category layers
 */
export const layer = ({ mode = 0o600, path }: Options): Layer.Layer<never, ListenError, Upgrader | Fds> =>
  Layer.scopedDiscard(Effect.gen(function*() {
    const fds = yield* Fds
    const controlled = yield* controlledUpgrader.make({
      upgrader: yield* Upgrader,
      workers: yield* serviceIfAny<Workers["Type"]>("effect-tableflip/Workers"),
      journal: journal.make
    })
    yield* serve(controlled, (server) => fds.listen(server, { path, mode }, { drain: false }))
  }))
