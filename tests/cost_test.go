package smartcar_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
	"github.com/seed-498a1bc4/smartcar/store"
	"github.com/stretchr/testify/require"
)

// cannedTransport answers every request alike, as cheaply as can be.
type cannedTransport struct {
	status int
	header http.Header
	body   []byte
}

func (c *cannedTransport) RoundTrip(*http.Request) (*http.Response, error) {
	return &http.Response{
		StatusCode: c.status, Header: c.header, ContentLength: int64(len(c.body)),
		Body: io.NopCloser(bytes.NewReader(c.body)),
	}, nil
}

func cannedOdometer() *cannedTransport {
	return &cannedTransport{status: 200, body: []byte(`{"distance":104.32}`), header: http.Header{
		"Content-Type": {"application/json"}, "Sc-Request-Id": {"5dea93a1-3f79-4246-90c5-89610a20471b"},
		"Sc-Data-Age": {"2018-06-20T01:33:37.078Z"}, "Sc-Unit-System": {"metric"},
	}}
}

// readBare is the same job with nothing but the standard library.
func readBare(ctx context.Context, client *http.Client, origin, vehicleID string) (float64, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, origin+"/v2.0/vehicles/"+vehicleID+"/odometer", nil)
	if err != nil {
		return 0, err
	}
	req.Header.Set("Authorization", "Bearer cf7ba7e9-8c5d-417d-a99f-c386cfc235cc")
	req.Header.Set("Sc-Unit-System", "metric")
	resp, err := client.Do(req)
	if err != nil {
		return 0, err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		_, _ = io.Copy(io.Discard, resp.Body)
		return 0, fmt.Errorf("status %d", resp.StatusCode)
	}
	var body struct {
		Distance float64 `json:"distance"`
	}
	err = json.NewDecoder(resp.Body).Decode(&body)
	return body.Distance, err
}

// switchedTransport lets a client connect to the simulator first.
type switchedTransport struct{ http.RoundTripper }

// readVehicle is a car that has just been read: its class and key are known,
// and its turn is used where turns are limited.
func readVehicle(tb testing.TB, transport *switchedTransport, id string) *smartcar.Vehicle {
	tb.Helper()
	sim := smartcartest.New()
	transport.RoundTripper = sim.Transport()
	client := newClientOver(tb, sim, transport)
	v := client.User(connect(tb, sim, client).UserID).Vehicle(id)
	_, err := v.Odometer(tb.Context())
	require.NoError(tb, err)
	return v
}

func BenchmarkOdometer(b *testing.B) {
	b.Run("bare", func(b *testing.B) {
		client := &http.Client{Transport: cannedOdometer()}
		b.ReportAllocs()
		for b.Loop() {
			_, _ = readBare(b.Context(), client, "https://api.smartcar.com", smartcartest.Model3)
		}
	})
	b.Run("smartcar", func(b *testing.B) {
		transport := new(switchedTransport)
		v := readVehicle(b, transport, smartcartest.Model3)
		transport.RoundTripper = cannedOdometer()
		b.ReportAllocs()
		for b.Loop() {
			_, _ = v.Odometer(b.Context())
		}
	})
}

func TestReadAllocatesAtMostAQuarterMoreThanBare(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates by itself")
	}
	client := &http.Client{Transport: cannedOdometer()}
	bare := allocations(func() {
		_, _ = readBare(t.Context(), client, "https://api.smartcar.com", smartcartest.Model3)
	})
	transport := new(switchedTransport)
	v := readVehicle(t, transport, smartcartest.Model3)
	transport.RoundTripper = cannedOdometer()
	reading, err := v.Odometer(t.Context())
	require.NoError(t, err)
	require.InEpsilon(t, 104.32, *reading.Distance, 1e-9)
	ours := allocations(func() { _, _ = v.Odometer(t.Context()) })
	t.Logf("bare %v allocations, smartcar %v: %.2f x", bare, ours, ours/bare)
	require.LessOrEqual(t, ours, 1.25*bare)
}

func TestRefusalAllocatesAtMostThreeTimes(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates by itself")
	}
	transport := new(switchedTransport)
	v := readVehicle(t, transport, smartcartest.Cybertruck)
	_, err := v.Odometer(t.Context())
	require.ErrorIs(t, err, smartcar.ErrRateLimited)
	allocs := allocations(func() { _, _ = v.Odometer(t.Context()) })
	require.LessOrEqual(t, allocs, 3.0)
}

func BenchmarkRefusal(b *testing.B) {
	v := readVehicle(b, new(switchedTransport), smartcartest.Cybertruck)
	b.ReportAllocs()
	for b.Loop() {
		_, _ = v.Odometer(b.Context())
	}
}

