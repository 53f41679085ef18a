//go:build unix

package chaos

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
	"github.com/seed-498a1bc4/smartcar/store"
	"github.com/seed-498a1bc4/smartcar/store/redisstore"
	"github.com/seed-498a1bc4/smartcar/store/sqlstore"
	"golang.org/x/sync/errgroup"
	"golang.org/x/time/rate"
)

// Hours become seconds. Smartcar's side and ours are scaled alike.
const (
	window  = 3 * time.Second         // of keyless cars
	refresh = 1500 * time.Millisecond // of legacy cars
	timeout = 1500 * time.Millisecond // of one request
	lease   = timeout + 10*time.Second
	grace   = 12 * time.Second // of used refresh tokens
	reserve = grace / 4        // of a turn whose token is being refreshed
)

// TestMain makes the test binary a worker where its parent wants one.
func TestMain(m *testing.M) {
	logging.Disable() // servers that are gone are what these tests are about
	if os.Getenv("CHAOS_WORKER") == "" {
		m.Run()
		return
	}
	if err := work(); err != nil {
		_, _ = fmt.Fprintln(os.Stderr, err)
	}
}

// job is what a worker is told on its standard input, which stays open for as
// long as its parent lives.
type job struct {
	Name   string
	Origin string
	Store  string // redis://host:port or postgres://...
	Mode   mode
	Off    time.Duration // of the worker's clock, when it begins
	Steps  bool          // and it is stepped from then on
	Cars   []target
	// Begin is when the first car is read for the first time. The others follow
	// within a window: in step, they would all be under way at the same kill.
	Begin time.Time
}

// mode is what stands between a worker and the cars.
type mode string

const (
	policy  mode = "policy"
	torn    mode = "a store that loads and then writes, without comparing"
	limiter mode = "golang.org/x/time/rate in each process"
)

type target struct{ User, Vehicle string }

// work polls all cars through the public API until the parent is gone, or ends
// it with kill -9.
func work() error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	input := json.NewDecoder(os.Stdin)
	var j job
	if err := input.Decode(&j); err != nil {
		return err
	}
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	kept, err := openStore(ctx, j.Store)
	if err != nil {
		return err
	}
	if j.Mode == torn {
		kept = tornStore{kept}
	}
	clock := newSteppedClock(j.Off)
	client, err := newClient(j.Origin, kept, smartcar.WithClock(clock), smartcar.WithUserAgent(j.Name))
	if err != nil {
		return err
	}
	var cars sync.WaitGroup
	if j.Steps {
		cars.Go(func() { clock.run(ctx) })
	}
	if j.Mode != limiter {
		cars.Go(func() { renew(ctx, client, j.Cars) })
	}
	for i, car := range j.Cars {
		cars.Go(func() {
			turn := j.Begin.Add(window * time.Duration(i) / time.Duration(len(j.Cars)))
			_ = clock.Sleep(ctx, time.Until(turn)+rand.N(100*time.Millisecond))
			p := poller{vehicle: client.User(car.User).Vehicle(car.Vehicle), clock: clock}
			if j.Mode == limiter {
				p.vehicle = p.vehicle.With(smartcar.IgnorePolicy())
				p.limiter = rate.NewLimiter(rate.Every(window), 1)
			}
			p.run(ctx)
		})
	}
	cars.Wait()
	return nil
}

// renew is what a program begins with: it finishes what was left undone.
func renew(ctx context.Context, client *smartcar.Client, cars []target) {
	var users errgroup.Group
	users.SetLimit(8)
	for _, car := range cars {
		users.Go(func() error {
			// What fails is tried again by the reads.
			_ = client.User(car.User).Renew(ctx, 7*24*time.Hour)
			return nil
		})
	}
	_ = users.Wait()
}

// newClient is a process of its own: it shares the store with others, and
// nothing else.
func newClient(origin string, kept store.Store, opts ...smartcar.Option) (*smartcar.Client, error) {
	u, err := url.Parse(origin)
	if err != nil {
		return nil, err
	}
	sim := smartcartest.New() // for its fixed credentials
	transport := &http.Transport{MaxIdleConnsPerHost: 64}
	return smartcar.New(smartcar.Config{
		ClientID: sim.ClientID(), ClientSecret: sim.ClientSecret(), RedirectURL: sim.RedirectURL(),
		StateKey: []byte("0123456789abcdef0123456789abcdef"),
	}, append([]smartcar.Option{
		smartcar.WithHTTPClient(&http.Client{Transport: transport}),
		smartcar.WithOrigins(smartcar.Origins{Connect: u, Auth: u, API: u, APIv3: u, Management: u}),
		smartcar.WithStore(kept),
		smartcar.WithRules(smartcar.Rules{KeylessWindow: window, LegacyRefresh: refresh}),
		smartcar.WithTimeout(timeout),
		smartcar.WithRefreshGrace(grace),
		smartcar.WithRetry(smartcar.RetryPolicy{MaxAttempts: 3, BaseDelay: 50 * time.Millisecond, MaxDelay: time.Second}),
	}, opts...)...)
}

