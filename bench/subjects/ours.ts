/** This package: the server of the proof, which has every protocol. */
import type { Settings } from "../../test/kit/servers/settings.ts"
import { withTarget } from "../../test/kit/servers/target.ts"
import type { Protocol, Subject } from "./subject.ts"

const subject = (
  options: Pick<Subject, "name" | "title" | "protocols" | "webSocketPath">,
  modeOf: (protocol: Protocol) => Settings["mode"]
): Subject => ({
  ...options,
  ours: true,
  missing: () => undefined,
  run: (protocol, use) => withTarget({ mode: modeOf(protocol) }, use)
})

export const platform = subject({
  name: "platform",
  title: "UpgradableHttpServer",
  // Node's HTTP/2 server is not an http.Server, which is what HttpServer of @effect/platform is made for.
  protocols: ["http", "https", "ws"],
  webSocketPath: "/echo"
}, (protocol) => protocol === "https" ? "platform-https" : "platform")

export const plain = subject({
  name: "plain",
  title: "Fds.listen on node:http",
  protocols: ["http", "https", "http2", "ws"]
}, (protocol) => protocol)
