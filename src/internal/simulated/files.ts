/**
 * Files of a simulated machine, and which process holds one.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { System } from "../system/env.ts"
import type { Kernel, SimulatedProcess } from "./kernel.ts"

export const filesOf = (kernel: Kernel, self: SimulatedProcess): System["files"] => {
  const changeFile = <A>(change: () => A) =>
    Effect.suspend(() => kernel.fileError === undefined ? Effect.sync(change) : Effect.fail(kernel.fileError))
  return {
    read: (path) => Effect.sync(() => Option.fromNullable(kernel.files.get(path))),
    readWhole: (path) =>
      Effect.suspend(() => {
        const content = kernel.files.get(path)
        return content === undefined ? Effect.fail(`there is no ${path}` as unknown) : Effect.succeed(content)
      }),
    fingerprint: (path) =>
      Effect.suspend(() => {
        const all = [...kernel.files].filter(([name]) => name === path || name.startsWith(`${path}/`))
        return all.length === 0 ? Effect.fail(`there is no ${path}` as unknown) : Effect.succeed(JSON.stringify(all))
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
