package smartcar_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/signals"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
	"github.com/stretchr/testify/require"
)

const fixtureHook = "cfa9b2a1-7d3e-4a58-9b6c-0d2f4e8a1c35"

var arrived = time.Date(2026, 9, 22, 12, 45, 0, 0, time.UTC)

func parseWebhookFixture(t testing.TB, name string) *smartcar.WebhookEvent {
	t.Helper()
	e, err := smartcar.ParseWebhookEvent(readFixture(t, "webhooks/"+name).Request.Body, arrived)
	require.NoError(t, err)
	return e
}

// requireState checks what all variants of one event say.
func requireState(t *testing.T, e *smartcar.WebhookEvent) {
	t.Helper()
	require.Equal(t, smartcar.EventVehicleState, e.Type)
	require.Equal(t, "4.0", e.Version)
	require.Equal(t, "bead8cd7-2d6b-4c1a-8b1f-0f6f9f3f5a11", e.EventID)
	require.Equal(t, "54e2a3c8-6a0c-4f0e-9d5b-7d8a2f1b6c44", e.DeliveryID)
	require.Equal(t, fixtureUser, e.UserID)
	require.Equal(t, fixtureVehicle, e.VehicleID)
	require.Equal(t, []any{"VOLKSWAGEN", "ID.7", 2025, ""}, []any{e.Make, e.Model, e.Year, e.Powertrain})
	require.Equal(t, []string{fixtureHook, "AutoData"}, []string{e.WebhookID, e.WebhookName})
	require.Equal(t, time.UnixMilli(1780222662654).UTC(), e.DeliveredAt)
	require.Equal(t, time.UnixMilli(1780222506000).UTC(), e.RecordedAt)
	require.Equal(t, arrived, e.ReceivedAt)
	require.Empty(t, e.Vehicles)

	charge, err := e.Signals.TractionBatteryStateOfCharge()
	require.NoError(t, err)
	require.InDelta(t, 80, *charge.Value, 0)
	require.Equal(t, smartcar.UnitPercent, charge.Unit)
	require.Equal(t, time.UnixMilli(1780222506000).UTC(), charge.OEMUpdatedAt)
	require.Equal(t, time.UnixMilli(1780222662364).UTC(), charge.RetrievedAt)
	rate, err := e.Signals.ChargeChargeRate()
	require.ErrorIs(t, err, smartcar.ErrVehicleState)
	require.Nil(t, rate, "a stale body is no value")
	stale, err := e.Signals.LastKnown().ChargeChargeRate()
	require.NoError(t, err)
	require.True(t, stale.Stale)
}

func TestWebhookStateFixtures(t *testing.T) {
	trigger := []signals.Code{signals.ChargeIsCharging}
	for name, check := range map[string]func(*testing.T, *smartcar.WebhookEvent){
		"vehicle-state": func(t *testing.T, e *smartcar.WebhookEvent) {
			require.Equal(t, trigger, e.Triggers)
			require.Equal(t, "user-external-id-123", e.ExternalID)
			require.Equal(t, "app_01k0example", e.ApplicationID)
			require.EqualValues(t, 1790080005044, e.Sequence)
		},
		"vehicle-state.documented":                nil,
		"vehicle-state.iso-times":                 nil,
		"vehicle-state.swapped-mode":              nil,
		"vehicle-state.first-delivery":            requireFirstDelivery,
		"vehicle-state.first-delivery-documented": requireFirstDelivery,
		"vehicle-state.numbers-as-texts": func(t *testing.T, e *smartcar.WebhookEvent) {
			require.EqualValues(t, 1790080005044, e.Sequence)
			require.False(t, e.Signals.Incomplete())
		},
		"vehicle-state.sparse": func(t *testing.T, e *smartcar.WebhookEvent) {
			require.Zero(t, e.Sequence)
			require.Empty(t, e.ExternalID+e.ApplicationID)
		},
		"vehicle-state.test": func(t *testing.T, e *smartcar.WebhookEvent) { require.Equal(t, "test", e.Mode) },
		"vehicle-state.errors-listed": func(t *testing.T, e *smartcar.WebhookEvent) {
			require.Len(t, e.Errors, 1)
			require.ErrorIs(t, e.Errors[0].Err, smartcar.ErrVehicleState)
			require.Equal(t, []signals.Code{signals.ChargeChargeRate}, e.Errors[0].Signals)
			require.Empty(t, e.Errors[0].State)
			require.False(t, e.Errors[0].Resolved())
		},
		"vehicle-state.zero-times": func(t *testing.T, e *smartcar.WebhookEvent) {
			vin, err := e.Signals.VehicleIdentificationVIN()
			require.NoError(t, err)
			require.Equal(t, "5YJSA1CN5DFP00101", *vin.Value)
			require.Zero(t, vin.OEMUpdatedAt)
			require.Zero(t, vin.RetrievedAt)
			_, err = e.Signals.ClosureIsLocked()
			require.ErrorIs(t, err, smartcar.ErrPermission)
			require.Equal(t, 5, e.Signals.Len())
		},
		"vehicle-state.more-than-sent": func(t *testing.T, e *smartcar.WebhookEvent) { require.True(t, e.Signals.Incomplete()) },
	} {
		t.Run(name, func(t *testing.T) {
			e := parseWebhookFixture(t, name)
			requireState(t, e)
			if name != "vehicle-state.test" {
				require.Equal(t, "live", e.Mode)
			}
			if name != "vehicle-state.errors-listed" {
				require.Empty(t, e.Errors)
			}
			if !e.FirstDelivery {
				require.Equal(t, trigger, e.Triggers)
			}
			if check != nil {
				check(t, e)
			}
		})
	}
}

