/**
 * The keys of TLS session tickets. With those of the older process a client resumes its session (RFC 8446 2.2) at the
 * newer one; with others every client makes a full handshake right after each upgrade.
 *
 * @internal
 */
import type * as net from "node:net"
import type { FdName } from "../../Address.ts"
import { isTlsServer } from "../node/internals.ts"
import type { State } from "../wire/handOff.ts"
import type { Entry } from "./descriptorTable.ts"

/** RFC 5077 section 4: a name of 16 bytes and two keys of 16. Node takes no other length. */
export const keysLength = 48

export const stateName = (name: FdName): string => `tls-ticket-keys ${name.network} ${name.address}`

export const restore = (server: net.Server, name: FdName, state: State): void => {
  const keys = state.get(stateName(name))
  if (keys?.length === keysLength && isTlsServer(server)) server.setTicketKeys(Buffer.from(keys))
}

export const collect = (entries: ReadonlyArray<Entry>): State =>
  new Map(
    entries.flatMap(({ name, server }) =>
      server !== undefined && isTlsServer(server) ? [[stateName(name), server.getTicketKeys()]] : []
    )
  )
