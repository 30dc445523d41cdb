/**
 * Addresses as they are typed on a command line.
 *
 * @internal
 */
import * as Either from "effect/Either"
import * as net from "node:net"
import type { Address } from "../../Address.ts"
import type { Listen } from "../../Supervisor.ts"

const forms = "8080, 127.0.0.1:8080, [::1]:8080 or unix:/run/app.sock, and a name in front where it is wanted: web=8080"

const fail = (text: string, detail: string) =>
  Either.left(`${JSON.stringify(text)} ${detail}; it must look like ${forms}`)

const parsePort = (text: string): number | undefined =>
  /^\d{1,5}$/.test(text) && Number(text) < 65536 ? Number(text) : undefined

/** `host:port`, where an IPv6 address has brackets. */
export const parseHostPort = (text: string): { readonly host: string; readonly port: number } | undefined => {
  const [, ipv6, name, digits] = /^(?:\[([^\]]*)\]|([^:[\]]*)):(\d+)$/.exec(text) ?? []
  const port = digits === undefined ? undefined : parsePort(digits)
  if (port === undefined || (ipv6 !== undefined && !net.isIPv6(ipv6))) return undefined
  return { host: ipv6 ?? name ?? "", port }
}

const parseAddress = (text: string, given: string): Either.Either<Address, string> => {
  if (text.startsWith("unix:")) {
    const path = text.slice("unix:".length)
    return path === "" ? fail(given, "has no path") : Either.right({ path })
  }
  const port = parsePort(text)
  if (port !== undefined) return Either.right({ port })
  const pair = parseHostPort(text)
  if (pair === undefined) return fail(given, "is not an address")
  return Either.right(pair.host === "" || pair.host === "*" ? { port: pair.port } : pair)
}

/** `[name=]port`, `[name=]host:port`, `[name=]unix:path`. */
export const parse = (text: string): Either.Either<Listen, string> => {
  const [, name, rest = text] = /^([A-Za-z0-9_.-]*)=(.*)$/.exec(text) ?? []
  if (name === "") return fail(text, "has an empty name")
  return Either.map(parseAddress(rest, text), (address) => name === undefined ? { address } : { address, name })
}
