/**
 * What a primary can do with its pool.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import { InvalidOptionError } from "../../TableflipError.ts"
import type { Workers } from "../../Workers.ts"
import { decodeProcesses } from "../options.ts"
import type { Pool } from "../pool/pool.ts"
import { fromResult } from "../seam.ts"

export const make = (workers: Pool, events: Workers["Type"]["events"]): Workers["Type"] => ({
  size: workers.size,
  resize: (size) => Effect.flatMap(fromResult(decodeProcesses("size", size)), workers.resize),
  replace: workers.replace,
  replaceWorker: (index) =>
    workers.size.pipe(
      Effect.filterOrFail(
        (size) => Number.isSafeInteger(index) && index >= 0 && index < size,
        (size) =>
          new InvalidOptionError({
            option: "index",
            value: String(index),
            expected: `that of a worker, from 0 to ${size - 1}`
          })
      ),
      Effect.zipRight(workers.replaceWorker(index))
    ),
  status: workers.status,
  events
})
