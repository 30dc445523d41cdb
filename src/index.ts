/**
 * Zero-downtime process upgrades for Effect apps on Node.js. `effect-tableflip/ClusterHandOver` is imported by itself: it needs
 * `@effect/cluster`, which other apps may not have.
 *
 * @since 3.0.0
 */

/** Where a server listens. @since 3.0.0 */
export * as Address from "./Address.ts"
/** One process that this one has started. @since 3.0.0 */
export * as ChildProcess from "./ChildProcess.ts"
/** Typed state that goes along with a connection. @since 3.0.0 */
export * as ConnectionState from "./ConnectionState.ts"
/** A socket on which a process is operated. @since 3.0.0 */
export * as Control from "./Control.ts"
/** A graceful shutdown that loses no request. @since 3.0.0 */
export * as Drain from "./Drain.ts"
/** The seam to the operating system. @since 3.0.0 */
export * as Env from "./Env.ts"
/** Events as a stream. @since 3.0.0 */
export * as EventStream from "./EventStream.ts"
/** How a process ended. @since 3.0.0 */
export * as ExitStatus from "./ExitStatus.ts"
/** The sockets and files that pass from one generation to the next. @since 3.0.0 */
export * as Fds from "./Fds.ts"
/** Typed state that goes along with an upgrade. @since 3.0.0 */
export * as HandOver from "./HandOver.ts"
/** Whether clients should be sent to this process. @since 3.0.0 */
export * as Health from "./Health.ts"
/** The file that tells a supervisor which process to signal. @since 3.0.0 */
export * as PidFile from "./PidFile.ts"
/** Everything that can go wrong in a pool of processes. @since 3.0.0 */
export * as PoolError from "./PoolError.ts"
/** What happens in the life of a pool of processes. @since 3.0.0 */
export * as PoolEvent from "./PoolEvent.ts"
/** How a command shows that it serves. @since 3.0.0 */
export * as Readiness from "./Readiness.ts"
/** Generations of any command under one process that stays. @since 3.0.0 */
export * as Supervisor from "./Supervisor.ts"
/** Tells systemd how a process does. @since 3.0.0 */
export * as Systemd from "./Systemd.ts"
/** Everything that can go wrong. @since 3.0.0 */
export * as TableflipError from "./TableflipError.ts"
/** Upgrades without processes, for tests. @since 3.0.0 */
export * as Testing from "./Testing.ts"
/** `HttpServer` on a socket that survives upgrades. @since 3.0.0 */
export * as UpgradableHttpServer from "./UpgradableHttpServer.ts"
/** `SocketServer` on a socket that survives upgrades. @since 3.0.0 */
export * as UpgradableSocketServer from "./UpgradableSocketServer.ts"
/** Replaces this process by a new copy of its program. @since 3.0.0 */
export * as Upgrader from "./Upgrader.ts"
/** What happens in the life of an upgrader. @since 3.0.0 */
export * as UpgraderEvent from "./UpgraderEvent.ts"
/** What a process of a pool knows of its place in it. @since 3.0.0 */
export * as WorkerInfo from "./WorkerInfo.ts"
/** A pool of processes on the same sockets. @since 3.0.0 */
export * as Workers from "./Workers.ts"
