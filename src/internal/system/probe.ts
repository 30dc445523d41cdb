/**
 * Asking whether a process serves.
 *
 * @internal
 */

/**
 * Where to ask whether a process serves.
 */
export type ProbeTarget =
  | { readonly _tag: "Http"; readonly url: URL; readonly pid: number }
  | { readonly _tag: "Tcp"; readonly host: string; readonly port: number; readonly pid: number }

/**
 * What a probe has seen. One that another process has accepted says nothing, and may be repeated at once.
 */
export type ProbeOutcome =
  | { readonly _tag: "Served" }
  | { readonly _tag: "Elsewhere"; readonly detail: string }
  | { readonly _tag: "Refused"; readonly detail: string }
