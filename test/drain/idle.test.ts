import { assert, describe, it } from "@effect/vitest"
import * as net from "node:net"
import { follow } from "../../src/internal/drain/connections.ts"
import { make } from "../../src/internal/drain/idle.ts"

describe("connections without anything to do", () => {
  it("whose time is over are closed at a pace, and what is late is not made up for at once", () => {
    const server = net.createServer()
    const connections = follow(server)
    for (let index = 0; index < 2_000; index++) server.emit("connection", new net.Socket())
    const closed = () => [...connections.all.keys()].filter(({ destroyed }) => destroyed).length
    const idle = make(connections, 10_000, () => "idle")
    idle.begin(2_000)
    connections.all.forEach((connection) => idle.visit(connection, 0))
    connections.all.forEach((connection) => idle.visit(connection, 10_000))
    assert.deepStrictEqual([closed(), idle.areWaiting()], [0, true])
    idle.turn(10_000)
    assert.strictEqual(closed(), 64)
    idle.turn(10_000)
    assert.strictEqual(closed(), 64)
    idle.turn(10_010)
    assert.strictEqual(closed(), 74)
    idle.turn(20_000)
    assert.strictEqual(closed(), 138)
    connections.unfollow()
  })
})
