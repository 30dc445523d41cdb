/**
 * The commands that ask at a control socket: what each asks for, and what it says of the outcome.
 *
 * @internal
 */
import { setTimeout as sleep } from "node:timers/promises"
import type { Status } from "../controlSocket/protocol.ts"
import * as writer from "../node/writer.ts"
import type { Answer, Client } from "./controlClient.ts"
import { ClientError, exitCode, make, ofAnswer, UnknownOutcomeError } from "./controlClient.ts"
import type * as controlFlags from "./controlFlags.ts"
import { variable } from "./controlFlags.ts"
import { UsageError } from "./flag.ts"
import type { Parsed } from "./parse.ts"
import { hasEnded, isAlive } from "./processEnd.ts"
import { describe, seconds } from "./progress.ts"
import { table } from "./statusTable.ts"

const defaultTimeout = 120_000
const statusTimeout = 10_000
/** Milliseconds between two requests of one that is repeated. */
const pause = 250

/** Milliseconds for what comes on another connection than the answer. */
const lastWords = 20

const print = (text: string) => writer.to(1).line(text)
const say = (text: string) => writer.to(2).line(text)

const pathOf = ({ values }: { readonly values: { readonly control: string | undefined } }): string => {
  const control = values.control ?? process.env[variable]
  if (control !== undefined && control !== "") return control
  throw new UsageError(`the control socket is missing: name it with --control PATH, or in ${variable}`)
}

const noOperands = ({ operands: [operand] }: { readonly operands: ReadonlyArray<string> }) => {
  if (operand !== undefined) throw new UsageError(`${JSON.stringify(operand)} is one argument too many`)
}

/** Says what went wrong, and makes the exit code of it. */
const answering = async (json: boolean, run: () => Promise<number>): Promise<number> => {
  // A terminal that is gone ends a client, as it ends other programs.
  process.removeAllListeners("SIGHUP")
  try {
    return await run()
  } catch (error) {
    if (!(error instanceof ClientError)) throw error
    if (json) print(JSON.stringify({ error: error.json }))
    else say(`tableflip: ${error.message}`)
    return error.code
  }
}

export const status = (parsed: Parsed<typeof controlFlags.status>): Promise<number> => {
  noOperands(parsed)
  const { json, timeout = statusTimeout } = parsed.values
  const at = pathOf(parsed)
  return answering(json, async () => {
    const found = await (await make(at, performance.now() + timeout)).status()
    print(json ? JSON.stringify(found) : table(found, Date.now()))
    return exitCode.done
  })
}

export const events = (parsed: Parsed<typeof controlFlags.events>): Promise<number> => {
  noOperands(parsed)
  const { follow, json } = parsed.values
  const at = pathOf(parsed)
  return answering(json, async () => {
    // Whoever reads this may have had enough.
    process.stdout.on("error", () => process.exit(exitCode.done))
    const client = await make(at, Infinity)
    for (let isFirst = true;; isFirst = false) {
      const { begun, ended } = client.follow((event, line) =>
        void process.stdout.write(`${json ? line : `${event.at} ${describe(event)}`}\n`)
      )
      try {
        await begun
      } catch (error) {
        if (isFirst || !follow) throw error
      }
      const { isWhole } = await ended
      if (!follow && !isWhole) {
        throw new UnknownOutcomeError("The events have ended without the last one: the process was killed")
      }
      if (!follow) return exitCode.done
      await sleep(pause)
    }
  })
}

interface Asked {
  readonly client: Client
  readonly before: Status
  readonly json: boolean
  readonly until: number
  readonly retryUntil: number
}

type Waiting = Parsed<typeof controlFlags.pool>

/** Asks for something that takes its time, and tells meanwhile what happens. */
const waitingFor = (parsed: Waiting, run: (asked: Asked) => Promise<number>): Promise<number> => {
  const { json, retry = 0, timeout = defaultTimeout } = parsed.values
  const at = pathOf(parsed)
  const now = performance.now()
  return answering(json, async () => {
    const until = now + timeout
    const client = await make(at, until)
    const before = await client.status()
    return run({ client, before, json, until, retryUntil: now + Math.min(retry, timeout) })
  })
}

const hidden = new Set(["Status", "Ended", "UpgradeFailed", "UpgradeRefused", "ReplaceFailed"])

/** Repeats what was refused, for as long as it is to be; events go to standard error while people wait. */
const post = async ({ client, json, retryUntil }: Asked, path: string, body?: object): Promise<Answer> => {
  for (;;) {
    const following = json ? undefined : client.follow((event) => hidden.has(event._tag) || say(describe(event)))
    // Without it nothing is lost but words.
    await following?.begun.catch(() => {})
    try {
      const answer = await client.post(path, body)
      if (answer.status !== 409 && answer.status !== 503 || performance.now() + pause > retryUntil) {
        // What was said before the answer is read before it is told.
        if (following !== undefined) await sleep(lastWords)
        return answer
      }
    } finally {
      following?.stop()
    }
    await sleep(pause)
  }
}

const done = ({ json }: Asked, outcome: object, text: string): number => {
  print(json ? JSON.stringify(outcome) : text)
  return exitCode.done
}

