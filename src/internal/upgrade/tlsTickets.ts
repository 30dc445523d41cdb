/**
 * The keys of TLS session tickets. With those of the older process a client resumes its session (RFC 8446 2.2) at the
 * newer one; with others every client makes a full handshake right after each upgrade.
 *
 * Who resumes a session is not looked at again: whoever was let in by the settings of the older process is let in by the
 * newer one. So its keys are taken over only where those settings are the same, and never in place of the app's own.
 *
 * @internal
 */
import type * as net from "node:net"
import type * as tls from "node:tls"
import type { FdName } from "../../Address.ts"
import { hasOwnTicketKeys, isTlsServer, sessionBasis, ticketKeysFrom } from "../node/internals.ts"
import type { State } from "../wire/handOff.ts"
import type { Entry } from "./descriptorTable.ts"

/** RFC 5077 section 4: a name of 16 bytes and two keys of 16. Node takes no other length. */
const keysLength = 48

const basisLength = 32

/** What a pool gives to each of its workers, which make the same keys of it if they have the same settings. */
export const secretLength = 48

export const stateName = (name: FdName): string => `tls-ticket-keys ${name.network} ${name.address}`

/** Keys, and what they stand on; or a secret. */
const keysFrom = (value: Uint8Array, basis: Uint8Array): Uint8Array | undefined => {
  if (value.length === secretLength) return ticketKeysFrom(value, basis)
  const isSame = value.length === keysLength + basisLength && Buffer.compare(value.subarray(keysLength), basis) === 0
  return isSame ? value.subarray(0, keysLength) : undefined
}

const basisOf = (server: net.Server): readonly [tls.Server, Uint8Array] | undefined => {
  if (!isTlsServer(server) || hasOwnTicketKeys(server)) return undefined
  const basis = sessionBasis(server)
  return basis === undefined ? undefined : [server, basis]
}

export const restore = (server: net.Server, name: FdName, state: State): void => {
  const value = state.get(stateName(name))
  if (value === undefined) return
  const [tlsServer, basis] = basisOf(server) ?? []
  const keys = basis === undefined ? undefined : keysFrom(value, basis)
  if (keys !== undefined) tlsServer?.setTicketKeys(Buffer.from(keys))
}

export const collect = (entries: ReadonlyArray<Entry>): State =>
  new Map(
    entries.flatMap(({ name, server }) => {
      const [tlsServer, basis] = server === undefined ? [] : basisOf(server) ?? []
      return tlsServer === undefined || basis === undefined
        ? []
        : [[stateName(name), Buffer.concat([tlsServer.getTicketKeys(), basis])]]
    })
  )
