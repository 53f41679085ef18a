package fleet_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/fleet"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
	"github.com/seed-498a1bc4/smartcar/store"
	"github.com/stretchr/testify/require"
)

const (
	minute = time.Minute
	day    = 24 * time.Hour
)

var reads = []smartcar.Operation{smartcar.Battery, smartcar.Odometer}

// newClient is a client of either API.
func newClient(t testing.TB, sim *smartcartest.Server, api smartcar.API, opts ...smartcar.Option) *smartcar.Client {
	t.Helper()
	opts = append([]smartcar.Option{
		smartcar.WithHTTPClient(&http.Client{Transport: sim.Transport()}), smartcar.WithAPI(api),
		smartcar.WithStoredAnswers(smartcar.StoredAnswers{Keep: 30 * day}),
	}, opts...)
	client, err := smartcar.New(smartcar.Config{
		ClientID: sim.ClientID(), ClientSecret: sim.ClientSecret(), APIClientID: sim.APIClientID(), APIClientSecret: sim.APIClientSecret(),
		RedirectURL: sim.RedirectURL(), StateKey: []byte("0123456789abcdef0123456789abcdef"), ManagementToken: sim.ManagementToken(),
	}, opts...)
	require.NoError(t, err)
	return client
}

// connect takes an owner through Connect, and files the cars.
func connect(t testing.TB, sim *smartcartest.Server, client *smartcar.Client, owner string) *smartcar.User {
	t.Helper()
	w := httptest.NewRecorder()
	require.NoError(t, client.Connect().Start(w, httptest.NewRequest(http.MethodGet, "/connect", nil), smartcar.ConnectOptions{}))
	form := url.Values{"decision": {"grant"}}
	if owner != "" {
		form.Set("user", owner)
	}
	callback, err := sim.AnswerConnect(w.Header().Get("Location"), form)
	require.NoError(t, err)
	r := httptest.NewRequest(http.MethodGet, callback, nil)
	for _, c := range w.Result().Cookies() {
		r.AddCookie(c)
	}
	grant, err := client.Connect().HandleCallback(httptest.NewRecorder(), r)
	require.NoError(t, err)
	user := client.User(grant.UserID)
	for _, err := range user.Vehicles(t.Context()) {
		require.NoError(t, err)
	}
	return user
}

// inbox notes what a fleet hands over.
type inbox struct {
	mu  sync.Mutex
	got map[string][]time.Time // when something of a car came
	out map[string][]error
}

func newInbox() *inbox {
	return &inbox{got: make(map[string][]time.Time), out: make(map[string][]error)}
}

func (b *inbox) handle(_ context.Context, v *smartcar.Vehicle, s *smartcar.Snapshot) error {
	if _, err := s.Battery(); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.got[v.ID()] = append(b.got[v.ID()], time.Now())
	return nil
}

func (b *inbox) retired(_ context.Context, v *smartcar.Vehicle, why error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.out[v.ID()] = append(b.out[v.ID()], why)
}

func (b *inbox) of(id string) []time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.got[id]
}

func (b *inbox) config() fleet.Config {
	return fleet.Config{Reads: reads, Handle: b.handle, Retired: b.retired}
}

// running is a fleet that runs until stop.
type running struct {
	*fleet.Fleet
	inbox *inbox
	stop  func() error
}

func run(t *testing.T, client *smartcar.Client, b *inbox, change func(*fleet.Config)) running {
	t.Helper()
	config := b.config()
	if change != nil {
		change(&config)
	}
	f, err := fleet.New(client, config)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx, client.Vehicles(ctx)) }()
	var once sync.Once
	stop := func() (err error) {
		once.Do(func() {
			cancel()
			err = <-done
		})
		return err
	}
	t.Cleanup(func() { _ = stop() })
	return running{f, b, stop}
}

// data are the requests for data of a car.
func data(sim *smartcartest.Server, id string) (at []time.Time) {
	for _, e := range sim.Ledger(id) {
		if e.Kind == smartcartest.Data {
			at = append(at, e.Time)
		}
	}
	return at
}

// garage makes n cars of a kind.
func garage(n int, kind string, car smartcartest.Car) (cars []smartcartest.Car) {
	for i := range n {
		car.ID = fmt.Sprintf("%s-%d", kind, i)
		cars = append(cars, car)
	}
	return cars
}

func paired() smartcartest.Car {
	return smartcartest.Car{Make: "TESLA", Model: "Model 3", Year: 2022, Integration: smartcartest.Streaming, Paired: true}
}

func keyless() smartcartest.Car {
	return smartcartest.Car{Make: "TESLA", Model: "Model Y", Year: 2023, Integration: smartcartest.Streaming}
}

func legacy() smartcartest.Car {
	return smartcartest.Car{
		Make: "TESLA", Model: "Model S", Year: 2018, Integration: smartcartest.Legacy, AwakeFrom: 8 * time.Hour, AwakeFor: 6 * time.Hour,
	}
}

func other() smartcartest.Car {
	return smartcartest.Car{Make: "FORD", Model: "Mustang Mach-E", Year: 2022}
}

// flaky is a store that fails now and then.
type flaky struct {
	store.Store
	mu     sync.Mutex
	random *rand.Rand
	share  float64
}

var errFlaky = errors.New("connection refused")

func newFlaky(seed uint64) *flaky {
	return &flaky{Store: store.NewMemory(), random: rand.New(rand.NewPCG(seed, 1))}
}

// fail makes a share of the calls fail.
func (s *flaky) fail(share float64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.share = share
}

func (s *flaky) fails() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.random.Float64() < s.share
}

// Load implements [store.Store].
func (s *flaky) Load(ctx context.Context, key string) (store.Record, error) {
	if s.fails() {
		return store.Record{}, errFlaky
	}
	return s.Store.Load(ctx, key)
}

// CompareAndSwap implements [store.Store]; the write may happen all the same.
func (s *flaky) CompareAndSwap(ctx context.Context, key string, old store.Revision, value []byte, ttl time.Duration) (store.Record, error) {
	if s.fails() {
		return store.Record{}, errFlaky
	}
	r, err := s.Store.CompareAndSwap(ctx, key, old, value, ttl)
	if s.fails() {
		return store.Record{}, errFlaky
	}
	return r, err
}

// List implements [store.Lister].
func (s *flaky) List(ctx context.Context, prefix, cursor string) ([]string, string, error) {
	if s.fails() {
		return nil, "", errFlaky
	}
	return s.Store.(store.Lister).List(ctx, prefix, cursor)
}
