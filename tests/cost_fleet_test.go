package smartcar_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/internal/records"
	"github.com/seed-498a1bc4/smartcar/internal/users"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
	"github.com/seed-498a1bc4/smartcar/store"
	"github.com/stretchr/testify/require"
)

// oneCarForAll answers for any number of cars as the simulator does for its
// keyless one: it is asked once for each kind of request.
type oneCarForAll struct {
	sim   http.RoundTripper
	mu    sync.Mutex
	known map[string]*http.Response
	body  map[string][]byte
}

var anyOfFleet = regexp.MustCompile(`fleet-\d+`)

func fleetID(i int) string { return fmt.Sprintf("fleet-%029d", i) }

// fewSignals leaves of a list of signals what tells of the battery and of the key:
// all of it would outweigh what is measured.
func fewSignals(body []byte) []byte {
	var list struct {
		Data []json.RawMessage `json:"data"`
	}
	if json.Unmarshal(body, &list) != nil || len(list.Data) == 0 {
		return body
	}
	list.Data = slices.DeleteFunc(list.Data, func(signal json.RawMessage) bool {
		return !bytes.Contains(signal, []byte("tractionbattery")) && !bytes.Contains(signal, []byte("isdigitalkeypaired"))
	})
	body, _ = json.Marshal(list)
	return body
}

func (o *oneCarForAll) RoundTrip(r *http.Request) (*http.Response, error) {
	id := anyOfFleet.FindString(r.URL.Path)
	if id == "" {
		return o.sim.RoundTrip(r)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	key := anyOfFleet.ReplaceAllString(r.URL.Path, smartcartest.ModelY)
	if o.known[key] == nil {
		asked := r.Clone(r.Context())
		asked.URL.Path, asked.URL.RawPath = key, ""
		resp, err := o.sim.RoundTrip(asked)
		if err != nil {
			return nil, err
		}
		if o.body[key], err = io.ReadAll(resp.Body); err != nil {
			return nil, err
		}
		o.known[key], o.body[key] = resp, fewSignals(o.body[key])
	}
	resp := *o.known[key]
	resp.Request = r
	resp.Body = io.NopCloser(bytes.NewReader(bytes.ReplaceAll(o.body[key], []byte(smartcartest.ModelY), []byte(id))))
	return &resp, nil
}

type wallClock struct{ smartcar.Clock }

func (wallClock) Now() time.Time { return time.Now() }

// The first read of a car without its key costs the same for an owner of 500
// cars and for one of 10,000.
func TestFirstReadCostsTheSameForAnyNumberOfCars(t *testing.T) {
	const sample = 100
	type cost struct{ calls, allocated uint64 }
	first := func(t *testing.T, api smartcar.API, cars int) cost {
		sim := smartcartest.New()
		db := &countingStore{Store: store.NewMemory()}
		client := apiClient(t, sim, api, smartcar.WithStore(db), smartcar.WithHTTPClient(&http.Client{
			Transport: &oneCarForAll{sim: sim.Transport(), known: make(map[string]*http.Response), body: make(map[string][]byte)},
		}))
		user := client.User(connect(t, sim, client).UserID)
		ids := make([]string, cars-2*sample)
		for i := range ids {
			ids[i] = fleetID(i)
		}
		require.NoError(t, users.New(records.New(db, wallClock{}), wallClock{}, 0).AddCars(t.Context(), user.ID(), ids))
		read := func(from int) {
			for i := range sample {
				_, err := user.Vehicle(fleetID(from + i)).Battery(t.Context())
				require.NoError(t, err)
			}
		}
		read(cars - 2*sample) // a process that has read the others
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		calls := db.during(func() { read(cars - sample) })
		runtime.ReadMemStats(&after)
		_, err := user.Vehicle(fleetID(cars - 1)).Battery(t.Context())
		require.ErrorIs(t, err, smartcar.ErrRateLimited, "it is a car without its key")
		return cost{uint64(calls), (after.TotalAlloc - before.TotalAlloc) / sample}
	}
	for _, api := range []smartcar.API{smartcar.V2, smartcar.V3} {
		t.Run(string(api), func(t *testing.T) {
			few := first(t, api, 500)
			t.Logf("500 cars: %.1f calls of the store, %d bytes", float64(few.calls)/sample, few.allocated)
			for _, cars := range []int{3000, 10_000} {
				many := first(t, api, cars)
				t.Logf("%d cars: %.1f calls of the store, %d bytes", cars, float64(many.calls)/sample, many.allocated)
				require.LessOrEqual(t, 2*many.calls, 3*few.calls)
				require.LessOrEqual(t, 2*many.allocated, 3*few.allocated)
			}
		})
	}
}
