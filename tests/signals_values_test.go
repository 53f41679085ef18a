package smartcar_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/signals"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
	"github.com/stretchr/testify/require"
)

// borderSignals reads signals with the given bodies, on API v3.
func borderSignals(t *testing.T, bodies map[signals.Code]string) (*smartcar.Vehicle, *smartcar.Signals) {
	t.Helper()
	entries := make([]string, 0, len(bodies))
	for code, body := range bodies {
		entries = append(entries, fmt.Sprintf(`{"id":%q,"attributes":{"code":%q,"status":{"value":"SUCCESS"},"body":%s}}`, code, code, body))
	}
	v := borderVehicleOf(t, smartcartest.MachE, smartcar.V3, 200, `{"data":[`+strings.Join(entries, ",")+`]}`, "application/json", "/signals")
	all, err := v.Signals(t.Context())
	require.NoError(t, err)
	return v, all
}

// Case 17: a number decides against its label, if only the other unit can be true.
func TestTirePressuresAreThoseThatATireCanHave(t *testing.T) {
	t.Parallel()
	const none = -1
	for name, tt := range map[string]struct {
		unit     string // as it is sent, "" for none
		sent     [4]float64
		kPa      [4]float64 // none is no reading
		believed smartcar.Unit
		in       [4]float64
	}{
		"kPa":                     {"kPa", [4]float64{250, 251, 252, 253}, [4]float64{250, 251, 252, 253}, smartcar.UnitKilopascals, [4]float64{250, 251, 252, 253}},
		"bar":                     {"bar", [4]float64{2.5, 2.51, 2.52, 2.53}, [4]float64{250, 251, 252, 253}, smartcar.UnitBars, [4]float64{2.5, 2.51, 2.52, 2.53}},
		"psi":                     {"psi", [4]float64{36, 36, 36, 36}, [4]float64{248.2, 248.2, 248.2, 248.2}, smartcar.UnitPSI, [4]float64{36, 36, 36, 36}},
		"no unit":                 {"", [4]float64{250, 251, 252, 253}, [4]float64{250, 251, 252, 253}, smartcar.UnitKilopascals, [4]float64{250, 251, 252, 253}},
		"case 17: kPa as bar":     {"bar", [4]float64{268, 268, 268, 270}, [4]float64{268, 268, 268, 270}, smartcar.UnitKilopascals, [4]float64{268, 268, 268, 270}},
		"case 17: with 699.9":     {"bar", [4]float64{258, 258, 258, 699.9}, [4]float64{258, 258, 258, none}, smartcar.UnitKilopascals, [4]float64{258, 258, 258, none}},
		"699.9 kPa":               {"kPa", [4]float64{258, 699.9, 258, 258}, [4]float64{258, none, 258, 258}, smartcar.UnitKilopascals, [4]float64{258, none, 258, 258}},
		"only 699.9":              {"bar", [4]float64{699.9, 699.9, 699.9, 699.9}, [4]float64{none, none, none, none}, smartcar.UnitBars, [4]float64{none, none, none, none}},
		"bar as kPa":              {"kPa", [4]float64{2.5, 2.51, 2.52, 2.53}, [4]float64{250, 251, 252, 253}, smartcar.UnitBars, [4]float64{2.5, 2.51, 2.52, 2.53}},
		"bar without a unit":      {"", [4]float64{2.5, 2.51, 2.52, 2.53}, [4]float64{250, 251, 252, 253}, smartcar.UnitBars, [4]float64{2.5, 2.51, 2.52, 2.53}},
		"one of them as bar":      {"kPa", [4]float64{250, 2.51, 252, 253}, [4]float64{250, 251, 252, 253}, smartcar.UnitKilopascals, [4]float64{250, 251, 252, 253}},
		"one of them as kPa":      {"bar", [4]float64{2.5, 251, 2.52, 2.53}, [4]float64{250, 251, 252, 253}, smartcar.UnitBars, [4]float64{2.5, 2.51, 2.52, 2.53}},
		"flat, and below nothing": {"kPa", [4]float64{0, 250, 250, -5}, [4]float64{0, 250, 250, none}, smartcar.UnitKilopascals, [4]float64{0, 250, 250, none}},
		"one flat, bar as kPa":    {"kPa", [4]float64{0, 2.5, 2.5, 2.5}, [4]float64{0, 250, 250, 250}, smartcar.UnitBars, [4]float64{0, 2.5, 2.5, 2.5}},
		"true in neither":         {"bar", [4]float64{2.5, 2.5, 6553.5, 0.05}, [4]float64{250, 250, none, none}, smartcar.UnitBars, [4]float64{2.5, 2.5, none, none}},
		"at the edges, kPa":       {"kPa", [4]float64{10, 2000, 15, 20}, [4]float64{10, 2000, 15, 20}, smartcar.UnitKilopascals, [4]float64{10, 2000, 15, 20}},
		"at the edges, bar":       {"bar", [4]float64{0.1, 20, 15, 10}, [4]float64{10, 2000, 1500, 1000}, smartcar.UnitBars, [4]float64{0.1, 20, 15, 10}},
		"a label of no unit":      {"furlong", [4]float64{250, 251, 252, 253}, [4]float64{250, 251, 252, 253}, smartcar.UnitKilopascals, [4]float64{250, 251, 252, 253}},
		"bar as no unit":          {"tire", [4]float64{2.5, 2.51, 2.52, 268000}, [4]float64{250, 251, 252, none}, smartcar.UnitBars, [4]float64{2.5, 2.51, 2.52, none}},
		"psi that cannot be":      {"psi", [4]float64{36, 1000, 36, 0.1}, [4]float64{248.2, none, 248.2, none}, smartcar.UnitPSI, [4]float64{36, none, 36, none}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var values []string
			for i, p := range tt.sent {
				values = append(values, fmt.Sprintf(`{"row":%d,"column":%d,"tirePressure":%v}`, i/2, i%2, p))
			}
			label := ""
			if tt.unit != "" {
				label = `,"unit":"` + tt.unit + `"`
			}
			body := `{"values":[` + strings.Join(values, ",") + `],"rowCount":2,"columnCount":2` + label + `}`
			v, all := borderSignals(t, map[signals.Code]string{signals.WheelTires: body})
			tires, err := all.WheelTires()
			require.NoError(t, err)
			require.Equal(t, tt.believed, tires.Unit)
			for i, want := range tt.in {
				requireNumber(t, want, tires.Tires[i].Pressure, i)
			}
			neutral, err := v.TirePressure(t.Context())
			require.NoError(t, err)
			for i, got := range []*float64{neutral.FrontLeft, neutral.FrontRight, neutral.BackLeft, neutral.BackRight} {
				requireNumber(t, tt.kPa[i], got, i)
			}
			raw, err := all.Raw(signals.WheelTires)
			require.NoError(t, err)
			require.JSONEq(t, body, string(raw.Body()), "the raw signal stays as it was sent")
		})
	}
}

