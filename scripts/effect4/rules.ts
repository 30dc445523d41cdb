/**
 * What is called otherwise in Effect 4, and what takes its arguments in another form. Facts are from the declarations of
 * effect 3.22 and 4.1.
 */

const moved = (from: string, to: string, names: ReadonlyArray<string>): Record<string, readonly [string]> =>
  Object.fromEntries(names.map((name) => [`${from}/${name}`, [`${to}/${name}`]]))

/** A module that has moved, and its new namespace if that has another name too. */
export const modules: Readonly<Record<string, readonly [module: string, namespace?: string]>> = {
  "effect/Either": ["effect/Result", "Result"],
  "effect/Mailbox": ["effect/Queue", "Queue"],
  "effect/TestClock": ["effect/testing/TestClock"],
  "effect/FastCheck": ["fast-check"],
  "effect/ConfigError": ["effect/Config"],
  ...moved("@effect/cluster", "effect/cluster", [
    "ClusterCron",
    "ClusterSchema",
    "ClusterWorkflowEngine",
    "Entity",
    "HttpRunner",
    "MachineId",
    "MessageStorage",
    "RunnerAddress",
    "RunnerHealth",
    "Runners",
    "RunnerStorage",
    "ShardId",
    "Sharding",
    "ShardingConfig",
    "Singleton",
    "SocketRunner",
    "SqlMessageStorage",
    "SqlRunnerStorage"
  ]),
  ...moved("@effect/rpc", "effect/rpc", ["Rpc", "RpcClient", "RpcSerialization"]),
  ...moved("@effect/sql", "effect/sql", ["SqlClient", "SqlError", "Statement"]),
  ...moved("@effect/workflow", "effect/workflow", ["Activity", "DurableClock", "Workflow"]),
  "@effect/experimental/Reactivity": ["effect/reactivity/Reactivity"],
  "@effect/platform/Etag": ["effect/http/Etag"],
  "@effect/platform/HttpApi": ["effect/http-api/HttpApi"],
  "@effect/platform/HttpApiBuilder": ["effect/http-api/HttpApiBuilder"],
  "@effect/platform/HttpApiEndpoint": ["effect/http-api/HttpApiEndpoint"],
  "@effect/platform/HttpApiGroup": ["effect/http-api/HttpApiGroup"],
  "@effect/platform/HttpApiSchema": ["effect/http-api/HttpApiSchema"],
  "@effect/platform/HttpApp": ["effect/http/HttpEffect"],
  "@effect/platform/HttpClient": ["effect/http/HttpClient"],
  "@effect/platform/HttpMiddleware": ["effect/http/HttpMiddleware"],
  "@effect/platform/HttpPlatform": ["effect/http/HttpPlatform"],
  "@effect/platform/HttpRouter": ["effect/http/HttpRouter"],
  "@effect/platform/HttpServer": ["effect/http/HttpServer"],
  "@effect/platform/HttpServerError": ["effect/http/HttpServerError"],
  "@effect/platform/HttpServerRequest": ["effect/http/HttpServerRequest"],
  "@effect/platform/HttpServerResponse": ["effect/http/HttpServerResponse"],
  "@effect/platform/Multipart": ["effect/http/Multipart"],
  "@effect/platform/Socket": ["effect/socket/Socket"],
  "@effect/platform/SocketServer": ["effect/socket/SocketServer"],
  "@effect/platform-node/NodeContext": ["@effect/platform-node/NodeServices", "NodeServices"]
}

/** Where the members of a barrel live: names that the project takes from one, by the module that they are in. */
export const barrels: Readonly<Record<string, string>> = {
  "@effect/platform": "effect/http",
  "@effect/platform-node": "@effect/platform-node",
  effect: "effect"
}

/** The same under another name. Members are named by module, not by namespace, which a file may call as it likes. */
export const members: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  "@effect/platform-node/NodeContext": { NodeContext: "NodeServices" },
  "@effect/platform-node/NodeHttpClient": { layer: "layerNodeHttp" },
  "@effect/platform-node/NodeHttpServer": { layerContext: "layerHttpServices" },
  "effect/Cause": { failureOption: "findErrorOption", isInterruptedOnly: "hasInterruptsOnly" },
  "effect/Config": {
    boolean: "Boolean",
    duration: "Duration",
    integer: "Int",
    number: "Number",
    port: "Port",
    redacted: "Redacted",
    string: "String"
  },
  "effect/Context": { unsafeGet: "getUnsafe" },
  "effect/Deferred": { unsafeDone: "doneUnsafe", unsafeMake: "makeUnsafe" },
  "effect/Duration": {
    DurationInput: "Input",
    decode: "fromInputUnsafe",
    greaterThan: "isGreaterThan",
    greaterThanOrEqualTo: "isGreaterThanOrEqualTo",
    lessThan: "isLessThan",
    lessThanOrEqualTo: "isLessThanOrEqualTo"
  },
  "effect/Effect": {
    async: "callback",
    catchAll: "catch",
    catchAllCause: "catchCause",
    catchAllDefect: "catchDefect",
    either: "result",
    runtime: "context",
    tapErrorCause: "tapCause",
    whenEffect: "when",
    zipRight: "andThen"
  },
  "effect/Either": {
    Either: "Result",
    getLeft: "getFailure",
    getRight: "getSuccess",
    isLeft: "isFailure",
    isRight: "isSuccess",
    left: "fail",
    right: "succeed"
  },
  "effect/Exit": { causeOption: "getCause", isInterrupted: "hasInterrupts" },
  "effect/FastCheck": {},
  "effect/Fiber": { RuntimeFiber: "Fiber" },
  "effect/Layer": {
    catchAll: "catch",
    scoped: "effect",
    scopedContext: "effectContext",
    scopedDiscard: "effectDiscard",
    unwrapEffect: "unwrap",
    unwrapScoped: "unwrap"
  },
  "effect/Mailbox": { Mailbox: "Queue", ReadonlyMailbox: "Dequeue" },
  "effect/Option": { fromNullable: "fromNullishOr" },
  "effect/Random": { nextRange: "nextBetween" },
  "effect/Schema": { parseJson: "fromJsonString" },
  "effect/Scope": { CloseableScope: "Closeable", extend: "provide" },
  "effect/Stream": { unwrapScoped: "unwrap" }
}

/**
 * The same name for something else: it compiles and does not do the same. The source does without them, or says by the
 * seam (`src/internal/seam.ts`) what it means.
 */
export const traps: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  "effect/Effect": {
    disconnect: "is gone: seam.disconnect",
    forkDaemon: "starts later and is dropped if it is interrupted before: seam.forkToTheEnd, seam.forkApart",
    serviceFunctions: "is gone: seam.serviceFunctions"
  },
  "effect/Fiber": { inheritAll: "is gone: seam.inheritAll" },
  "effect/PubSub": { subscribe: "gives something else: seam.broadcast", unbounded: "seam.broadcast" },
  "effect/Queue": { takeAll: "waits in Effect 4: seam.drain" },
  "effect/Schedule": { driver: "is gone: seam.driver", makeWithState: "is gone: seam.scheduleOf" }
}
