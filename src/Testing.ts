/**
 * Upgrades without processes: a simulated machine, on which the real code of this library runs on both sides of every
 * hand-off. With `TestClock` there is no real time either, so a test of an app's own upgrade logic takes milliseconds
 * and always goes the same way.
 *
 * @since 3.0.0
 * @module
 */
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import type * as Mailbox from "effect/Mailbox"
import * as Scope from "effect/Scope"
import type { Address, FdName } from "./Address.ts"
import { format } from "./Address.ts"
import * as ExitStatus from "./ExitStatus.ts"
import * as testEnv from "./internal/simulated/env.ts"
import type { Kernel, SimulatedProcess } from "./internal/simulated/kernel.ts"
import * as testKernel from "./internal/simulated/kernel.ts"
import { killed } from "./internal/simulated/spawn.ts"
import { offerUnsafe, stream, take } from "./internal/simulated/stream.ts"
import type { System } from "./internal/system/env.ts"
import { Env } from "./internal/system/env.ts"
import * as parent from "./internal/upgrade/ancestry.ts"
import * as control from "./internal/wire/control.ts"
import type { ProtocolError, SpawnError } from "./TableflipError.ts"

/**
 * What a pool tells one of its processes.
 *
 * @since 3.0.0
 * @category models
 */
export type PoolWord = control.Word

/**
 * What a process of a pool tells the pool.
 *
 * @since 3.0.0
 * @category models
 */
export type PoolAnswer = control.Answer

/**
 * A process that a test steers. As long as it is told nothing, it is starting. Signals end it like a program that does
 * not handle them, unless something runs in it (`layer`) that does.
 *
 * @since 3.0.0
 * @category models
 */
export interface FakeProcess {
  readonly pid: number
  /** What it was given, besides what the older process had itself. */
  readonly environment: Readonly<Record<string, string | undefined>>
  /** How many descriptors it has open. */
  readonly openDescriptors: Effect.Effect<number>
  /** Says that it is ready, after reading its names, by the code that a real process runs. Gives back the names. */
  readonly notifyReady: Effect.Effect<ReadonlyArray<FdName>, ProtocolError>
  /** Says something else on the ready stream. */
  readonly garbage: (bytes: Uint8Array) => Effect.Effect<void>
  /** Closes the ready stream without a word. */
  readonly closeReady: Effect.Effect<void>
  /** From now on it takes no notice of any signal but SIGKILL. */
  readonly silent: Effect.Effect<void>
  /** Ends it by itself. */
  readonly exit: (code: number) => Effect.Effect<void>
  /** Sends it a signal from outside. */
  readonly kill: (signal: NodeJS.Signals) => Effect.Effect<void>
  /** The next thing that its pool tells it, if it is a process of one and nothing runs in it that listens. */
  readonly nextWord: Effect.Effect<PoolWord>
  /** Tells its pool something, if it is a process of one. */
  readonly answer: (answer: PoolAnswer) => Effect.Effect<void>
  /** The signals that it gets, in order. Ends with the process. */
  readonly signalled: Mailbox.ReadonlyMailbox<NodeJS.Signals>
  /** How it ended. */
  readonly status: Effect.Effect<ExitStatus.ExitStatus>
  /** The machine as this process sees it: `Upgrader.layerWithoutEnv` on it is the upgrader of the next generation. */
  readonly layer: Layer.Layer<Env>
}

/**
 * The machine, as a test steers it.
 *
 * @since 3.0.0
 * @category testing
 */
