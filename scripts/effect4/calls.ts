/**
 * What takes its arguments in another form in Effect 4. A rule gives the new text, or nothing where the plain renaming
 * does. It gets no arguments where the function is only named.
 */
import ts from "typescript5"
import type { Site } from "./codemod.ts"

const withEffect = (site: Site) => {
  site.needs("Effect")
  return ""
}

type Rule = (args: ReadonlyArray<ts.Node> | undefined, site: Site) => string | undefined

const property = (node: ts.Node | undefined, name: string): ts.Expression | undefined => {
  if (node === undefined || !ts.isObjectLiteralExpression(node)) return undefined
  for (const each of node.properties) {
    if (ts.isPropertyAssignment(each) && each.name.getText() === name) return each.initializer
  }
  return undefined
}

/** What a function without parameters gives. */
const bodyOf = (thunk: ts.Expression, { port }: Site): string =>
  ts.isArrowFunction(thunk) && !ts.isBlock(thunk.body) ? port(thunk.body) : `(${port(thunk)})()`

const list = (args: ReadonlyArray<ts.Node>, { port }: Site) => args.map(port)

/** `timeout…({ duration, onTimeout })`, after the effect or in a pipe. */
const timeout = (wrap: (onTimeout: ts.Expression, site: Site) => string): Rule => (args, site) => {
  if (args === undefined) return undefined
  const options = args.at(-1)
  const duration = property(options, "duration")
  const onTimeout = property(options, "onTimeout")
  if (duration === undefined || onTimeout === undefined) return undefined
  const written = `{ duration: ${site.port(duration)}, orElse: () => ${wrap(onTimeout, site)} }`
  return args.length === 1
    ? `Effect.timeoutOrElse(${written})`
    : `Effect.timeoutOrElse(${site.port(args[0]!)}, ${written})`
}

/** A fork of Effect 3 is as interruptible as the place where it stands; one of Effect 4 only if it is told to be. */
const fork = (name: string): Rule => (args, site) => {
  const options = `{ uninterruptible: "inherit" }`
  if (args === undefined) return `Effect.${name}(${options})`
  return `Effect.${name}(${[...list(args, site), options].join(", ")})`
}

/** What Effect 3 leaves to be asked for. */
const quiet = "{ disableLogger: true, disableListenLog: true }"

/** A router of Effect 4 is a layer, so that of several routes is made of theirs. */
const route = (method: string): Rule => (args, site) =>
  args && `HttpRouter.add(${[`"${method}"`, ...list(args.slice(-2), site)].join(", ")})`

const isNegated = (condition: string) => `Effect.map(${condition}, (is) => !is)`

