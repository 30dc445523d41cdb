/**
 * `Env` for one process of a simulated machine.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Queue from "effect/Queue"
import * as net from "node:net"
import type { PortAddress } from "../../Address.ts"
import { format } from "../../Address.ts"
import { DescriptorError, ListenError } from "../../TableflipError.ts"
import type { System } from "../system/env.ts"
import { filesOf } from "./files.ts"
import type { Kernel, SimulatedProcess } from "./kernel.ts"
import * as kernelOf from "./kernel.ts"
import { isInUse, listenerOf, makeSocket, packetOf, probe } from "./sockets.ts"
import { readerOf, spawn } from "./spawn.ts"
import { offerUnsafe } from "./stream.ts"

const directory = "/srv/app"
const executable = "/usr/bin/node"

/** The machine as one of its processes sees it. */
export const make = (
  kernel: Kernel,
  self: SimulatedProcess,
  onStart: (child: SimulatedProcess, environment: Readonly<Record<string, string>>) => Effect.Effect<void>
): System => {
  const connections = new WeakMap<net.Socket, number>()
  const notOpen = (descriptor: number) =>
    new DescriptorError({ reason: "NotOpen", name: String(descriptor), detail: "is not open" })
  return {
    pid: self.pid,
    availableParallelism: Effect.succeed(2),
    randomBytes: (size) => Effect.sync(() => new Uint8Array(size).fill(kernel.freeSecret++)),
    unsupported: Option.none(),
    endsWithThis: Effect.succeedNone,
    directory,
    executable,
    start: Effect.succeed({ executable, args: ["app.js"], directory }),
    startVariables: Effect.sync(() => ({ ...self.variables })),
    variables: Effect.sync(() => ({ ...self.variables })),
    removeVariables: (names) => Effect.sync(() => names.forEach((name) => delete self.variables[name])),
    setTitle: () => Effect.void,
    setExitCode: () => Effect.void,
    endWithin: () => Effect.void,
    debugged: Effect.succeed(false),
    mark: Effect.succeed(`${self.pid}:0`),
    endOrphans: () => Effect.succeed({ found: false, killed: [] }),
    residentMemory: Effect.succeed(2 ** 26),
    claim: (holder) =>
      Effect.acquireRelease(
        Effect.sync(() => {
          const first = Option.fromNullable(self.holder)
          self.holder ??= holder
          return first
        }),
        (first) =>
          Effect.sync(() => {
            if (Option.isNone(first)) self.holder = undefined
          })
      ),
    holdStopSignals: Effect.void,
    signals: (signal) =>
      Effect.acquireRelease(
        Effect.tap(Queue.unbounded<NodeJS.Signals>(), (queue) =>
          Effect.sync(() => self.handlers.set(signal, (self.handlers.get(signal) ?? new Set()).add(queue)))),
        (queue) =>
          Effect.zipRight(Effect.sync(() => self.handlers.get(signal)?.delete(queue)), Queue.shutdown(queue))
      ),
    openFiles: Effect.succeed({ soft: Option.none(), hard: Option.none() }),
    findProgram: ({ name }) => Effect.succeed(name),
    deathSignalPrefix: () => Effect.succeedNone,
    notifier: () =>
      Effect.succeed((state) => Effect.sync(() => void kernel.notifications.push({ pid: self.pid, state }))),
    spawn: spawn(kernel, self, onStart),
    takeChannel: () => Effect.succeedNone,
    reader: (descriptor) =>
      Effect.acquireRelease(
        Effect.suspend(() => {
          const open = self.descriptors.get(descriptor)
          return open?._tag === "ReadEnd"
            ? Effect.succeed(readerOf(self, descriptor, open.pipe))
            : Effect.fail(notOpen(descriptor))
        }),
        () => Effect.sync(() => kernelOf.close(kernel, self, descriptor))
      ),
    writeAndClose: (descriptor, bytes) =>
      Effect.sync(() => {
        const open = self.descriptors.get(descriptor)
        const taken = open?._tag === "WriteEnd" && open.pipe.read && offerUnsafe(open.pipe.bytes, bytes)
        kernelOf.close(kernel, self, descriptor)
        return taken
      }),
    write: (descriptor, bytes) =>
      Effect.sync(() => {
        const open = self.descriptors.get(descriptor)
        if (open?._tag === "ReadEnd") return open.answers !== undefined && offerUnsafe(open.answers.bytes, bytes)
        return open?._tag === "WriteEnd" && open.pipe.read && offerUnsafe(open.pipe.bytes, bytes)
      }),
    closeDescriptor: (descriptor) => Effect.sync(() => kernelOf.close(kernel, self, descriptor)),
    resolve: Effect.succeed,
    bind: (address) =>
      Effect.suspend(() => {
        if (isInUse(kernel, address)) {
          return new ListenError({
            reason: "AddressInUse",
            address: format(address),
            detail: "another process listens there"
          })
        }
        const socket = makeSocket(kernel, address)
        return Effect.succeed(listenerOf(kernel, self, address, socket, kernelOf.allocate(self, socket), false))
      }),
    adopt: (address, descriptor) =>
      Effect.suspend(() => {
        const open = self.descriptors.get(descriptor)
        return open?._tag === "Socket"
          ? Effect.succeed(listenerOf(kernel, self, address, open, descriptor, true))
          : new ListenError({
            reason: "WrongDescriptor",
            address: format(address),
            detail: `the inherited descriptor ${descriptor} is not a listening socket`
          })
      }),
    queueConnections: () => Effect.void,
    emptyQueues: () => Effect.void,
    guardSockets: () => Effect.succeed(() => Effect.succeed([])),
    bindPacket: (_address: PortAddress) =>
      Effect.sync(() => packetOf(kernel, self, kernelOf.allocate(self, { _tag: "Other" }))),
    adoptPacket: (_address, descriptor) => Effect.sync(() => packetOf(kernel, self, descriptor)),
    borrowListener: (server) => {
      const descriptor = kernelOf.allocate(self, { _tag: "Other" })
      return {
        descriptor: () => Option.some(descriptor),
        address: server.address(),
        inherited: true,
        attach: () => {},
        prepare: Effect.void,
        publish: () => undefined,
        listen: () => undefined,
        retract: () => undefined,
        accept: () => {},
        close: () => {},
        unlink: Effect.void
      }
    },
    borrowPacket: () => packetOf(kernel, self, kernelOf.allocate(self, { _tag: "Other" })),
    adoptConnection: (_name, descriptor) =>
      Effect.sync(() => {
        const socket = new net.Socket()
        connections.set(socket, descriptor)
        socket.once("close", () => kernelOf.close(kernel, self, descriptor))
        return socket
      }),
    connectionDescriptor: (socket) => {
      if (socket.destroyed) return Option.none()
      const descriptor = connections.get(socket) ?? kernelOf.allocate(self, { _tag: "Other" })
      connections.set(socket, descriptor)
      return Option.some(descriptor)
    },
    stopReading: () => Effect.void,
    resumeReading: () => Effect.void,
    flushed: () => Effect.void,
    isStream: (descriptor) =>
      Effect.sync(() => ["ReadEnd", "WriteEnd"].includes(self.descriptors.get(descriptor)?._tag ?? "")),
    kindOf: (descriptor) =>
      Effect.sync(() =>
        Option.map(
          Option.fromNullable(self.descriptors.get(descriptor)),
          ({ _tag }) => _tag === "Socket" ? "listener" : "file"
        )
      ),
    probe: Option.some((target) => Effect.sync(() => probe(kernel, target))),
    fileIdentity: (descriptor) =>
      Option.map(Option.fromNullable(self.descriptors.get(descriptor)), (open) => kernelOf.identityOf(kernel, open)),
    listensBesides: () => Effect.succeed([]),
    addressOf: () => Effect.succeedNone,
    terminalOf: () => Effect.succeed("none"),
    isSocket: (path) => Effect.sync(() => [...kernel.sockets].some(({ key }) => key === path)),
    isSameFile: (one, other) => Effect.succeed(one === other),
    files: filesOf(kernel, self)
  }
}
