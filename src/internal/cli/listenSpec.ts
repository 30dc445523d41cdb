/**
 * Addresses as they are typed on a command line.
 *
 * @internal
 */
import * as net from "node:net"
import type { Address } from "../../Address.ts"
import type { Listen } from "../../Supervisor.ts"

const parsePort = (text: string): number | undefined =>
  /^\d{1,5}$/.test(text) && Number(text) < 65536 ? Number(text) : undefined

/** `host:port`, where an IPv6 address has brackets. */
export const parseHostPort = (text: string): { readonly host: string; readonly port: number } | undefined => {
  const [, ipv6, name, digits] = /^(?:\[([^\]]*)\]|([^:[\]=\s]*)):(\d+)$/.exec(text) ?? []
  const port = digits === undefined ? undefined : parsePort(digits)
  if (port === undefined || (ipv6 !== undefined && !net.isIPv6(ipv6))) return undefined
  return { host: ipv6 ?? name ?? "", port }
}

const parseAddress = (text: string): Address | undefined => {
  if (text.startsWith("unix:")) {
    const path = text.slice("unix:".length)
    return path === "" ? undefined : { path }
  }
  const port = parsePort(text)
  if (port !== undefined) return { port }
  const pair = parseHostPort(text)
  return pair?.host === "" || pair?.host === "*" ? { port: pair.port } : pair
}

/** `[name=]port`, `[name=]host:port`, `[name=]unix:path`. */
export const parse = (text: string): Listen | undefined => {
  const [, name, rest = text] = /^([A-Za-z0-9_.-]*)=(.*)$/.exec(text) ?? []
  const address = name === "" ? undefined : parseAddress(rest)
  if (address === undefined) return undefined
  return name === undefined ? { address } : { address, name }
}
