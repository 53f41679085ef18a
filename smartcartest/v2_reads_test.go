package smartcartest_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seed-498a1bc4/smartcar/smartcartest"
)

// TestReadShapes compares every read with the documented shape: the keys and
// the JSON types, nested ones included.
func TestReadShapes(t *testing.T) {
	const (
		record   = `{"serviceId":null,"odometerDistance":46047.22,"serviceDate":"x","serviceTasks":[{"taskId":"3262","taskDescription":"x"}],"serviceDetails":[{"type":"x","value":null}],"serviceCost":{"totalCost":null,"currency":null}}`
		security = `{"isLocked":true,"doors":[{"type":"x","status":"x"}],"windows":[{"type":"x","status":"x"}],"sunroof":[],"storage":[{"type":"x","status":"x"}],"chargingPort":[{"type":"x","status":"x"}]}`
		tires    = `{"backLeft":219.3,"backRight":219.2,"frontLeft":219.1,"frontRight":219.0}`
	)
	ford := map[string]string{
		"":                           `{"id":"x","make":"FORD","model":"x","year":2014}`,
		"/vin":                       `{"vin":"x"}`,
		"/permissions":               `{"paging":{"count":25,"offset":10},"permissions":["x"]}`,
		"/odometer":                  `{"distance":104.32}`,
		"/location":                  `{"latitude":37.4292,"longitude":122.1381}`,
		"/fuel":                      `{"amountRemaining":53.2,"percentRemaining":0.3,"range":40.5}`,
		"/battery":                   `{"percentRemaining":0.3,"range":40.5}`,
		"/battery/capacity":          `{"capacity":28}`,
		"/battery/nominal_capacity":  `{"availableCapacities":[{"capacity":70.9,"description":null}],"capacity":{"nominal":80.9,"source":"SMARTCAR"},"url":null}`,
		"/charge":                    `{"isPluggedIn":true,"state":"x"}`,
		"/charge/limit":              `{"limit":0.7}`,
		"/tires/pressure":            tires,
		"/engine/oil":                `{"lifeRemaining":0.35}`,
		"/security":                  security,
		"/service/history":           `[` + record + `]`,
		"/diagnostics/system_status": `{"systems":[{"systemId":"x","status":"x","description":"x"}]}`,
		"/diagnostics/dtcs":          `{"activeCodes":[{"code":"x","timestamp":"x"}]}`,
	}
	tesla := map[string]string{
		"/tesla/virtual_key":          `{"isPaired":true}`,
		"/tesla/migration":            `{"requiresMigration":false}`,
		"/tesla/status":               `{"status":"x","inService":true,"gear":"x"}`,
		"/tesla/user/access":          `{"accessType":"x","permissions":["x"]}`,
		"/tesla/attributes":           `{"id":"x","make":"x","model":"x","year":1,"nickname":"x","firmwareVersion":"x","trimBadging":"x","efficiencyPackage":"x","performancePackage":"x","driverAssistVersion":"x","atHome":true,"sentryMode":{"available":true,"enabled":true},"style":{"exteriorColor":"x","exteriorTrim":"x","interiorTrim":"x"},"wheel":{"style":"x","diameter":482.6},"driveUnit":{"front":"x","rear":"x"}}`,
		"/tesla/alerts":               `{"alerts":[]}`,
		"/tesla/battery":              `{"percentRemaining":0.3,"range":40.5,"heaterOn":true,"rangeEstimated":39.01,"rangeIdeal":40.5,"percentRemainingUsable":null,"maxRangeChargeCounter":null,"notEnoughPowerToHeat":true}`,
		"/tesla/charge/voltmeter":     `{"voltage":240}`,
		"/tesla/climate/cabin":        `{"status":"x","temperature":20}`,
		"/tesla/climate/defroster":    `{"frontStatus":"x","rearStatus":"x"}`,
		"/tesla/compass":              `{"direction":"x","heading":185}`,
		"/tesla/speedometer":          `{"speed":84.32}`,
		"/tesla/thermometer/exterior": `{"temperature":23.5}`,
		"/tesla/thermometer/interior": `{"temperature":23.5}`,
	}
	metadata := map[string]bool{"": true, "/vin": true, "/permissions": true, "/tesla/virtual_key": true, "/tesla/migration": true}
	units := map[string]bool{
		"/odometer": true, "/fuel": true, "/battery": true, "/tires/pressure": true, "/tesla/attributes": true, "/tesla/battery": true,
		"/tesla/climate/cabin": true, "/tesla/speedometer": true, "/tesla/thermometer/exterior": true, "/tesla/thermometer/interior": true,
	}
	a := connected(t, stopped())
	for id, paths := range map[string]map[string]string{smartcartest.MachE: ford, smartcartest.Model3: tesla} {
		for path, want := range paths {
			t.Run(path, func(t *testing.T) {
				var got, shape any
				res := a.get(car(id, path)).ok(&got)
				require.NoError(t, json.Unmarshal([]byte(want), &shape))
				require.Equal(t, typesOf(shape), typesOf(got))
				require.Equal(t, metadata[path], res.header.Get("SC-Data-Age") == "")
				require.Equal(t, metadata[path], res.header.Get("SC-Fetched-At") == "")
				require.Equal(t, units[path], res.header.Get("SC-Unit-System") == "metric")
				require.NotEmpty(t, res.header.Get("SC-Request-Id"))
			})
		}
	}
}

