/** What a fixture has open and running, to be the same after something as it was before. */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import { descriptorsAtRest, sameDescriptors } from "./descriptors.ts"
import type { Handle } from "./processes.ts"
import { eventually } from "./waiting.ts"

/** What a fixture has open and running: sockets, pipes, timers, processes, as Node tells. */
const resources = (handle: Handle, pid: number): Effect.Effect<string> =>
  Effect.suspend(() => {
    const told = () => handle.lines().filter((line) => line.startsWith(`RESOURCES ${pid} `))
    const before = told().length
    process.kill(pid, "SIGUSR2")
    return eventually("the fixture to tell its resources", () => told()[before]?.split(" ")[2] ?? false)
  })

export interface State {
  readonly descriptors: ReadonlyArray<string>
  readonly resources: string
}

export const stateOf = (handle: Handle, pid: number): Effect.Effect<State> =>
  Effect.all({ descriptors: descriptorsAtRest(pid), resources: resources(handle, pid) })

const timers = (resources: string) => resources.split(",").filter((name) => name === "Timeout").length
const allButTimers = (resources: string) => resources.split(",").filter((name) => name !== "Timeout").join(",")

/** No descriptor, timer or process has been left in it since, and none is missing but a timer that has run out. */
export const sameState = (handle: Handle, pid: number, before: State): Effect.Effect<void> =>
  Effect.gen(function*() {
    yield* sameDescriptors(pid, before.descriptors)
    let now = ""
    yield* Effect.repeat(Effect.map(resources(handle, pid), (resources) => void (now = resources)), {
      until: () => allButTimers(now) === allButTimers(before.resources) && timers(now) <= timers(before.resources),
      schedule: Schedule.spaced("50 millis")
    }).pipe(
      Effect.timeoutFailCause({
        duration: "5 seconds",
        onTimeout: () => Cause.die(new Error(`resources before: ${before.resources}\nnow: ${now}`))
      })
    )
  })
