/**
 * An app that has this package from npm, in the types: what may be written, and what may not. It is compiled against the
 * packed package, with every declaration checked.
 */
import { Effect, type Layer, Option, Schema } from "effect"
import {
  Address,
  ConnectionState,
  Drain,
  Env,
  ExitStatus,
  Fds,
  type PoolError,
  type PoolEvent,
  Readiness,
  Supervisor,
  Systemd,
  type TableflipError,
  Testing,
  UpgradableHttpServer,
  type UpgraderEvent,
  type Workers
} from "effect-tableflip"
import * as Upgrader from "effect-tableflip/Upgrader"
import * as http from "node:http"
import * as net from "node:net"

type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends (<T>() => T extends B ? 1 : 2) ? true : false
const holds = <_ extends true>(): void => {}

// Services, and what they fail with.
export const app = Effect.gen(function*() {
  const upgrader = yield* Upgrader.Upgrader
  holds<Equal<typeof upgrader.generation, number>>()
  // @ts-expect-error: there is no such field
  void upgrader.generations
  const upgraded = yield* upgrader.upgrade.pipe(
    Effect.catchTag("ParentRunningError", ({ message }) => Effect.dieMessage(message)),
    // @ts-expect-error: no upgrade fails with that
    Effect.catchTag("ListenError", () => Effect.void)
  )
  void upgraded
  const reason = yield* upgrader.exit
  holds<Equal<typeof reason, UpgraderEvent.ExitReason>>()
})

export const upgradeError: Equal<
  Effect.Effect.Error<Upgrader.Upgrader["Type"]["upgrade"]>,
  TableflipError.UpgradeError
> = true

// Options.
export const upgraderLayer: Layer.Layer<Upgrader.Upgrader | Fds.Fds, TableflipError.BuildError> = Upgrader.layer({
  pidFile: "app.pid",
  drainTimeout: "20 seconds"
})
export const systemdLayer: Layer.Layer<never, TableflipError.DescriptorError, Upgrader.Upgrader | Fds.Fds> = Systemd
  .layer({
    descriptor: "systemd"
  })
// @ts-expect-error: not a duration
Upgrader.layer({ drainTimeout: "soon" })
// @ts-expect-error: there is no such option
Upgrader.layer({ draintimeout: "1 second" })

// Servers.
export const listening = Effect.gen(function*() {
  const fds = yield* Fds.Fds
  yield* fds.listen(http.createServer(), { port: 8080 })
  // @ts-expect-error: a port is a number
  yield* fds.listen(http.createServer(), { port: "8080" })
  const drainable = yield* Drain.server(http.createServer(), { drainTimeout: 1_000 })
  holds<Equal<Drain.Drainable, typeof drainable>>()
  return Address.format({ path: "/run/app.sock" })
})
export const needs: Equal<Effect.Effect.Context<typeof listening> extends never ? true : false, false> = true
export const httpServer = UpgradableHttpServer.layer(() => http.createServer(), { port: 8080 })

const members = ConnectionState.make("member.v1", Schema.NumberFromString)
export const taken: Effect.Effect<Option.Option<number>, TableflipError.HandOverError> = members.take(new net.Socket())
members.give(new net.Socket(), () => Option.some(1))
// @ts-expect-error: it is a number here, and text on its way only
members.give(new net.Socket(), () => Option.some("1"))

// Pools.
declare const status: Workers.ProcessStatus
holds<Equal<typeof status.restarts, number>>()
holds<Equal<typeof status.name, string>>()
// @ts-expect-error: there is no such field
void status.thereIsNoSuchField
declare const poolEvent: PoolEvent.PoolEvent
// @ts-expect-error: there is no such field
void poolEvent.thereIsNoSuchField
declare const poolError: PoolError.PoolError
holds<Equal<typeof poolError._tag extends string ? true : false, true>>()

// The command.
export const supervisor = Supervisor.layer({
  command: { name: "node", args: ["app.js"] },
  listen: [{ address: { port: 8080 }, name: "web" }],
  ready: {
    when: Readiness.Http({ url: new URL("http://127.0.0.1:8080/"), interval: undefined, timeout: undefined })
  }
})
// @ts-expect-error: the command is missing
Supervisor.layer({ listen: [] })
export const code: number = ExitStatus.toExitCode(ExitStatus.Exited({ code: 0 }))
// @ts-expect-error: a code is a number
ExitStatus.Exited({ code: "0" })

// What the seam offers is for this library alone.
export const seam = Env.Env.pipe(
  // @ts-expect-error: there is no such field
  Effect.flatMap((env) => env.spawn),
  Effect.provide(Env.layer)
)

// Tests.
declare const word: Testing.PoolWord
holds<Equal<typeof word._tag extends string ? true : false, true>>()
// @ts-expect-error: there is no such field
void word.thereIsNoSuchField
export const simulated = Effect.gen(function*() {
  const machine = yield* Testing.TestEnv
  const child = yield* machine.nextChild
  const names = yield* child.notifyReady
  holds<Equal<typeof names, ReadonlyArray<Address.FdName>>>()
  // @ts-expect-error: no such signal
  yield* child.kill("SIGNOPE")
})
