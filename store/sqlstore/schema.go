package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
)

// execer is a database, a connection of it or a transaction.
type execer interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// schema is what migrate needs of a backend.
type schema interface {
	database() execer
	// inTransaction runs work while no other starter runs theirs, and commits.
	inTransaction(ctx context.Context, work func(execer) error) error
	hasTable(ctx context.Context, e execer, name string) (bool, error)
	// steps are the statements that lead from each version to the next one,
	// the first from an empty database. A step that was released never changes;
	// and the version before must be able to work on what it leaves, because
	// replicas are not updated all at once.
	steps() []string
}

// migrate brings the schema to the version len(steps).
func migrate(ctx context.Context, s schema, table string, steps []string) error {
	// Nearly every start ends here, without a lock or a right to create.
	version, err := schemaVersion(ctx, s, s.database(), table)
	if err != nil {
		return err
	}
	if version == len(steps) {
		return nil
	}
	return s.inTransaction(ctx, func(e execer) error {
		version, err := schemaVersion(ctx, s, e, table)
		if err != nil {
			return err
		}
		if version > len(steps) {
			return fmt.Errorf("table %s has schema version %d and this program knows up to %d: update the program", table, version, len(steps))
		}
		if version == len(steps) {
			return nil
		}
		for _, step := range steps[version:] {
			if err := execAll(ctx, e, step); err != nil {
				return fmt.Errorf("from version %d of table %s: %w", version, table, err)
			}
			version++
		}
		return setSchemaVersion(ctx, e, table, version)
	})
}

// execAll runs statements one by one: not every driver takes several at once.
func execAll(ctx context.Context, e execer, statements string) error {
	for statement := range strings.SplitSeq(statements, ";") {
		if _, err := e.ExecContext(ctx, statement); err != nil {
			return err
		}
	}
	return nil
}

// schemaVersion is zero for a database without our tables.
func schemaVersion(ctx context.Context, s schema, e execer, table string) (int, error) {
	found, err := s.hasTable(ctx, e, table+"_schema")
	if err != nil || !found {
		return 0, err
	}
	var version int
	err = e.QueryRowContext(ctx, `SELECT version FROM "`+table+`_schema"`).Scan(&version)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, nil
	}
	return version, err
}

func setSchemaVersion(ctx context.Context, e execer, table string, version int) error {
	name := `"` + table + `_schema"`
	return execAll(ctx, e, `CREATE TABLE IF NOT EXISTS `+name+` (version integer NOT NULL);
DELETE FROM `+name+`;
INSERT INTO `+name+fmt.Sprintf(` VALUES (%d)`, version))
}