// typesOf replaces every value by its JSON type; a list is the type of its
// first element.
func typesOf(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := map[string]any{}
		for name, value := range v {
			out[name] = typesOf(value)
		}
		return out
	case []any:
		if len(v) == 0 {
			return []any{}
		}
		return []any{typesOf(v[0])}
	default:
		return fmt.Sprintf("%T", v)
	}
}

func TestTeslaChargeWhileCharging(t *testing.T) {
	a := connected(t, stopped())
	path := car(smartcartest.Model3, "/tesla/charge")
	a.get(path+"/ammeter").fails(409, "VEHICLE_STATE", "NOT_CHARGING")
	a.post(car(smartcartest.Model3, "/charge/limit"), `{"limit":1}`).ok(nil)
	a.post(car(smartcartest.Model3, "/charge"), `{"action":"START"}`).ok(nil)
	a.post(path+"/ammeter", `{"amperage":32}`).ok(nil)
	var amps struct{ Amperage float64 }
	a.get(path + "/ammeter").ok(&amps)
	require.InDelta(t, 32, amps.Amperage, 0)
	var charge struct {
		State    string
		SocLimit float64
	}
	a.get(path).ok(&charge)
	require.Equal(t, "CHARGING", charge.State)
	require.InDelta(t, 1, charge.SocLimit, 0)
	a.sim.Advance(2 * time.Hour)
	a.sim.ExpireAccessTokens()
	a.login(map[string][]string{"decision": {"grant"}})
	a.get(path).ok(&charge)
	require.Equal(t, "FULLY_CHARGED", charge.State)
}

func TestImperial(t *testing.T) {
	a := connected(t, stopped())
	var metric, imperial struct{ Distance float64 }
	a.get(car(smartcartest.MachE, "/odometer")).ok(&metric)
	a.units = "imperial"
	res := a.get(car(smartcartest.MachE, "/odometer")).ok(&imperial)
	require.Equal(t, "imperial", res.header.Get("SC-Unit-System"))
	require.InDelta(t, metric.Distance*0.621371, imperial.Distance, 0.1)
	var cabin struct{ Temperature float64 }
	a.get(car(smartcartest.Model3, "/tesla/thermometer/interior")).ok(&cabin)
	require.InDelta(t, 64.4, cabin.Temperature, 0.001)
}

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
	a.get(car("unknown", "/battery")).fails(401, "AUTHENTICATION", "")
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
}

func TestEscapedIDs(t *testing.T) {
	a := connected(t, smartcartest.WithCars(smartcartest.Car{ID: "a/b c", Make: "FORD"}))
	var got struct{ ID string }
	a.get("/v2.0/vehicles/a%2Fb%20c").ok(&got)
	require.Equal(t, "a/b c", got.ID)
}

