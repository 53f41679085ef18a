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

// connectedOver is an owner who has connected, through one of the APIs.
func connectedOver(t *testing.T, sim *smartcartest.Server, api smartcar.API) *smartcar.User {
	t.Helper()
	client := apiClient(t, sim, api)
	return client.User(connect(t, sim, client).UserID)
}

// neutral is what both versions must agree on, value by value.
type neutral struct {
	make, model         string
	year                int
	percent, rangeLeft  float64
	distance            float64
	units               smartcar.UnitSystem
	recorded, fetched   time.Time
	locked              bool
	snapshotPercent     float64
	snapshotDistance    float64
	requests            int // at the car: a snapshot is one
	lockResultIsSuccess bool
}

// walk reads battery and odometer, one by one and together, and locks the car.
func walk(t *testing.T, sim *smartcartest.Server, v *smartcar.Vehicle) neutral {
	t.Helper()
	ctx := t.Context()
	var n neutral
	attributes, err := v.Attributes(ctx)
	require.NoError(t, err)
	n.make, n.model, n.year = attributes.Make, attributes.Model, attributes.Year
	require.Equal(t, v.ID(), attributes.ID)

	battery, err := v.Battery(ctx)
	require.NoError(t, err)
	require.NotNil(t, battery.Percent)
	require.NotNil(t, battery.Range)
	n.percent, n.rangeLeft, n.units = *battery.Percent, *battery.Range, battery.UnitSystem
	n.recorded, n.fetched = battery.RecordedAt, battery.FetchedAt
	odometer, err := v.Odometer(ctx)
	require.NoError(t, err)
	require.NotNil(t, odometer.Distance)
	n.distance = *odometer.Distance
	require.Equal(t, n.recorded, odometer.RecordedAt)

	before := len(sim.Ledger(v.ID()))
	snapshot, err := v.With(smartcar.IgnorePolicy()).Snapshot(ctx, smartcar.Battery, smartcar.Odometer)
	require.NoError(t, err)
	n.requests = len(sim.Ledger(v.ID())) - before
	if battery, err = snapshot.Battery(); err == nil {
		n.snapshotPercent = *battery.Percent
	}
	if odometer, err = snapshot.Odometer(); err == nil {
		n.snapshotDistance = *odometer.Distance
	}

	result, err := v.Lock(ctx)
	require.NoError(t, err)
	n.lockResultIsSuccess = strings.EqualFold(result.Status, "success")
	ledger := sim.Ledger(v.ID())
	n.locked = ledger[len(ledger)-1].Executed
	return n
}

// Battery, odometer and lock are the same through either version.
func TestBothWiresSayTheSame(t *testing.T) {
	for _, id := range []string{smartcartest.Model3, smartcartest.MachE, smartcartest.ModelS2018, smartcartest.ModelX2020} {
		t.Run(id, func(t *testing.T) {
			got := map[string]neutral{}
			for _, api := range []smartcar.API{smartcar.V2, smartcar.V3} {
				synctest.Test(t, func(t *testing.T) {
					sim := smartcartest.New()
					got[string(api)] = walk(t, sim, connectedOver(t, sim, api).Vehicle(id))
				})
			}
			require.Equal(t, got["v2.0"], got["v3"])
			require.Equal(t, 1, got["v3"].requests)
			require.True(t, got["v3"].locked)
			require.True(t, got["v3"].lockResultIsSuccess)
			require.InDelta(t, got["v3"].percent, got["v3"].snapshotPercent, 0)
			require.NotZero(t, got["v3"].snapshotDistance)
		})
	}
}

// An error of the car is the same error.
func TestBothWiresFailTheSame(t *testing.T) {
	for name, tt := range map[string]struct {
		prepare func(*testing.T, *smartcartest.Server)
		want    error
	}{
		"no permission": {func(t *testing.T, sim *smartcartest.Server) {
			require.NoError(t, sim.SetPermissions(smartcartest.MachE, "read_vehicle_info"))
		}, smartcar.ErrPermission},
		"maker's cloud": {func(_ *testing.T, sim *smartcartest.Server) {
			sim.Inject(smartcartest.Fault{ErrorType: "UPSTREAM", ErrorCode: "NO_RESPONSE", Times: -1, Match: dataOfMachE})
		}, smartcar.ErrUnavailable},
		"vehicle limit": {func(_ *testing.T, sim *smartcartest.Server) {
			sim.Inject(smartcartest.Fault{ErrorType: "RATE_LIMIT", ErrorCode: "VEHICLE", Header: http.Header{"Retry-After": {"60"}}, Times: -1, Match: dataOfMachE})
		}, smartcar.ErrRateLimited},
		"key": {func(_ *testing.T, sim *smartcartest.Server) {
			sim.Inject(smartcartest.Fault{ErrorType: "CONNECTED_SERVICES_ACCOUNT", ErrorCode: "VIRTUAL_KEY_REQUIRED", Times: -1, Match: dataOfMachE})
		}, smartcar.ErrVirtualKeyRequired},
	} {
		t.Run(name, func(t *testing.T) {
			for _, api := range []smartcar.API{smartcar.V2, smartcar.V3} {
				synctest.Test(t, func(t *testing.T) {
					sim := smartcartest.New()
					v := connectedOver(t, sim, api).Vehicle(smartcartest.MachE)
					tt.prepare(t, sim)
					odometer, err := v.Odometer(t.Context())
					require.ErrorIs(t, err, tt.want, string(api))
					require.Nil(t, odometer)
				})
			}
		})
	}
}

