/**
 * The names under which descriptors travel.
 *
 * @internal
 */
import type { Address, FdName, PortAddress } from "../../Address.ts"
import { format, isPath } from "../../Address.ts"

export const listener = (address: Address): FdName => ({
  kind: "listener",
  network: isPath(address) ? "unix" : "tcp",
  address: format(address)
})

export const packet = (address: PortAddress): FdName => ({
  kind: "packet",
  network: "udp",
  address: format(address)
})

export const connection = (name: string): FdName => ({ kind: "conn", network: "", address: name })

export const file = (name: string): FdName => ({ kind: "fd", network: name, address: "" })

export const toText = ({ address, kind, network }: FdName): string => `${kind} ${network} ${address}`
