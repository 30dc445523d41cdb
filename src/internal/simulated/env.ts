/**
 * `Env` for one process of a simulated machine.
 *
 * @internal
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Queue from "effect/Queue"
import * as dgram from "node:dgram"
import * as net from "node:net"
import type { Address, PortAddress } from "../../Address.ts"
import { format, isPath } from "../../Address.ts"
import * as ExitStatus from "../../ExitStatus.ts"
import { DescriptorError, ListenError } from "../../TableflipError.ts"
import type { System } from "../system/env.ts"
import type { ProbeOutcome, ProbeTarget } from "../system/probe.ts"
import type { Leading } from "../system/process.ts"
import type { BoundListener, BoundPacket } from "../system/socket.ts"
import type { ByteReader } from "../system/stream.ts"
import type { Slot } from "../wire/layout.ts"
import { layoutOf } from "../wire/layout.ts"
import type { Kernel, Open, SimulatedProcess, Socket } from "./kernel.ts"
import * as kernelOf from "./kernel.ts"
import { end, offerUnsafe, take } from "./stream.ts"

const directory = "/srv/app"
const executable = "/usr/bin/node"

const makeSocket = (kernel: Kernel, address: Address): Socket => {
  const port = isPath(address) ? 0 : address.port === 0 ? kernel.freePort++ : address.port
  const socket: Socket = { _tag: "Socket", key: format(address), port, accepting: new Set() }
  kernel.sockets.add(socket)
  return socket
}

const listenerOf = (
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

const isInUse = (kernel: Kernel, address: Address) =>
  (isPath(address) || address.port !== 0) && [...kernel.sockets].some(({ key }) => key === format(address))

/** UDP sockets and connections are real objects that reach nobody. */
const packetOf = (kernel: Kernel, process: SimulatedProcess, descriptor: number): BoundPacket => {
  const socket = dgram.createSocket("udp4")
  socket.once("close", () => kernelOf.close(kernel, process, descriptor))
  return {
    socket,
    descriptor: () => process.descriptors.has(descriptor) ? Option.some(descriptor) : Option.none(),
    start: () => {}
  }
}

const readerOf = (process: SimulatedProcess, descriptor: number, pipe: kernelOf.Pipe): ByteReader => ({
  read: Effect.option(take(pipe.bytes)),
  discard: Effect.void,
  descriptor: Effect.sync(() => process.descriptors.has(descriptor) ? Option.some(descriptor) : Option.none())
})

const spawn = (
  kernel: Kernel,
  parent: SimulatedProcess,
  onStart: (child: SimulatedProcess, environment: Readonly<Record<string, string>>) => Effect.Effect<void>
): System["spawn"] =>
(request) =>
  Effect.gen(function*() {
    if (kernel.spawnError !== undefined) return yield* kernel.spawnError
    const child = yield* kernelOf.makeProcess(kernel, request.environment)
    const ready = yield* kernelOf.makePipe
    const names = yield* kernelOf.makePipe
    const notification = yield* kernelOf.makePipe
    const state = yield* kernelOf.makePipe
    const control = yield* kernelOf.makePipe
    const answers = yield* kernelOf.makePipe
    const { leading = [] } = request
    const own = (descriptor: Leading | undefined): Open =>
      parent.descriptors.get(Number(descriptor)) ?? { _tag: "Other" }
    const openAt = (slot: Slot): Open => {
      switch (slot.what) {
        case "leading":
          return leading[slot.index] === "notification"
            ? { _tag: "WriteEnd", pipe: notification }
            : own(leading[slot.index])
        case "inherit":
          return own(request.inherit[slot.index])
        case "ready":
          return { _tag: "WriteEnd", pipe: ready }
        case "names":
          return { _tag: "ReadEnd", pipe: names }
        case "state":
          return { _tag: "ReadEnd", pipe: state }
        case "control":
          return { _tag: "ReadEnd", pipe: control, answers }
        case "channel":
          return { _tag: "Other" }
      }
    }
    const layout = layoutOf({
      leading: leading.length,
      inherit: request.inherit.length,
      state: Option.isSome(request.state),
      control: request.control,
      channel: request.channel === true
    })
    for (const slot of layout.slots) kernelOf.allocate(child, openAt(slot))
    if (Option.isSome(request.state)) {
      offerUnsafe(state.bytes, request.state.value)
      yield* end(state.bytes)
    }
    const controlEnd = request.control ? kernelOf.allocate(parent, { _tag: "WriteEnd", pipe: control }) : undefined
    const readyEnd = kernelOf.allocate(parent, { _tag: "ReadEnd", pipe: ready })
    const namesEnd = kernelOf.allocate(parent, { _tag: "WriteEnd", pipe: names })
    offerUnsafe(names.bytes, request.names)
    yield* onStart(child, request.environment)
    return {
      pid: child.pid,
      exit: Deferred.await(child.exit),
      signal: (signal: NodeJS.Signals) => kernelOf.send(kernel, child, signal, killed),
      signalLeft: () => Effect.succeed([]),
      ready: readerOf(parent, readyEnd, ready),
      answers: controlEnd === undefined ? Option.none() : Option.some(readerOf(parent, controlEnd, answers)),
      tell: (bytes) => Effect.sync(() => request.control && control.read && offerUnsafe(control.bytes, bytes)),
      notification: request.leading?.includes("notification") === true
        ? Option.some(
          readerOf(parent, kernelOf.allocate(parent, { _tag: "ReadEnd", pipe: notification }), notification)
        )
        : Option.none(),
      // Connections of this machine are real objects that reach nobody.
      channel: Option.none(),
      lastLines: Effect.succeed([]),
      outputEnd: Effect.void,
      close: Effect.sync(() => {
        kernelOf.close(kernel, parent, readyEnd)
        kernelOf.close(kernel, parent, namesEnd)
        if (controlEnd !== undefined) kernelOf.close(kernel, parent, controlEnd)
      }),
      unref: Effect.sync(() => kernelOf.close(kernel, parent, readyEnd))
    }
  })

