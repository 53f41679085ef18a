package smartcar_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
	"github.com/seed-498a1bc4/smartcar/store"
	"github.com/stretchr/testify/require"
)

// A turn that was taken with what a look at the key has shown, and whose request does not
// leave, is given back, whatever is done while the store is away.
func TestTurnTakenWithALookIsGivenBack(t *testing.T) {
	for name, policy := range map[string]smartcar.StorePolicy{"default": {}, "send everything": {SendKeyless: true}} {
		t.Run("the caller leaves, "+name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sim := smartcartest.New()
				db := newSpoiledStore()
				_, user := connected(t, sim, smartcar.WithStore(db), smartcar.WithStorePolicy(policy))
				v := user.Vehicle(smartcartest.ModelY)
				ctx, leave := context.WithCancel(t.Context())
				db.after = func(key string, _ []byte) error {
					if strings.HasPrefix(key, "car/") && len(statusReads(sim)) == 1 && ctx.Err() == nil {
						leave()
						return errStoreDown
					}
					return nil
				}
				_, err := v.Odometer(ctx)
				require.ErrorIs(t, err, context.Canceled)
				require.Zero(t, countedData(sim, v.ID()))
				_, err = v.Odometer(t.Context())
				require.NoError(t, err)
			})
		})
		t.Run("the clock of the store is set, "+name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sim := smartcartest.New()
				db := newSteppingStore(store.NewMemory())
				transport := roundTripper(func(r *http.Request) (*http.Response, error) {
					if strings.HasSuffix(r.URL.Path, "/tesla/virtual_key") {
						db.step(2 * time.Hour)
					}
					return sim.Transport().RoundTrip(r)
				})
				_, user := connected(t, sim, smartcar.WithStore(db), smartcar.WithStorePolicy(policy),
					smartcar.WithHTTPClient(&http.Client{Transport: transport}))
				_, err := user.Vehicle(smartcartest.ModelY).Odometer(t.Context())
				require.NoError(t, err)
			})
		})
	}
}
