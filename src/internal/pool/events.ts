/**
 * Where the events of a pool are told.
 *
 * @internal
 */
import type { PoolEvent } from "../../PoolEvent.ts"
import { broadcast } from "../seam.ts"

export const make = broadcast<PoolEvent>()
