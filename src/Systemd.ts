/**
 * Tells systemd how this process does, by the protocol of sd_notify(3): when it is ready, that it is upgraded and how that
 * ended, that it finishes what it serves and needs more time for it, that it is well, and all of it in words for
 * `systemctl status`. Where nobody wants to know it does nothing.
 *
 * @since 3.0.0
 * @module
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import { layer as layerEnv } from "./Env.ts"
import { Fds } from "./Fds.ts"
import { serviceIfAny } from "./internal/seam.ts"
import { Env } from "./internal/system/env.ts"
import { follow } from "./internal/systemd/follow.ts"
import * as serviceManager from "./internal/systemd/serviceManager.ts"
import type { DescriptorError } from "./TableflipError.ts"
import { Upgrader } from "./Upgrader.ts"
import type { Workers } from "./Workers.ts"

/**
 * How systemd is told.
 *
 * @since 3.0.0
 * @category configuration
 */
export interface Options {
  /**
   * The name of the socket that the unit opens for this program: `notify` by default, for
   * `OpenFile=/run/systemd/notify:notify` (systemd 253 and later). It goes on through upgrades. Without it the program
   * `systemd-notify` is run for each message, which systemd takes with `NotifyAccess=all`.
   */
  readonly descriptor?: string | undefined
}

/**
 * Tells systemd, on an `Env` of the caller's: `Testing.TestEnv` in tests.
 *
 * @since 3.0.0
 * @category layers
 */
export const layerWithoutEnv = (
  { descriptor = serviceManager.descriptorName }: Options = {}
): Layer.Layer<never, DescriptorError, Upgrader | Fds | Env> =>
  Layer.scopedDiscard(Effect.gen(function*() {
    const env = yield* Env
    const fds = yield* Fds
    const upgrader = yield* Upgrader
    const workers = yield* serviceIfAny<Workers["Type"]>("effect-tableflip/Workers")
    const socket = yield* fds.file(descriptor)
    const manager = yield* serviceManager.make(env, { socket, isSuccessor: upgrader.hasParent })
    if (!manager.isThere) return
    yield* Effect.forkScoped(Effect.interruptible(manager.keepWatchdog))
    yield* follow({ env, manager, upgrader, poolEvents: Option.map(workers, ({ events }) => events) })
  }))

/**
 * Tells systemd of the upgrader of this process. It is to be built before the process is ready. As a part of `main` of a pool
 * it tells of the pool.
 *
 * @since 3.0.0
 * @category layers
 */
export const layer = (options?: Options): Layer.Layer<never, DescriptorError, Upgrader | Fds> =>
  Layer.provide(layerWithoutEnv(options), layerEnv)
