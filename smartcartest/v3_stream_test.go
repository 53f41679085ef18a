package smartcartest_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seed-498a1bc4/smartcar/smartcartest"
)

// slow is a paired car that takes three minutes for a command, and one without
// the key that takes as long to say so.
func slow() smartcartest.Option {
	return smartcartest.WithCars(
		smartcartest.Car{ID: "slow", Make: "TESLA", Integration: smartcartest.Streaming, Paired: true, SlowCommands: 3 * time.Minute},
		smartcartest.Car{ID: "keyless", Make: "TESLA", Integration: smartcartest.Streaming, SlowCommands: 3 * time.Minute},
	)
}

func TestV3StreamedResult(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := v3(t, slow())
		begun := time.Now()
		res, err := a.http.Do(a.request(http.MethodPost, v3car("slow", "/commands/security/unlock"), ""))
		require.NoError(t, err)
		require.Zero(t, time.Since(begun), "the header comes at once")
		require.Equal(t, http.StatusAccepted, res.StatusCode)
		require.EqualValues(t, -1, res.ContentLength)
		require.Empty(t, res.Header.Get("Content-Length"))
		var got execution
		require.NoError(t, json.NewDecoder(res.Body).Decode(&got))
		require.NoError(t, res.Body.Close())
		require.Equal(t, 3*time.Minute, time.Since(begun))
		require.Equal(t, "SUCCESS", got.Data.Attributes.Status.Value)
		require.Equal(t, 180, got.Data.Meta.DurationInSeconds)
		require.Equal(t, 202, a.sim.Ledger("slow")[0].Status)

		// What is known without asking the car is not streamed.
		a.post(v3car("slow", "/commands/charge/set-limit"), "").fails3(400, "VALIDATION", "")
	})
}

func TestV3StreamedErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for shape, find := range map[smartcartest.ErrorShape]func(map[string]any) any{
			smartcartest.ErrorList:   func(m map[string]any) any { return m["errors"].([]any)[0] },
			smartcartest.SingleError: func(m map[string]any) any { return m["error"] },
			smartcartest.BareError:   func(m map[string]any) any { return m },
		} {
			a := v3(t, slow(), smartcartest.WithVariants(smartcartest.Variants{StreamedError: shape}))
			for range 2 {
				res := a.post(v3car("keyless", "/commands/security/unlock"), "")
				require.Equal(t, 202, res.status)
				var body map[string]any
				require.NoError(t, json.Unmarshal(res.body, &body))
				e := find(body).(map[string]any)
				require.Equal(t, "CONNECTED_SERVICES_ACCOUNT", e["type"])
				require.Equal(t, "400", e["status"], "the body contradicts the status line")
				// The same from a fault, whatever the car would say.
				a.sim.Inject(smartcartest.Fault{Accepted: true, ErrorType: "CONNECTED_SERVICES_ACCOUNT", ErrorCode: "ACCOUNT_ISSUE", ErrorShape: shape, LatencyAfter: time.Minute})
			}
		}
	})
}

func TestV3StreamDropped(t *testing.T) {
	drop := func(t *testing.T, a *api) {
		t.Helper()
		a.sim.Inject(smartcartest.Fault{Path: "/unlock", Accepted: true, DropAfter: true, LatencyAfter: time.Millisecond})
		res, err := a.http.Do(a.request(http.MethodPost, v3car("slow", "/commands/security/unlock"), ""))
		require.NoError(t, err)
		require.Equal(t, http.StatusAccepted, res.StatusCode)
		_, err = io.ReadAll(res.Body)
		require.ErrorIs(t, err, io.ErrUnexpectedEOF)
		require.NoError(t, res.Body.Close())
		ledger := a.sim.Ledger("slow")
		require.True(t, ledger[len(ledger)-1].Executed && ledger[len(ledger)-1].Dropped)
	}
	fast := smartcartest.WithCars(smartcartest.Car{ID: "slow", Make: "FORD", SlowCommands: time.Millisecond})
	t.Run("in memory", func(t *testing.T) { drop(t, v3(t, fast)) })
	t.Run("over a socket", func(t *testing.T) {
		a := v3(t, fast)
		origin, stop, err := a.sim.Start()
		require.NoError(t, err)
		defer stop()
		a.origin, a.http = origin, &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		drop(t, a)
		res := a.post(v3car("slow", "/commands/security/lock"), "")
		require.Equal(t, 202, res.status)
		require.Contains(t, string(res.body), `"SUCCESS"`)
		require.Empty(t, res.header.Get("Content-Length"))
	})
}

func TestV3StreamEndsWithTheRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := v3(t, slow())
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		res, err := a.http.Do(a.request(http.MethodPost, v3car("slow", "/commands/security/lock"), "").WithContext(ctx))
		require.NoError(t, err)
		_, err = io.ReadAll(res.Body)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.NoError(t, res.Body.Close())
		require.True(t, a.sim.Ledger("slow")[0].Executed)

		// Closing frees a reader, and nobody else is held up meanwhile.
		res, err = a.http.Do(a.request(http.MethodPost, v3car("slow", "/commands/security/lock"), ""))
		require.NoError(t, err)
		ended := make(chan error, 1)
		go func() { _, err := io.ReadAll(res.Body); ended <- err }()
		synctest.Wait()
		begun := time.Now()
		a.get(v3car("slow", "")).ok(nil)
		require.NoError(t, res.Body.Close())
		require.ErrorIs(t, <-ended, http.ErrBodyReadAfterClose)
		require.Zero(t, time.Since(begun))
		timed := &http.Client{Transport: a.sim.Transport(), Timeout: 2 * time.Second}
		res, err = timed.Do(a.request(http.MethodPost, v3car("slow", "/commands/security/lock"), ""))
		require.NoError(t, err)
		_, err = io.ReadAll(res.Body)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.NoError(t, res.Body.Close())
	})
}