export const calls: Readonly<Record<string, Rule>> = {
  // Its name is an argument.
  "@effect/workflow/Workflow.make": (args, site) => {
    const name = property(args?.[0], "name")
    if (args === undefined || name === undefined) return undefined
    const others = (args[0] as ts.ObjectLiteralExpression).properties.filter((each) => each.name?.getText() !== "name")
    return `Workflow.make(${site.port(name)}, { ${list(others, site).join(", ")} })`
  },
  "effect/Effect.dieMessage": (args, site) => args && `Effect.die(new Error(${site.port(args[0]!)}))`,
  "effect/Effect.fork": fork("forkChild"),
  "effect/Effect.forkIn": fork("forkIn"),
  "effect/Effect.forkScoped": fork("forkScoped"),
  "effect/Effect.if": (args, site) => {
    const onTrue = property(args?.[1], "onTrue")
    const onFalse = property(args?.[1], "onFalse")
    return args && onTrue && onFalse &&
      `Effect.flatMap(${site.port(args[0]!)}, (is) => is ? ${bodyOf(onTrue, site)} : ${bodyOf(onFalse, site)})`
  },
  // Of defects too, which `ignore` of Effect 4 lets through.
  "effect/Effect.ignoreLogged": (args, site) => {
    const options = `{ log: "Debug" }`
    return args === undefined
      ? `Effect.ignoreCause(${options})`
      : `Effect.ignoreCause(${site.port(args[0]!)}, ${options})`
  },
  "effect/Effect.intoDeferred": (args, site) => {
    site.needs("Deferred")
    return args && `Deferred.into(${list(args, site).join(", ")})`
  },
  "effect/Effect.makeSemaphore": (args, site) => {
    site.needs("Semaphore")
    return args && `Semaphore.make(${list(args, site).join(", ")})`
  },
  "effect/Effect.unsafeMakeSemaphore": (args, site) => {
    site.needs("Semaphore")
    return args && `Semaphore.makeUnsafe(${list(args, site).join(", ")})`
  },
  "effect/Effect.timeoutFail": timeout((onTimeout, site) => `Effect.fail(${bodyOf(onTimeout, site)})`),
  "effect/Effect.timeoutFailCause": timeout((onTimeout, site) => `Effect.failCause(${bodyOf(onTimeout, site)})`),
  "effect/Effect.timeoutTo": (args, site) => {
    const options = args?.at(-1)
    const [duration, onSuccess, onTimeout] = ["duration", "onSuccess", "onTimeout"].map((name) =>
      property(options, name)
    )
    if (args === undefined || duration === undefined || onSuccess === undefined || onTimeout === undefined) {
      return undefined
    }
    const written = `{ duration: ${site.port(duration)}, orElse: () => Effect.sync(${site.port(onTimeout)}) }`
    return args.length === 1
      ? `(self) => Effect.timeoutOrElse(Effect.map(self, ${site.port(onSuccess)}), ${written})`
      : `Effect.timeoutOrElse(Effect.map(${site.port(args[0]!)}, ${site.port(onSuccess)}), ${written})`
  },
  "effect/Effect.transposeMapOption": (args, site) => {
    site.needs("Option")
    return args?.length === 2
      ? `Effect.transposeOption(Option.map(${list(args, site).join(", ")}))`
      : undefined
  },
  "effect/Effect.unlessEffect": (args, site) =>
    args && (args.length === 1
      ? `Effect.when(${isNegated(site.port(args[0]!))})`
      : `Effect.when(${site.port(args[0]!)}, ${isNegated(site.port(args[1]!))})`),
  "effect/Cause.isEmpty": (args, site) => args && `(${site.port(args[0]!)}).reasons.length === 0`,
  "effect/Layer.fail": (args, site) => {
    site.needs("Effect")
    return args && `Layer.effectDiscard(Effect.fail(${site.port(args[0]!)}))`
  },
  "effect/Effect.withConfigProvider": (args, site) => {
    site.needs("ConfigProvider")
    return args && `Effect.provideService(ConfigProvider.ConfigProvider, ${site.port(args[0]!)})`
  },
  "effect/ConfigProvider.fromMap": (args, site) =>
    args && `ConfigProvider.fromUnknown(Object.fromEntries(${site.port(args[0]!)}))`,
  "effect/Deferred.unsafeMake": (args) => args && "Deferred.makeUnsafe()",
  "effect/Chunk.toReadonlyArray": (args, site) => args && site.port(args[0]!),
  "effect/Duration.subtract": (args, site) => args && literal("subtract", args, site),
  "type @effect/platform/HttpApp.Default": (args, site) => {
    site.needs("Effect")
    site.needs("HttpServerRequest", "effect/http/HttpServerRequest")
    site.needs("HttpServerResponse", "effect/http/HttpServerResponse")
    const [error = "never", context = "never"] = list(args ?? [], site)
    return `Effect.Effect<HttpServerResponse.HttpServerResponse, ${error}, ${context} | HttpServerRequest.HttpServerRequest>`
  },
  "type effect/Context.Tag.Service": (args, site) => `(${list(args ?? [], site).join(", ")})["Service"]`,
  "effect/Schedule.modifyDelay": (args, site) =>
    args?.length === 1
      ? withEffect(site) +
        `Schedule.modifyDelay(({ duration }) => Effect.succeed((${site.port(args[0]!)})(undefined, duration)))`
      : undefined,
  "@effect/platform/HttpServer.serveEffect": (args, site) => {
    if (args?.length !== 1 || !/HttpRouter</.test(site.typeOf(args[0]!))) return undefined
    site.needs("Effect")
    site.needs("Layer")
    site.needs("HttpRouter", "effect/http/HttpRouter")
    return `Effect.asVoid(Layer.build(HttpRouter.serve(${site.port(args[0]!)}, ${quiet})))`
  },
  "@effect/platform/HttpServer.serve": (args, site) => {
    if (args === undefined || args.length > 1) return undefined
    site.needs("HttpRouter", "effect/http/HttpRouter")
    if (args.length === 0) return `(routes) => HttpRouter.serve(routes, ${quiet})`
    return /HttpRouter</.test(site.typeOf(args[0]!)) ? `HttpRouter.serve(${site.port(args[0]!)}, ${quiet})` : undefined
  },
  ...Object.fromEntries(
    Object.entries({ all: "*", del: "DELETE", get: "GET", patch: "PATCH", post: "POST", put: "PUT" }).map((
      [name, method]
    ) => [
      `@effect/platform/HttpRouter.${name}`,
      route(method)
    ])
  ),
  "@effect/platform/HttpServerRequest.upgrade": () =>
    "Effect.flatMap(HttpServerRequest.HttpServerRequest, (request) => request.upgrade)",
  "effect/Either.match": (args, site) => {
    const options = args?.at(-1)
    const [onFailure, onSuccess] = [property(options, "onLeft"), property(options, "onRight")]
    if (args === undefined || onFailure === undefined || onSuccess === undefined) return undefined
    const written = `{ onFailure: ${site.port(onFailure)}, onSuccess: ${site.port(onSuccess)} }`
    return `Result.match(${[...list(args.slice(0, -1), site), written].join(", ")})`
  },
  "effect/Runtime.runSyncExit": (args, site) => {
    site.needs("Effect")
    return args && `Effect.runSyncExitWith(${site.port(args[0]!)})` + (args[1] ? `(${site.port(args[1])})` : "")
  },
  "effect/Effect.repeatN": (args, site) =>
    args && `Effect.repeat(${[...list(args.slice(0, -1), site), `{ times: ${site.port(args.at(-1)!)} }`].join(", ")})`,
  "effect/Effect.zipLeft": (args, site) =>
    args && `Effect.tap(${[...list(args.slice(0, -1), site), `() => ${site.port(args.at(-1)!)}`].join(", ")})`,
  "effect/Effect.yieldNow": () => "Effect.yieldNow",
  "effect/Fiber.interruptFork": (args, site) => args && `Effect.sync(() => ${site.port(args[0]!)}.interruptUnsafe())`,
  "effect/Fiber.poll": (args, site) => {
    site.needs("Option")
    return args && `Effect.sync(() => Option.fromNullishOr(${site.port(args[0]!)}.pollUnsafe()))`
  },
  "@effect/platform-node/NodeRuntime.runMain": (args) =>
    // A logger that is provided takes the place of any other.
    args?.length === 1 && args[0]?.getText() === "{ disablePrettyLogger: true }" ? "NodeRuntime.runMain" : undefined,
  "effect/Logger.json": () => "Logger.layer([Logger.consoleJson])",
  "effect/Logger.add": (args, site) => args && `Logger.layer([${site.port(args[0]!)}], { mergeWithExisting: true })`,
  "effect/Runtime.runSync": (args, site) => {
    site.needs("Effect")
    return args && `Effect.runSyncWith(${site.port(args[0]!)})` + (args[1] ? `(${site.port(args[1])})` : "")
  },
  "effect/Runtime.runFork": (args, site) => {
    site.needs("Effect")
    return args && `Effect.runForkWith(${site.port(args[0]!)})` + (args[1] ? `(${site.port(args[1])})` : "")
  },
  "effect/ExecutionStrategy.sequential": () => `"sequential"`,
  "effect/Duration.min": (args, site) => args && literal("min", args, site),
  "effect/Duration.max": (args, site) => args && literal("max", args, site),
  "effect/Duration.sum": (args, site) => args && literal("sum", args, site),
  "type effect/Mailbox.ReadonlyMailbox": (args, site) => {
    site.needs("Cause")
    return `Queue.Dequeue<${list(args ?? [], site).join(", ")}, Cause.Done>`
  },
  "effect/Context.GenericTag": (args, site) => args && `Context.Service(${list(args, site).join(", ")})`,
  "type effect/Context.Tag": (args, site) => `Context.Key<${list(args ?? [], site).join(", ")}>`,
  "type effect/Schema.Schema": (args, site) =>
    args?.length === 2 ? `Schema.Codec<${list(args, site).join(", ")}>` : undefined
}

