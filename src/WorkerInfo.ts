/**
 * What a process of a pool knows of its place in it.
 *
 * @since 3.0.0
 * @module
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Option from "effect/Option"

/**
 * The place of this process in its pool.
 *
 * @since 3.0.0
 * @category tags
 */
export class WorkerInfo extends Context.Tag("effect-tableflip/WorkerInfo")<WorkerInfo, {
  /** `worker`, or the name of an extra process. */
  readonly name: string
  /** From 0. A worker that takes the place of another has its index. */
  readonly index: number
  /** How many workers there were when this one was started. */
  readonly size: number
  /** 1 for the workers of the first start; each replacement and each upgrade of the primary counts one up. */
  readonly generation: number
  /** How often the process in this place has been started again after it had ended. */
  readonly restarts: number
  /**
   * The signal that stops this process, whether it came from the pool or by itself; none before, and none if a newer
   * process has taken its place. For finalizers that shut down in another way on SIGINT than on SIGTERM.
   */
  readonly stopSignal: Effect.Effect<Option.Option<NodeJS.Signals>>
  /**
   * Asks the pool for a new process in the place of this one, which serves until the new one is ready and then finishes
   * like any that is replaced. Processes take their turns, so a pool has one more than its size at most. Once is enough. It
   * does nothing in a task, and where there is no pool.
   */
  readonly recycle: Effect.Effect<void>
}>() {
  /**
   * For worker code that runs alone, under `Upgrader.launch`: worker 0 of 1.
   *
   * @since 3.0.0
   * @category layers
   */
  static readonly layerAlone: Layer.Layer<WorkerInfo> = Layer.succeed(WorkerInfo, {
    name: "worker",
    index: 0,
    size: 1,
    generation: 1,
    restarts: 0,
    stopSignal: Effect.succeedNone,
    recycle: Effect.void
  })
}
