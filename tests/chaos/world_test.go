//go:build unix

package chaos

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/internal/testserver"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"
)

// database is a server that keeps what it has answered when it is killed.
type database interface {
	address() string
	kill()
	Start(t testing.TB)
}

type redisServer struct{ *testserver.Redis }

func (r redisServer) address() string { return "redis://" + r.Addr() }
func (r redisServer) kill()           { r.Kill() }

type postgresServer struct{ *testserver.Postgres }

func (p postgresServer) address() string { return p.URL() }
func (p postgresServer) kill()           { p.End(syscall.SIGQUIT) }

const (
	workers     = 4
	keylessCars = 200
	legacyCars  = 50
)

// world is one run: Smartcar, the store, and the workers between them.
type world struct {
	t        *testing.T
	db       database
	sim      *smartcartest.Server
	observer *observer
	origin   string
	cars     []target // keyless ones first
	history  history
	workers  []*worker
	kills    int
	restarts int
}

func newWorld(t *testing.T, db database, mode mode) *world {
	t.Helper()
	w := &world{t: t, db: db, history: history{killed: map[string]time.Time{}}}
	cars := make([]smartcartest.Car, keylessCars+legacyCars)
	for i := range cars {
		cars[i] = smartcartest.Car{
			ID: fmt.Sprintf("%08d-2023-4000-8000-000000000000", i), Owner: fmt.Sprint("owner-", i),
			Make: "TESLA", Model: "Model Y", Year: 2023, Integration: smartcartest.Streaming,
		}
		if i >= keylessCars {
			cars[i].Model, cars[i].Year, cars[i].Integration = "Model S", 2018, smartcartest.Legacy
		}
	}
	w.sim = smartcartest.New(smartcartest.WithCars(cars...), smartcartest.WithKeylessWindow(window),
		smartcartest.WithLegacyRefresh(refresh), smartcartest.WithRefreshGrace(grace), smartcartest.WithSeed(rand.Uint64()))
	w.observer = &observer{smartcar: w.sim, attempts: map[string][]attempt{}}
	server := httptest.NewServer(w.observer)
	t.Cleanup(server.Close)
	w.origin = server.URL
	w.cars = make([]target, len(cars))
	client := w.client()
	var owners errgroup.Group
	owners.SetLimit(16)
	for i, car := range cars {
		owners.Go(func() error {
			user, err := w.connect(client, car.Owner)
			w.cars[i] = target{user, car.ID}
			return err
		})
	}
	require.NoError(t, owners.Wait())
	for i := range workers {
		w.workers = append(w.workers, &worker{world: w, job: job{
			Name: fmt.Sprint("chaos/w", i), Origin: w.origin, Store: db.address(), Mode: mode, Cars: w.cars,
			Off: []time.Duration{0, -90 * time.Second, 90 * time.Second, 0}[i], Steps: i > 0,
		}})
	}
	return w
}

// client is a new client on the shared store.
func (w *world) client() *smartcar.Client {
	w.t.Helper()
	kept, err := openStore(w.t.Context(), w.db.address())
	require.NoError(w.t, err)
	client, err := newClient(w.origin, kept)
	require.NoError(w.t, err)
	return client
}

// connect walks an owner through Connect.
func (w *world) connect(client *smartcar.Client, owner string) (userID string, err error) {
	start := http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		err = client.Connect().Start(rw, r, smartcar.ConnectOptions{})
	})
	callback := http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		var grant *smartcar.Grant
		if grant, err = client.Connect().HandleCallback(rw, r); err == nil {
			userID = grant.UserID
		}
	})
	_, walked := w.sim.WalkAs(start, callback, url.Values{"decision": {"grant"}, "user": {owner}})
	if err == nil {
		err = walked
	}
	return userID, err
}

// spoil makes Smartcar fail now and then.
func (w *world) spoil() {
	for _, f := range []smartcartest.Fault{
		{Path: "/odometer", Probability: .01, DropBefore: true},
		{Path: "/odometer", Probability: .01, DropAfter: true},
		{Path: "/odometer", Probability: .01, LatencyAfter: 2 * timeout},
		{Path: "/odometer", Probability: .02, ErrorType: "SERVER", ErrorCode: "INTERNAL", AfterProcessing: true},
		{Path: "/odometer", Probability: .1, LatencyAfter: 100 * time.Millisecond},
		{Path: "/oauth/token", Probability: .05, DropBefore: true},
		{Path: "/oauth/token", Probability: .05, DropAfter: true},
		{Path: "/oauth/token", Probability: .05, ErrorType: "server_error"},
		{Path: "/oauth/token", Probability: .2, LatencyAfter: 200 * time.Millisecond},
	} {
		f.Times = -1
		w.sim.Inject(f)
	}
}

// worker is one process at a time, in many lives.
type worker struct {
	world *world
	job   job
	life  int
	name  string
	cmd   *exec.Cmd
	log   bytes.Buffer // of this life; read after its end
}

func (w *worker) start() error {
	binary, err := os.Executable()
	if err != nil {
		return err
	}
	w.life++
	job := w.job
	job.Name = fmt.Sprintf("%s.%d", w.job.Name, w.life)
	w.name = job.Name
	w.cmd = exec.CommandContext(context.Background(), binary) // ended by hand, and when its input ends
	w.cmd.Env = append(os.Environ(), "CHAOS_WORKER=1")
	w.log.Reset()
	w.cmd.Stderr = &w.log
	input, err := w.cmd.StdinPipe()
	if err != nil {
		return err
	}
	if err := w.cmd.Start(); err != nil {
		return err
	}
	return json.NewEncoder(input).Encode(job)
}

