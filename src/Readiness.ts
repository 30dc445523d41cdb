/**
 * How a command shows that it serves.
 *
 * @since 3.0.0
 * @module
 */
import * as Data from "effect/Data"
import type * as Duration from "effect/Duration"

/**
 * How a command shows that it serves. Whatever is chosen, one that speaks this library's protocol may also say so there.
 *
 * @since 3.0.0
 * @category models
 */
export type Readiness = Data.TaggedEnum<{
  /** It says so by this library's protocol, and in no other way. */
  Wire: {}
  /** It writes a newline to this descriptor, as s6 has it. */
  Descriptor: { readonly number: number }
  /**
   * It answers this request with a status from 200 to 399. Only an answer from the new process, or one that descends from
   * it, counts, also where it shares the socket with the old one. Linux only.
   */
  Http: { readonly url: URL } & Probing
  /** It accepts a connection there, which again counts only from the new process. Linux only. */
  Tcp: { readonly host: string; readonly port: number } & Probing
  /**
   * It is still alive after that time. One that says in time that it speaks this library's protocol is waited for until
   * it says that it is ready, and so is each one after it, however long it takes to load.
   */
  Warmup: { readonly duration: Duration.DurationInput }
}>

/**
 * How often to ask.
 *
 * @since 3.0.0
 * @category models
 */
export interface Probing {
  /** From the end of a probe to the next one; 100 milliseconds by default. */
  readonly interval?: Duration.DurationInput | undefined
  /** How long one probe may take; 1 second by default. */
  readonly timeout?: Duration.DurationInput | undefined
}

const constructors = Data.taggedEnum<Readiness>()

/**
 * The command says that it is ready by the protocol of this package.
 *
 * @since 3.0.0
 * @category constructors
 */
export const Wire: Readiness = constructors.Wire()

/**
 * The command writes a newline to the descriptor of this number.
 *
 * @since 3.0.0
 * @category constructors
 */
export const Descriptor = constructors.Descriptor

/**
 * The command answers a request for this URL with a status from 200 to 399.
 *
 * @since 3.0.0
 * @category constructors
 */
export const Http = constructors.Http

/**
 * The command accepts a connection at this host and port.
 *
 * @since 3.0.0
 * @category constructors
 */
export const Tcp = constructors.Tcp

/**
 * The command is still alive after this time.
 *
 * @since 3.0.0
 * @category constructors
 */
export const Warmup = constructors.Warmup

/**
 * Handles every case.
 *
 * @since 3.0.0
 * @category combinators
 */
export const match = constructors.$match

/**
 * In words, what is waited for: `a newline on descriptor 3`.
 *
 * @since 3.0.0
 * @category combinators
 */
export const describe: (readiness: Readiness) => string = match({
  Wire: () => "its word that it is ready",
  Descriptor: ({ number }) => `a newline on descriptor ${number}`,
  Http: ({ url }) => `an answer at ${url.href}`,
  Tcp: ({ host, port }) => `a connection to ${host.includes(":") ? `[${host}]` : host}:${port}`,
  Warmup: () => "the end of the warm-up, or its word that it is ready"
})
