package smartcartest_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seed-498a1bc4/smartcar/smartcartest"
)

// closer notices that a body has been closed.
type closer struct {
	io.Reader
	closed bool
}

func (c *closer) Close() error { c.closed = true; return nil }

var errBroken = errors.New("broken")

type errReader struct{}

func (errReader) Read([]byte) (int, error) { return 0, errBroken }

func TestTransportContract(t *testing.T) {
	a := connected(t)
	body := &closer{Reader: strings.NewReader("{}")}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://api.smartcar.com/v2.0/user", body)
	require.NoError(t, err)
	_, err = a.sim.Transport().RoundTrip(req)
	require.ErrorIs(t, err, context.Canceled)
	require.True(t, body.closed)

	body = &closer{Reader: errReader{}}
	req, err = http.NewRequest(http.MethodPost, "https://api.smartcar.com/v2.0/user", body)
	require.NoError(t, err)
	_, err = a.sim.Transport().RoundTrip(req)
	require.ErrorIs(t, err, errBroken)
	require.True(t, body.closed)

	a.sim.Inject(smartcartest.Fault{DropAfter: true})
	_, err = a.try(http.MethodGet, "/v2.0/user", "")
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
}

// TestConcurrentUse is for the race detector; the ledger has to add up.
func TestConcurrentUse(t *testing.T) {
	a := connected(t, stopped())
	a.sim.Inject(smartcartest.Fault{Times: -1, Probability: 0.3, Path: "/odometer", DropAfter: true})
	var wait sync.WaitGroup
	for range 8 {
		wait.Go(func() {
			for range 25 {
				_, _ = a.try(http.MethodGet, car(modelY, "/odometer"), "")
				_, _ = a.try(http.MethodPost, car(smartcartest.Model3, "/security"), `{"action":"LOCK"}`)
				a.sim.Ledger(modelY)
				a.sim.BrokenWindows(modelY)
				a.sim.Requests()
				a.sim.Advance(time.Second)
			}
		})
	}
	wait.Wait()
	require.Len(t, a.sim.Ledger(modelY), 200)
	require.Len(t, a.sim.BrokenWindows(modelY), 199)
	require.Len(t, a.sim.Ledger(smartcartest.Model3), 200)
}

// TestNetHTTPRepeats shows why a dropped connection has to be real: net/http
// repeats a GET on a kept connection, and the car is asked twice.
func TestNetHTTPRepeats(t *testing.T) {
	a := connected(t)
	origin, stop, err := a.sim.Start()
	require.NoError(t, err)
	defer stop()
	a.origin, a.http = origin, &http.Client{Transport: &http.Transport{}}
	defer a.http.CloseIdleConnections()
	a.get("/v2.0/user").ok(nil) // opens the connection that is kept
	a.sim.Inject(smartcartest.Fault{DropAfter: true})
	a.get(car(modelY, "/battery")).fails(429, "RATE_LIMIT", "VEHICLE")
	require.Len(t, a.sim.Ledger(modelY), 2)
	require.Len(t, a.sim.BrokenWindows(modelY), 1)
}
