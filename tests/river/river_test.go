// Package river has the module riverfleet work with what else belongs to River: its driver
// for SQLite, its user interface and its plugin for OpenTelemetry. It is a module of its
// own, so that nobody who uses riverfleet downloads these.
package river

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/riverdriver/riversqlite"
	"github.com/riverqueue/river/rivermigrate"
	"github.com/riverqueue/river/rivertype"
	"github.com/riverqueue/rivercontrib/otelriver"
	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/fleet"
	"github.com/seed-498a1bc4/smartcar/fleet/riverfleet"
	"github.com/seed-498a1bc4/smartcar/internal/testserver"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
	"github.com/seed-498a1bc4/smartcar/store"
	"github.com/stretchr/testify/require"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	_ "modernc.org/sqlite" // the driver "sqlite"
	"riverqueue.com/riverui"
)

const cars = 50

func carID(i int) string { return fmt.Sprintf("car-%d", i) }

// program is a fleet as jobs of River, over any of its drivers.
type program[TTx any] struct {
	sim    *smartcartest.Server
	client *smartcar.Client
	user   *smartcar.User
	jobs   *riverfleet.Jobs[TTx]
	river  *river.Client[TTx]
	given  atomic.Int32 // how often something was handed over
}

func start[TTx any](t *testing.T, driver riverdriver.Driver[TTx], config *river.Config) *program[TTx] {
	t.Helper()
	migrator, err := rivermigrate.New(driver, nil)
	require.NoError(t, err)
	_, err = migrator.Migrate(t.Context(), rivermigrate.DirectionUp, nil)
	require.NoError(t, err)

	var garage []smartcartest.Car
	for i := range cars {
		garage = append(garage, smartcartest.Car{ID: carID(i), Make: "FORD", Model: "Mustang Mach-E", Year: 2022})
	}
	p := &program[TTx]{sim: smartcartest.New(smartcartest.WithCars(garage...))}
	kept := store.NewMemory()
	p.client, err = smartcar.New(smartcar.Config{
		ClientID: p.sim.ClientID(), ClientSecret: p.sim.ClientSecret(), RedirectURL: p.sim.RedirectURL(),
		StateKey: []byte(strings.Repeat("k", 32)),
	}, smartcar.WithHTTPClient(&http.Client{Transport: p.sim.Transport()}), smartcar.WithStore(kept),
		smartcar.WithStoredAnswers(smartcar.StoredAnswers{}))
	require.NoError(t, err)
	p.connect(t)

	f, err := fleet.New(p.client, fleet.Config{
		Reads: []smartcar.Operation{smartcar.Battery},
		Handle: func(context.Context, *smartcar.Vehicle, *smartcar.Snapshot) error {
			p.given.Add(1)
			return nil
		},
	})
	require.NoError(t, err)
	p.jobs, err = riverfleet.New[TTx](f, kept, riverfleet.Config{Rate: 1e6})
	require.NoError(t, err)
	config.Logger = slog.New(slog.DiscardHandler)
	require.NoError(t, p.jobs.Configure(config))
	p.river, err = river.NewClient(driver, config)
	require.NoError(t, err)
	require.NoError(t, p.river.Start(context.WithoutCancel(t.Context())))
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), patience)
		defer cancel()
		_ = p.river.StopAndCancel(ctx)
	})
	return p
}

// connect takes the owner of the cars through Connect.
func (p *program[TTx]) connect(t *testing.T) {
	t.Helper()
	rec := httptest.NewRecorder()
	require.NoError(t, p.client.Connect().Start(rec, httptest.NewRequest(http.MethodGet, "/connect", nil), smartcar.ConnectOptions{}))
	callback, err := p.sim.AnswerConnect(rec.Header().Get("Location"), url.Values{"decision": {"grant"}})
	require.NoError(t, err)
	r := httptest.NewRequest(http.MethodGet, callback, nil)
	for _, c := range rec.Result().Cookies() {
		r.AddCookie(c)
	}
	grant, err := p.client.Connect().HandleCallback(httptest.NewRecorder(), r)
	require.NoError(t, err)
	p.user = p.client.User(grant.UserID)
	for _, err := range p.user.Vehicles(t.Context()) {
		require.NoError(t, err)
	}
}

const patience = 30 * time.Second

func eventually(t *testing.T, condition func() bool) {
	t.Helper()
	require.Eventually(t, condition, patience, 20*time.Millisecond)
}

// rows are those of the visits.
func (p *program[TTx]) rows(t *testing.T, states ...rivertype.JobState) []*rivertype.JobRow {
	t.Helper()
	params := river.NewJobListParams().Kinds(riverfleet.Args{}.Kind()).First(1000)
	if len(states) > 0 {
		params = params.States(states...)
	}
	list, err := p.river.JobList(t.Context(), params)
	require.NoError(t, err)
	return list.Jobs
}

// work lets each car be visited, wakes one, and forgets the user.
func (p *program[TTx]) work(t *testing.T) {
	t.Helper()
	eventually(t, func() bool { return len(p.rows(t, rivertype.JobStateScheduled)) == cars })
	require.EqualValues(t, cars, p.given.Load())
	added, err := p.jobs.Reconcile(t.Context(), p.river)
	require.NoError(t, err)
	require.Zero(t, added)

	asked := len(p.sim.Requests())
	before := p.rows(t)[0]
	var args riverfleet.Args
	require.NoError(t, json.Unmarshal(before.EncodedArgs, &args))
	require.NoError(t, p.jobs.Wake(t.Context(), p.river, p.user.Vehicle(args.VehicleID)))
	eventually(t, func() bool {
		row, err := p.river.JobGet(t.Context(), before.ID)
		return err == nil && row.State == rivertype.JobStateScheduled && string(row.Metadata) != string(before.Metadata)
	})
	require.Len(t, p.sim.Requests(), asked, "nothing new can be learned yet")
	for _, row := range p.rows(t) {
		require.Zero(t, row.Attempt)
		require.Empty(t, row.Errors)
	}

	require.NoError(t, p.jobs.Remove(t.Context(), p.river, p.user.Vehicle(args.VehicleID)))
	require.Len(t, p.rows(t, rivertype.JobStateCancelled), 1)
	require.NoError(t, p.jobs.Forget(t.Context(), p.river, p.user))
	require.Empty(t, p.rows(t))
}

