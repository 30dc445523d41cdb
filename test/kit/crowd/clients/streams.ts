/** Responses that last longer than the hand-over, each on a connection of its own. */
import * as http from "node:http"
import { codeOf, count, options, run, tally } from "./client.ts"

export interface Options {
  readonly port: number
  readonly clients: number
  readonly seconds: number
}

const { clients, port, seconds } = options<Options>()

run(clients, () =>
  new Promise<void>((resolve) => {
    tally.requests++
    const fail = (kind: string) => {
      count(tally.failed, kind)
      resolve()
    }
    http.get({ host: "127.0.0.1", port, agent: false, path: `/stream/${seconds}` }, (response) => {
      let length = 0
      let last = ""
      response.setEncoding("utf8").on("data", (chunk: string) => {
        length += chunk.length
        last = (last + chunk).slice(-4)
      })
      response.on("error", (error) => fail(codeOf(error)))
      response.on("end", () => length === seconds * 1_000 + 4 && last === "done" ? resolve() : fail("incomplete"))
    }).on("error", (error) => fail(codeOf(error)))
  }))