func (w *worker) kill() string {
	_ = w.cmd.Process.Kill()
	h := &w.world.history
	h.mu.Lock()
	h.killed[w.name] = time.Now()
	h.mu.Unlock()
	_ = w.cmd.Wait()
	return w.log.String()
}

// storm lets the workers poll for d, while they and the store are killed and
// tokens run out.
func (w *world) storm(d time.Duration, restarts int) span {
	for _, worker := range w.workers {
		worker.job.Begin = time.Now().Add(500 * time.Millisecond)
		require.NoError(w.t, worker.start())
	}
	whole := span{from: time.Now(), to: time.Now().Add(d)}
	ctx, cancel := context.WithDeadline(w.t.Context(), whole.to)
	defer cancel()
	var all errgroup.Group
	all.Go(func() error { return w.killWorkers(ctx) })
	all.Go(func() error {
		for sleep(ctx, 7*time.Second) == nil {
			w.sim.ExpireAccessTokens()
		}
		return nil
	})
	for i := range restarts {
		// Evenly, and not at the very end.
		next := whole.from.Add(d * time.Duration(i+1) / time.Duration(restarts+1))
		if sleep(ctx, time.Until(next)) == nil {
			w.restart()
		}
	}
	<-ctx.Done()
	require.NoError(w.t, all.Wait())
	whole.to = time.Now()
	for _, worker := range w.workers {
		w.note(worker.kill())
	}
	return whole
}

func (w *world) killWorkers(ctx context.Context) error {
	client := w.client()
	for sleep(ctx, 300*time.Millisecond+rand.N(time.Second)) == nil {
		victim := w.workers[rand.IntN(len(w.workers))]
		w.note(victim.kill())
		w.kills++
		w.noteLocks(ctx, client)
		if err := victim.start(); err != nil {
			return err
		}
	}
	return nil
}

// note shows what a worker has said, which should be nothing.
// noteLocks asks for each keyless car until when it is locked.
func (w *world) noteLocks(ctx context.Context, client *smartcar.Client) {
	var cars errgroup.Group
	cars.SetLimit(8)
	for _, car := range w.cars[:keylessCars] {
		cars.Go(func() error {
			now := time.Now()
			access, err := client.User(car.User).Vehicle(car.Vehicle).Access(ctx)
			if err == nil && access.NextRead.After(now) {
				w.history.lock(car.Vehicle, now, access.NextRead)
			}
			return nil // the store may be away: nothing is excused then
		})
	}
	_ = cars.Wait()
}

func (w *world) note(said string) {
	if said != "" {
		w.t.Log(said)
	}
}

// restart kills the store, and starts it again where it was.
func (w *world) restart() {
	down := time.Now()
	w.history.mu.Lock()
	i := len(w.history.outages)
	w.history.outages = append(w.history.outages, span{down, down.Add(time.Hour)})
	w.history.mu.Unlock()
	w.db.kill()
	_ = sleep(w.t.Context(), rand.N(500*time.Millisecond))
	w.db.Start(w.t)
	w.history.mu.Lock()
	w.history.outages[i].to = time.Now()
	w.history.mu.Unlock()
	w.restarts++
}

// verdict is what the run is judged by.
type verdict struct {
	reads, broken, lost int
	used                int
	idle                time.Duration
}

func (v verdict) percent() float64 {
	permitted := float64(v.used) + v.idle.Seconds()/window.Seconds()
	return 100 * float64(v.used) / permitted
}

// judge looks at Smartcar's ledger only, and asks each owner's login for a new
// token.
func (w *world) judge(whole span) verdict {
	w.sim.ClearFaults()
	var v verdict
	v.lost = w.lostLogins()
	w.observer.mu.Lock()
	attempts := maps.Clone(w.observer.attempts)
	w.observer.mu.Unlock()
	for i, car := range w.cars {
		for _, e := range w.sim.Ledger(car.Vehicle) {
			if e.Counted {
				v.reads++
			}
		}
		if i >= keylessCars {
			continue
		}
		v.broken += len(w.sim.BrokenWindows(car.Vehicle))
		used, idle := w.history.share(car.Vehicle, attempts[car.Vehicle], whole.from, whole.to)
		v.used, v.idle = v.used+used, v.idle+idle
	}
	return v
}

// lostLogins has a client that knows nothing refresh every login at once.
func (w *world) lostLogins() int {
	client := w.client()
	var mu sync.Mutex
	lost := 0
	var owners errgroup.Group
	owners.SetLimit(32)
	for _, car := range w.cars {
		owners.Go(func() error {
			err := client.User(car.User).Renew(w.t.Context(), 61*24*time.Hour)
			if err == nil {
				_, err = client.User(car.User).Vehicle(car.Vehicle).Attributes(w.t.Context())
			}
			if err != nil {
				mu.Lock()
				defer mu.Unlock()
				lost++
				w.t.Log("login of ", car.Vehicle, ": ", err)
			}
			return nil
		})
	}
	require.NoError(w.t, owners.Wait())
	return lost
}
