/**
 * An SQLite file that several processes share, as the database of examples/cluster.ts. With a server as the database
 * `PgClient.layer` or `MysqlClient.layer` stands here, and `Storages` is the same.
 */
import { SqlMessageStorage, SqlRunnerStorage } from "@effect/cluster"
import { Reactivity } from "@effect/experimental"
import { SqlClient, SqlError, Statement } from "@effect/sql"
import type { Connection } from "@effect/sql/SqlConnection"
import { Effect, Layer, Scope, Stream } from "effect"
import Database from "libsql"

const open = (file: string) => {
  const database = new Database(file, { timeout: 10_000 })
  database.exec("PRAGMA journal_mode = WAL")
  database.exec("PRAGMA synchronous = NORMAL")
  return database
}

const connectionOf = (database: Database.Database): Connection => {
  const run = (sql: string, params: ReadonlyArray<unknown>, asArrays = false) =>
    // The ids of a cluster have more digits than a number.
    Effect.flatMap(SqlClient.SafeIntegers, (safe) =>
      Effect.try({
        try: (): ReadonlyArray<any> => {
          const statement = database.prepare(sql).safeIntegers(safe)
          if (statement.reader) return statement.raw(asArrays).all(...params)
          statement.run(...params)
          return []
        },
        catch: (cause) => new SqlError.SqlError({ cause, message: `Failed: ${sql}` })
      }))
  const execute: Connection["execute"] = (sql, params, transform) =>
    Effect.map(run(sql, params), (rows) => transform === undefined ? rows : transform(rows))
  return {
    execute,
    executeUnprepared: execute,
    executeRaw: run,
    executeValues: (sql, params) => run(sql, params, true),
    executeStream: (sql, params) => Stream.fromIterableEffect(run(sql, params))
  }
}

const make = Effect.fnUntraced(function*(file: string) {
  const database = yield* Effect.acquireRelease(
    Effect.sync(() => open(file)),
    (database) => Effect.sync(() => database.close())
  )
  const connection = connectionOf(database)
  const using = yield* Effect.makeSemaphore(1)
  return yield* SqlClient.make({
    acquirer: using.withPermits(1)(Effect.succeed(connection)),
    // One that only reads at first could not begin to write when another process has written since.
    beginTransaction: "BEGIN IMMEDIATE",
    transactionAcquirer: Effect.uninterruptibleMask((restore) =>
      Effect.flatMap(Effect.scope, (scope) =>
        restore(using.take(1)).pipe(
          Effect.zipRight(Scope.addFinalizer(scope, using.release(1))),
          Effect.as(connection)
        ))
    ),
    compiler: Statement.makeCompilerSqlite(),
    spanAttributes: []
  })
})

export const layer = (file: string): Layer.Layer<SqlClient.SqlClient> =>
  Layer.scoped(SqlClient.SqlClient, make(file)).pipe(Layer.provide(Reactivity.layer))

/** What a cluster keeps in its database: messages, runners, and who has the lock on which shard. */
export const Storages = Layer.orDie(Layer.merge(SqlMessageStorage.layer, SqlRunnerStorage.layer))