func TestKeyStatus(t *testing.T) {
	cars := append(smartcartest.DefaultGarage(),
		smartcartest.Car{ID: "old", Make: "TESLA", Integration: smartcartest.Legacy, PlatformNotCapable: true},
		smartcartest.Car{ID: "driven", Make: "TESLA", Integration: smartcartest.Streaming, Driver: true})
	a := connected(t, smartcartest.WithCars(cars...))
	for id, want := range map[string]bool{
		smartcartest.Model3: true, smartcartest.ModelY: false, smartcartest.Cybertruck: false,
		smartcartest.ModelS2018: false, smartcartest.ModelX2020: false, smartcartest.ModelS2021: false,
	} {
		var key struct{ IsPaired *bool }
		a.get(car(id, "/tesla/virtual_key")).ok(&key)
		require.NotNil(t, key.IsPaired)
		require.Equal(t, want, *key.IsPaired, id)
	}
	a.get(car("old", "/tesla/virtual_key")).fails(501, "COMPATIBILITY", "PLATFORM_NOT_CAPABLE")
	a.get(car("driven", "/tesla/virtual_key")).fails(400, "CONNECTED_SERVICES_ACCOUNT", "VEHICLE_MISSING")
	a.get(car(smartcartest.MachE, "/tesla/virtual_key")).fails(501, "COMPATIBILITY", "VEHICLE_NOT_CAPABLE")
	require.Error(t, a.sim.Pair("old"))
	require.Error(t, a.sim.Pair("unknown"))
}

func TestAppRateLimit(t *testing.T) {
	a := connected(t, stopped(), smartcartest.WithAppRateLimit(3, 2))
	for range 3 {
		a.get("/v2.0/user").ok(nil)
	}
	res := a.get("/v2.0/user")
	res.fails(429, "RATE_LIMIT", "SMARTCAR_API")
	require.Empty(t, res.header.Get("Retry-After"))
	a.sim.Advance(30 * time.Second)
	a.get("/v2.0/user").ok(nil)
	a.get(car(smartcartest.Model3, "/battery")).fails(429, "RATE_LIMIT", "SMARTCAR_API")
	require.False(t, a.sim.Ledger(smartcartest.Model3)[0].AtGate)
}

func TestBasePath(t *testing.T) {
	a := newAPI(t, smartcartest.WithBasePath("base/"))
	require.Equal(t, 404, a.get("/v2.0/user").status)
	require.Equal(t, 404, a.get("/basement/v2.0/user").status)
	a.get("/base/v2.0/user").fails(401, "AUTHENTICATION", "")
	_, err := a.sim.Grant(a.authorize(nil))
	require.Error(t, err)
	_, err = a.sim.Grant(strings.Replace(a.authorize(nil), "/oauth", "/base/oauth", 1))
	require.NoError(t, err)
	for _, line := range a.sim.Environment("http://127.0.0.1:1/") {
		if name, value, _ := strings.Cut(line, "="); strings.HasSuffix(name, "_ORIGIN") {
			require.Equal(t, "http://127.0.0.1:1/base", value)
		}
	}
	origin, stop, err := a.sim.Start()
	require.NoError(t, err)
	defer stop()
	res, err := http.Get(origin + "/v2.0/user")
	require.NoError(t, err)
	a.read(res).fails(401, "AUTHENTICATION", "")
}

func TestGarageCheckDigits(t *testing.T) {
	weights := []int{8, 7, 6, 5, 4, 3, 2, 10, 0, 9, 8, 7, 6, 5, 4, 3, 2}
	values := map[rune]int{}
	for i, letters := range []string{"AJ", "BKS", "CLT", "DMU", "ENV", "FW", "GPX", "HY", "RZ"} {
		for _, r := range letters {
			values[r] = i + 1
		}
		values[rune('1'+i)] = i + 1
	}
	for _, c := range smartcartest.DefaultGarage() {
		sum := 0
		for i, r := range c.VIN {
			sum += values[r] * weights[i]
		}
		want := string("0123456789X"[sum%11])
		require.Equal(t, want, c.VIN[8:9], c.VIN)
	}
	require.Equal(t, "2", string(smartcartest.DefaultGarage()[5].VIN[7]))
	require.Equal(t, "M", string(smartcartest.DefaultGarage()[5].VIN[9]))
}
