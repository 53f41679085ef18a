package smartcartest_test

import (
	"encoding/json"
	"fmt"
	"testing"

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
		"/tesla/virtual_key":            `{"isPaired":true}`,
		"/tesla/migration":              `{"requiresMigration":false}`,
		"/tesla/status":                 `{"status":"x","inService":true,"gear":"x"}`,
		"/tesla/user/access":            `{"accessType":"x","permissions":["x"]}`,
		"/tesla/attributes":             `{"id":"x","make":"x","model":"x","year":1,"nickname":"x","firmwareVersion":"x","trimBadging":"x","efficiencyPackage":"x","performancePackage":"x","driverAssistVersion":"x","atHome":true,"sentryMode":{"available":true,"enabled":true},"style":{"exteriorColor":"x","exteriorTrim":"x","interiorTrim":"x"},"wheel":{"style":"x","diameter":482.6},"driveUnit":{"front":"x","rear":"x"}}`,
		"/tesla/alerts":                 `{"alerts":[]}`,
		"/tesla/battery":                `{"percentRemaining":0.3,"range":40.5,"heaterOn":true,"rangeEstimated":39.01,"rangeIdeal":40.5,"percentRemainingUsable":null,"maxRangeChargeCounter":null,"notEnoughPowerToHeat":true}`,
		"/tesla/charge/voltmeter":       `{"voltage":240}`,
		"/tesla/climate/cabin":          `{"status":"x","temperature":20}`,
		"/tesla/climate/defroster":      `{"frontStatus":"x","rearStatus":"x"}`,
		"/tesla/climate/steering_wheel": `{"status":"x"}`,
		"/tesla/charge/schedule":        `{"departureTime":{"enabled":false,"time":null},"startTime":{"enabled":true,"time":null}}`,
		"/tesla/charge/records":         `{"records":[{"date":"x","home":10,"other":15,"superCharger":25,"total":50}]}`,
		"/tesla/charge/records/billing": `{"records":[{"chargeStart":"x","chargeEnd":"x","energyConsumed":44.1,"cost":{"currency":"USD","energy":"41","other":"41"},"location":"x","recordId":"x"}],"hasMoreData":false}`,
		"/tesla/compass":                `{"direction":"x","heading":185}`,
		"/tesla/speedometer":            `{"speed":84.32}`,
		"/tesla/thermometer/exterior":   `{"temperature":23.5}`,
		"/tesla/thermometer/interior":   `{"temperature":23.5}`,
	}
	metadata := map[string]bool{"": true, "/vin": true, "/permissions": true, "/tesla/virtual_key": true, "/tesla/migration": true}
	units := map[string]bool{
		"/odometer": true, "/fuel": true, "/battery": true, "/tires/pressure": true, "/tesla/attributes": true, "/tesla/battery": true,
		"/tesla/climate/cabin": true, "/tesla/speedometer": true, "/tesla/thermometer/exterior": true, "/tesla/thermometer/interior": true,
	}
	cars := smartcartest.DefaultGarage()
	cars[6].Powertrain = "PHEV" // so that one car answers everything
	a := connected(t, stopped(), smartcartest.WithCars(cars...))
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

func TestPowertrain(t *testing.T) {
	a := connected(t, smartcartest.WithCars(
		smartcartest.Car{ID: "bev", Make: "FORD"},
		smartcartest.Car{ID: "phev", Make: "FORD", Powertrain: "PHEV"},
		smartcartest.Car{ID: "hev", Make: "FORD", Powertrain: "hev"},
		smartcartest.Car{ID: "ice", Make: "FORD", Powertrain: "ICE"},
	))
	app := v3(t, smartcartest.WithCars(smartcartest.Car{ID: "hev", Make: "FORD", Powertrain: "HEV"}))
	for id, able := range map[string]struct{ fuel, battery bool }{
		"bev": {false, true}, "phev": {true, true}, "hev": {true, false}, "ice": {true, false},
	} {
		for path, answers := range map[string]bool{
			"/fuel": able.fuel, "/engine/oil": able.fuel, "/battery": able.battery, "/battery/capacity": able.battery, "/charge": able.battery,
			"/charge/limit": able.battery, "/odometer": true,
		} {
			if res := a.get(car(id, path)); answers {
				res.ok(nil)
			} else {
				res.fails(501, "COMPATIBILITY", "VEHICLE_NOT_CAPABLE")
			}
		}
	}
	a.post(car("ice", "/charge"), `{"action":"STOP"}`).fails(501, "COMPATIBILITY", "VEHICLE_NOT_CAPABLE")
	require.Contains(t, string(app.get(v3car("hev", "")).body), `"powertrainType":"ICE"`, "hybrids without a plug count as ICE")
	list := signalsOf(app, "hev")
	require.Equal(t, "SUCCESS", list["internalcombustionengine-fuellevel"].Attributes.Status.Value)
	require.Equal(t, "VEHICLE_NOT_CAPABLE", *list["charge-ischarging"].Attributes.Status.Error.Code)
	app.post(v3car("hev", "/commands/charge/start"), "").fails3(501, "COMPATIBILITY", "VEHICLE_NOT_CAPABLE")
	ford := connected(t)
	for _, path := range []string{"/fuel", "/engine/oil"} {
		ford.get(car(smartcartest.MachE, path)).fails(501, "COMPATIBILITY", "VEHICLE_NOT_CAPABLE")
	}
}
