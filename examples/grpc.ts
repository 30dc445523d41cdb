/**
 * A server of @grpc/grpc-js that upgrades itself. gRPC goes over HTTP/2: calls that are open finish in the old process, and
 * a client makes its next one in the new process, on a new connection that it opens by itself.
 *
 *     PORT=8080 PID_FILE=grpc.pid node --import tsx examples/grpc.ts
 *     kill -HUP $(cat grpc.pid)
 */
import { NodeRuntime } from "@effect/platform-node"
import * as grpc from "@grpc/grpc-js"
import { Config, Effect, Layer } from "effect"
import { readFileSync } from "node:fs"
import { createServer } from "node:net"
import { Fds, Upgrader } from "../src/index.ts"

/** `server.bindAsync` would bind a socket of its own: this gives it what comes to one that survives upgrades. */
const listenGrpc = (
  server: grpc.Server,
  credentials: grpc.ServerCredentials,
  at: { readonly port: number; readonly host: string }
) => {
  const injector = server.createConnectionInjector(credentials)
  return Fds.listen(createServer((socket) => injector.injectConnection(socket)), at)
}

const text = { serialize: (text: string) => Buffer.from(text), deserialize: String }

const method = (
  path: string,
  requestStream: boolean,
  responseStream: boolean
): grpc.MethodDefinition<string, string> => ({
  path,
  requestStream,
  responseStream,
  requestSerialize: text.serialize,
  requestDeserialize: text.deserialize,
  responseSerialize: text.serialize,
  responseDeserialize: text.deserialize
})

/** What would come from a .proto file. */
const Greeter = {
  hello: method("/Greeter/Hello", false, false),
  count: method("/Greeter/Count", false, true),
  echo: method("/Greeter/Echo", true, true)
}

const server = new grpc.Server()
server.addService(Greeter, {
  hello: ((_, answer) => answer(null, `hello from process ${process.pid}`)) satisfies grpc.handleUnaryCall<
    string,
    string
  >,
  count: ((call) => {
    let count = 0
    const timer = setInterval(() => {
      call.write(String(++count))
      if (count < Number(call.request)) return
      clearInterval(timer)
      call.end()
    }, 50)
    call.on("cancelled", () => clearInterval(timer))
  }) satisfies grpc.handleServerStreamingCall<string, string>,
  echo: ((call) => {
    call.on("data", (text: string) => call.write(text))
    call.on("end", () => call.end())
  }) satisfies grpc.handleBidiStreamingCall<string, string>
})

const Grpc = Layer.scopedDiscard(Effect.gen(function*() {
  const port = yield* Config.integer("PORT").pipe(Config.withDefault(8080))
  const certificate = yield* Config.string("TLS_CERTIFICATE").pipe(Config.withDefault(undefined))
  const key = yield* Config.string("TLS_KEY").pipe(Config.withDefault(undefined))
  const credentials = certificate === undefined || key === undefined
    ? grpc.ServerCredentials.createInsecure()
    : grpc.ServerCredentials.createSsl(null, [{
      cert_chain: readFileSync(certificate),
      private_key: readFileSync(key)
    }])
  const address = yield* listenGrpc(server, credentials, { port, host: "127.0.0.1" })
  if (address !== null && typeof address === "object") {
    yield* Effect.log(`Listening on http://${address.address}:${address.port}`)
  }
}))

Upgrader.launch(Grpc).pipe(
  Effect.provide(Upgrader.layerConfig({ pidFile: Config.string("PID_FILE").pipe(Config.withDefault(undefined)) })),
  NodeRuntime.runMain
)
