package sqlite

import "database/sql"

// DB is the pool of the store.
func (s *Store) DB() *sql.DB { return s.db }