// openStore waits for a server that is just starting again.
func openStore(ctx context.Context, address string) (store.Store, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, err
	}
	if u.Scheme == "redis" {
		return redisstore.New(redis.NewClient(&redis.Options{Addr: u.Host, ContextTimeoutEnabled: true, PoolSize: 32}))
	}
	config, err := pgx.ParseConfig(address)
	if err != nil {
		return nil, err
	}
	db := stdlib.OpenDB(*config)
	db.SetMaxOpenConns(16)
	db.SetMaxIdleConns(16)
	return openSQL(ctx, db)
}

func openSQL(ctx context.Context, db *sql.DB) (store.Store, error) {
	for {
		kept, err := sqlstore.New(ctx, db, sqlstore.Postgres)
		if err == nil {
			return kept, nil
		}
		if sleep(ctx, 50*time.Millisecond) != nil {
			return nil, errors.Join(err, db.Close())
		}
	}
}

// tornStore is broken on purpose: it looks, and then writes without comparing.
type tornStore struct{ store.Store }

func (s tornStore) CompareAndSwap(ctx context.Context, key string, old store.Revision, value []byte, ttl time.Duration) (store.Record, error) {
	current, err := s.Load(ctx, key)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return current, err
	}
	if current.Revision != old {
		return current, store.ErrConflict
	}
	for {
		current, err = s.Store.CompareAndSwap(ctx, key, current.Revision, value, ttl)
		if !errors.Is(err, store.ErrConflict) {
			return current, err
		}
	}
}

// steppedClock is the wall clock of a machine: it is off, and is set again and again.
type steppedClock struct {
	usual time.Duration
	off   atomic.Int64
}

func newSteppedClock(off time.Duration) *steppedClock {
	c := &steppedClock{usual: off}
	c.off.Store(int64(off))
	return c
}

// run sets the clock forward and back until the context ends, by less than a window and
// by so much that all tokens seem to have run out, and sets it right in between.
func (c *steppedClock) run(ctx context.Context) {
	for sleep(ctx, 200*time.Millisecond+rand.N(2*time.Second)) == nil {
		off := c.usual
		by := []time.Duration{window / 3, 2 * window, 90 * time.Second}
		if rand.IntN(6) == 0 { // each such step costs renewals of all tokens
			by = []time.Duration{3 * time.Hour, 61 * 24 * time.Hour}
		}
		switch rand.IntN(4) {
		case 0, 1:
			off += by[rand.IntN(len(by))]
		case 2:
			off -= by[rand.IntN(len(by))]
		}
		c.off.Store(int64(off))
	}
}

func (c *steppedClock) Now() time.Time { return time.Now().Add(time.Duration(c.off.Load())) }

func (c *steppedClock) Sleep(ctx context.Context, d time.Duration) error { return sleep(ctx, d) }

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// poller reads one car, as eagerly as it is told it may.
type poller struct {
	vehicle *smartcar.Vehicle
	clock   smartcar.Clock
	limiter *rate.Limiter // nil with the policy
}

func (p poller) run(ctx context.Context) {
	for ctx.Err() == nil {
		if p.limiter != nil && p.limiter.Wait(ctx) != nil {
			return
		}
		_, err := p.vehicle.Odometer(ctx)
		if errors.Is(err, smartcar.ErrReconnectRequired) {
			return // the judge will see it
		}
		if err != nil || p.limiter == nil {
			_ = p.clock.Sleep(ctx, p.pause(err))
		}
	}
}

// pause is how long to wait after an answer. What is refused for a reason that
// may go away by itself is tried again soon.
func (p poller) pause(err error) time.Duration {
	soon := 100*time.Millisecond + rand.N(50*time.Millisecond)
	var limited *smartcar.RateLimitError
	switch {
	case err == nil:
		return soon // then the refusal says when
	case !errors.As(err, &limited) || limited.InFlight || limited.NextAllowed.IsZero():
		return soon
	}
	return max(time.Millisecond, min(limited.NextAllowed.Sub(p.clock.Now()), window))
}
