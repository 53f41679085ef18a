//go:build unix

package sqlstore_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
	"github.com/seed-498a1bc4/smartcar/store"
	"github.com/seed-498a1bc4/smartcar/store/sqlstore"
	"github.com/seed-498a1bc4/smartcar/store/storetest"
	"github.com/stretchr/testify/require"
)

func TestPostgres(t *testing.T) {
	s := startServer(t)
	t.Run("conformance", func(t *testing.T) {
		table := s.table()
		storetest.Run(t, func(t *testing.T) store.Store {
			db := pool(t, s.waiting(t))
			kept, err := sqlstore.New(t.Context(), db, sqlstore.Postgres, sqlstore.WithTable(table))
			require.NoError(t, err)
			return kept
		}, storetest.Shared())
	})
	for _, level := range []string{"read%20committed", "repeatable%20read", "serializable"} {
		t.Run("contention "+level, func(t *testing.T) { contention(t, s, level) })
	}
	t.Run("other query modes", func(t *testing.T) {
		for _, mode := range []string{"cache_describe", "describe_exec", "exec", "simple_protocol"} {
			t.Run(mode, func(t *testing.T) {
				oneLife(t, s.store(t, s.table(), "default_query_exec_mode="+mode))
			})
		}
	})
	t.Run("starters", func(t *testing.T) { starters(t, s) })
	t.Run("schema", func(t *testing.T) {
		db := s.open(t)
		schemas(t, db, s.table, func(table string) (*sqlstore.Store, error) {
			return sqlstore.New(t.Context(), db, sqlstore.Postgres, sqlstore.WithTable(table))
		})
	})
	t.Run("migration", func(t *testing.T) { migration(t, s.open(t), sqlstore.Postgres, s.table()) })
	t.Run("least rights", func(t *testing.T) { leastRights(t, s) })
	t.Run("expired rows", func(t *testing.T) {
		table := s.table()
		expiredRows(t, s.store(t, table), s.open(t), table, "now() - interval '1 microsecond'")
	})
	t.Run("purge index", func(t *testing.T) { purgeUsesIndex(t, s) })
	t.Run("clock", func(t *testing.T) { serverClock(t, s) })
	t.Run("refused swap writes nothing", func(t *testing.T) { refusedWritesNothing(t, s) })
	t.Run("waiting honors the context", func(t *testing.T) { waitingHonorsContext(t, s) })
	t.Run("errors hold no values", func(t *testing.T) { errorsHoldNoValues(t, s) })
	t.Run("story", func(t *testing.T) {
		table := s.table()
		story(t, func() store.Store { return s.store(t, table) })
	})
}

// contention proves that what a refused swap reports as current is: never older
// than what the same goroutine has seen before, and never what it had named.
func contention(t *testing.T, s *server, level string) {
	table := s.table()
	const workers, swaps = 8, 60
	var wg sync.WaitGroup
	problems := make(chan string, workers)
	for range workers {
		kept := s.store(t, table, "default_transaction_isolation="+level)
		wg.Go(func() {
			if err := count(t.Context(), kept, swaps); err != nil {
				problems <- err.Error()
			}
		})
	}
	wg.Wait()
	close(problems)
	for problem := range problems {
		t.Error(problem)
	}
	record, err := s.store(t, table).Load(t.Context(), "counter")
	require.NoError(t, err)
	require.Equal(t, fmt.Sprint(workers*swaps), string(record.Value))
}

// count adds one n times, without ever loading.
func count(ctx context.Context, kept store.Store, n int) error {
	var current store.Record
	seen := 0
	for done := 0; done < n; {
		next, err := kept.CompareAndSwap(ctx, "counter", current.Revision, fmt.Append(nil, seen+1), 0)
		if err != nil && !errors.Is(err, store.ErrConflict) {
			return err
		}
		if err == nil {
			done++
		}
		var value int
		if _, scanErr := fmt.Sscan(string(next.Value), &value); scanErr != nil {
			return fmt.Errorf("no current record: %w", scanErr)
		}
		if value <= seen || next.Revision == current.Revision {
			return fmt.Errorf("a record out of date: %d after %d (%w)", value, seen, err)
		}
		current, seen = next, value
	}
	return nil
}