func dataOfMachE(r *http.Request) bool {
	return strings.Contains(r.URL.Path, smartcartest.MachE+"/")
}

// What v3 has no row for is refused before any request.
func TestWireV3RefusesWhatItCannotDo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		v := connectedOver(t, sim, smartcar.V3).Vehicle(smartcartest.MachE)
		before := len(sim.Requests())
		_, err := v.Snapshot(t.Context(), smartcar.Battery, smartcar.Permissions)
		require.ErrorIs(t, err, smartcar.ErrNotSupported)
		require.Len(t, sim.Requests(), before)
	})
}

// Attributes are no signal: beside one they are answered, or refused for what
// they are, and never reported as a signal that Smartcar lacks.
func TestWireV3SnapshotWithAttributes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		v := connectedOver(t, sim, smartcar.V3).Vehicle(smartcartest.MachE)
		snapshot, err := v.Snapshot(t.Context(), smartcar.Attributes, smartcar.Battery)
		require.NoError(t, err)
		_, err = snapshot.Battery()
		require.NoError(t, err)
		if attributes, err := snapshot.Attributes(); err == nil {
			require.Equal(t, 2022, attributes.Year)
		} else {
			require.ErrorIs(t, err, smartcar.ErrNotSupported)
		}
	})
}

// A portal's page of JSON with status 200 is no answer of Smartcar's: nothing
// is read from it, and a keyless car's turn is gone with it all the same.
func TestForeignAnswers(t *testing.T) {
	for name, tt := range map[string]struct {
		api     smartcar.API
		path    string
		body    string
		foreign bool
	}{
		"v2, a portal":         {smartcar.V2, "/battery", `{"status":"welcome"}`, true},
		"v2, nothing":          {smartcar.V2, "/battery", `{}`, true},
		"v2, a field below":    {smartcar.V2, "/battery", `{"data":{"percentRemaining":0.3}}`, true},
		"v2, null":             {smartcar.V2, "/battery", `{"percentRemaining":null}`, false},
		"v3, a portal":         {smartcar.V3, "/signals", `{"status":"welcome"}`, true},
		"v3, nothing":          {smartcar.V3, "/signals", `{"data":{}}`, true},
		"v3, no list":          {smartcar.V3, "/signals", `{"data":"welcome"}`, true},
		"v3, another object":   {smartcar.V3, "/signals", `{"data":{"status":"welcome"}}`, true},
		"v3, a body that is 1": {smartcar.V3, "/signals", `{"data":[{"code":"tractionbattery-stateofcharge","body":1}]}`, true},
		"v3, null":             {smartcar.V3, "/signals", `{"data":[{"code":"tractionbattery-stateofcharge","body":{"value":null}}]}`, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sim := smartcartest.New()
				v := connectedOver(t, sim, tt.api).Vehicle(smartcartest.ModelY)
				require.NoError(t, v.SetKeyState(t.Context(), smartcar.KeyMissing))
				sim.Inject(smartcartest.Fault{Path: v.ID() + tt.path, Status: 200, Body: tt.body, Times: -1})
				got, err := v.Battery(t.Context())
				if tt.foreign {
					require.Nil(t, got)
					require.ErrorIs(t, err, smartcar.ErrUnexpectedAnswer)
				} else {
					require.NoError(t, err)
					require.Nil(t, got.Percent)
				}
				_, err = v.Battery(t.Context())
				require.ErrorIs(t, err, smartcar.ErrRateLimited)
			})
		})
	}
}

// The vehicle itself is told by its fields, too, on either version.
func TestForeignVehicles(t *testing.T) {
	for _, api := range []smartcar.API{smartcar.V2, smartcar.V3} {
		for _, body := range []string{`{"status":"welcome"}`, `{"data":{}}`, `{"data":{"attributes":{"status":"welcome"}}}`} {
			synctest.Test(t, func(t *testing.T) {
				sim := smartcartest.New()
				v := connectedOver(t, sim, api).Vehicle(smartcartest.ModelY)
				sim.Inject(smartcartest.Fault{
					Status: 200, Body: body, Times: -1,
					Match: func(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, "/"+v.ID()) },
				})
				got, err := v.Attributes(t.Context())
				require.ErrorIs(t, err, smartcar.ErrUnexpectedAnswer, body)
				require.Nil(t, got)
			})
		}
	}
}
