package smartcartest_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seed-498a1bc4/smartcar/smartcartest"
)

func TestV3Variants(t *testing.T) {
	plain := v3(t, smartcartest.WithCars(smartcartest.Car{ID: "t", Make: "TESLA", Charging: true, Battery: 0.1, Unavailable: []string{"odometer-traveleddistance"}}))
	require.Equal(t, "UNAVAILABLE", signalsOf(plain, "t")["odometer-traveleddistance"].Attributes.Status.Value)
	a := v3(t, smartcartest.WithCars(smartcartest.Car{ID: "t", Make: "TESLA", Charging: true, Battery: 0.1}), smartcartest.WithVariants(smartcartest.Variants{
		UnitAliases: true, EpochTimes: true, RelativeLinks: true, BareSignal: true, NamedClosures: true,
	}))
	type loose struct {
		Attributes struct{ Body map[string]any }
		Meta       struct{ OEMUpdatedAt int64 }
		Links      struct{ Self string }
	}
	for code, unit := range map[string]string{
		"odometer-traveleddistance": "kilometers", "charge-wattage": "watt", "charge-timetocomplete": "min", "charge-chargerate": "kph", "motion-currentspeed": "km/h",
	} {
		var got loose
		a.get(v3car("t", "/signals/"+code)).ok(&got)
		require.Equal(t, unit, got.Attributes.Body["unit"])
		require.Equal(t, a.sim.Now().Truncate(time.Minute).UnixMilli(), got.Meta.OEMUpdatedAt)
		require.Equal(t, "/vehicles/t/signals/"+code, got.Links.Self)
	}
	var doors loose
	a.get(v3car("t", "/signals/closure-doors")).ok(&doors)
	require.Len(t, doors.Attributes.Body["doors"], 4)
	a = v3(t, smartcartest.WithVariants(smartcartest.Variants{NoUnits: true, NullPowertrain: true}))
	require.NotContains(t, signalsOf(a, smartcartest.Model3)["charge-timetocomplete"].Attributes.Body, "unit")
	require.Contains(t, string(a.get(v3car(smartcartest.Model3, "")).body), `"powertrainType":null`)
}

func TestV3ListVariants(t *testing.T) {
	a := v3(t, smartcartest.WithCars(smartcartest.Car{ID: "t", Make: "TESLA"}), smartcartest.WithVariants(smartcartest.Variants{
		PlainPaging: true, ShortSignals: true, NumericStatus: true,
	}))
	var list struct {
		Data []any
		Meta struct{ Page, TotalCount int }
	}
	a.get(v3car("t", "/signals")).ok(&list)
	require.Len(t, list.Data, 46)
	require.Equal(t, 93, list.Meta.TotalCount)
	require.Equal(t, 1, list.Meta.Page)
	require.Contains(t, string(a.get("/v3/connections?page[size]=1").body), `"previous":null`)
	require.Contains(t, string(a.get(v3car("unknown", "")).body), `"status":404`)
}
