package smartcar_test

import (
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
	"github.com/stretchr/testify/require"
)

// A limit of a car that has its key is looked into once, because the key may
// have gone, and then holds: that the key is still there does not lift it.
func TestLimitOfAPairedCarHolds(t *testing.T) {
	for _, api := range []smartcar.API{smartcar.V2, smartcar.V3} {
		t.Run(string(api), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sim := smartcartest.New()
				client := apiClient(t, sim, api)
				v := client.User(connect(t, sim, client).UserID).Vehicle(smartcartest.Model3)
				_, err := v.Battery(t.Context())
				require.NoError(t, err)
				sim.Inject(smartcartest.Fault{
					ErrorType: "RATE_LIMIT", ErrorCode: "VEHICLE", Header: http.Header{"Retry-After": {"600"}}, Times: -1,
					Match: func(r *http.Request) bool {
						return strings.HasSuffix(r.URL.Path, "/battery") || strings.HasSuffix(r.URL.Path, "/signals")
					},
				})
				until := time.Now().Add(10 * time.Minute)
				for range 60 {
					_, err = v.Battery(t.Context())
					require.ErrorIs(t, err, smartcar.ErrRateLimited)
					next, ok := smartcar.NextAllowed(err)
					require.True(t, ok)
					require.Equal(t, until.UTC(), next)
					time.Sleep(5 * time.Second)
				}
				require.Equal(t, 1, requestsWith(sim, http.StatusTooManyRequests))
			})
		})
	}
}

// A limit from before pairing is worth nothing after it.
func TestLimitFromBeforePairingEndsWithIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		client := apiClient(t, sim, smartcar.V2)
		v := client.User(connect(t, sim, client).UserID).Vehicle(smartcartest.ModelY)
		_, err := v.With(smartcar.IgnorePolicy()).Battery(t.Context())
		require.NoError(t, err)
		_, err = v.With(smartcar.IgnorePolicy()).Battery(t.Context())
		require.ErrorIs(t, err, smartcar.ErrRateLimited)
		require.NoError(t, sim.Pair(smartcartest.ModelY))
		time.Sleep(time.Minute)
		status, err := v.KeyStatus(t.Context())
		require.NoError(t, err)
		require.Equal(t, smartcar.KeyInstalled, status.State)
		_, err = v.Battery(t.Context())
		require.NoError(t, err)
	})
}

func requestsWith(sim *smartcartest.Server, status int) (n int) {
	for _, r := range sim.Requests() {
		if r.Status == status {
			n++
		}
	}
	return n
}