func requireFirstDelivery(t *testing.T, e *smartcar.WebhookEvent) {
	require.True(t, e.FirstDelivery)
	require.Empty(t, e.Triggers)
}

func TestWebhookErrorFixtures(t *testing.T) {
	charge := []signals.Code{signals.TractionBatteryStateOfCharge}
	for name, tt := range map[string]struct {
		target     error
		resolved   bool
		resolution string
		state      string
	}{
		"vehicle-error":                      {smartcar.ErrNotSupported, false, "", "ERROR"},
		"vehicle-error.virtual-key-required": {smartcar.ErrVirtualKeyRequired, false, "ACTION_REQUIRED", "ERROR"},
		"vehicle-error.virtual-key-resolved": {smartcar.ErrVirtualKeyRequired, true, "", "RESOLVED"},
		"vehicle-error.resolution-text":      {smartcar.ErrVirtualKeyRequired, false, "USER_ACTION_REQUIRED", "ERROR"},
	} {
		t.Run(name, func(t *testing.T) {
			e := parseWebhookFixture(t, name)
			require.Equal(t, smartcar.EventVehicleError, e.Type)
			require.Equal(t, []any{"TESLA", "Model 3", 2020, "BEV"}, []any{e.Make, e.Model, e.Year, e.Powertrain})
			require.Nil(t, e.Signals)
			require.Len(t, e.Errors, 1)
			got := e.Errors[0]
			require.ErrorIs(t, got.Err, tt.target)
			require.Equal(t, tt.resolved, got.Resolved())
			require.Equal(t, tt.state, got.State)
			require.Equal(t, charge, got.Signals)
			require.Equal(t, tt.resolution, got.Err.Resolution.Type)
			require.NotEmpty(t, got.Err.Description)
			require.Equal(t, !tt.resolved, got.Err.DocURL != "")
		})
	}
	t.Run("signal names", func(t *testing.T) {
		e := parseWebhookFixture(t, "vehicle-error.signal-names")
		require.Len(t, e.Errors, 2)
		require.ErrorIs(t, e.Errors[0].Err, smartcar.ErrPermission)
		require.Equal(t, []signals.Code{"StateOfCharge", signals.TractionBatteryRange}, e.Errors[0].Signals)
		require.ErrorIs(t, e.Errors[1].Err, smartcar.ErrAsleep)
		require.True(t, e.Errors[1].Resolved())
	})
}

func TestWebhookOfAnUnknownType(t *testing.T) {
	body := readFixture(t, "webhooks/unknown-type").Request.Body
	e, err := smartcar.ParseWebhookEvent(body, arrived)
	require.NoError(t, err)
	require.Equal(t, smartcar.EventType("VEHICLE_CONNECTION_STATUS"), e.Type)
	require.Equal(t, fixtureVehicle, e.VehicleID)
	require.Equal(t, []byte(body), e.Raw())
	e.Raw()[0] = 'x'
	body[0] = 'x'
	require.Equal(t, byte('{'), e.Raw()[0], "a copy of the caller's bytes, and the caller's copy")
}

