/** What a run does to an upgrade, and what may come of it. */
import type * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { Handle, Up } from "../../test/kit/processes.ts"

/**
 * Who serves when all is over: the process that was asked to upgrade, a newer one, or nobody, where a process was told to
 * stop or both were ended.
 */
export type Outcome = "parent" | "child" | "nobody"

/** How far the process that is asked to upgrade can get while it still has something to do. */
export const parentSteps = [
  "before the spawn",
  "after the spawn",
  "started",
  "ready byte read",
  "handed over",
  "draining",
  "released"
] as const

/** What a process of the fixture does to itself, and at which step. */
export interface Fault {
  readonly step: string
  readonly fault: string
  /** Descriptors, for the fault that leaves few. */
  readonly limit?: number
  /** Milliseconds, for the fault that waits. */
  readonly wait?: number
}

/** By the generation that does it; in a pool also by `worker` and generation. */
export type Plan = Readonly<Record<string, Fault>>

export interface Running {
  readonly app: Handle
  readonly up: Up
  /** Milliseconds that the program took to come up. */
  readonly startTime: number
  readonly dir: string
  /** Where the program is started from. */
  readonly program: string
  /** The Unix socket that it serves beside the port. */
  readonly socket: string
  /** The PID file as a process sees it, which may have mounts of its own. */
  readonly pidFile: (pid: number) => string
}

export interface Case {
  readonly name: string
  /** What exactly was drawn, if the case was drawn by lot. */
  readonly drawn?: string
  readonly plan?: Plan
  /** Options of the upgrader. */
  readonly upgrader?: object
  /** How the program is started, if not plainly. */
  readonly launch?: (dir: string) => {
    readonly executable?: string
    readonly args?: ReadonlyArray<string>
    readonly cwd?: string
    /** A directory that only the program has, for its PID file. */
    readonly mount?: string
  }
  /** What happens before the process is asked to upgrade. */
  readonly prepare?: (running: Running) => Effect.Effect<void, never, Scope.Scope>
  /** How it is asked; by one SIGHUP if not said. */
  readonly ask?: (running: Running) => Effect.Effect<void, never, Scope.Scope>
  /** What is done from outside after that. */
  readonly disturb?: (running: Running) => Effect.Effect<void, never, Scope.Scope>
  /** Undoes what was prepared, before the next upgrade. */
  readonly repair?: (running: Running) => Effect.Effect<void>
  /** Who may serve in the end, which may depend on how far the upgrade had come. */
  readonly outcome: ReadonlyArray<Outcome> | ((app: Handle) => ReadonlyArray<Outcome>)
  /** Tag and message of the error, where the parent goes on to serve. */
  readonly error?: RegExp
  /** Requests that may be lost: those of a process that is ended by force. */
  readonly loses?: RegExp
  /** A process that is ended between two system calls leaves the temporary file that it was about to rename. */
  readonly leavesTemporary?: boolean
  /** The child takes the parent for dead, because the stream that would tell is broken. */
  readonly cutsLifeline?: boolean
  /** Node itself leaves objects without descriptors behind. */
  readonly leavesHandles?: boolean
  /** The run may end before the step of a fault is reached. */
  readonly isOptional?: boolean
  /** Why it cannot be run here. */
  readonly skipped?: () => string | undefined
}
