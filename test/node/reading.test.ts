import { assert, describe, it } from "@effect/vitest"
import { once } from "node:events"
import * as http from "node:http"
import * as net from "node:net"
import { setTimeout as sleep } from "node:timers/promises"
import { resumeReading, stopReading } from "../../src/internal/node/internals.ts"

describe("a connection of HTTP that is not to be read", () => {
  it("is not, although a handler resumes it, before that is taken back", async () => {
    const server = http.createServer((_, response) => response.end("ok")).listen(0, "127.0.0.1")
    await once(server, "listening")
    const client = net.connect((server.address() as net.AddressInfo).port, "127.0.0.1")
    const [socket] = await once(server, "connection") as [net.Socket]
    socket.pause()
    stopReading(socket)
    socket.resume()
    client.write("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    await sleep(50)
    assert.strictEqual(socket.bytesRead, 0)
    resumeReading(socket)
    const [answer] = await once(client, "data")
    assert.match(String(answer), /^HTTP\/1.1 200/)
    client.destroy()
    server.closeAllConnections()
    server.close()
  })
})
