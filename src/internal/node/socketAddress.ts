/**
 * What is done with an address before a socket is bound to it, and how a failure at it is told.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import * as dns from "node:dns"
import * as net from "node:net"
import * as path from "node:path"
import * as util from "node:util"
import type { Address, PortAddress } from "../../Address.ts"
import { format, isFile, isPath } from "../../Address.ts"
import { ListenError } from "../../TableflipError.ts"

const reasonOf = (code: string): ListenError["reason"] => {
  switch (code) {
    case "EADDRINUSE":
      return "AddressInUse"
    case "EADDRNOTAVAIL":
    case "ENOTFOUND":
    case "EAI_AGAIN":
      return "AddressNotAvailable"
    case "EACCES":
    case "EPERM":
    case "EROFS":
      return "PermissionDenied"
    case "ENOENT":
    case "ENOTDIR":
    case "ENAMETOOLONG":
    case "EINVAL":
      return "InvalidAddress"
    default:
      return "Unknown"
  }
}

const advice: Readonly<Record<string, (address: Address) => string | undefined>> = {
  EADDRINUSE: () => "another process listens there (EADDRINUSE); stop it, or start this program by an upgrade of it",
  EADDRNOTAVAIL: () => "this machine has no such address (EADDRNOTAVAIL)",
  EACCES: (address) =>
    isPath(address) ? undefined : "this user may not (EACCES); a low port takes root or CAP_NET_BIND_SERVICE"
}

/** Turns a failed system call (an error number, or what Node made of one) into an error that names the address. */
export const listenError = (address: Address, cause: unknown): ListenError => {
  const code = typeof cause === "number"
    ? util.getSystemErrorName(cause)
    : String((cause as NodeJS.ErrnoException).code)
  const said = typeof cause === "number"
    ? `the system says ${code}`
    : cause instanceof Error
    ? cause.message
    : String(cause)
  const detail = advice[code]?.(address) ?? said
  return new ListenError({ reason: reasonOf(code), address: format(address), detail, cause })
}

export const lookup = (address: PortAddress, host: string): Effect.Effect<string, ListenError> =>
  net.isIP(host) !== 0
    ? Effect.succeed(host)
    : Effect.async((resume) =>
      dns.lookup(host, (cause, ip) =>
        resume(cause === null ? Effect.succeed(ip) : Effect.fail(listenError(address, cause))))
    )

export const checkPort = (address: PortAddress): Effect.Effect<void, ListenError> =>
  Number.isInteger(address.port) && address.port >= 0 && address.port <= 65535
    ? Effect.void
    : Effect.fail(
      new ListenError({
        reason: "InvalidAddress",
        address: format(address),
        detail: "a port is a whole number from 0 to 65535"
      })
    )

/** Relative paths start where this process was started: it may go elsewhere between two steps. */
export const resolvedPath = <A extends Address>(address: A, directory: string): A =>
  isFile(address) && address.path !== "" ? { ...address, path: path.resolve(directory, address.path) } : address

export const resolve = <A extends Address>(address: A): Effect.Effect<A, ListenError> =>
  isPath(address) || address.host === undefined
    ? Effect.succeed(address)
    : Effect.map(lookup(address, address.host), (host) => ({ ...address, host }))
