package smartcar_test

import (
	"encoding/json"
	"testing"
	"testing/synctest"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
	"github.com/stretchr/testify/require"
)

// A page that lists many cars asks nobody, and knows as much as the store.
func TestKnownAccessAsksNobody(t *testing.T) {
	bothAPIs(t, func(t *testing.T, sim *smartcartest.Server, _ *smartcar.Client, user *smartcar.User) {
		v := user.Vehicle(smartcartest.Cybertruck)
		before := len(sim.Requests())
		access, err := v.KnownAccess(t.Context())
		require.NoError(t, err)
		require.Equal(t, smartcar.ClassUnknown, access.Class)
		require.Equal(t, smartcar.KeyNeedUnknown, access.KeyNeed)
		require.Contains(t, access.Why, "nobody has asked about this car yet")
		require.Len(t, sim.Requests(), before)

		_, err = v.Battery(t.Context())
		require.NoError(t, err)
		want, err := v.Access(t.Context())
		require.NoError(t, err)
		before = len(sim.Requests())
		access, err = v.KnownAccess(t.Context())
		require.NoError(t, err)
		require.Equal(t, want, access)
		require.Equal(t, smartcar.KeyRequired, access.KeyNeed)
		require.True(t, access.NeedsKey)
		require.Len(t, sim.Requests(), before)
	})
}

func TestAccessSaysWhichCarsTakeNoKey(t *testing.T) {
	bothAPIs(t, func(t *testing.T, _ *smartcartest.Server, _ *smartcar.Client, user *smartcar.User) {
		for _, id := range []string{smartcartest.ModelS2018, smartcartest.MachE} {
			access, err := user.Vehicle(id).Access(t.Context())
			require.NoError(t, err)
			require.Equal(t, smartcar.KeyNotRequired, access.KeyNeed)
			text, err := json.Marshal(access)
			require.NoError(t, err)
			require.Contains(t, string(text), `"KeyNeed":"not-required","Key":{"State":"unknown"`)
			require.NotContains(t, string(text), "0001-01-01", "what is not known is not a time")
			var back smartcar.Access
			require.NoError(t, json.Unmarshal([]byte(`{"Key":{"State":"unknown"}}`), &back))
			require.Equal(t, smartcar.KeyUnknown, back.Key.State)
			require.NoError(t, json.Unmarshal([]byte(`{"Key":{"State":"missing"}}`), &back))
			require.Equal(t, smartcar.KeyMissing, back.Key.State)
		}
	})
}

// Signals are written with their values, each by its code.
func TestSignalsAsJSON(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		all, err := onV3(t, sim).Vehicle(smartcartest.Model3).Signals(t.Context())
		require.NoError(t, err)
		text, err := json.Marshal(all)
		require.NoError(t, err)
		var out map[string]struct {
			Body         json.RawMessage
			OEMUpdatedAt string
			Error        string
		}
		require.NoError(t, json.Unmarshal(text, &out))
		require.Len(t, out, all.Len())
		require.JSONEq(t, `{"value":80,"unit":"percent"}`, string(out["tractionbattery-stateofcharge"].Body))
		require.NotEmpty(t, out["tractionbattery-stateofcharge"].OEMUpdatedAt)
		require.Contains(t, out["charge-chargerate"].Error, "VEHICLE_STATE")
		require.Contains(t, out, "location-preciselocation")

		one, err := onV3(t, sim).Vehicle(smartcartest.Model3).Signal(t.Context(), "odometer-traveleddistance")
		require.NoError(t, err)
		text, err = json.Marshal(one)
		require.NoError(t, err)
		require.NotContains(t, string(text), "location", "it was not asked for")
		text, err = json.Marshal(&smartcar.Signals{})
		require.NoError(t, err)
		require.JSONEq(t, `{}`, string(text))
	})
}
