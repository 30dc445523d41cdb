/** Ports and whether somebody answers there. */
import * as Effect from "effect/Effect"
import * as http from "node:http"
import * as net from "node:net"

// Below the ports that the system gives to clients, so that whoever binds it later finds it free.
let next = 20_000 + Math.floor(Math.random() * 10_000)

/** A port that nobody listens on: for what must be named before it is bound. */
export const freePort: Effect.Effect<number> = Effect.async<number | undefined>((resume) => {
  const port = next++
  const probe = net.createServer().once("error", () => resume(Effect.succeed(undefined)))
  probe.listen(port, "127.0.0.1", () => probe.close(() => resume(Effect.succeed(port))))
}).pipe(Effect.repeat({ until: (port) => port !== undefined }), Effect.map((port) => port as number))

export const answers = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    http.get({ host: "127.0.0.1", port, agent: false }, (response) => {
      response.resume().on("end", () => resolve(true)).on("error", () => resolve(false))
    }).on("error", () => resolve(false))
  })

export const isListening = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = net.connect(port, "127.0.0.1", () => {
      socket.destroy()
      resolve(true)
    })
    socket.on("error", () => resolve(false))
  })
