/** Proxies that stand in front of a server and keep their connections to it, as they do in production. */
import * as Effect from "effect/Effect"
import { spawn, spawnSync } from "node:child_process"
import { once } from "node:events"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { freePort, isListening } from "../../test/kit/ports.ts"

export interface Proxy {
  readonly port: number
  readonly end: () => Promise<void>
}

interface Kind {
  readonly command: string
  readonly args: (folder: string, file: string) => ReadonlyArray<string>
  readonly configuration: (port: number, targets: ReadonlyArray<number>, folder: string) => string
}

/**
 * `server` is what HAProxy is told of each server besides where it is, `backend` what it is told of all of them. Nothing is tried
 * again but what it has not sent.
 */
const haproxy = (server: string, backend = ""): Kind => ({
  command: "haproxy",
  args: (_, file) => ["-db", "-f", file],
  configuration: (port, targets) =>
    `defaults
  mode http
  timeout connect 10s
  timeout client 60s
  timeout server 60s
frontend front
  bind 127.0.0.1:${port}
  default_backend back
backend back
  http-reuse always
${backend}
${targets.map((target, index) => `  server app${index} 127.0.0.1:${target} ${server}`).join("\n")}
`
})

const nginx: Kind = {
  command: "nginx",
  args: (folder, file) => ["-p", folder, "-e", "stderr", "-c", file],
  configuration: (port, targets, folder) =>
    `daemon off;
master_process off;
pid ${folder}/pid;
events {}
http {
  access_log off;
  client_body_temp_path ${folder}/body;
  proxy_temp_path ${folder}/proxy;
  fastcgi_temp_path ${folder}/fastcgi;
  uwsgi_temp_path ${folder}/uwsgi;
  scgi_temp_path ${folder}/scgi;
  upstream app {
    ${targets.map((target) => `server 127.0.0.1:${target};`).join(" ")}
    keepalive 64;
  }
  server {
    listen 127.0.0.1:${port};
    location / {
      proxy_pass http://app;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
    }
  }
}
`
}

/** Its client is that of Go's own library, as in every proxy that is written in Go. */
const caddy: Kind = {
  command: "caddy",
  args: (_, file) => ["run", "--config", file, "--adapter", "caddyfile"],
  configuration: (port, targets) =>
    `{
  admin off
  auto_https off
}
http://:${port} {
  bind 127.0.0.1
  reverse_proxy ${targets.map((target) => `127.0.0.1:${target}`).join(" ")}
}
`
}

export const kinds = { haproxy: haproxy(""), "haproxy-http2": haproxy("proto h2"), nginx, caddy }

/** One that asks each of its servers whether it is well, ten times a second, and sends nobody to one that has twice said no. */
export const balancer = haproxy(
  "check inter 100ms fall 2 rise 1",
  "  option httpchk GET /health\n  http-check expect status 204"
)

/** Debian has them where only root looks. */
const environment = { ...process.env, PATH: `${process.env["PATH"] ?? ""}:/usr/sbin:/usr/local/sbin` }

export const isInstalled = ({ command }: Kind): boolean =>
  spawnSync(command, ["-v"], { env: environment }).error === undefined

/** Returns once it accepts connections. */
export const start = async (kind: Kind, ...targets: ReadonlyArray<number>): Promise<Proxy> => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "proxy-"))
  const port = await Effect.runPromise(freePort)
  const file = path.join(folder, "configuration")
  fs.writeFileSync(file, kind.configuration(port, targets, folder))
  const proxy = spawn(kind.command, kind.args(folder, file), {
    // What it keeps for its next start.
    env: { ...environment, XDG_CONFIG_HOME: folder, XDG_DATA_HOME: folder },
    stdio: ["ignore", "ignore", "pipe"]
  })
  let said = ""
  proxy.stderr.setEncoding("utf8").on("data", (text: string) => said += text)
  const ended = once(proxy, "close")
  while (!(await isListening(port))) {
    if (proxy.exitCode !== null) throw new Error(`${kind.command} has ended with code ${proxy.exitCode}: ${said}`)
    await sleep(20)
  }
  return {
    port,
    end: async () => {
      proxy.kill("SIGKILL")
      await ended
      fs.rmSync(folder, { recursive: true, force: true })
    }
  }
}
