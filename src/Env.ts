/**
 * The seam between this library and the operating system. Everything impure that an upgrade needs goes through it, so
 * that tests can put a simulated machine in its place (`effect-tableflip/Testing`).
 *
 * @since 3.0.0
 * @module
 */
import type * as Context from "effect/Context"
import * as Layer from "effect/Layer"
import * as internal from "./internal/node/env.ts"
import * as system from "./internal/system/env.ts"

/**
 * The operating system, as this process sees it. What it offers is for this library alone, and changes with any release.
 *
 * @since 3.0.0
 * @category models
 */
export type Env = system.Env

/**
 * The operating system, as this process sees it.
 *
 * @since 3.0.0
 * @category tags
 */
export const Env: Context.Tag<Env, Env> = system.Env as unknown as Context.Tag<Env, Env>

/**
 * This process, on Node.
 *
 * @since 3.0.0
 * @category layers
 */
export const layer: Layer.Layer<Env> = Layer.effect(system.Env, internal.make)
