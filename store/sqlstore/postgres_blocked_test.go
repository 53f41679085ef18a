//go:build unix

package sqlstore_test

import (
	"context"
	"testing"
	"time"

	"github.com/seed-498a1bc4/smartcar/store"
	"github.com/stretchr/testify/require"
)

// An update waits for another transaction, and then answers by what that one did.
func TestPostgresUpdateThatHasToWait(t *testing.T) {
	ending := endOfATurn(t)
	s := startServer(t)
	table := s.table()
	kept, db := s.store(t, table), s.open(t)
	for name, tt := range map[string]struct {
		other  string
		commit bool
		want   error
		value  string
	}{
		"rolled back": {other: `UPDATE "` + table + `" SET value = 'other', revision = 'other'`, value: "mine"},
		"overtaken":   {other: `UPDATE "` + table + `" SET value = 'other', revision = 'other'`, commit: true, want: store.ErrConflict, value: "other"},
		"untouched":   {other: `UPDATE "` + table + `" SET expires_at = expires_at + interval '1 hour'`, commit: true, value: "mine"},
		"deleted":     {other: `DELETE FROM "` + table + `"`, commit: true, want: store.ErrConflict},
		"expired":     {other: `UPDATE "` + table + `" SET expires_at = now()`, commit: true, want: store.ErrConflict},
	} {
		for kind, ctx := range map[string]context.Context{"": t.Context(), ", may be lost": ending} {
			t.Run(name+kind, func(t *testing.T) {
				key := name + kind
				base, err := kept.CompareAndSwap(t.Context(), key, "", []byte("base"), time.Hour)
				require.NoError(t, err)
				tx, err := db.BeginTx(t.Context(), nil)
				require.NoError(t, err)
				_, err = tx.ExecContext(t.Context(), tt.other+" WHERE key = $1", key)
				require.NoError(t, err)
				type answer struct {
					store.Record
					err error
				}
				done := make(chan answer, 1)
				go func() {
					r, err := kept.CompareAndSwap(ctx, key, base.Revision, []byte("mine"), time.Hour)
					done <- answer{r, err}
				}()
				require.Eventually(t, func() bool {
					var waiting int
					return db.QueryRowContext(t.Context(), "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'").Scan(&waiting) == nil && waiting > 0
				}, 10*time.Second, 10*time.Millisecond)
				if tt.commit {
					require.NoError(t, tx.Commit())
				} else {
					require.NoError(t, tx.Rollback())
				}
				got := <-done
				require.ErrorIs(t, got.err, tt.want)
				require.Equal(t, tt.value, string(got.Value))
				require.False(t, got.Now.IsZero())
				now, err := kept.Load(t.Context(), key)
				if tt.value == "" {
					require.ErrorIs(t, err, store.ErrNotFound)
					return
				}
				require.NoError(t, err)
				require.Equal(t, got.Revision, now.Revision)
			})
		}
	}
}