// requireNumber compares to a tenth; below zero is no reading.
func requireNumber(t *testing.T, want float64, got *float64, place int) {
	t.Helper()
	if want < 0 {
		require.Nil(t, got, place)
		return
	}
	require.NotNil(t, got, place)
	require.InDelta(t, want, *got, 0.05, place)
}

// API v2.0 names no unit: kPa, or psi for imperial units.
func TestTirePressuresOfV2AreThoseThatATireCanHave(t *testing.T) {
	t.Parallel()
	const none = -1
	for body, want := range map[string][2][4]float64{ // metric, imperial
		`{"frontLeft":219.3,"frontRight":220,"backLeft":null,"backRight":0}`:       {{219.3, 220, none, 0}, {219.3, 220, none, 0}},
		`{"frontLeft":2.5,"frontRight":"2.51","backLeft":2.52,"backRight":2.53}`:   {{250, 251, 252, 253}, {2.5, 2.51, 2.52, 2.53}},
		`{"frontLeft":250,"frontRight":2.51,"backLeft":26800,"backRight":-1}`:      {{250, 251, none, none}, {250, 2.51, none, none}},
		`{"frontLeft":36,"frontRight":36,"backLeft":699.9,"backRight":"NaN"}`:      {{36, 36, none, none}, {36, 36, none, none}},
		`{"frontLeft":65535,"frontRight":65535,"backLeft":65535,"backRight":1000}`: {{none, none, none, 1000}, {none, none, none, none}},
	} {
		for i, units := range []smartcar.UnitSystem{smartcar.Metric, smartcar.Imperial} {
			v := cannedVehicle(t, newCanned(t).on("GET /v2.0/vehicles/{id}/tires/pressure", jsonReply(200, body)))
			tires, err := v.With(smartcar.InUnits(units)).TirePressure(t.Context())
			require.NoError(t, err)
			for place, got := range []*float64{tires.FrontLeft, tires.FrontRight, tires.BackLeft, tires.BackRight} {
				requireNumber(t, want[i][place], got, place)
			}
		}
	}
}