func starters(t *testing.T, s *server) {
	table := s.table()
	const n = 12
	errs := make(chan error, n)
	for range n {
		db := s.open(t)
		go func() {
			_, err := sqlstore.New(t.Context(), db, sqlstore.Postgres, sqlstore.WithTable(table))
			errs <- err
		}()
	}
	for range n {
		require.NoError(t, <-errs)
	}
	var rows int
	require.NoError(t, s.open(t).QueryRowContext(t.Context(), "SELECT count(*) FROM "+table+"_schema").Scan(&rows))
	require.Equal(t, 1, rows)
}

func leastRights(t *testing.T, s *server) {
	table, admin := s.table(), s.open(t)
	s.store(t, table)
	for _, query := range []string{
		"CREATE ROLE worker LOGIN",
		"GRANT SELECT ON " + table + "_schema TO worker",
		"GRANT SELECT, INSERT, UPDATE, DELETE ON " + table + " TO worker",
	} {
		_, err := admin.ExecContext(t.Context(), query)
		require.NoError(t, err)
	}
	oneLife(t, s.store(t, table, "user=worker"))
}

// purgeUsesIndex: with a million cars, each 64th write must not read them all.
func purgeUsesIndex(t *testing.T, s *server) {
	table, db := s.table(), s.open(t)
	s.store(t, table)
	for _, query := range []string{
		`INSERT INTO ` + table + ` SELECT 'key ' || i, 'value', 'revision', now() + interval '1 day' FROM generate_series(1, 20000) i`,
		`ANALYZE ` + table,
	} {
		_, err := db.ExecContext(t.Context(), query)
		require.NoError(t, err)
	}
	query := strings.NewReplacer("$1", "100").Replace(sqlstore.PurgeSQL(table))
	rows, err := db.QueryContext(t.Context(), "EXPLAIN "+query)
	require.NoError(t, err)
	defer rows.Close()
	var plan strings.Builder
	for rows.Next() {
		var line string
		require.NoError(t, rows.Scan(&line))
		plan.WriteString(line + "\n")
	}
	require.NoError(t, rows.Err())
	require.Contains(t, plan.String(), table+"_expiry")
	require.NotContains(t, plan.String(), "Seq Scan")
}

// serverClock: it is in every answer, and decides what has expired.
func serverClock(t *testing.T, s *server) {
	ctx, kept, db := t.Context(), s.store(t, s.table()), s.open(t)
	serverNow := func() (now time.Time) {
		require.NoError(t, db.QueryRowContext(ctx, "SELECT clock_timestamp()").Scan(&now))
		return now
	}
	between := func(call func() store.Record) store.Record {
		before := serverNow()
		record := call()
		require.False(t, record.Now.Before(before))
		require.False(t, record.Now.After(serverNow()))
		return record
	}
	between(func() store.Record { r, _ := kept.Load(ctx, "k"); return r })
	between(func() store.Record { r, _ := kept.CompareAndSwap(ctx, "k", "other", nil, 0); return r })
	a := between(func() store.Record { r, _ := kept.CompareAndSwap(ctx, "k", "", nil, 0); return r })
	between(func() store.Record { r, _ := kept.CompareAndSwap(ctx, "k", "", nil, 0); return r })
	between(func() store.Record { r, _ := kept.CompareAndSwap(ctx, "k", a.Revision, nil, 0); return r })
	between(func() store.Record { r, _ := kept.Load(ctx, "k"); return r })
}

