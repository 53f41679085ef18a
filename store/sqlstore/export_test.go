package sqlstore

import (
	"context"
	"database/sql"
)

// PurgeSQL is what removes expired rows on PostgreSQL.
func PurgeSQL(table string) string { return newPostgres(nil, table).purgeSQL }

// MigrateWith is New with further versions of the schema.
func MigrateWith(ctx context.Context, db *sql.DB, dialect Dialect, table string, further ...string) error {
	var b backend = newSQLite(db, table)
	if dialect == Postgres {
		b = newPostgres(db, table)
	}
	return migrate(ctx, b, table, append(b.steps(), further...))
}

// SQLitePurgeSQL is the same on SQLite.
func SQLitePurgeSQL(table string) string { return newSQLite(nil, table).purgeSQL }
