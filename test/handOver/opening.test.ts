import { assert, describe, it } from "@effect/vitest"
import * as http from "node:http"
import { keepUrls, openingOf } from "../../src/internal/handOver/opening.ts"

/** A request to `/api/chat`, of which a router takes the first part away. */
const upgraded = (server: http.Server) => {
  const request = { method: "GET", url: "/api/chat", rawHeaders: [] } as unknown as http.IncomingMessage
  server.emit("upgrade", request)
  return openingOf(request, "").url
}

const route = (request: http.IncomingMessage) => {
  request.url = "/chat"
}

describe("the request that has opened a WebSocket", () => {
  it("is what the client has sent, whatever handlers have made of it, which may listen sooner or later", () => {
    const later = http.createServer()
    keepUrls(later)
    later.on("upgrade", route)
    const sooner = http.createServer().on("upgrade", route)
    keepUrls(sooner)
    assert.deepStrictEqual([upgraded(later), upgraded(sooner)], ["/api/chat", "/api/chat"])
  })

  it("is not listened for where nobody else does, for Node would leave it without an answer", () => {
    const server = http.createServer()
    keepUrls(server)
    assert.strictEqual(server.listenerCount("upgrade"), 0)
    server.on("upgrade", route).off("upgrade", route)
    assert.strictEqual(server.listenerCount("upgrade"), 0)
    server.once("upgrade", route)
    assert.strictEqual(upgraded(server), "/api/chat")
    assert.strictEqual(server.listenerCount("upgrade"), 0)
    server.on("upgrade", route).on("upgrade", () => {}).removeAllListeners("upgrade")
    assert.strictEqual(server.listenerCount("upgrade"), 0)
  })
})