// refusedWritesNothing: not even a lock, which on PostgreSQL is a write.
func refusedWritesNothing(t *testing.T, s *server) {
	ctx, kept, db := t.Context(), s.store(t, s.table()), s.open(t)
	_, err := kept.CompareAndSwap(ctx, "k", "", []byte("v"), time.Hour)
	require.NoError(t, err)
	position := func() (lsn string) {
		require.NoError(t, db.QueryRowContext(ctx, "SELECT pg_current_wal_insert_lsn()::text").Scan(&lsn))
		return lsn
	}
	refuse := func() {
		for range 20 {
			for _, old := range []store.Revision{"", "other"} {
				_, err := kept.CompareAndSwap(ctx, "k", old, []byte("w"), 0)
				require.ErrorIs(t, err, store.ErrConflict)
			}
			require.ErrorIs(t, kept.Delete(ctx, "k", "other"), store.ErrConflict)
		}
	}
	refuse() // statements prepared, hint bits set
	// The server's own chores write now and then; not in each of five tries.
	for range 5 {
		before := position()
		refuse()
		if position() == before {
			return
		}
	}
	t.Error("refused swaps wrote to the log")
}

func waitingHonorsContext(t *testing.T, s *server) {
	table := s.table()
	kept := s.store(t, table)
	record, err := kept.CompareAndSwap(t.Context(), "k", "", []byte("v"), 0)
	require.NoError(t, err)
	tx, err := s.open(t).BeginTx(t.Context(), nil)
	require.NoError(t, err)
	defer tx.Rollback()
	_, err = tx.ExecContext(t.Context(), "UPDATE "+table+" SET revision = 'other' WHERE key = 'k'")
	require.NoError(t, err)

	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err = kept.CompareAndSwap(ctx, "k", record.Revision, []byte("w"), 0)
	require.ErrorIs(t, err, context.DeadlineExceeded)

	// A swap that waited for the other and was overtaken reports what the
	// other wrote, although its own snapshot is older.
	type result struct {
		record store.Record
		err    error
	}
	results := make(chan result)
	go func() {
		r, err := kept.CompareAndSwap(t.Context(), "k", record.Revision, []byte("w"), 0)
		results <- result{r, err}
	}()
	time.Sleep(100 * time.Millisecond)
	require.NoError(t, tx.Commit())
	got := <-results
	require.ErrorIs(t, got.err, store.ErrConflict)
	require.EqualValues(t, "other", got.record.Revision)
}

func errorsHoldNoValues(t *testing.T, s *server) {
	table, secret := s.table(), rand.Text()
	kept := s.store(t, table)
	_, err := s.open(t).ExecContext(t.Context(), "ALTER TABLE "+table+" ADD CHECK (length(value) < 5)")
	require.NoError(t, err)
	_, err = kept.CompareAndSwap(t.Context(), "k", "", []byte(secret), 0)
	require.ErrorContains(t, err, "sqlstore: swap: ")
	require.NotContains(t, fmt.Sprintf("%v %+v", err, err), secret)
	_, err = kept.CompareAndSwap(t.Context(), "k\x00", "", []byte(secret), 0)
	require.Error(t, err)
	require.NotErrorIs(t, err, store.ErrConflict)
	require.NotContains(t, fmt.Sprintf("%v %+v", err, err), secret)
}

// A swap that was answered is there after the server was killed.
func TestPostgresKilled(t *testing.T) {
	s := startServer(t)
	table := s.table()
	kept := s.store(t, table)
	for _, signal := range []syscall.Signal{syscall.SIGKILL, syscall.SIGQUIT} {
		require.True(t, survives(t, s, kept, signal), signal)
	}
}

// The test above can fail: with synchronous_commit off the same swap is lost.
func TestPostgresKilledWithoutSync(t *testing.T) {
	s := startServer(t)
	table := s.table()
	s.store(t, table) // the table itself is on the disk
	kept := s.store(t, table, "synchronous_commit=off")
	require.False(t, survives(t, s, kept, syscall.SIGKILL), "a swap survived that was never on the disk: does the test kill?")
}