func TestTirePressureOfV2HasNoSentinel(t *testing.T) {
	t.Parallel()
	body := `{"frontLeft":219.3,"frontRight":699.9,"backLeft":null,"backRight":0}`
	tires, err := borderVehicle(t, smartcar.V2, 200, body, "application/json", "/tires/pressure").TirePressure(t.Context())
	require.NoError(t, err)
	require.InDelta(t, 219.3, *tires.FrontLeft, 0)
	require.Nil(t, tires.FrontRight)
	require.Nil(t, tires.BackLeft)
	require.InDelta(t, 0, *tires.BackRight, 0)
}

func TestOtherSpellingsOfValues(t *testing.T) {
	t.Parallel()
	for _, spelled := range []string{"kWh", "kWhr", "KWHR", "kwhrs", " kWhr ", "kW-h", "kilowatt-hours"} {
		_, all := borderSignals(t, map[signals.Code]string{
			signals.TractionBatteryNominalCapacity: `{"capacity":75,"source":"SMARTCAR","unit":"` + spelled + `"}`,
			signals.ChargeEnergyAdded:              `{"value":5,"unit":"` + spelled + `"}`,
		})
		capacity, err := all.TractionBatteryNominalCapacity()
		require.NoError(t, err)
		require.Equal(t, smartcar.UnitKilowattHours, capacity.Unit, spelled)
		added, err := all.ChargeEnergyAdded()
		require.NoError(t, err)
		require.Equal(t, smartcar.UnitKilowattHours, added.Unit, spelled)
	}
	for _, spelled := range []string{"invalid", "<invalid>", "INVALID", " Invalid "} {
		_, all := borderSignals(t, map[signals.Code]string{
			signals.ChargeChargingConnectorType:   `{"value":"` + spelled + `"}`,
			signals.ChargeFastChargerType:         `{"value":"` + spelled + `"}`,
			signals.VehicleIdentificationNickname: `{"value":"` + spelled + `"}`,
			signals.ChargeChargeRecords:           `{"values":[{"id":"1","connectorType":"` + spelled + `","chargingType":"CCS"},{"id":"2","chargingType":"` + spelled + `"}]}`,
			signals.ChargeChargeLimits:            `{"values":[{"type":"CONNECTOR","limit":70,"condition":{"connectorType":"` + spelled + `"}}],"activeLimit":80}`,
		})
		connector, err := all.ChargeChargingConnectorType()
		require.NoError(t, err)
		require.Nil(t, connector.Value, spelled)
		fast, err := all.ChargeFastChargerType()
		require.NoError(t, err)
		require.Nil(t, fast.Value, spelled)
		name, err := all.VehicleIdentificationNickname()
		require.NoError(t, err)
		require.Equal(t, spelled, *name.Value, "an owner may call the car so")
		records, err := all.ChargeChargeRecords()
		require.NoError(t, err)
		require.Equal(t, "CCS", records.Records[0].ConnectorType)
		require.Empty(t, records.Records[1].ConnectorType)
		limits, err := all.ChargeChargeLimits()
		require.NoError(t, err)
		require.Empty(t, limits.Limits[0].Condition.ConnectorType)
		raw, err := all.Raw(signals.ChargeChargingConnectorType)
		require.NoError(t, err)
		require.JSONEq(t, `{"value":"`+spelled+`"}`, string(raw.Body()))
	}
	for body, want := range map[string]*bool{
		`{"isOpen":true}`: new(true), `{"isOpen":false}`: new(false), `{"value":true}`: new(true), `{"value":false,"isOpen":true}`: new(false),
		`{"value":null,"isOpen":true}`: new(true), `{"isOpen":null}`: nil, `{"isOpen":"true"}`: new(true),
	} {
		v, all := borderSignals(t, map[signals.Code]string{signals.ChargeIsChargingPortFlapOpen: body, signals.ClosureFrontTrunk: body})
		flap, err := all.ChargeIsChargingPortFlapOpen()
		require.NoError(t, err)
		require.Equal(t, want, flap.Value, body)
		if body != `{"value":false,"isOpen":true}` { // of which the second counts here
			trunk, err := all.ClosureFrontTrunk()
			require.NoError(t, err)
			require.Equal(t, want, trunk.Open, body)
		}
		if want != nil {
			locks, err := v.LockStatus(t.Context())
			require.NoError(t, err)
			require.Equal(t, map[bool]string{true: smartcar.OpeningOpen, false: smartcar.OpeningClosed}[*want], locks.ChargingPort[0].Status, body)
		}
	}
}

