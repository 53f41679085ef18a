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

// bodyOf reads the body of one signal.
func bodyOf(a *api, id, code string) map[string]any {
	a.t.Helper()
	var got struct {
		Data struct{ Attributes struct{ Body map[string]any } }
	}
	a.get(v3car(id, "/signals/"+code)).ok(&got)
	return got.Data.Attributes.Body
}

func TestV3TireVariants(t *testing.T) {
	tires := func(shape smartcartest.TireShape) (unit any, pressures map[[2]float64]any) {
		body := bodyOf(v3(t, smartcartest.WithVariants(smartcartest.Variants{Tires: shape})), smartcartest.Model3, "wheel-tires")
		pressures = map[[2]float64]any{}
		for _, one := range body["values"].([]any) {
			tire := one.(map[string]any)
			pressures[[2]float64{tire["row"].(float64), tire["column"].(float64)}] = tire["tirePressure"]
		}
		return body["unit"], pressures
	}
	unit, pressures := tires(smartcartest.TiresInKPa)
	kPa := map[[2]float64]any{{0, 0}: 219.1, {0, 1}: 219.0, {1, 0}: 219.3, {1, 1}: 219.2}
	require.Equal(t, "kPa", unit)
	require.Equal(t, kPa, pressures)
	unit, pressures = tires(smartcartest.TiresUnlabeled)
	require.Nil(t, unit)
	require.Equal(t, kPa, pressures)
	unit, pressures = tires(smartcartest.TiresInBar)
	require.Equal(t, "kPa", unit)
	require.Equal(t, map[[2]float64]any{{0, 0}: 2.191, {0, 1}: 2.19, {1, 0}: 2.193, {1, 1}: 2.192}, pressures)
	unit, pressures = tires(smartcartest.TiresLabeledBar)
	kPa[[2]float64{0, 1}] = 699.9
	require.Equal(t, "bar", unit)
	require.Equal(t, kPa, pressures)
	list := bodyOf(v3(t, smartcartest.WithVariants(smartcartest.Variants{Tires: smartcartest.TiresLabeledBar})), smartcartest.Model3, "wheel-tires")["values"]
	require.InDelta(t, 1, at(list, 0, "row"), 0, "in no order")
}

func TestV3TimeVariants(t *testing.T) {
	for want, v := range map[string]smartcartest.Variants{
		`"oemUpdatedAt":1795435200000.0,`:                 {EpochTimes: true, FractionTimes: true},
		`"oemUpdatedAt":"2026-11-23T14:00:00.000+02:00",`: {OffsetTimes: true},
		`"oemUpdatedAt":0,`:                               {UnknownTimes: smartcartest.ZeroTime},
		`"oemUpdatedAt":null,`:                            {UnknownTimes: smartcartest.NullTime},
	} {
		a := v3(t, smartcartest.WithVariants(v))
		require.Contains(t, string(a.get(v3car(smartcartest.Model3, "/signals/odometer-traveleddistance")).ok(nil).body), want)
	}
}

func TestV3NameAndUnitVariants(t *testing.T) {
	cars := smartcartest.WithCars(smartcartest.Car{ID: "f", Make: "BMW", Powertrain: "PHEV"}, smartcartest.Car{ID: "t", Make: "TESLA", Plugged: true})
	plain := v3(t, cars)
	require.Equal(t, "Range", signalsOf(plain, "f")["internalcombustionengine-range"].Attributes.Name)
	require.Equal(t, "invalid", bodyOf(plain, "f", "charge-chargingconnectortype")["value"], "nothing is plugged in")
	require.Equal(t, "IEC", bodyOf(plain, "t", "charge-chargingconnectortype")["value"])

	odd := v3(t, cars, smartcartest.WithVariants(smartcartest.Variants{NoUnits: true, WrongNames: true, OEMBodies: true, UnitAliases: true}))
	fuel := signalsOf(odd, "f")["internalcombustionengine-range"]
	require.Equal(t, "FuelLevel", fuel.Attributes.Name)
	require.Equal(t, map[string]any{"value": 40.5}, fuel.Attributes.Body)
	require.Equal(t, map[string]any{"value": 0.3}, bodyOf(odd, "f", "internalcombustionengine-fuellevel"))
	require.Equal(t, "SINGLE_PHASE", bodyOf(odd, "t", "charge-chargerphases")["value"])
	require.Equal(t, map[string]any{"isOpen": true}, bodyOf(odd, "t", "charge-ischargingportflapopen"))
	require.Equal(t, map[string]any{"values": []any{}, "activeLimit": 80.0, "unit": "percent"}, bodyOf(odd, "t", "charge-chargelimits"))
	require.Equal(t, "kWhr", bodyOf(odd, "t", "tractionbattery-nominalcapacity")["unit"])
	require.Equal(t, "amps", bodyOf(odd, "t", "charge-amperagemax")["unit"])
}

func TestV3SignalErrorsAsCaptured(t *testing.T) {
	failed := func(a *api, code string) (status, meta, body any) {
		t.Helper()
		var list any
		a.get(v3car("t", "/signals")).ok(&list)
		for _, one := range at(list, "data").([]any) {
			if at(one, "id") == code {
				return at(one, "attributes", "status", "error"), at(one, "meta"), at(one, "attributes", "body")
			}
		}
		return nil, nil, nil
	}
	cars := smartcartest.WithCars(smartcartest.Car{ID: "t", Make: "TESLA", Unsupported: []string{"closure-sunroof"}})
	for _, described := range []bool{false, true} {
		a := v3(t, cars, smartcartest.WithVariants(smartcartest.Variants{DescribedErrors: described}))
		require.NoError(t, a.sim.SetPermissions("t", "read_charge", "read_security", "read_fuel"))
		connectedAt := a.sim.Now().Format(time.RFC3339)[:19]
		a.sim.Advance(30 * time.Minute)

		status, meta, body := failed(a, "odometer-traveleddistance")
		want := map[string]any{
			"type": "PERMISSION", "code": "UNKNOWN", "title": "Unknown", "resolution": map[string]any{"type": "REAUTHENTICATE"},
			"detail": at(status, "detail"),
		}
		if described {
			want["description"] = "Deprecated. Use detail"
		}
		require.Equal(t, want, status)
		require.Nil(t, body)
		require.Contains(t, at(meta, "ingestedAt"), connectedAt, "an error keeps the date at which it arose")

		status, meta, body = failed(a, "internalcombustionengine-range")
		require.Equal(t, "Vehicle Not Capable", at(status, "title"))
		require.Equal(t, "UNKNOWN_RESOLUTION_TYPE", at(status, "resolution", "type"))
		require.Nil(t, body)
		require.Len(t, meta, 1)

		status, meta, body = failed(a, "closure-sunroof")
		require.Equal(t, "VEHICLE_NOT_CAPABLE", at(status, "code"))
		require.Equal(t, map[string]any{"isOpen": nil}, body)
		require.Len(t, meta, 3)

		status, _, body = failed(a, "charge-wattage")
		require.Equal(t, "NOT_CHARGING", at(status, "code"))
		require.Equal(t, map[string]any{"value": 8000.0, "unit": "watts"}, body, "of long ago")
	}
}
