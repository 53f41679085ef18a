package riverfleet_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"sync/atomic"
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
	"github.com/seed-498a1bc4/smartcar/smartcartest"
	"github.com/seed-498a1bc4/smartcar/store"
	"github.com/stretchr/testify/require"
)

const patience = 20 * time.Second

// startPostgres starts a server with River's tables.
func startPostgres(t testing.TB) *pgxpool.Pool {
	t.Helper()
	server := testserver.StartPostgres(t, "fsync=off", "synchronous_commit=off")
	pool, err := pgxpool.New(t.Context(), server.URL())
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	migrator, err := rivermigrate.New(riverpgxv5.New(pool), nil)
	require.NoError(t, err)
	_, err = migrator.Migrate(t.Context(), rivermigrate.DirectionUp, nil)
	require.NoError(t, err)
	return pool
}

// empty removes all jobs.
func empty(t testing.TB, pool *pgxpool.Pool) {
	t.Helper()
	_, err := pool.Exec(t.Context(), "TRUNCATE river_job, river_leader")
	require.NoError(t, err)
}

// world is a simulated Smartcar with cars and a store that replicas share.
type world struct {
	sim  *smartcartest.Server
	db   store.Store
	pool *pgxpool.Pool
	user string
	opts []smartcar.Option
}

func newWorld(t testing.TB, pool *pgxpool.Pool, cars ...smartcartest.Car) *world {
	t.Helper()
	return newScaledWorld(t, pool, smartcar.DefaultRules(), cars...)
}

// newScaledWorld is newWorld with other windows than those of eight hours.
func newScaledWorld(t testing.TB, pool *pgxpool.Pool, rules smartcar.Rules, cars ...smartcartest.Car) *world {
	t.Helper()
	w := &world{
		sim: smartcartest.New(smartcartest.WithCars(cars...), smartcartest.WithKeylessWindow(rules.KeylessWindow)),
		db:  store.NewMemory(), pool: pool, opts: []smartcar.Option{smartcar.WithRules(rules)},
	}
	client := w.client(t)
	rec := httptest.NewRecorder()
	require.NoError(t, client.Connect().Start(rec, httptest.NewRequest(http.MethodGet, "/connect", nil), smartcar.ConnectOptions{}))
	callback, err := w.sim.AnswerConnect(rec.Header().Get("Location"), url.Values{"decision": {"grant"}})
	require.NoError(t, err)
	r := httptest.NewRequest(http.MethodGet, callback, nil)
	for _, c := range rec.Result().Cookies() {
		r.AddCookie(c)
	}
	grant, err := client.Connect().HandleCallback(httptest.NewRecorder(), r)
	require.NoError(t, err)
	w.user = grant.UserID
	for _, err := range client.User(w.user).Vehicles(t.Context()) {
		require.NoError(t, err)
	}
	return w
}

func (w *world) client(t testing.TB) *smartcar.Client {
	t.Helper()
	client, err := smartcar.New(smartcar.Config{
		ClientID: w.sim.ClientID(), ClientSecret: w.sim.ClientSecret(), RedirectURL: w.sim.RedirectURL(),
		StateKey: []byte("0123456789abcdef0123456789abcdef"),
	}, append([]smartcar.Option{
		smartcar.WithHTTPClient(&http.Client{Transport: w.sim.Transport()}), smartcar.WithStore(w.db),
		smartcar.WithStoredAnswers(smartcar.StoredAnswers{}),
	}, w.opts...)...)
	require.NoError(t, err)
	return client
}

func other(id string) smartcartest.Car {
	return smartcartest.Car{ID: id, Make: "FORD", Model: "Mustang Mach-E", Year: 2022}
}

// replica is one process of a fleet.
type replica struct {
	*riverfleet.Jobs[pgx.Tx]
	fleet *fleet.Fleet
	river *river.Client[pgx.Tx]
	world *world
}

type handler func(ctx context.Context, v *smartcar.Vehicle, s *smartcar.Snapshot) error

func (w *world) replica(t testing.TB, handle handler, change func(*fleet.Config, *riverfleet.Config, *river.Config)) *replica {
	t.Helper()
	fc := fleet.Config{Reads: []smartcar.Operation{smartcar.Battery}, Handle: handle}
	jc := riverfleet.Config{Rate: 1000}
	rc := &river.Config{FetchPollInterval: 100 * time.Millisecond, FetchCooldown: 20 * time.Millisecond, Logger: slog.New(slog.DiscardHandler)}
	if change != nil {
		change(&fc, &jc, rc)
	}
	f, err := fleet.New(w.client(t), fc)
	require.NoError(t, err)
	jobs, err := riverfleet.New[pgx.Tx](f, w.db, jc)
	require.NoError(t, err)
	require.NoError(t, jobs.Configure(rc))
	client, err := river.NewClient(riverpgxv5.New(w.pool), rc)
	require.NoError(t, err)
	require.NoError(t, client.Start(context.WithoutCancel(t.Context())))
	r := &replica{jobs, f, client, w}
	t.Cleanup(func() { _ = r.stop(context.WithoutCancel(t.Context())) })
	return r
}

func (r *replica) stop(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return r.river.StopAndCancel(ctx)
}

func (r *replica) car(id string) *smartcar.Vehicle {
	return r.fleet.Client().User(r.world.user).Vehicle(id)
}

// jobs are the visits' rows, by vehicle.
func (w *world) jobs(t testing.TB) map[string][]*rivertype.JobRow {
	t.Helper()
	client, err := river.NewClient(riverpgxv5.New(w.pool), &river.Config{})
	require.NoError(t, err)
	list, err := client.JobList(t.Context(), river.NewJobListParams().Kinds(riverfleet.Args{}.Kind()).First(10_000))
	require.NoError(t, err)
	rows := make(map[string][]*rivertype.JobRow)
	for _, row := range list.Jobs {
		id := vehicleOf(t, row)
		rows[id] = append(rows[id], row)
	}
	return rows
}

// broken is a store that fails or panics for a while.
type broken struct {
	store.Store
	mode atomic.Int32 // 0 works, 1 fails, 2 panics
}

var errBroken = errors.New("connection refused")

// Load implements [store.Store]; what wakes cars always works.
func (b *broken) Load(ctx context.Context, key string) (store.Record, error) {
	if len(key) > 5 && key[:5] == "user/" {
		switch b.mode.Load() {
		case 1:
			return store.Record{}, errBroken
		case 2:
			panic("secret")
		}
	}
	return b.Store.Load(ctx, key)
}

// List implements [store.Lister].
func (b *broken) List(ctx context.Context, prefix, cursor string) ([]string, string, error) {
	return b.Store.(store.Lister).List(ctx, prefix, cursor)
}

// counter counts what is handed over.
type counter struct {
	mu  sync.Mutex
	got map[string]int
}

func (c *counter) handle(_ context.Context, v *smartcar.Vehicle, _ *smartcar.Snapshot) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.got == nil {
		c.got = make(map[string]int)
	}
	c.got[v.ID()]++
	return nil
}

func (c *counter) of(id string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.got[id]
}
