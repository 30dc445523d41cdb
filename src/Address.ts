/**
 * Where a server listens, as the app asks for it.
 *
 * @since 3.0.0
 * @module
 */

/**
 * A TCP or UDP port. What cannot be changed on a socket that was inherited is left as it was first bound, and logged.
 *
 * @since 3.0.0
 * @category models
 */
export interface PortAddress {
  /** 0 asks the system for a free one; upgrades keep it. */
  readonly port: number
  /** A host name or address. Without one: every address of the machine, IPv4 and IPv6, as Node does it. */
  readonly host?: string | undefined
  /** Tells apart several sockets that ask for the same host and port, such as two with port 0. */
  readonly name?: string | undefined
  /** Length of the accept queue; 511 by default. The system's own limit (`net.core.somaxconn`) applies. */
  readonly backlog?: number | undefined
  /** Do not take IPv4 traffic on an IPv6 socket; false by default. Cannot be changed on an inherited socket. */
  readonly ipv6Only?: boolean | undefined
}

/**
 * A Unix domain socket: a path, or on Linux an abstract name, which starts with a NUL character (unix(7)).
 *
 * @since 3.0.0
 * @category models
 */
export interface PathAddress {
  /**
   * A relative path starts at the directory in which this process was started. The socket is bound at once, under a name
   * of its own beside it; it gets its path when this process is ready, for which it must be allowed to write the directory
   * then too. A path that is too long for a socket can be reached from the current directory.
   */
  readonly path: string
  /** Permissions of the path, as for chmod(2); by default what the umask leaves. Not changed on an inherited socket. */
  readonly mode?: number | undefined
  /** Length of the accept queue; 511 by default. The system's own limit (`net.core.somaxconn`) applies. */
  readonly backlog?: number | undefined
}

/**
 * Where a server listens, and how the socket is bound.
 *
 * @since 3.0.0
 * @category models
 */
export type Address = PortAddress | PathAddress

/**
 * What a descriptor is and what the app calls it: the key by which an inherited one is found.
 *
 * @since 3.0.0
 * @category models
 */
export interface FdName {
  /** `listener`, `packet`, `conn` or `fd`. */
  readonly kind: string
  /** `tcp`, `unix` or `udp` for sockets. */
  readonly network: string
  readonly address: string
}

/**
 * Whether the address is a Unix socket.
 *
 * @since 3.0.0
 * @category guards
 */
export const isPath = (address: Address): address is PathAddress => "path" in address

/**
 * Whether the address is a file, and not an abstract socket or a port.
 *
 * @since 3.0.0
 * @category guards
 */
export const isFile = (address: Address): address is PathAddress => isPath(address) && !address.path.startsWith("\0")

/**
 * The address in words, which is also the key that an inherited socket is found by: `[name@]host:port` or the path,
 * as the app asked for it and not as the system resolved it.
 *
 * @since 3.0.0
 * @category combinators
 */
export const format = (address: Address): string => {
  if (isPath(address)) return address.path
  const host = address.host === undefined ? "" : address.host.includes(":") ? `[${address.host}]` : address.host
  const name = address.name === undefined ? "" : `${address.name}@`
  return `${name}${host}:${address.port}`
}
