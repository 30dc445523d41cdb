/**
 * Sockets on which the kernel queues connections while nobody accepts them.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as childProcess from "node:child_process"
import { constants } from "node:os"
import type { Address } from "../../Address.ts"
import { format } from "../../Address.ts"
import { ListenError } from "../../TableflipError.ts"
import type { BoundListener, QueueingSocket } from "../system/socket.ts"
import * as internals from "./internals.ts"
import * as procSockets from "./procSockets.ts"
import { listenError } from "./socketAddress.ts"

/**
 * In Node, listening is accepting: libuv cannot do the one without the other. The sockets are shared between processes,
 * though, and so is that they listen. So a short-lived process makes the call, and ends in the same turn of its event
 * loop, before it could accept anything.
 */
const program = `
const net = require("node:net")
const fs = require("node:fs")
process.argv.slice(1).forEach((backlog, index) => {
  const server = net.createServer()
  server.on("error", (error) => {
    fs.writeSync(1, index + " " + error.code)
    process.exit(1)
  })
  // Node looks at a backlog beside a descriptor only in this form.
  server.listen({ fd: index + 3 }, Number(backlog))
})
process.nextTick(() => process.exit(0))
`

/** Far more than it takes; what hangs must not hang for ever. */
const timeout = 30_000

const listenOn = (addresses: ReadonlyArray<Address>, descriptors: ReadonlyArray<number>) =>
  Effect.async<void, ListenError>((resume) => {
    const fail = (index: number, cause: unknown) => {
      const address = addresses[index] ?? addresses[0]
      resume(address === undefined ? Effect.void : Effect.fail(listenError(address, cause)))
    }
    const backlogs = addresses.map(({ backlog = internals.defaultBacklog }) => String(backlog))
    const child = childProcess.spawn(process.execPath, ["-e", program, ...backlogs], {
      stdio: ["ignore", "pipe", "inherit", ...descriptors],
      // The options of the one who starts us are for the program, not for this.
      env: {},
      timeout,
      killSignal: "SIGKILL"
    })
    let said = ""
    child.stdout?.on("data", (bytes: Buffer) => {
      said += bytes.toString()
    })
    child.on("error", (cause) => fail(0, cause))
    child.once("close", (code, signal) => {
      if (code === 0) return resume(Effect.void)
      const [, index, name] = /^(\d+) (\w+)$/.exec(said) ?? []
      const errno = constants.errno[name as keyof typeof constants.errno] as number | undefined
      fail(
        Number(index ?? 0),
        errno === undefined ? new Error(`the process that was to listen ended with ${signal ?? code}`) : -errno
      )
    })
  })

/** The same for one that has listened before. Whether it blocks belongs to all who share it. */
export const listenAgain = (address: Address, descriptor: number): Effect.Effect<void, ListenError> =>
  Effect.suspend(() => {
    const blocked = procSockets.isBlocking(descriptor)
    return Effect.tap(
      listenOn([address], [descriptor]),
      () => Effect.sync(() => blocked && internals.makeBlocking([descriptor]))
    )
  })

const closed = ({ address }: QueueingSocket) =>
  new ListenError({ reason: "WrongDescriptor", address: format(address), detail: "the socket is closed" })

/** Everything listens, or the first that cannot is named. */
export const queueConnections = (sockets: ReadonlyArray<QueueingSocket>): Effect.Effect<void, ListenError> =>
  Effect.gen(function*() {
    if (sockets.length === 0) return
    const descriptors = yield* Effect.forEach(sockets, (socket) =>
      Option.match(socket.listener.descriptor(), {
        onNone: () => Effect.fail(closed(socket)),
        onSome: Effect.succeed
      }))
    yield* Effect.forEach(sockets, ({ listener }) => listener.prepare, { discard: true })
    yield* listenOn(sockets.map(({ address }) => address), descriptors)
    internals.makeBlocking(descriptors)
    for (const { listener } of sockets) {
      const error = listener.publish()
      if (error !== undefined) return yield* error
    }
  }).pipe(Effect.uninterruptible)

const shrinkQueues = (descriptors: ReadonlyArray<number>): Effect.Effect<void> =>
  Effect.async((resume) => {
    const child = childProcess.spawn(process.execPath, ["-e", internals.shrinkProgram, ...descriptors.map(String)], {
      stdio: ["ignore", "ignore", "ignore", ...descriptors],
      env: {}
    })
    child.on("error", () => resume(Effect.void))
    child.once("close", () => resume(Effect.void))
    return Effect.sync(() => child.kill("SIGKILL"))
  })

/** How often the queues are looked at, and for how long at most. */
const lookInterval = 5
const longest = 1_000

export const emptyQueues = (listeners: ReadonlyArray<BoundListener>): Effect.Effect<void> =>
  Effect.gen(function*() {
    const descriptors = listeners.flatMap(({ descriptor }) => Option.toArray(descriptor()))
    const ports = listeners.filter(({ address }) => typeof address === "object")
      .flatMap(({ descriptor }) => Option.toArray(descriptor()))
    // At a Unix socket a client is not kept waiting but refused with EAGAIN.
    if (ports.length > 0) yield* shrinkQueues(ports)
    yield* Effect.sleep(lookInterval).pipe(
      Effect.repeat({ until: () => descriptors.every((descriptor) => procSockets.queueLength(descriptor) === 0) })
    )
  }).pipe(Effect.interruptible, Effect.timeoutOption(longest), Effect.asVoid)
