/**
 * Sockets of a simulated machine: who has them open, who accepts on them, and what a probe finds there.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as dgram from "node:dgram"
import type * as net from "node:net"
import type { Address } from "../../Address.ts"
import { format, isPath } from "../../Address.ts"
import type { ProbeOutcome, ProbeTarget } from "../system/probe.ts"
import type { BoundListener, BoundPacket } from "../system/socket.ts"
import type { Kernel, SimulatedProcess, Socket } from "./kernel.ts"
import * as kernelOf from "./kernel.ts"

export const makeSocket = (kernel: Kernel, address: Address): Socket => {
  const port = isPath(address) ? 0 : address.port === 0 ? kernel.freePort++ : address.port
  const socket: Socket = { _tag: "Socket", key: format(address), port, accepting: new Set() }
  kernel.sockets.add(socket)
  return socket
}

export const listenerOf = (
  kernel: Kernel,
  process: SimulatedProcess,
  address: Address,
  socket: Socket,
  descriptor: number,
  inherited: boolean
): BoundListener => {
  const bound = isPath(address)
    ? address.path
    : { address: address.host ?? "::", family: "IPv4", port: socket.port }
  let server: net.Server | undefined
  return {
    descriptor: () => process.descriptors.get(descriptor) === socket ? Option.some(descriptor) : Option.none(),
    address: bound,
    inherited,
    attach: (to) => {
      server = Object.assign(to, { address: () => bound })
    },
    prepare: Effect.void,
    publish: () => undefined,
    listen: () => undefined,
    retract: () => undefined,
    accept: () => {
      if (server !== undefined && !socket.accepting.has(process.pid)) {
        socket.accepting.add(process.pid)
        const listening = server
        setImmediate(() => listening.emit("listening"))
      }
    },
    close: () => kernelOf.close(kernel, process, descriptor),
    unlink: Effect.void
  }
}

export const isInUse = (kernel: Kernel, address: Address) =>
  (isPath(address) || address.port !== 0) && [...kernel.sockets].some(({ key }) => key === format(address))

/** UDP sockets and connections are real objects that reach nobody. */
export const packetOf = (kernel: Kernel, process: SimulatedProcess, descriptor: number): BoundPacket => {
  const socket = dgram.createSocket("udp4")
  socket.once("close", () => kernelOf.close(kernel, process, descriptor))
  return {
    socket,
    descriptor: () => process.descriptors.has(descriptor) ? Option.some(descriptor) : Option.none(),
    start: () => {}
  }
}

export const probe = (kernel: Kernel, target: ProbeTarget): ProbeOutcome => {
  const port = target._tag === "Tcp" ? target.port : Number(target.url.port)
  const accepting = [...kernel.sockets].find((socket) => socket.port === port)?.accepting ?? new Set()
  return accepting.has(target.pid)
    ? { _tag: "Served" }
    : accepting.size > 0
    ? { _tag: "Elsewhere", detail: "the connection was accepted by another process" }
    : { _tag: "Refused", detail: "nobody accepts" }
}
