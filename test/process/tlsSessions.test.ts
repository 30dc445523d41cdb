/** Sessions of TLS that began with one generation, at the next: who has been let in once is not let in for ever. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as fs from "node:fs"
import * as path from "node:path"
import * as tls from "node:tls"
import { certificate, otherAuthority } from "../kit/certificate.ts"
import { directory } from "../kit/files.ts"
import { fixture } from "../kit/paths.ts"
import { isLinux } from "../kit/proc.ts"
import { signal, start } from "../kit/processes.ts"

interface Visit {
  /** Of the process that has answered; none if we were not let in. */
  readonly pid: number | undefined
  readonly how: string
  readonly keys: string
  readonly session: Buffer | undefined
}

const visit = (port: number, options: tls.ConnectionOptions) =>
  Effect.async<Visit>((resume) => {
    let session: Buffer | undefined
    let text = ""
    const socket = tls.connect({
      host: "127.0.0.1",
      port,
      rejectUnauthorized: false,
      servername: "localhost",
      ...options
    })
    socket.setEncoding("latin1")
    socket.on("session", (next) => {
      session = next
    })
    socket.on("data", (data: string) => {
      text += data
    })
    socket.on("error", (error: NodeJS.ErrnoException) => {
      text = `refused ${error.code ?? error.message}`
    })
    socket.on("close", () => {
      const [pid = "", resumed, who, keys = ""] = text.slice(text.lastIndexOf("\n") + 1).split(" ")
      resume(Effect.succeed(
        /^\d+$/.test(pid)
          ? { pid: Number(pid), how: `${resumed} ${who}`, keys, session }
          : { pid: undefined, how: "refused", keys: "", session: undefined }
      ))
    })
    socket.write("GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nTransfer-Encoding: identity\r\n\r\n")
    return Effect.sync(() => socket.destroy())
  }).pipe(Effect.timeout("10 seconds"), Effect.orDie)

type Settings = tls.TlsOptions & { readonly names?: ReadonlyArray<string> }

/** Comes once under the settings of before, and again with that session after an upgrade to those of after. */
const across = (before: Settings, after: Settings, client: tls.ConnectionOptions, later = client) =>
  Effect.gen(function*() {
    const settings = path.join(yield* directory, "settings.json")
    fs.writeFileSync(settings, JSON.stringify(before))
    const app = yield* start(fixture("servers.mjs"), { app: { server: "https-by-file", certificate, settings } })
    const up = yield* app.up(1)
    const first = yield* visit(up.port, client)
    assert.strictEqual(first.pid, up.pid)
    fs.writeFileSync(settings, JSON.stringify(after))
    yield* signal(up.pid, "SIGHUP")
    const next = yield* app.up(2)
    yield* app.exit
    const second = yield* visit(next.port, {
      ...later,
      ...first.session === undefined ? {} : { session: first.session }
    })
    return { first: first.how, second: second.how, keys: second.keys, firstKeys: first.keys }
  })

const known = { ca: certificate.cert, requestCert: true, rejectUnauthorized: true }
const keys = (byte: string) => byte.repeat(48)

describe.runIf(isLinux)("a TLS session from before an upgrade", () => {
  for (const version of ["TLSv1.2", "TLSv1.3"] as const) {
    const anonymous = { minVersion: version, maxVersion: version }
    const client = { ...anonymous, ...certificate }

    it.scopedLive(`is resumed where nothing has changed, ${version}`, () =>
      Effect.gen(function*() {
        const withNone = yield* across({}, {}, anonymous)
        assert.deepInclude(withNone, { first: "new anonymous", second: "resumed anonymous" })
        const withCertificate = yield* across(known, known, client)
        assert.deepInclude(withCertificate, { first: "new authorized", second: "resumed authorized" })
      }))

    it.scopedLive(`lets nobody in whom the new release does not trust, ${version}`, () =>
      Effect.gen(function*() {
        const { first, second } = yield* across(known, { ...known, ca: otherAuthority }, client)
        assert.deepStrictEqual([first, second], ["new authorized", "refused"])
        const lenient = { ...known, ca: otherAuthority, rejectUnauthorized: false }
        assert.deepInclude(yield* across(known, lenient, client), { second: "new anonymous" })
      }))

    it.scopedLive(`is not enough where the new release demands a certificate, ${version}`, () =>
      Effect.gen(function*() {
        const { first, second } = yield* across({}, known, anonymous)
        assert.deepStrictEqual([first, second], ["new anonymous", "refused"])
      }))

    it.scopedLive(`is not resumed where it cannot be seen what is trusted under another name, ${version}`, () =>
      Effect.gen(function*() {
        const named = { ...known, names: ["localhost"] }
        assert.deepInclude(yield* across(named, named, client), { first: "new authorized", second: "new authorized" })
      }))
  }

  it.scopedLive("never replaces the keys that an app configures", () =>
    Effect.gen(function*() {
      const { firstKeys, keys: secondKeys, second } = yield* across(
        { ticketKeys: keys("0a") as never },
        { ticketKeys: keys("0b") as never },
        {}
      )
      assert.deepStrictEqual([firstKeys, secondKeys, second], [keys("0a"), keys("0b"), "new anonymous"])
      assert.deepInclude(yield* across({}, { ticketKeys: keys("0c") as never }, {}), { keys: keys("0c") })
    }))
})
