package smartcartest_test

import (
	"fmt"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seed-498a1bc4/smartcar/smartcartest"
)

func TestPaging(t *testing.T) {
	cars := make([]smartcartest.Car, 23)
	for i := range cars {
		cars[i] = smartcartest.Car{ID: fmt.Sprintf("car-%02d", i), Make: "FORD"}
	}
	a := connected(t, smartcartest.WithCars(cars...))
	type page struct {
		Paging struct{ Count, Offset int }
		IDs    []string `json:"vehicles"`
	}
	var all []string
	for offset := 0; ; {
		var p page
		a.get(fmt.Sprintf("/v2.0/vehicles?offset=%d", offset)).ok(&p)
		require.Equal(t, 23, p.Paging.Count)
		require.Equal(t, offset, p.Paging.Offset)
		all = append(all, p.IDs...)
		if offset += len(p.IDs); offset >= p.Paging.Count {
			break
		}
		require.Len(t, p.IDs, 10)
	}
	require.Len(t, all, 23)
	require.Equal(t, "car-22", all[22])
	var p page
	a.get("/v2.0/vehicles?limit=50&offset=99").ok(&p)
	require.NotNil(t, p.IDs)
	require.Empty(t, p.IDs)
	for _, q := range []string{"limit=51", "limit=0", "offset=-1", "limit=x"} {
		f := a.get("/v2.0/vehicles?"+q).fails(400, "VALIDATION", "")
		require.NotEmpty(t, f.Detail)
	}
	var perms struct{ Permissions []string }
	a.get(car("car-00", "/permissions")).ok(&perms)
	require.Len(t, perms.Permissions, 25)
}

func TestReadErrors(t *testing.T) {
	a := connected(t)
	a.get("/v2.0/nothing").fails(404, "RESOURCE_NOT_FOUND", "PATH")
	a.get(car(smartcartest.Model3, "/nothing")).fails(404, "RESOURCE_NOT_FOUND", "PATH")
	a.get("/v1.0/vehicles").fails(404, "RESOURCE_NOT_FOUND", "VERSION")
	a.get("/v2/vehicles").fails(404, "RESOURCE_NOT_FOUND", "VERSION")
	a.get("/v2.x/vehicles").fails(404, "RESOURCE_NOT_FOUND", "VERSION")
	a.get("/v99999999.99/vehicles").ok(nil) // well formed and unknown: served as the latest
	a.get("/v99999999.99/vehicles/" + smartcartest.Model3 + "/odometer").ok(nil)
	for _, id := range []string{"00000009-2022-4000-8000-000000000009", "sc4a1b01e5-0497-417c-a30e-6df6ba33ba46", "tst2e255-d3c8-4f90-9fec-e6e68b98e9cb"} {
		a.get(car(id, "/battery")).fails(401, "AUTHENTICATION", "")
	}
	for _, id := range []string{"not-an-id", "bad_id", "00000009-2022-4000-8000", "00000009_2022-4000-8000-000000000009"} {
		a.get(car(id, "")).fails(400, "VALIDATION", "")
		f := a.post(car(id, "/security"), `{"action":"LOCK"}`).fails(400, "VALIDATION", "")
		require.Nil(t, f.Resolution.Type)
	}
	a.get(car(smartcartest.Model3, "/fuel")).fails(501, "COMPATIBILITY", "VEHICLE_NOT_CAPABLE")
	a.get(car(smartcartest.MachE, "/tesla/battery")).fails(501, "COMPATIBILITY", "VEHICLE_NOT_CAPABLE")
	a.get(car(smartcartest.Model3, "/TESLA/battery")).fails(403, "PERMISSION", "")
	a.get(car(smartcartest.MachE, "/service/history?start_date=yesterday")).fails(400, "VALIDATION", "")
	a.get(car(smartcartest.Model3, "/battery/")).ok(nil) // trailing slash tolerated
	a.get(car(smartcartest.Model3, "/battery?flags=a:b")).ok(nil)

	require.NoError(t, a.sim.SetPermissions(smartcartest.Model3, "read_vin"))
	f := a.get(car(smartcartest.Model3, "/battery")).fails(403, "PERMISSION", "")
	require.Equal(t, "REAUTHENTICATE", *f.Resolution.Type)
	a.get(car(smartcartest.Model3, "/vin")).ok(nil)
	require.Error(t, a.sim.SetPermissions("unknown"))
	require.Empty(t, a.sim.BrokenWindows(smartcartest.Model3))
	for _, e := range a.sim.Ledger(smartcartest.Model3) {
		require.Equal(t, e.Status == 200 && e.Kind == smartcartest.Data, e.AtGate, "%+v", e)
	}
	a.token = "wrong"
	a.get("/v2.0/vehicles").fails(401, "AUTHENTICATION", "")
	a.get(car("not-an-id", "")).fails(401, "AUTHENTICATION", "")
}

func TestDisconnectByApplication(t *testing.T) {
	a := connected(t)
	var status map[string]string
	a.call(http.MethodDelete, car(smartcartest.Model3, "/application"), "").ok(&status)
	require.Equal(t, map[string]string{"status": "success"}, status)
	a.get(car(smartcartest.Model3, "/battery")).fails(401, "AUTHENTICATION", "")
	a.manage(http.MethodDelete, car(modelY, "/application"), "default", a.sim.ManagementToken()).ok(nil)
	a.get(car(modelY, "/battery")).fails(401, "AUTHENTICATION", "")
	a.get(car(smartcartest.MachE, "/battery")).ok(nil)
}

func TestSubscriptions(t *testing.T) {
	a := connected(t)
	var sub map[string]string
	const hook = "5a8e5e38-12e7-4a85-9f2d-1f1b64c0f2a1"
	path := car(smartcartest.Model3, "/webhooks/"+hook)
	a.post(path, "{}").ok(&sub)
	require.Equal(t, map[string]string{"webhookId": hook, "vehicleId": smartcartest.Model3}, sub)
	a.post(car(smartcartest.Model3, "/webhooks/webhookID"), "").fails(400, "VALIDATION", "")
	a.call(http.MethodDelete, path, "").fails(401, "AUTHENTICATION", "")
	a.token = a.sim.ManagementToken()
	a.call(http.MethodDelete, path, "").ok(nil)
}

func TestV2SubscriptionsAreDelivered(t *testing.T) {
	a, r, id := hooked(t, smartcartest.Webhook{})
	v2 := &api{t: t, sim: a.sim, http: a.http, origin: a.origin}
	v2.login(url.Values{"decision": {"grant"}})
	v2.post(car(smartcartest.MachE, "/webhooks/"+id), "{}").ok(nil)
	require.Len(t, a.deliver(), 1)
	require.Len(t, r.take(t), 1)
	v2.token = a.sim.ManagementToken()
	v2.call(http.MethodDelete, car(smartcartest.MachE, "/webhooks/"+id), "").ok(nil)
	a.sim.Advance(2 * time.Hour)
	require.Empty(t, a.deliver())
}
