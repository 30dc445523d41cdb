/**
 * Starting a process on a simulated machine, and the streams between it and the one that has started it.
 *
 * @internal
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as ExitStatus from "../../ExitStatus.ts"
import type { System } from "../system/env.ts"
import type { Leading } from "../system/process.ts"
import type { ByteReader } from "../system/stream.ts"
import type { Slot } from "../wire/layout.ts"
import { layoutOf } from "../wire/layout.ts"
import type { Kernel, Open, SimulatedProcess } from "./kernel.ts"
import * as kernelOf from "./kernel.ts"
import { end, offerUnsafe, take } from "./stream.ts"

export const killed = (signal: NodeJS.Signals): ExitStatus.ExitStatus => ExitStatus.Killed({ signal })

export const readerOf = (process: SimulatedProcess, descriptor: number, pipe: kernelOf.Pipe): ByteReader => ({
  read: Effect.option(take(pipe.bytes)),
  discard: Effect.void,
  descriptor: Effect.sync(() => process.descriptors.has(descriptor) ? Option.some(descriptor) : Option.none())
})

export const spawn = (
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
