import { assert, describe, it } from "@effect/vitest"
import * as Option from "effect/Option"
import { once } from "node:events"
import * as net from "node:net"
import { follow } from "../../src/internal/drain/connections.ts"
import * as departures from "../../src/internal/drain/departures.ts"
import { give } from "../../src/internal/handOver/given.ts"
import type { Candidate } from "../../src/internal/handOver/sender.ts"

/** A connection that the app gives, and the row in which it is to stand. */
const given = async () => {
  const server = net.createServer().listen(0, "127.0.0.1")
  const connections = follow(server)
  await once(server, "listening")
  const client = net.connect((server.address() as net.AddressInfo).port, "127.0.0.1").setNoDelay()
  client.on("error", () => {})
  await once(server, "connection")
  const [connection] = connections.all.values()
  const { socket } = connection!
  give(socket, { key: "v1", state: () => Option.some(new Uint8Array()) })
  const row: Array<Candidate> = []
  const successor = { takes: () => true, offer: (one: Candidate) => void row.push(one), onOver: () => {} }
  const all = departures.make(server, connections, successor, () => {}, () => {}, () => {})
  const end = async () => {
    client.destroy()
    server.close()
    await once(server, "close")
  }
  return { all, client, end, row, socket, visit: () => all.visit(connection!) }
}

describe("a connection that the app gives", () => {
  it("does not go in the middle of a character, the half of which has been given to nobody", async () => {
    const { client, end, row, socket, visit } = await given()
    socket.setEncoding("utf8")
    const [first, ...others] = new TextEncoder().encode("€")
    const heard = once(socket, "data")
    client.write(Uint8Array.of(0x61, first!))
    assert.deepStrictEqual(await heard, ["a"])
    visit()
    assert.lengthOf(row, 0)
    const rest = once(socket, "data")
    client.write(Uint8Array.from(others))
    assert.deepStrictEqual(await rest, ["€"])
    visit()
    assert.isTrue(row[0]!.isReady())
    await end()
  })

  it("is under way until the system has taken what the newer process is to know of it", async () => {
    const { all, end, row, socket, visit } = await given()
    visit()
    row[0]!.sent()
    const closed = once(socket, "close")
    const gone = await new Promise<() => void>((resolve) =>
      row[0]!.taken({ isOpen: () => true, keep: () => {}, leave: (_, __, gone) => resolve(gone) })
    )
    await closed
    assert.strictEqual(all.underWay(), 1)
    gone()
    assert.strictEqual(all.underWay(), 0)
    await end()
  })
})