func TestWebhookReadingsOfVersion2(t *testing.T) {
	for name, typ := range map[string]smartcar.EventType{
		"v2.scheduled": smartcar.EventScheduled, "v2.schedule": smartcar.EventScheduled, "v2.dynamic": smartcar.EventDynamic,
	} {
		t.Run(name, func(t *testing.T) {
			e := parseWebhookFixture(t, name)
			require.Equal(t, []any{typ, "2.0", "live", fixtureHook}, []any{e.Type, e.Version, e.Mode, e.WebhookID})
			require.Len(t, e.Vehicles, 1)
			car := e.Vehicles[0]
			require.Equal(t, fixtureVehicle, car.VehicleID)
			require.Equal(t, "25d743b8-5f3a-4f4d-9b43-6f2ed3a5b9f7", car.RequestID)
			require.Empty(t, car.Errors)
			require.Contains(t, string(e.Raw()), "percentRemaining", "the readings are in the bytes")
			if name != "v2.dynamic" {
				require.Equal(t, time.Date(2026, 9, 22, 12, 34, 51, 0, time.UTC), e.RecordedAt)
				require.Equal(t, e.RecordedAt, car.RecordedAt)
				require.Equal(t, arrived, car.Timestamp)
			}
		})
	}
}

func TestWebhookReadingsThatFailed(t *testing.T) {
	e := parseWebhookFixture(t, "v2.scheduled.errors")
	require.Len(t, e.Vehicles, 2)
	require.Len(t, e.Vehicles[0].Errors, 1)
	failed := e.Vehicles[0].Errors[0]
	require.ErrorIs(t, failed, smartcar.ErrVirtualKeyRequired)
	require.Equal(t, smartcar.Battery, failed.Operation)
	require.Equal(t, 409, failed.StatusCode)
	require.Empty(t, e.Vehicles[1].Errors)
}

func TestWebhookEventOfVersion2(t *testing.T) {
	e := parseWebhookFixture(t, "v2.event-based")
	require.Equal(t, smartcar.EventChargingStarted, e.Type)
	require.Equal(t, "9a1d3f70-7d0e-4a3e-8a3c-6f8c1f2a5b66", e.EventID)
	require.Equal(t, fixtureVehicle, e.VehicleID)
	require.Equal(t, time.Date(2022, 4, 20, 10, 11, 12, 0, time.UTC), e.OccurredAt)
}

func TestWebhookVerifyFixtures(t *testing.T) {
	for _, name := range []string{"verify", "verify.epoch-time", "v2.verify"} {
		e := parseWebhookFixture(t, name)
		require.Equal(t, smartcar.EventVerify, e.Type)
		require.Equal(t, fixtureHook, e.WebhookID)
		if name != "v2.verify" {
			require.Equal(t, time.Date(2025, 7, 31, 19, 38, 42, 332e6, time.UTC), e.DeliveredAt)
		}
	}
}

// Whatever fixture there is, an event prints nothing of what it brings, and
// bears that anything in it is null or of another type.
func TestWebhookEventsAreLenientAndSilent(t *testing.T) {
	for _, name := range fixtureNames(t, "webhooks") {
		t.Run(name, func(t *testing.T) {
			e := parseWebhookFixture(t, name)
			for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
				for _, text := range []string{fmt.Sprintf(verb, e), fmt.Sprintf(verb, e.Vehicles), fmt.Sprintf(verb, e.Signals)} {
					for _, hidden := range []string{"411", "283.24", "32208", "0c7f5c4e", "5YJSA1CN5DFP00101", "0xc0"} {
						require.NotContains(t, text, hidden)
					}
				}
			}
			require.NotContains(t, mustMarshal(t, e), "0c7f5c4e")
			var body map[string]any
			require.NoError(t, json.Unmarshal(e.Raw(), &body))
			for path, mutate := range mutations(body, "") {
				for _, value := range []any{nil, "text", 7, true, []any{nil, 1, "x", map[string]any{}}, map[string]any{"value": 1}} {
					undo := mutate(value)
					text, err := json.Marshal(body)
					require.NoError(t, err)
					undo()
					_, err = smartcar.ParseWebhookEvent(text, arrived)
					require.NoError(t, err, "%s = %v", path, value)
				}
			}
		})
	}
}

func mustMarshal(t *testing.T, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	require.NoError(t, err)
	return string(text)
}

