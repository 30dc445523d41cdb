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
    const idle = make(connections, { idleMillis: 10_000, drainMillis: 30_000 }, () => "idle")
    idle.begin(2_000, 0)
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

  /** When the first and the last of so many are closed, if a turn comes each millisecond. */
  const closes = (
    count: number,
    since: number,
    times: { readonly idleMillis: number; readonly drainMillis: number }
  ) => {
    const connections = Array.from({ length: count }, (): any => ({ socket: { destroyed: false }, leaves: false }))
    const at: Array<number> = []
    let now = since
    const all: any = { session: () => undefined, destroy: () => at.push(now) }
    const idle = make(all, times, () => "idle")
    idle.begin(count, 0)
    for (const connection of connections) idle.visit(connection, since)
    for (; at.length < count && now < 100_000; now++) {
      if (now % 50 === 0) { for (const connection of connections) idle.visit(connection, now) }
      idle.turn(now)
    }
    return [at[0]!, at.at(-1)!]
  }

  it.each([
    { count: 10, since: 0, idleMillis: 10_000, drainMillis: 30_000, from: 9_990, to: 10_000 },
    { count: 5_000, since: 0, idleMillis: 10_000, drainMillis: 30_000, from: 5_000, to: 10_000 },
    // A millisecond for each, even if that takes longer than the time of one of them.
    { count: 10_000, since: 0, idleMillis: 10_000, drainMillis: 30_000, from: 5_000, to: 15_000 },
    // As long as the drain has time for that.
    { count: 19_000, since: 0, idleMillis: 10_000, drainMillis: 20_000, from: 5_000, to: 16_000 },
    { count: 19_000, since: 0, idleMillis: 10_000, drainMillis: 10_000, from: 5_000, to: 10_000 },
    // What a hook has taken is not there any more.
    { count: 19_000, since: 5_000, idleMillis: 10_000, drainMillis: 20_000, from: 10_000, to: 16_000 },
    { count: 700, since: 400, idleMillis: 500, drainMillis: 1_000, from: 650, to: 900 }
  ])(
    "$count of them are closed from $from to $to ms, with $drainMillis ms to drain",
    ({ count, from, since, to, ...times }) => {
      const [first, last] = closes(count, since, times)
      assert.approximately(first!, from, 60)
      assert.approximately(last!, to, 120)
    }
  )
})