export class TestEnv extends Context.Tag("effect-tableflip/Testing/TestEnv")<TestEnv, {
  /** The process under test. */
  readonly self: FakeProcess
  /** The next process that any process of this machine starts. */
  readonly nextChild: Effect.Effect<FakeProcess>
  /** How many processes there are. */
  readonly processes: Effect.Effect<number>
  /** The content of every file. */
  readonly files: Effect.Effect<ReadonlyMap<string, string>>
  /** Ids of the processes that accept at an address. */
  readonly accepting: (address: Address) => Effect.Effect<ReadonlyArray<number>>
  /** What a service manager of the kind of systemd was told, and by which process. */
  readonly notifications: Effect.Effect<
    ReadonlyArray<{ readonly pid: number; readonly state: ReadonlyArray<string> }>
  >
  /** Makes every start of a process fail, or none. */
  readonly failSpawn: (error: SpawnError | undefined) => Effect.Effect<void>
  /** Makes every change of a file fail, or none. */
  readonly failFiles: (cause: unknown) => Effect.Effect<void>
}>() {
  /**
   * A machine with one process.
   *
   * @since 3.0.0
   * @category layers
   */
  static readonly layer: Layer.Layer<TestEnv | Env> = Layer.scopedContext(Effect.suspend(() => makeMachine({})))

  /**
   * The same, with variables in the environment of the process.
   *
   * @since 3.0.0
   * @category layers
   */
  static readonly layerVariables = (
    variables: Readonly<Record<string, string | undefined>>
  ): Layer.Layer<TestEnv | Env> => Layer.scopedContext(Effect.suspend(() => makeMachine(variables)))
}

const readyDescriptor = 3

const fakeProcess = (
  kernel: Kernel,
  process: SimulatedProcess,
  environment: FakeProcess["environment"],
  env: System
): FakeProcess => ({
  pid: process.pid,
  environment,
  openDescriptors: Effect.sync(() => process.descriptors.size),
  notifyReady: parent.receive(env).pipe(
    Scope.extend(process.scope),
    Effect.tap((ancestry) => ancestry.notifyReady),
    Effect.map((ancestry) => ancestry.inherited.map(({ name }) => name))
  ),
  garbage: (bytes) =>
    Effect.sync(() => {
      const open = process.descriptors.get(readyDescriptor)
      if (open?._tag === "WriteEnd") offerUnsafe(open.pipe.bytes, bytes)
    }),
  closeReady: env.closeDescriptor(readyDescriptor),
  silent: Effect.sync(() => {
    process.silent = true
  }),
  exit: (code) => testKernel.end(kernel, process, ExitStatus.Exited({ code })),
  kill: (signal) => Effect.asVoid(testKernel.send(kernel, process, signal, killed)),
  nextWord: Effect.suspend(() => {
    const open = process.descriptors.get(Number(environment["TABLEFLIP_CONTROL"]))
    return open?._tag === "ReadEnd" ? Effect.orDie(take(open.pipe.bytes)) : Effect.dieMessage("it has no pool")
  }).pipe(Effect.map(control.decode)),
  answer: (answer) => Effect.asVoid(env.write(Number(environment["TABLEFLIP_CONTROL"]), control.encode(answer))),
  signalled: process.signalled,
  status: Deferred.await(process.exit),
  layer: Layer.succeed(Env, env)
})

const makeMachine = Effect.fnUntraced(function*(variables: Readonly<Record<string, string | undefined>>) {
  const kernel = testKernel.makeKernel()
  const started = yield* stream<FakeProcess>()

  const envOf = (process: SimulatedProcess): System =>
    testEnv.make(
      kernel,
      process,
      (child, environment) =>
        Effect.asVoid(Effect.sync(() => offerUnsafe(started, fakeProcess(kernel, child, environment, envOf(child)))))
    )

  const process = yield* testKernel.makeProcess(kernel, variables)
  const env = envOf(process)
  yield* Effect.addFinalizer(() =>
    Effect.forEach([...kernel.processes], (process) => Scope.close(process.scope, Exit.void), { discard: true })
  )
  const machine = TestEnv.of({
    self: fakeProcess(kernel, process, variables, env),
    nextChild: Effect.orDie(take(started)),
    processes: Effect.sync(() => kernel.processes.size),
    files: Effect.sync(() => new Map(kernel.files)),
    accepting: (address) =>
      Effect.sync(() =>
        [...kernel.sockets].filter(({ key }) => key === format(address)).flatMap(({ accepting }) => [...accepting])
      ),
    notifications: Effect.sync(() => [...kernel.notifications]),
    failSpawn: (error) =>
      Effect.sync(() => {
        kernel.spawnError = error
      }),
    failFiles: (cause) =>
      Effect.sync(() => {
        kernel.fileError = cause
      })
  })
  return Context.make(TestEnv, machine).pipe(Context.add(Env, env))
})