// The end of a turn does not wait for the disk, and a crash in that moment takes
// it back to what stood there before: the turn as it was sent.
func TestPostgresEndOfATurnMayBeLost(t *testing.T) {
	ending := endOfATurn(t)
	require.True(t, store.MayBeLost(ending))
	s := startServer(t)
	kept := s.store(t, s.table())
	require.False(t, survivesAs(ending, t, s, kept, syscall.SIGKILL), "it waited for the disk")
	record, err := kept.Load(t.Context(), "car")
	require.NoError(t, err)
	require.Equal(t, "idle", string(record.Value))
	taken, err := kept.CompareAndSwap(ending, "car", record.Revision, []byte("settled"), time.Hour)
	require.NoError(t, err)
	record, err = kept.Load(t.Context(), "car")
	require.NoError(t, err)
	require.Equal(t, taken.Revision, record.Revision, "seen at once all the same")
	require.True(t, survives(t, s, kept, syscall.SIGKILL), "it concerns that one transaction")
}

// contexts notes the context of a write that may be lost.
type contexts struct {
	store.Store
	losable context.Context //nolint:containedctx // this is what it is for
}

func (c *contexts) CompareAndSwap(ctx context.Context, key string, old store.Revision, value []byte, ttl time.Duration) (store.Record, error) {
	if store.MayBeLost(ctx) {
		c.losable = context.WithoutCancel(ctx)
	}
	return c.Store.CompareAndSwap(ctx, key, old, value, ttl)
}

// endOfATurn is the context with which a client ends a turn.
func endOfATurn(t *testing.T) context.Context {
	t.Helper()
	sim := smartcartest.New()
	noted := &contexts{Store: store.NewMemory()}
	client, err := smartcar.New(smartcar.Config{
		ClientID: sim.ClientID(), ClientSecret: sim.ClientSecret(), RedirectURL: sim.RedirectURL(),
		APIClientID: sim.APIClientID(), APIClientSecret: sim.APIClientSecret(),
	}, smartcar.WithAPI(smartcar.V3), smartcar.WithHTTPClient(&http.Client{Transport: sim.Transport()}), smartcar.WithStore(noted))
	require.NoError(t, err)
	link, err := client.Connect().AuthorizeURL(smartcar.ConnectOptions{ExternalID: "owner"}, "state")
	require.NoError(t, err)
	_, err = sim.Grant(link)
	require.NoError(t, err)
	_, err = client.User(sim.UserID()).Vehicle(smartcartest.ModelY).Odometer(t.Context())
	require.NoError(t, err)
	require.NotNil(t, noted.losable)
	return noted.losable
}

// survives kills the server right after a swap, and looks for it after the
// restart. The store is the same all the time: the server is gone and back.
func survives(t *testing.T, s *server, kept *sqlstore.Store, signal syscall.Signal) bool {
	t.Helper()
	return survivesAs(t.Context(), t, s, kept, signal)
}

func survivesAs(swapping context.Context, t *testing.T, s *server, kept *sqlstore.Store, signal syscall.Signal) bool {
	t.Helper()
	ctx := t.Context()
	base, err := kept.CompareAndSwap(ctx, "car", "", []byte("idle"), time.Hour)
	if !errors.Is(err, store.ErrConflict) {
		require.NoError(t, err)
	}
	writer := s.stopWALWriter(t)
	taken, err := kept.CompareAndSwap(swapping, "car", base.Revision, []byte("taken "+signal.String()), time.Hour)
	require.NoError(t, err)
	require.NoError(t, s.Signal(signal))
	require.NoError(t, syscall.Kill(writer, syscall.SIGKILL))
	s.End(signal)

	away, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	_, err = kept.Load(away, "car")
	require.Error(t, err)
	require.NotErrorIs(t, err, store.ErrNotFound)
	_, err = kept.CompareAndSwap(away, "car", taken.Revision, []byte("lost"), time.Hour)
	require.Error(t, err)
	require.NotErrorIs(t, err, store.ErrConflict)

	s.Start(t)
	var found store.Record
	require.Eventually(t, func() bool { // connections of before may still have to be found dead
		found, err = kept.Load(ctx, "car")
		return err == nil || errors.Is(err, store.ErrNotFound)
	}, 10*time.Second, 10*time.Millisecond)
	return found.Revision == taken.Revision && string(found.Value) == string(taken.Value)
}