// Case 16: the same number, however JSON writes it.
func TestTimesAreTheSameNumbersHoweverTheyAreWritten(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 6, 29, 23, 55, 53, 743_000_000, time.UTC)
	for written, want := range map[string]time.Time{
		`1782777353743`: at, `1782777353743.0`: at, `"1782777353743.0"`: at, `1.782777353743e12`: at, `1782777353743E0`: at, `17827773537430e-1`: at,
		`1782777353.743`: at, `1782777353743.25`: at.Add(250 * time.Microsecond), `"2026-06-29T23:55:53.743Z"`: at, `1782777353.0`: at.Truncate(time.Second),
		`0.0`: {}, `-1782777353743.0`: {}, `1e300`: {}, `1e15`: {}, `"NaN"`: {}, `"Inf"`: {}, `1782777353743.0.0`: {}, `null`: {},
	} {
		if !json.Valid([]byte(written)) {
			continue
		}
		body := `{"data":[{"id":"odometer-traveleddistance","attributes":{"code":"odometer-traveleddistance","status":{"value":"SUCCESS"},
			"body":{"value":5,"unit":"km"}},"meta":{"oemUpdatedAt":` + written + `}}]}`
		odometer, err := borderVehicle(t, smartcar.V3, 200, body, "application/json", "/signals").Odometer(t.Context())
		require.NoError(t, err, written)
		require.True(t, want.Equal(odometer.RecordedAt), "%s: %s", written, odometer.RecordedAt)
		event, err := smartcar.ParseWebhookEvent([]byte(`{"eventType":"VEHICLE_STATE","meta":{"deliveredAt":`+written+`}}`), at)
		require.NoError(t, err)
		require.True(t, want.Equal(event.DeliveredAt), "%s: %s", written, event.DeliveredAt)
	}
}

// Case 16: signals by the name of their group, in triggers and in lists of errors.
func TestSignalsThatAreNamedByTheirGroup(t *testing.T) {
	t.Parallel()
	const odometer, paired = signals.OdometerTraveledDistance, signals.ConnectivityStatusIsDigitalKeyPaired
	for written, want := range map[string]signals.Code{
		`"Odometer.TraveledDistance"`:                                 odometer,
		`"odometer.traveleddistance"`:                                 odometer,
		`"odometer-traveleddistance"`:                                 odometer,
		`"ConnectivityStatus.IsDigitalKeyPaired"`:                     paired,
		`{"code":"odometer-traveleddistance","name":"x","group":"y"}`: odometer,
		`{"name":"TraveledDistance","group":"Odometer"}`:              odometer,
		`{"name":"Odometer","group":"TraveledDistance"}`:              odometer,
		`{"name":"Odometer.TraveledDistance"}`:                        odometer,
		`{"code":"Odometer.TraveledDistance"}`:                        odometer,
		`"TraveledDistance.Odometer"`:                                 odometer,
		`"odometer-traveledDistance"`:                                 odometer,
		`"ODOMETER_TRAVELEDDISTANCE"`:                                 odometer,
		`{"code":"Odometer-TraveledDistance"}`:                        odometer,
		`"Brand-New"`:                                                 "Brand-New",
		`"BRAND_NEW"`:                                                 "BRAND_NEW",
		`"Brand.New"`:                                                 "brand-new",
		`"."`:                                                         ".",
		`"a."`:                                                        "a.",
		`{"name":"IsDigitalKeyPaired","group":"ConnectivityStatus","x":1}`: paired,
	} {
		for _, body := range []string{
			`{"eventType":"VEHICLE_STATE","triggers":[{"type":"SIGNAL_UPDATED","signal":` + written + `}]}`,
			`{"eventType":"VEHICLE_STATE","data":{"triggers":[` + written + `]}}`,
			`{"eventType":"VEHICLE_STATE","triggers":[` + written + `],"data":{"triggers":[` + written + `]}}`,
		} {
			event, err := smartcar.ParseWebhookEvent([]byte(body), time.Now())
			require.NoError(t, err)
			require.Equal(t, []signals.Code{want}, event.Triggers, body)
			require.False(t, event.FirstDelivery)
		}
		event, err := smartcar.ParseWebhookEvent([]byte(`{"eventType":"VEHICLE_ERROR","data":{"errors":[{"type":"PERMISSION","state":"ERROR","signals":[`+written+`]}]}}`), time.Now())
		require.NoError(t, err)
		require.Equal(t, []signals.Code{want}, event.Errors[0].Signals, written)
	}
	event, err := smartcar.ParseWebhookEvent([]byte(`{"eventType":"VEHICLE_STATE","data":{"signals":[
		{"name":"TraveledDistance","group":"Odometer","body":{"value":5,"unit":"km"}}]}}`), time.Now())
	require.NoError(t, err)
	distance, err := event.Signals.OdometerTraveledDistance()
	require.NoError(t, err)
	require.InDelta(t, 5, *distance.Value, 0)
}