/** Whoever was asked is gone: whoever is there now knows what came of it. */
const findOut = async ({ before, client, until }: Asked, lost: UnknownOutcomeError): Promise<Status> => {
  let error: unknown = lost
  while (performance.now() < until) {
    try {
      const now = await client.status()
      if (now.generation > before.generation) return now
      if (now.lastUpgrade?.outcome === "failed" && now.lastUpgrade.at !== before.lastUpgrade?.at) {
        throw new ClientError(exitCode.failed, now.lastUpgrade.error)
      }
      error = new UnknownOutcomeError(
        `${lost.message}; process ${now.pid} serves, still as generation ${now.generation}`
      )
      if (now.state === "serving") break
    } catch (cause) {
      if (!(cause instanceof ClientError)) throw cause
      if (cause.code === exitCode.failed) throw cause
      error = new UnknownOutcomeError(`${lost.message}, and now: ${cause.message}`)
      if (cause.code === exitCode.nobodyThere && !isAlive(before.pid)) break
    }
    await sleep(pause)
  }
  throw error
}

export const reload = (parsed: Parsed<typeof controlFlags.reload>): Promise<number> => {
  noOperands(parsed)
  const { wait = "switched" } = parsed.values
  return waitingFor(parsed, async (asked) => {
    const { before, until } = asked
    let answer: Answer
    try {
      answer = await post(asked, `/v1/reload?wait=${wait === "switched" ? "switched" : "drained"}`)
    } catch (error) {
      if (!(error instanceof UnknownOutcomeError)) throw error
      const { generation, pid } = await findOut(asked, error)
      answer = {
        status: 200,
        json: { outcome: "upgraded", pid, generation, from: { pid: before.pid, generation: before.generation } }
      }
    }
    if (answer.status !== 200) throw ofAnswer(answer)
    const outcome = answer.json
    const old: number | undefined = outcome.from?.pid
    const isLeft = wait === "ended" && old !== undefined && old !== outcome.pid
    if (isLeft && !(await hasEnded(old, until))) {
      throw new UnknownOutcomeError(`Process ${outcome.pid} has taken over, and process ${old} has not ended in time`)
    }
    const details = [
      ...outcome.millis === undefined ? [] : [`ready in ${seconds(outcome.millis)}`],
      ...outcome.drained?.millis === undefined ? [] : [
        `drained in ${seconds(outcome.drained.millis)}${
          outcome.drained.forced > 0 ? `, ${outcome.drained.forced} closed by force` : ""
        }`
      ],
      ...isLeft ? [`process ${old} has ended`] : []
    ]
    return done(
      asked,
      { ...outcome, ...isLeft ? { ended: true } : {} },
      [
        `reloaded: generation ${outcome.generation} serves, process ${outcome.pid}`,
        ...details.length === 0 ? [] : [`(${details.join("; ")})`]
      ].join(" ")
    )
  })
}

export const stop = (parsed: Parsed<typeof controlFlags.stop>): Promise<number> => {
  noOperands(parsed)
  const { wait = "ended" } = parsed.values
  return waitingFor(parsed, async (asked) => {
    const { before, until } = asked
    let outcome: Record<string, any> = { outcome: "stopped", pid: before.pid, generation: before.generation }
    try {
      const answer = await post(asked, `/v1/stop${wait === "told" ? "" : "?wait=drained"}`)
      if (answer.status !== 200 && answer.status !== 202) throw ofAnswer(answer)
      outcome = answer.json
    } catch (error) {
      // It has ended before it could say so, which is what it was asked for.
      if (
        !(error instanceof UnknownOutcomeError) ||
        !(await hasEnded(before.pid, Math.min(until, performance.now() + 1_000)))
      ) throw error
    }
    if (outcome["outcome"] === "upgraded") {
      throw new ClientError(exitCode.refused, {
        _tag: "AlreadyUpgradedError",
        message: `Process ${outcome["pid"]} had taken over by then, and serves`
      })
    }
    if (wait === "ended" && !(await hasEnded(before.pid, until))) {
      throw new UnknownOutcomeError(`Process ${before.pid} has been told to stop and has not ended in time`)
    }
    return done(
      asked,
      { ...outcome, ...wait === "ended" ? { ended: true } : {} },
      wait === "told"
        ? `process ${before.pid} has been told to stop`
        : `process ${before.pid} has ${wait === "ended" ? "ended" : "stopped serving"}`
    )
  })
}

const numberOf = (text: string | undefined, what: string, least: number): number => {
  const number = text === undefined || !/^\d{1,9}$/.test(text) ? Number.NaN : Number(text)
  if (number >= least) return number
  throw new UsageError(
    text === undefined
      ? `${what} is missing`
      : `${what} is ${JSON.stringify(text)}; it must be a whole number from ${least}`
  )
}

const poolCommand = (parsed: Waiting, path: string, body: object | undefined, text: (json: any) => string) =>
  waitingFor(parsed, async (asked) => {
    const answer = await post(asked, path, body)
    if (answer.status !== 200) throw ofAnswer(answer)
    return done(asked, answer.json, text(answer.json))
  })

export const scale = (parsed: Waiting): Promise<number> => {
  const [typed, ...others] = parsed.operands
  noOperands({ operands: others })
  const size = numberOf(typed, "the size", 1)
  return poolCommand(parsed, "/v1/scale", { size }, ({ from, to }) => `resized from ${from} to ${to}`)
}

export const replace = (parsed: Waiting): Promise<number> => {
  const [typed, ...others] = parsed.operands
  noOperands({ operands: others })
  const index = typed === undefined ? undefined : numberOf(typed, "the index of the worker", 0)
  return poolCommand(
    parsed,
    `/v1/replace${index === undefined ? "" : `/${index}`}`,
    undefined,
    () => index === undefined ? "replaced every process" : `replaced worker ${index}`
  )
}