// TestNoMoreConnectionsThanBare counts TCP connections over loopback, on
// success and on 429, whose body must be drained.
func TestNoMoreConnectionsThanBare(t *testing.T) {
	for _, status := range []int{http.StatusOK, http.StatusTooManyRequests} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(status)
				_, _ = w.Write(bytes.Repeat([]byte(" "), 100_000))
				_, _ = io.WriteString(w, `{"distance":1,"type":"RATE_LIMIT","code":"VEHICLE"}`)
			}))
			defer server.Close()
			bareTransport, ourTransport := &http.Transport{}, &http.Transport{}
			defer bareTransport.CloseIdleConnections()
			defer ourTransport.CloseIdleConnections()

			transport := new(switchedTransport)
			v := readVehicle(t, transport, smartcartest.Model3)
			origin := mustParse(t, server.URL)
			transport.RoundTripper = redirected{ourTransport, origin.Host}
			// The override asks although the first 429 said to wait.
			v = v.With(smartcar.IgnorePolicy())

			var bare, ours int
			for range 20 {
				_, _ = readBare(countConnections(t.Context(), &bare), &http.Client{Transport: bareTransport}, server.URL, "x")
				_, _ = v.Odometer(countConnections(t.Context(), &ours))
			}
			require.Equal(t, 1, bare, "the measure itself is off")
			require.LessOrEqual(t, ours, bare)
		})
	}
}

// redirected sends to another host, in the clear.
type redirected struct {
	http.RoundTripper
	host string
}

func (r redirected) RoundTrip(req *http.Request) (*http.Response, error) {
	req = req.Clone(req.Context())
	req.URL.Scheme, req.URL.Host = "http", r.host
	return r.RoundTripper.RoundTrip(req)
}

func countConnections(ctx context.Context, n *int) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(i httptrace.GotConnInfo) {
		if !i.Reused {
			*n++
		}
	}})
}

// TestMillionVehiclesFitInMemory books a turn for each of many keyless cars
// and looks at the heap.
func TestMillionVehiclesFitInMemory(t *testing.T) {
	vehicles := 1_000_000
	if testing.Short() || raceEnabled {
		vehicles = 100_000
	}
	db := store.NewMemory()
	before := heap()
	fillStore(t, db, vehicles)
	perVehicle := float64(heap()-before) / float64(vehicles)
	runtime.KeepAlive(db)
	t.Logf("%.0f bytes of heap a vehicle", perVehicle)
	require.LessOrEqual(t, perVehicle, 256.0)
}

func fillStore(tb testing.TB, db store.Store, vehicles int) {
	record := recordOfAUsedTurn(tb)
	for i := range vehicles {
		key := fmt.Sprintf("car/%08x-0000-4000-8000-000000000000", i)
		_, err := db.CompareAndSwap(tb.Context(), key, "", record, 90*24*time.Hour)
		require.NoError(tb, err)
	}
}

// recordOfAUsedTurn is what the policy stores of a keyless car whose turn was used.
func recordOfAUsedTurn(tb testing.TB) []byte {
	tb.Helper()
	db := store.NewMemory()
	_, user := connected(tb, smartcartest.New(), smartcar.WithStore(db))
	_, err := user.Vehicle(smartcartest.ModelY).Battery(tb.Context())
	require.NoError(tb, err)
	record, err := db.Load(tb.Context(), "car/"+smartcartest.ModelY)
	require.NoError(tb, err)
	return record.Value
}

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// allocations of one call of f: the least of a few counts, because the runtime
// allocates a little by itself.
func allocations(f func()) float64 {
	least := testing.AllocsPerRun(100, f)
	for range 4 {
		least = min(least, testing.AllocsPerRun(100, f))
	}
	return least
}

// countingStore counts the round trips that a shared store would cost.
type countingStore struct {
	store.Store
	trips atomic.Int64
}

func (s *countingStore) Load(ctx context.Context, key string) (store.Record, error) {
	s.trips.Add(1)
	return s.Store.Load(ctx, key)
}

func (s *countingStore) CompareAndSwap(ctx context.Context, key string, old store.Revision, value []byte, ttl time.Duration) (store.Record, error) {
	s.trips.Add(1)
	return s.Store.CompareAndSwap(ctx, key, old, value, ttl)
}

func (s *countingStore) during(f func()) int64 {
	before := s.trips.Load()
	f()
	return s.trips.Load() - before
}

func TestRoundTripsOfATurnAndOfARefusal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		db := &countingStore{Store: store.NewMemory()}
		_, user := connected(t, sim, smartcar.WithStore(db))
		v := user.Vehicle(smartcartest.ModelY)
		time.Sleep(100 * time.Microsecond) // records round: a refusal in the same millisecond must not mend them
		read := func() error { _, err := v.Battery(t.Context()); return err }
		require.NoError(t, read())

		require.Zero(t, db.during(func() { require.ErrorIs(t, read(), smartcar.ErrRateLimited) }), "a refusal that is known here")

		// A window later, with nothing else to learn on the way: the token and
		// the key status are fresh, and so is what is known of the user.
		time.Sleep(window + time.Millisecond)
		_, err := v.KeyStatus(t.Context())
		require.NoError(t, err)
		_, err = user.Vehicle(smartcartest.MachE).Attributes(t.Context())
		require.NoError(t, err)
		require.EqualValues(t, 2, db.during(func() { require.NoError(t, read()) }), "reserve and settle")
	})
}