// mutations are the ways to put another value into a place of a document.
func mutations(v any, path string) map[string]func(any) (undo func()) {
	all := map[string]func(any) func(){}
	add := func(key string, old any, set func(any)) {
		all[key] = func(value any) func() {
			set(value)
			return func() { set(old) }
		}
		for k, m := range mutations(old, key) {
			all[k] = m
		}
	}
	switch v := v.(type) {
	case map[string]any:
		for name, old := range v {
			add(path+"."+name, old, func(value any) { v[name] = value })
		}
	case []any:
		for i, old := range v {
			add(fmt.Sprintf("%s[%d]", path, i), old, func(value any) { v[i] = value })
		}
	}
	return all
}

func TestWebhookThatIsNoObject(t *testing.T) {
	for _, body := range []string{"", "null", "[]", `"x"`, "1", "{", `{"a":1}}`, "\xff"} {
		e, err := smartcar.ParseWebhookEvent([]byte(body), arrived)
		require.Nil(t, e)
		var refused *smartcar.WebhookError
		require.ErrorAs(t, err, &refused, body)
		require.Equal(t, smartcar.WebhookUnreadable, refused.Reason)
	}
}

// Odd JSON at every level is an event of which little is known, never a panic
// and never evidence.
func TestWebhookOddJSON(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		client, user := connectedV3(t, sim)
		receiver := hookReceiver(t, client, smartcar.WebhookOptions{}, nil)
		deep := strings.Repeat(`[`, 9000) + strings.Repeat(`]`, 9000)
		for _, odd := range []string{`null`, `1e999`, `"\ud800"`, `true`, `[]`, `{}`, `[null]`, `{"id":{"id":1}}`, deep, `99999999999999999999999`, "\"\xff\xfe\""} {
			for _, body := range []string{
				`{"eventType":` + odd + `}`,
				`{"eventType":"VEHICLE_STATE","data":` + odd + `,"meta":` + odd + `,"triggers":` + odd + `,"eventId":` + odd + `}`,
				`{"eventType":"VEHICLE_STATE","data":{"user":` + odd + `,"vehicle":` + odd + `,"signals":` + odd + `,"errors":` + odd + `,"triggers":` + odd + `},"meta":{"mode":` + odd + `,"sequence":` + odd + `,"deliveredAt":` + odd + `,"signalCount":` + odd + `}}`,
				`{"eventType":"VEHICLE_STATE","data":{"user":{"id":"` + user.ID() + `"},"vehicle":{"id":"` + smartcartest.ModelY + `","make":` + odd + `,"model":` + odd + `,"year":` + odd + `},"signals":[{"code":"connectivitystatus-isdigitalkeypaired","body":` + odd + `,"meta":` + odd + `,"status":` + odd + `},{"code":"odometer-traveleddistance","body":{"value":` + odd + `,"unit":` + odd + `},"meta":{"oemUpdatedAt":` + odd + `}}]}}`,
				`{"eventName":"scheduled","payload":{"vehicles":[{"vehicleId":` + odd + `,"data":` + odd + `,"timestamp":` + odd + `},` + odd + `,{"vehicleId":"x","data":[{"path":"/odometer","code":` + odd + `,"body":` + odd + `,"headers":` + odd + `}]}]}}`,
			} {
				require.Contains(t, []int{200, 400}, send(t, receiver, []byte(body)), body)
			}
		}
		access, err := user.Vehicle(smartcartest.ModelY).Access(t.Context())
		require.NoError(t, err)
		require.Equal(t, smartcar.KeyUnknown, access.Key.State)
	})
}

// A time that no calendar has costs the time, and neither the event nor the data.
func TestWebhookWithATimeOutOfTheCalendar(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		client, user := connectedV3(t, sim, smartcar.WithStoredAnswers(smartcar.StoredAnswers{}))
		receiver := hookReceiver(t, client, smartcar.WebhookOptions{}, nil)
		car := user.Vehicle(smartcartest.ModelS2018)
		e := pushed("1", user, car.ID(), time.Second, odometerOf(4321))
		e.Recorded = time.UnixMilli(999_999_999_999_999)
		require.Equal(t, 200, send(t, receiver, e.body(t)))
		odometer, err := car.Odometer(t.Context())
		require.NoError(t, err)
		require.Equal(t, smartcar.SourceWebhook, odometer.Source)
		require.InDelta(t, 4321, *odometer.Distance, 0)
	})
}