func quick() *river.Config {
	return &river.Config{FetchPollInterval: 100 * time.Millisecond, FetchCooldown: 20 * time.Millisecond}
}

// The same program on River's driver for SQLite.
func TestOnSQLite(t *testing.T) {
	db, err := sql.Open("sqlite", "file:"+filepath.Join(t.TempDir(), "river.db")+"?_pragma=journal_mode(WAL)&_pragma=busy_timeout(5000)")
	require.NoError(t, err)
	t.Cleanup(func() { _ = db.Close() })
	db.SetMaxOpenConns(1) // as River advises
	start[*sql.Tx](t, riversqlite.New(db), quick()).work(t)
}

func postgres(t *testing.T) *pgxpool.Pool {
	t.Helper()
	pool, err := pgxpool.New(t.Context(), testserver.StartPostgres(t, "fsync=off", "synchronous_commit=off").URL())
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	return pool
}

// River's user interface lists the jobs, with what they are for and how often they slept.
func TestUserInterface(t *testing.T) {
	p := start[pgx.Tx](t, riverpgxv5.New(postgres(t)), quick())
	eventually(t, func() bool { return len(p.rows(t, rivertype.JobStateScheduled)) == cars })
	ui, err := riverui.NewHandler(&riverui.HandlerOpts{
		Endpoints: riverui.NewEndpoints(p.river, nil), Logger: slog.New(slog.DiscardHandler),
	})
	require.NoError(t, err)
	require.NoError(t, ui.Start(t.Context()))
	get := func(path string, to any) {
		t.Helper()
		rec := httptest.NewRecorder()
		ui.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, path, nil))
		require.Equal(t, http.StatusOK, rec.Code, "%s: %s", path, rec.Body)
		require.NoError(t, json.Unmarshal(rec.Body.Bytes(), to))
	}
	var jobs struct {
		Data []struct {
			ID    int64  `json:"id"`
			Kind  string `json:"kind"`
			Queue string `json:"queue"`
			Args  string `json:"args"` // JSON
		} `json:"data"`
	}
	get("/api/jobs?state=scheduled&limit=100&kinds="+riverfleet.Args{}.Kind(), &jobs)
	require.Len(t, jobs.Data, cars)
	for _, job := range jobs.Data {
		require.Equal(t, riverfleet.Args{}.Kind(), job.Kind)
		require.Equal(t, riverfleet.Queue, job.Queue)
		var args riverfleet.Args
		require.NoError(t, json.Unmarshal([]byte(job.Args), &args))
		require.Equal(t, p.user.ID(), args.UserID)
		require.NotEmpty(t, args.VehicleID)
	}
	var job struct {
		ID       int64  `json:"id"`
		Errors   []any  `json:"errors"`
		State    string `json:"state"`
		Metadata struct {
			Snoozes int `json:"snoozes"`
		} `json:"metadata"`
	}
	get(fmt.Sprintf("/api/jobs/%d", jobs.Data[0].ID), &job)
	require.Equal(t, jobs.Data[0].ID, job.ID)
	require.Equal(t, "scheduled", job.State)
	require.Empty(t, job.Errors)
	require.Equal(t, 1, job.Metadata.Snoozes)
	var queue struct {
		Name string `json:"name"`
	}
	get("/api/queues/"+riverfleet.Queue, &queue)
	require.Equal(t, riverfleet.Queue, queue.Name)
}

// River's plugin for OpenTelemetry sees each visit. What it measures has no more sets of
// attributes with many cars than with few, and names no car and no user.
func TestOpenTelemetry(t *testing.T) {
	spans, reader := tracetest.NewSpanRecorder(), sdkmetric.NewManualReader()
	config := quick()
	config.Middleware = []rivertype.Middleware{otelriver.NewMiddleware(&otelriver.MiddlewareConfig{
		MeterProvider:               sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader)),
		TracerProvider:              sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans)),
		EnableWorkSpanJobKindSuffix: true, EnableSemanticMetrics: true,
	})}
	p := start[pgx.Tx](t, riverpgxv5.New(postgres(t)), config)
	eventually(t, func() bool { return len(p.rows(t, rivertype.JobStateScheduled)) == cars })
	secret := func(text string) {
		t.Helper()
		require.NotContains(t, text, p.user.ID())
		require.NotContains(t, text, "car-")
	}
	visits := 0
	eventually(t, func() bool {
		visits = 0
		for _, s := range spans.Ended() {
			if s.Name() == "river.work/"+(riverfleet.Args{}).Kind() {
				visits++
			}
		}
		return visits == cars
	})
	for _, s := range spans.Ended() {
		secret(s.Name())
		for _, a := range s.Attributes() {
			secret(a.Value.String())
		}
	}
	var measured metricdata.ResourceMetrics
	require.NoError(t, reader.Collect(t.Context(), &measured))
	names := 0
	for _, scope := range measured.ScopeMetrics {
		for _, m := range scope.Metrics {
			names++
			text, err := json.Marshal(m)
			require.NoError(t, err)
			secret(string(text))
			require.LessOrEqual(t, strings.Count(string(text), `"Attributes":`), 10, m.Name)
		}
	}
	require.Positive(t, names)
}
