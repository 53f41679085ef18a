//go:build linux

package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"
	"github.com/riverqueue/river/rivertype"
	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/fleet"
	"github.com/seed-498a1bc4/smartcar/fleet/riverfleet"
	"github.com/seed-498a1bc4/smartcar/internal/testserver"
	"github.com/seed-498a1bc4/smartcar/store"
	"github.com/seed-498a1bc4/smartcar/store/sqlstore/sqlite"
	"github.com/stretchr/testify/require"
)

// What a fleet costs that sleeps, and what a visit costs. A plain run has few cars and a
// few seconds, and shows that the measurement works. FLEET_CARS=100000 FLEET_TIME=1m is
// what README.md has.

func fleetSize(t *testing.T) (n int, measured time.Duration) {
	t.Helper()
	n, err := strconv.Atoi(cmp.Or(os.Getenv("FLEET_CARS"), "500"))
	require.NoError(t, err)
	measured, err = time.ParseDuration(cmp.Or(os.Getenv("FLEET_TIME"), "2s"))
	require.NoError(t, err)
	return n, measured
}

// batches is a Smartcar whose cars have something new whenever they are asked.
type batches struct{}

// RoundTrip implements [http.RoundTripper].
func (batches) RoundTrip(r *http.Request) (*http.Response, error) {
	if path.Base(r.URL.Path) != "batch" {
		return answers{}.RoundTrip(r)
	}
	_ = r.Body.Close()
	body := fmt.Sprintf(`{"responses":[{"path":"/battery","code":200,"body":{"percentRemaining":0.3,"range":40.5},`+
		`"headers":{"sc-data-age":%q,"sc-unit-system":"metric"}}]}`, time.Now().UTC().Format(time.RFC3339Nano))
	return &http.Response{
		StatusCode: http.StatusOK, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{"Content-Type": {"application/json"}, "Sc-Request-Id": {rand.Text()}},
		Body:   io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body)), Request: r,
	}, nil
}

// sleepyFleet has cars of another make, which are read once a day.
func sleepyFleet(t *testing.T, kept store.Store) (*fleet.Fleet, *smartcar.User) {
	t.Helper()
	client := newClient(t, kept, 8*time.Hour, smartcar.WithHTTPClient(&http.Client{Transport: batches{}}),
		smartcar.WithStoredAnswers(smartcar.StoredAnswers{}))
	f, err := fleet.New(client, fleet.Config{
		Reads: []smartcar.Operation{smartcar.Battery}, Every: 24 * time.Hour, Rate: 10_000, Concurrency: 32,
		Handle: func(context.Context, *smartcar.Vehicle, *smartcar.Snapshot) error { return nil },
	})
	require.NoError(t, err)
	return f, newOwner(t, client)
}

// fleetCarID is as long as Smartcar's.
func fleetCarID(i int) string { return fmt.Sprintf("%s-%031d", free, i) }

func heapInUse() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// cpu is what this process has used.
func cpu(t *testing.T) time.Duration {
	t.Helper()
	var u syscall.Rusage
	require.NoError(t, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func percent(used, of time.Duration) float64 { return 100 * used.Seconds() / of.Seconds() }

// A fleet that sleeps in fleet.Run, over SQLite.
func TestFleetAsleep(t *testing.T) {
	n, measured := fleetSize(t)
	kept, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "cars.db"), sqlite.WithNormalSync())
	require.NoError(t, err)
	defer func() { require.NoError(t, kept.Close()) }()
	f, user := sleepyFleet(t, kept)
	goroutines := runtime.NumGoroutine()
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	began, used := time.Now(), cpu(t)
	go func() {
		done <- f.Run(ctx, func(yield func(*smartcar.Vehicle, error) bool) {
			for i := range n {
				if !yield(user.Vehicle(fleetCarID(i)), nil) {
					return
				}
			}
		})
	}()
	for f.Stats().Delivered < int64(n) {
		time.Sleep(100 * time.Millisecond)
	}
	took, used := time.Since(began), cpu(t)-used
	require.Zero(t, f.Stats().Failed)
	t.Logf("first visits of %d cars: %v, %.2f ms of CPU each", n, took.Round(time.Second), used.Seconds()*1000/float64(n))
	heap := heapInUse()
	t.Logf("heap in all: %.1f MiB; goroutines: %d more", float64(heap)/(1<<20), runtime.NumGoroutine()-goroutines)
	idle := cpu(t)
	time.Sleep(measured)
	t.Logf("idle for %v: %.3f %% of a core", measured, percent(cpu(t)-idle, measured))
	require.Less(t, heap, uint64(64<<20))
	require.Less(t, runtime.NumGoroutine()-goroutines, 40)
	stop()
	require.NoError(t, <-done)
}

// lateness is a middleware of River that notes how long after its time a visit begins.
type lateness struct {
	river.MiddlewareDefaults
	mu   sync.Mutex
	late []time.Duration
}

// Work implements [rivertype.WorkerMiddleware].
func (l *lateness) Work(ctx context.Context, job *rivertype.JobRow, inner func(context.Context) error) error {
	if job.Kind == (riverfleet.Args{}).Kind() {
		l.mu.Lock()
		l.late = append(l.late, time.Since(job.ScheduledAt))
		l.mu.Unlock()
	}
	return inner(ctx)
}

func (l *lateness) sorted() []time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Sorted(slices.Values(l.late))
}

func quantile(sorted []time.Duration, q float64) time.Duration {
	return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)].Round(time.Millisecond)
}

