package smartcar_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
	"github.com/stretchr/testify/require"
)

func TestStorePolicyChoosesWhatIsSentWithoutTheStore(t *testing.T) {
	for name, tt := range map[string]struct {
		policy                  smartcar.StorePolicy
		keyless, paired, unlock bool // sent
	}{
		"default":           {smartcar.StorePolicy{}, false, true, true},
		"send everything":   {smartcar.StorePolicy{SendKeyless: true}, true, true, true},
		"refuse everything": {smartcar.StorePolicy{RefuseOthers: true}, false, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sim := smartcartest.New()
				store := newSpoiledStore()
				_, user := connected(t, sim, smartcar.WithStore(store), smartcar.WithStorePolicy(tt.policy))
				for _, id := range []string{smartcartest.Model3, smartcartest.ModelY} {
					_, err := user.Vehicle(id).Access(t.Context())
					require.NoError(t, err)
				}
				store.goDown()
				time.Sleep(2 * time.Minute)
				expect := func(sent bool, err error) {
					t.Helper()
					if sent {
						require.NoError(t, err)
						return
					}
					var limited *smartcar.RateLimitError
					require.ErrorAs(t, err, &limited)
					require.Equal(t, smartcar.RuleStore, limited.Rule)
					require.ErrorIs(t, err, smartcar.ErrStore)
				}
				_, err := user.Vehicle(smartcartest.ModelY).Battery(t.Context())
				expect(tt.keyless, err)
				_, err = user.Vehicle(smartcartest.Model3).Battery(t.Context())
				expect(tt.paired, err)
				_, err = user.Vehicle(smartcartest.Model3).Unlock(t.Context())
				expect(tt.unlock, err)
			})
		})
	}
}
