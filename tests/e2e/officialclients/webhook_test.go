package officialclients_test

import (
	"fmt"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seed-498a1bc4/smartcar/smartcartest"
)

// webhooks are all kinds that the simulator sends.
func webhooks() map[string]smartcartest.Webhook {
	v2 := []string{
		"/", "/vin", "/odometer", "/location", "/fuel", "/battery", "/battery/capacity", "/battery/nominal_capacity", "/charge", "/charge/limit",
		"/tires/pressure", "/engine/oil", "/security", "/service/history", "/diagnostics/system_status", "/diagnostics/dtcs",
		"/tesla/virtual_key", "/tesla/attributes", "/tesla/charge", "/tesla/climate/cabin", "/tesla/charge/records", "/unknown",
	}
	return map[string]smartcartest.Webhook{
		"plain":        {},
		"name":         {Name: "A & B <test> é \u2028 \U0001F697 \" \\u003c"},
		"all triggers": {Triggers: []string{"odometer-traveleddistance", "closure-doors", "charge-chargelimits"}, Data: everySignal()},
		"variants": {Data: everySignal(), Variants: smartcartest.WebhookVariants{
			DataTriggers: true, FetchedAt: true, ISOTimes: true, EpochVerify: true, SwappedMode: true, Sparse: true, StateErrors: true,
		}},
		"early":         {Data: everySignal(), Variants: smartcartest.WebhookVariants{Early: true}},
		"scheduled 2.0": {Version: "2.0", Data: v2},
		"dynamic 2.0":   {Version: "2.0", EventName: "dynamic"},
		"event 2.0":     {Version: "2.0", EventName: "eventBased"},
	}
}

func everySignal() []string {
	return []string{
		"charge-chargelimits", "charge-chargerate", "charge-chargerecords", "charge-timetocomplete", "charge-wattage", "closure-doors", "closure-sunroof",
		"connectivitystatus-isdigitalkeypaired", "diagnostics-dtclist", "diagnostics-tirepressuremonitoring", "internalcombustionengine-fuellevel",
		"internalcombustionengine-range", "location-preciselocation", "odometer-traveleddistance", "service-records", "tractionbattery-nominalcapacity",
		"tractionbattery-range", "tractionbattery-stateofcharge", "vehicleidentification-nickname", "vehicleidentification-vin", "wheel-tires",
	}
}

func TestNodeAcceptsEveryDelivery(t *testing.T) {
	for name, variants := range map[string]smartcartest.Variants{
		"as seen":  {},
		"variants": {UnitAliases: true, NoUnits: true, NullPowertrain: true, NamedClosures: true, Tires: smartcartest.TiresLabeledBar, WrongNames: true, OEMBodies: true},
		"bar":      {Tires: smartcartest.TiresInBar},
	} {
		t.Run(name, func(t *testing.T) {
			cars := append(smartcartest.DefaultGarage(), smartcartest.Car{
				ID: "odd", Make: "FORD", Model: `<b>"O'Hara" & Söhne</b> ` + "\u2028\u2029\u007f\t\x00", Powertrain: "PHEV", Plugged: true, Battery: 0.1,
				Latitude: -33.8688197, Longitude: 1e-7, OdometerKm: 1e9,
			})
			sim := smartcartest.New(smartcartest.WithCars(cars...), smartcartest.WithVariants(variants))
			receiver := startReceiver(t, sim)
			connect(t, sim)
			for kind, w := range webhooks() {
				w.CallbackURL, w.AutoSubscribe = receiver, true
				_, err := sim.AddWebhook(t.Context(), w)
				require.NoError(t, err, kind)
			}
			live(t, sim)

			deliveries := sim.Deliveries()
			types := map[string]int{}
			for _, d := range deliveries {
				types[d.EventType]++
				require.NoError(t, d.Err)
				require.Equal(t, 200, d.Status, "%s: %s", d.EventType, d.Body)
			}
			for _, kind := range []string{"VERIFY", "VEHICLE_STATE", "VEHICLE_ERROR", "scheduled", "dynamic", "eventBased"} {
				require.NotZero(t, types[kind], kind)
			}
			t.Logf("%d deliveries accepted: %v", len(deliveries), types)
		})
	}
}

// connect is an owner who connects all cars.
func connect(t *testing.T, sim *smartcartest.Server) {
	t.Helper()
	_, err := sim.Grant("https://connect.smartcar.com/oauth/authorize?" + url.Values{
		"response_type": {"code"}, "client_id": {sim.ClientID()}, "external_id": {`<ext> & "id"`},
	}.Encode())
	require.NoError(t, err)
}

// live lets everything happen that webhooks tell of.
func live(t *testing.T, sim *smartcartest.Server) {
	t.Helper()
	deliver := func() {
		t.Helper()
		_, err := sim.Deliver(t.Context())
		require.NoError(t, err)
	}
	deliver()
	require.NoError(t, sim.Pair(smartcartest.ModelY))
	for i := range 5 {
		sim.Advance(time.Duration(i) * 7 * time.Hour)
		deliver()
	}
	require.NoError(t, sim.RequireReauthentication(smartcartest.Model3))
	deliver()
	connect(t, sim)
	for _, e := range []string{
		"CONNECTED_SERVICES_ACCOUNT PERMISSION", "CONNECTED_SERVICES_ACCOUNT VIRTUAL_KEY_REQUIRED", "RATE_LIMIT VEHICLE", "PERMISSION ", "VEHICLE_STATE ASLEEP", "COMPATIBILITY VEHICLE_NOT_CAPABLE", "NEW KIND",
	} {
		var typ, code string
		_, _ = fmt.Sscan(e, &typ, &code) // an empty code is null
		for _, resolved := range []bool{false, true} {
			require.NoError(t, sim.VehicleError("odd", typ, code, resolved))
		}
	}
	deliver()
	for _, d := range sim.Deliveries() {
		if d.EventType == "VERIFY" {
			_, err := sim.TestWebhook(t.Context(), d.WebhookID, "odd")
			require.NoError(t, err)
		}
	}
}