/** Durations are not given by words there. */
const literal = (name: string, args: ReadonlyArray<ts.Node>, site: Site): string =>
  `Duration.${name}(${
    args.map((arg) => ts.isStringLiteral(arg) ? `Duration.fromInputUnsafe(${site.port(arg)})` : site.port(arg)).join(
      ", "
    )
  })`

/** Every test has a scope there. */
export const tests: Readonly<Record<string, string>> = {
  "it.scoped": "it.effect",
  "it.scopedLive": "it.live"
}

/** Tests of a suite one by one: an option there. */
export const sequential = (call: ts.CallExpression, { port }: Site): string | undefined => {
  const match = /^describe\.sequential(?=$|\.each\()/.exec(call.expression.getText())
  const [name, ...rest] = call.arguments
  if (match === null || name === undefined || rest.length === 0) return undefined
  const suite = `describe${call.expression.getText().slice(match[0].length)}`
  return `${suite}(${[port(name), "{ concurrent: false }", ...rest.map(port)].join(", ")})`
}

const queue = /^(Queue\.|Mailbox\.)?(Queue|Dequeue|Mailbox|ReadonlyMailbox)</

/** Effects that are read from a value of Effect's, by the type of it. */
export const properties: Readonly<Record<string, (self: ts.Expression, site: Site) => string | undefined>> = {
  await: (self, site) => {
    if (!/Fiber</.test(site.typeOf(self))) return undefined
    site.needs("Fiber")
    return `Fiber.await(${site.port(self)})`
  },
  size: (self, site) => {
    const type = queue.exec(site.typeOf(self))
    if (type === null) return undefined
    site.needs("Queue")
    if (!/Mailbox/.test(type[2]!)) return `Queue.size(${site.port(self)})`
    site.needs("Effect")
    site.needs("Option")
    return `Effect.map(Queue.size(${site.port(self)}), Option.some)`
  },
  take: (self, site) => {
    if (!queue.test(site.typeOf(self))) return undefined
    site.needs("Queue")
    return `Queue.take(${site.port(self)})`
  }
}

type Method = (self: ts.Expression, args: ReadonlyArray<ts.Node>, site: Site) => string | undefined

/** Methods of what is a value of Effect's, by the type of it. */
export const methods: Readonly<Record<string, Method>> = {
  unsafeOffer: (self, args, site) => {
    if (!/\b(Queue|Enqueue|Mailbox)</.test(site.typeOf(self))) return undefined
    site.needs("Queue")
    return `Queue.offerUnsafe(${[site.port(self), ...list(args, site)].join(", ")})`
  },
  pipe: (self, args, site) => {
    if (!/^HttpRouter\.empty$/.test(self.getText())) return undefined
    const first = args.findIndex((arg) => !/^HttpRouter\.\w+\(/.test(arg.getText()))
    const routes = first < 0 ? args : args.slice(0, first)
    const rest = first < 0 ? [] : args.slice(first)
    site.needs("Layer")
    return `Layer.mergeAll(${list(routes, site).join(", ")})` +
      (rest.length === 0 ? "" : `.pipe(${list(rest, site).join(", ")})`)
  },
  unsafePoll: (self, _, site) =>
    /Fiber</.test(site.typeOf(self)) ? `(${site.port(self)}.pollUnsafe() ?? null)` : undefined
}
