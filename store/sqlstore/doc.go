// Package sqlstore keeps the records of a [smartcar.Client] in a SQL database:
// PostgreSQL, which any number of replicas share, or a SQLite file for a
// program on one machine.
//
// This package imports no driver: the program links the one it uses. For
// SQLite there is more to get right than a driver's name, so package
// [github.com/seed-498a1bc4/smartcar/store/sqlstore/sqlite] opens the file, too.
//
//	import _ "github.com/jackc/pgx/v5/stdlib"
//
//	db, err := sql.Open("pgx", "postgres://app@db.example/cars")
//	store, err := sqlstore.New(ctx, db, sqlstore.Postgres)
//	client, err := smartcar.New(config, smartcar.WithStore(store))
//
// # What survives
//
// A write that was answered without error is committed. On PostgreSQL it
// survives a crash of the server and of its machine, provided that the server
// runs with fsync and synchronous_commit on, which are its defaults. A failover
// to a standby keeps it only if the standby is synchronous. All processes must
// use the primary: a read replica is behind. The end of a turn, which
// [store.MayBeLost] names, does not wait for the disk: a crash within the
// moment makes that turn count as used until its lease is over.
//
// A call whose context ends while PostgreSQL works on it may still be carried out
// a moment later, even after a Load that finds the old record; a client resolves
// that. Drivers can cancel and wait for the outcome instead: pgx with
// CancelRequestContextWatcherHandler.
//
// On SQLite it survives a crash of the program, and with the settings of
// package sqlite also a crash of the machine.
//
// # Whose clock
//
// On PostgreSQL the clock of the server decides when a record has expired, and
// comes back as [store.Record.Now], even where there is no record. SQLite
// has no clock of its own: that of the machine is used, and Now is zero.
//
// # Round trips
//
// On PostgreSQL every method is one statement and one round trip, but for a swap
// that is refused because somebody else has changed the record: a second one
// reads what stands there. So a turn whose record is at hand, reserve and
// settle, costs two. Nothing is written, and no lock is taken, by a swap that
// is refused. A record that lives for an hour or longer may live for a hundredth
// longer, which spares the index most writes.
//
// The stdlib driver of pgx asks a connection that was idle for a second whether
// it is still there, which is one more; see its OptionShouldPing. It never
// repeats a statement that may have been received. Use another driver only if
// it promises the same.
//
// # Schema
//
// New creates what is missing: the table, by default smartcar_records, and
// beside it one with the suffix _schema that holds the version. Any number of
// programs may do so at the same time. A schema from a newer version of this
// package is refused. Where the schema is current, the right to SELECT, INSERT,
// UPDATE and DELETE suffices.
//
// # Expired records
//
// An expired record counts as absent from the instant it expires. Its row is
// removed by later writes: each 64th write of a Store removes up to 100 rows.
// No goroutine is started. [Store.DeleteExpired] removes all at once, for a
// program that hardly writes any more.
//
// # Secrets
//
// Values hold tokens, and a server that logs parameters logs them. Seal the
// store where others can read the database, its logs or its backups. Errors
// never hold values.
package sqlstore