export const killed = (signal: NodeJS.Signals): ExitStatus.ExitStatus => ExitStatus.Killed({ signal })

const probe = (kernel: Kernel, target: ProbeTarget): ProbeOutcome => {
  const port = target._tag === "Tcp" ? target.port : Number(target.url.port)
  const accepting = [...kernel.sockets].find((socket) => socket.port === port)?.accepting ?? new Set()
  return accepting.has(target.pid)
    ? { _tag: "Served" }
    : accepting.size > 0
    ? { _tag: "Elsewhere", detail: "the connection was accepted by another process" }
    : { _tag: "Refused", detail: "nobody accepts" }
}

/** The machine as one of its processes sees it. */
export const make = (
  kernel: Kernel,
  self: SimulatedProcess,
  onStart: (child: SimulatedProcess, environment: Readonly<Record<string, string>>) => Effect.Effect<void>
): System => {
  const connections = new WeakMap<net.Socket, number>()
  const notOpen = (descriptor: number) =>
    new DescriptorError({ reason: "NotOpen", name: String(descriptor), detail: "is not open" })
  const changeFile = <A>(change: () => A) =>
    Effect.suspend(() => kernel.fileError === undefined ? Effect.sync(change) : Effect.fail(kernel.fileError))
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
    files: {
      read: (path) => Effect.sync(() => Option.fromNullable(kernel.files.get(path))),
      readWhole: (path) =>
        Effect.suspend(() => {
          const content = kernel.files.get(path)
          return content === undefined ? Effect.fail(`there is no ${path}` as unknown) : Effect.succeed(content)
        }),
      prepare: (path, content) =>
        Effect.suspend(() => {
          const holder = { process: self, holds: true }
          const name = () => {
            kernel.files.set(path, content)
            kernel.fileHolders.set(path, holder)
          }
          const release = () => {
            holder.holds = false
          }
          return Effect.as(changeFile(() => {}), {
            commit: changeFile(name),
            commitUnlessHeld: changeFile(() => {
              const current = kernel.fileHolders.get(path)
              const isHeld = kernel.files.has(path) && current !== undefined && current.holds &&
                current.process !== self && kernel.processes.has(current.process)
              if (isHeld) return Option.some(current.process.pid)
              name()
              return Option.none()
            }),
            isThere: Effect.sync(() => kernel.files.has(path) && kernel.fileHolders.get(path) === holder),
            release: Effect.sync(release),
            discard: Effect.sync(() => kernel.fileHolders.get(path) !== holder && release())
          })
        }),
      remove: (path) => changeFile(() => kernel.files.delete(path))
    }
  }
}