// serverCPU is what a PostgreSQL has used, with the processes that it has started.
func serverCPU(t *testing.T, pool *pgxpool.Pool) time.Duration {
	t.Helper()
	var data string
	require.NoError(t, pool.QueryRow(t.Context(), "SHOW data_directory").Scan(&data))
	text, err := os.ReadFile(filepath.Join(data, "postmaster.pid"))
	require.NoError(t, err)
	postmaster, _, _ := strings.Cut(string(text), "\n")
	var ticks int
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	require.NoError(t, err)
	for _, file := range stats {
		text, err := os.ReadFile(file) //nolint:gosec // of the system
		if err != nil {
			continue // it has ended
		}
		pid, _, _ := strings.Cut(string(text), " ")
		fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:])) // from the third on
		counted := fields[11:13]                                                  // utime, stime
		switch {
		case pid == postmaster:
			counted = fields[11:15] // and of children that have ended
		case fields[1] != postmaster:
			continue
		}
		for _, field := range counted {
			n, err := strconv.Atoi(field)
			require.NoError(t, err)
			ticks += n
		}
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}

// A fleet that sleeps as jobs of River on PostgreSQL, and one of whose cars 50 are due each
// second.
func TestRiverAsleep(t *testing.T) {
	const perSecond = 50
	n, measured := fleetSize(t)
	pool, err := pgxpool.New(t.Context(), testserver.StartPostgres(t).URL())
	require.NoError(t, err)
	defer pool.Close()
	migrator, err := rivermigrate.New(riverpgxv5.New(pool), nil)
	require.NoError(t, err)
	_, err = migrator.Migrate(t.Context(), rivermigrate.DirectionUp, nil)
	require.NoError(t, err)
	kept := store.NewMemory()
	f, user := sleepyFleet(t, kept)
	jobs, err := riverfleet.New[pgx.Tx](f, kept, riverfleet.Config{})
	require.NoError(t, err)
	late := new(lateness)
	config := &river.Config{Middleware: []rivertype.Middleware{late}}
	require.NoError(t, jobs.Configure(config))
	rc, err := river.NewClient(riverpgxv5.New(pool), config)
	require.NoError(t, err)

	far, began := time.Now().AddDate(0, 0, 30), time.Now()
	for from := range slices.Chunk(slices.Collect(count(n)), 5000) {
		var batch []river.InsertManyParams
		for _, i := range from {
			batch = append(batch, river.InsertManyParams{
				Args:       riverfleet.Args{UserID: user.ID(), VehicleID: fleetCarID(i)},
				InsertOpts: &river.InsertOpts{ScheduledAt: far},
			})
		}
		_, err := rc.InsertMany(t.Context(), batch)
		require.NoError(t, err)
	}
	t.Logf("%d jobs inserted in %v", n, time.Since(began).Round(100*time.Millisecond))
	for _, statement := range []string{"VACUUM ANALYZE river_job", "CHECKPOINT"} { // or the server does so meanwhile
		_, err = pool.Exec(t.Context(), statement)
		require.NoError(t, err)
	}
	require.NoError(t, rc.Start(context.WithoutCancel(t.Context())))
	defer func() { require.NoError(t, rc.Stop(context.WithoutCancel(t.Context()))) }()
	if measured > 10*time.Second {
		time.Sleep(10 * time.Second) // what it does when it starts
	}
	client, server := cpu(t), serverCPU(t, pool)
	time.Sleep(measured)
	client, server = cpu(t)-client, serverCPU(t, pool)-server
	t.Logf("idle for %v: client %.2f %%, server %.2f %% of a core", measured, percent(client, measured), percent(server, measured))

	due := int(measured.Seconds()) * perSecond
	require.LessOrEqual(t, due, n)
	written := func() (bytes int64) {
		require.NoError(t, pool.QueryRow(t.Context(), "SELECT pg_current_wal_lsn() - '0/0'").Scan(&bytes))
		return bytes
	}
	_, err = pool.Exec(t.Context(), `UPDATE river_job SET scheduled_at = now() + interval '6 seconds' + due.i * interval '1 second' / $1::float8
		FROM (SELECT id, row_number() OVER (ORDER BY id) AS i FROM river_job WHERE state = 'scheduled') AS due
		WHERE river_job.id = due.id AND due.i <= $2`, float64(perSecond), due)
	require.NoError(t, err)
	wal, busyClient, busyServer, began := written(), cpu(t), serverCPU(t, pool), time.Now()
	for len(late.sorted()) < due {
		time.Sleep(100 * time.Millisecond)
	}
	took := time.Since(began)
	busyClient, busyServer = cpu(t)-busyClient, serverCPU(t, pool)-busyServer
	wal = written() - wal
	all := late.sorted()
	t.Logf("%d visits in %v: late p50 %v, p95 %v, p99 %v, max %v", due, took.Round(time.Second),
		quantile(all, 0.5), quantile(all, 0.95), quantile(all, 0.99), all[len(all)-1].Round(time.Millisecond))
	each := func(used time.Duration) float64 { return 1000 * used.Seconds() / float64(due) }
	t.Logf("a visit: %d bytes of WAL; CPU client %.2f ms, server %.2f ms, with what is idle", wal/int64(due), each(busyClient), each(busyServer))
	require.Positive(t, all[0], "never early")
}

func count(n int) func(yield func(int) bool) {
	return func(yield func(int) bool) {
		for i := range n {
			if !yield(i) {
				return
			}
		}
	}
}