// Case 16: each refresh failed where the lifetime was written with a fraction.
func TestLifetimeOfATokenHoweverItIsWritten(t *testing.T) {
	t.Parallel()
	for written, life := range map[string]time.Duration{
		`7200`: 2 * time.Hour, `7200.0`: 2 * time.Hour, `"7200.0"`: 2 * time.Hour, `7.2e3`: 2 * time.Hour, `"7200"`: 2 * time.Hour, `3600.9`: time.Hour,
		`null`: 2 * time.Hour, `"soon"`: 2 * time.Hour, `-5`: 2 * time.Hour, `{}`: 2 * time.Hour, `1e99`: 2 * time.Hour, `0`: 2 * time.Hour,
	} {
		sim := smartcartest.New()
		tokens := 0
		through := roundTripFunc(func(r *http.Request) (*http.Response, error) {
			resp, err := sim.Transport().RoundTrip(r)
			if err != nil || !strings.HasSuffix(r.URL.Path, "/oauth/token") || resp.StatusCode != 200 {
				return resp, err
			}
			tokens++
			text, _ := io.ReadAll(resp.Body)
			spelled := strings.Replace(string(text), `"expires_in":7200`, `"expires_in":`+written, 1)
			require.Contains(t, spelled, `"expires_in":`+written)
			resp.Body, resp.ContentLength = io.NopCloser(strings.NewReader(spelled)), int64(len(spelled))
			return resp, nil
		})
		client := borderClient(t, sim, smartcar.V2, through, onceOnly(), smartcar.WithClock(sim.Clock()))
		grant, err := borderConnect(t, sim, client)
		require.NoError(t, err, written)
		v := client.User(grant.UserID).Vehicle(smartcartest.MachE)
		for _, pause := range []time.Duration{0, life - 5*time.Minute, 6 * time.Minute} {
			sim.Advance(pause)
			_, err = v.Battery(t.Context())
			require.NoError(t, err, written)
			require.Equal(t, map[bool]int{false: 1, true: 2}[pause == 6*time.Minute], tokens, "%s after %s", written, pause)
		}
	}
}

// A code in a list of signals is known in whatever letters it is written.
func TestSignalCodesInOtherLetters(t *testing.T) {
	for _, code := range []string{"odometer-traveleddistance", "Odometer-TraveledDistance", "ODOMETER_TRAVELEDDISTANCE", "Odometer.TraveledDistance"} {
		synctest.Test(t, func(t *testing.T) {
			sim := smartcartest.New()
			v := onV3(t, sim).Vehicle(smartcartest.Model3)
			sim.Inject(smartcartest.Fault{Path: "/signals", Status: 200, Body: `{"data":[{"id":"x","type":"signal","attributes":{"code":"` + code +
				`","status":{"value":"SUCCESS"},"body":{"value":1200,"unit":"km"}}}],"meta":{"totalCount":1}}`})
			read, err := v.Odometer(t.Context())
			require.NoError(t, err, code)
			require.InDelta(t, 1200, *read.Distance, 0, code)
		})
	}
}
