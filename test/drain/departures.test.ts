import { assert, describe, it } from "@effect/vitest"
import { once } from "node:events"
import * as http from "node:http"
import * as net from "node:net"
import { follow } from "../../src/internal/drain/connections.ts"
import * as Counts from "../../src/internal/drain/counts.ts"
import * as departures from "../../src/internal/drain/departures.ts"
import type { Candidate } from "../../src/internal/handOver/sender.ts"

/** A connection that is on its way to the newer process, and what has been counted. */
const onItsWay = async () => {
  const server = http.createServer().listen(0, "127.0.0.1")
  const connections = follow(server)
  await once(server, "listening")
  const client = net.connect((server.address() as net.AddressInfo).port, "127.0.0.1")
  client.on("error", () => {})
  await once(server, "connection")
  const [connection] = connections.all.values()
  const counts = Counts.make()
  connections.observe = {
    opened: () => {},
    closed: (_, ending) => counts.closed(ending),
    empty: () => {}
  }
  const row: Array<Candidate> = []
  const successor = { takes: () => true, offer: (one: Candidate) => void row.push(one), onOver: () => {} }
  const all = departures.make(server, connections, successor, () => {}, () => {}, counts.refused)
  counts.opened("fresh")
  all.opened(connection!)
  all.visit(connection!)
  const [candidate] = row
  assert.isTrue(candidate!.isReady())
  candidate!.sent()
  const end = async () => {
    client.destroy()
    server.closeAllConnections()
    server.close()
    await once(server, "close")
  }
  return { candidate: candidate!, connection: connection!, connections, counts, end }
}

const nothing = { open: 1, idle: 0, fresh: 1, inFlight: 0, opaque: 0, finished: 0, sentAway: 0, handedOver: 0 }

describe("a connection that is on its way to the newer process and refused there", () => {
  it("has its own end here", async () => {
    const { candidate, connection, counts, end } = await onItsWay()
    const closed = once(connection.socket, "close")
    candidate.refused()
    await end()
    await closed
    assert.deepStrictEqual(counts.totals(), { ...nothing, finished: 1, timedOut: 0, forced: 0, refused: 1 })
  })

  it("is not counted as handed over if it was closed here meanwhile", async () => {
    for (const isNoticed of [false, true]) {
      const { candidate, connection, connections, counts, end } = await onItsWay()
      connections.destroy(connection, "forced")
      if (isNoticed) await once(connection.socket, "close")
      candidate.refused()
      await end()
      assert.deepStrictEqual(counts.totals(), { ...nothing, timedOut: 0, forced: 1, refused: 1 })
    }
  })
})
