package smartcartest_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seed-498a1bc4/smartcar/smartcartest"
)

func TestDropBefore(t *testing.T) {
	everywhere(t, func(t *testing.T, a *api) {
		a.sim.Inject(smartcartest.Fault{Path: "/battery", DropBefore: true})
		_, err := a.try(http.MethodGet, car(modelY, "/battery"), "")
		require.Error(t, err)
		require.Empty(t, a.sim.Ledger(modelY), "it never reached the car")
		a.get(car(modelY, "/battery")).ok(nil)
		require.Empty(t, a.sim.BrokenWindows(modelY))
		requests := a.sim.Requests()
		require.True(t, requests[len(requests)-2].Dropped)
		require.Zero(t, requests[len(requests)-2].Status)
	})
}

func TestDropAfter(t *testing.T) {
	everywhere(t, func(t *testing.T, a *api) {
		a.sim.Inject(smartcartest.Fault{Path: "/battery", DropAfter: true})
		_, err := a.try(http.MethodGet, car(modelY, "/battery"), "")
		require.Error(t, err)
		a.get(car(modelY, "/battery")).fails(429, "RATE_LIMIT", "VEHICLE")
		ledger := a.sim.Ledger(modelY)
		require.True(t, ledger[0].Dropped && ledger[0].Counted)
		require.Equal(t, 200, ledger[0].Status)
		require.Len(t, a.sim.BrokenWindows(modelY), 1)

		a.sim.Inject(smartcartest.Fault{Match: func(r *http.Request) bool { return r.Method == http.MethodPost }, DropAfter: true})
		_, err = a.try(http.MethodPost, car(smartcartest.Model3, "/security"), `{"action":"UNLOCK"}`)
		require.Error(t, err)
		require.False(t, locked(a, smartcartest.Model3), "the command ran")
	})
}

func TestInjectedAnswers(t *testing.T) {
	everywhere(t, func(t *testing.T, a *api) {
		path := car(modelY, "/battery")
		a.sim.Inject(smartcartest.Fault{ErrorType: "UPSTREAM", ErrorCode: "NO_RESPONSE", Times: 2})
		for range 2 {
			f := a.get(path).fails(502, "UPSTREAM", "NO_RESPONSE")
			require.Equal(t, "RETRY_LATER", *f.Resolution.Type)
		}
		require.False(t, a.sim.Ledger(modelY)[0].AtGate)

		a.sim.Inject(smartcartest.Fault{Status: 503, Header: http.Header{"retry-after": {"7"}}})
		res := a.get(path)
		require.Equal(t, 503, res.status)
		require.Equal(t, "7", res.header.Get("Retry-After"))
		require.Contains(t, res.header.Get("Content-Type"), "text/html")

		a.sim.Inject(smartcartest.Fault{ErrorType: "VEHICLE_STATE", ErrorCode: "BRAND_NEW"})
		a.get(path).fails(409, "VEHICLE_STATE", "BRAND_NEW")

		a.sim.Inject(smartcartest.Fault{ErrorType: "SERVER", ErrorCode: "INTERNAL", AfterProcessing: true})
		a.get(path).fails(500, "SERVER", "INTERNAL")
		a.get(path).fails(429, "RATE_LIMIT", "VEHICLE")
		require.Len(t, a.sim.BrokenWindows(modelY), 1)

		a.sim.Inject(smartcartest.Fault{Status: 200, Body: `{"percentRemaining":null}`})
		require.JSONEq(t, `{"percentRemaining":null}`, string(a.get(path).ok(nil).body))

		a.sim.Inject(smartcartest.Fault{Malformed: true})
		broken := a.get(car(smartcartest.Model3, "/battery"))
		require.Equal(t, 200, broken.status)
		require.False(t, json.Valid(broken.body))

		a.sim.Inject(smartcartest.Fault{Times: -1, Path: "/odometer", Status: 502})
		for range 5 {
			require.Equal(t, 502, a.get(car(smartcartest.Model3, "/odometer")).status)
		}
		a.sim.ClearFaults()
		a.get(car(smartcartest.Model3, "/odometer")).ok(nil)
	})
}

func TestInjectedOAuthErrors(t *testing.T) {
	a := connected(t)
	a.sim.Inject(smartcartest.Fault{Path: "/oauth/token", ErrorType: "server_error"})
	a.renew("x").oauth(500, "server_error")
	a.sim.Inject(smartcartest.Fault{Path: "/oauth/token", ErrorType: "invalid_grant"})
	a.renew("x").oauth(400, "invalid_grant")
	require.Equal(t, 1, a.sim.TokenRequests(), "those were not processed")
}

func TestLatencyAndContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := connected(t)
		a.sim.Inject(smartcartest.Fault{Latency: 3 * time.Second})
		begun := time.Now()
		a.get(car(smartcartest.Model3, "/battery")).ok(nil)
		require.Equal(t, 3*time.Second, time.Since(begun))

		slow := func(f smartcartest.Fault) {
			t.Helper()
			a.sim.Inject(f)
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			_, err := a.http.Do(a.request(http.MethodGet, car(modelY, "/battery"), "").WithContext(ctx))
			require.ErrorIs(t, err, context.DeadlineExceeded)
		}
		slow(smartcartest.Fault{Latency: time.Hour})
		require.Empty(t, a.sim.Ledger(modelY), "the client left before it was processed")
		slow(smartcartest.Fault{LatencyAfter: time.Hour})
		require.True(t, a.sim.Ledger(modelY)[0].Counted, "the client left after it was processed")

		a.sim.Inject(smartcartest.Fault{LatencyAfter: time.Hour})
		timed := &http.Client{Transport: a.sim.Transport(), Timeout: 2 * time.Second}
		begun = time.Now()
		_, err := timed.Do(a.request(http.MethodGet, "/v2.0/user", ""))
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, 2*time.Second, time.Since(begun))

		// A slow request holds nobody up.
		a.sim.Inject(smartcartest.Fault{Latency: time.Hour, Path: modelY})
		var wait sync.WaitGroup
		wait.Go(func() { _, _ = a.try(http.MethodGet, car(modelY, "/vin"), "") })
		synctest.Wait()
		begun = time.Now()
		a.get(car(smartcartest.Model3, "/battery")).ok(nil)
		require.Zero(t, time.Since(begun))
		wait.Wait()
	})
}

func TestProbability(t *testing.T) {
	outcome := func(seed uint64) (out []int) {
		a := connected(t, smartcartest.WithSeed(seed))
		a.sim.Inject(smartcartest.Fault{Path: "/user", Times: -1, Probability: 0.5, Status: 500})
		for range 40 {
			out = append(out, a.get("/v2.0/user").status)
		}
		return out
	}
	one := outcome(1)
	require.Equal(t, one, outcome(1))
	require.NotEqual(t, one, outcome(2))
	require.Contains(t, one, 200)
	require.Contains(t, one, 500)
}

func TestMatchReadsTheBody(t *testing.T) {
	a := connected(t)
	a.sim.Inject(smartcartest.Fault{Status: 500, Match: func(r *http.Request) bool {
		b, _ := io.ReadAll(r.Body)
		return strings.Contains(string(b), "UNLOCK")
	}})
	path := car(smartcartest.Model3, "/security")
	a.post(path, `{"action":"LOCK"}`).ok(nil)
	require.Equal(t, 500, a.post(path, `{"action":"UNLOCK"}`).status)
}
