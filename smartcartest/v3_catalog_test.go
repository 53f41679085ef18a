package smartcartest_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seed-498a1bc4/smartcar/smartcartest"
)

// The documented bodies by code: b is a boolean value, s a word, l a list
// below values, t {isOpen,isLocked}, o {isOpen}, d {status}; a unit is a number
// with it. Anything else lists the keys.
const documentedSignals = `
charge-amperage ampere
charge-amperagemax ampere
charge-amperagerequested ampere
charge-chargelimits activeLimit,unit,values
charge-chargeportstatuscolor s
charge-chargerate km/h
charge-chargerecords l
charge-chargerphases s
charge-chargetimers l
charge-chargingconnectortype s
charge-detailedchargingstatus s
charge-energyadded kWh
charge-fastchargertype s
charge-ischarging b
charge-ischargingcableconnected b
charge-ischargingcablelatched b
charge-ischargingportflapopen b
charge-isfastchargerpresent b
charge-timetocomplete minutes
charge-voltage volts
charge-wattage watts
climate-externaltemperature celsius
climate-internaltemperature celsius
closure-doors columnCount,rowCount,values
closure-windows columnCount,rowCount,values
closure-fronttrunk t
closure-reartrunk t
closure-tailgate t
closure-sunroof o
closure-enginecover o
closure-islocked b
connectivitysoftware-currentfirmwareversion s
connectivitystatus-isasleep b
connectivitystatus-isonline b
connectivitystatus-isdigitalkeypaired b
diagnostics-abs d
diagnostics-activesafety d
diagnostics-airbag d
diagnostics-brakefluid d
diagnostics-driverassistance d
diagnostics-emissions d
diagnostics-evbatteryconditioning d
diagnostics-evcharging d
diagnostics-evdriveunit d
diagnostics-evhvbattery d
diagnostics-lighting d
diagnostics-mil d
diagnostics-oillife d
diagnostics-oilpressure d
diagnostics-oiltemperature d
diagnostics-telematics d
diagnostics-tirepressure d
diagnostics-tirepressuremonitoring description,status
diagnostics-transmission d
diagnostics-washerfluid d
diagnostics-waterinfuel d
diagnostics-dtccount count
diagnostics-dtclist l
hvac-cabintargettemperature celsius
hvac-iscabinhvacactive b
hvac-isfrontdefrosteractive b
hvac-isreardefrosteractive b
hvac-issteeringheateractive b
internalcombustionengine-amountremaining liters
internalcombustionengine-fuellevel percent
internalcombustionengine-oillife percent
internalcombustionengine-range km
location-isathome b
location-preciselocation direction,heading,latitude,locationType,longitude
lowvoltagebattery-stateofcharge percent
lowvoltagebattery-status s
motion-currentspeed kph
odometer-traveleddistance km
service-isinservice b
service-records l
surveillance-isenabled b
surveillance-brand s
tractionbattery-stateofcharge percent
tractionbattery-range additionalValues,type,unit,value
tractionbattery-nominalcapacity availableCapacities,capacity,source,unit
tractionbattery-isheateractive b
tractionbattery-maxrangechargecounter count
transmission-gearstate s
transmission-drivemode canonical,oemDisplayName
vehicleidentification-vin s
vehicleidentification-nickname s
vehicleidentification-exteriorcolor s
vehicleidentification-trim s
vehicleidentification-packages l
vehicleuseraccount-permissions l
vehicleuseraccount-role s
wheel-tires columnCount,rowCount,unit,values
wheel-style s`

func keys(body map[string]any) string {
	var names []string
	for name := range body {
		names = append(names, name)
	}
	slices.Sort(names)
	return strings.Join(names, ",")
}

func TestV3CatalogIsTheDocumentedOne(t *testing.T) {
	charging := func(id string, make_ string, how smartcartest.Integration) smartcartest.Car {
		return smartcartest.Car{ID: id, Make: make_, Model: "M", VIN: "5YJ3E1EA2NF000001", Integration: how, Paired: true, Charging: true, Battery: 0.4}
	}
	a := v3(t, smartcartest.WithCars(charging("t", "TESLA", smartcartest.Streaming), charging("f", "FORD", smartcartest.Other)))
	tesla, ford := signalsOf(a, "t"), signalsOf(a, "f")
	lines := strings.Split(strings.TrimSpace(documentedSignals), "\n")
	require.Len(t, lines, 93)
	require.Len(t, tesla, 93)
	require.Len(t, ford, 93)
	for _, line := range lines {
		code, want, _ := strings.Cut(line, " ")
		require.Contains(t, tesla, code)
		s := tesla[code]
		if s.Attributes.Status.Value != "SUCCESS" {
			require.Equal(t, "VEHICLE_NOT_CAPABLE", *s.Attributes.Status.Error.Code)
			require.Nil(t, s.Attributes.Body)
			require.True(t, s.Meta.OEMUpdatedAt.IsZero())
			s = ford[code]
		}
		require.Equal(t, "SUCCESS", s.Attributes.Status.Value, code)
		require.Equal(t, code, strings.ToLower(s.Attributes.Group+"-"+s.Attributes.Name))
		body := s.Attributes.Body
		switch want {
		case "b":
			require.IsType(t, true, body["value"], code)
		case "s":
			require.NotEmpty(t, body["value"], code)
		case "l":
			require.IsType(t, []any{}, body["values"], code)
		case "t":
			require.Equal(t, "isLocked,isOpen", keys(body), code)
		case "o":
			require.Equal(t, "isOpen", keys(body), code)
		case "d":
			require.Equal(t, "OK", body["status"], code)
		default:
			if strings.Contains(want, ",") {
				require.Equal(t, want, keys(body), code)
				break
			}
			require.IsType(t, 0.0, body["value"], code)
			require.Equal(t, want, body["unit"], code)
		}
	}
	vin := tesla["vehicleidentification-vin"]
	require.True(t, vin.Meta.OEMUpdatedAt.IsZero())
	require.False(t, vin.Meta.IngestedAt.IsZero())
}

func TestV3GarageAnswersAsTheCarsDo(t *testing.T) {
	a := v3(t)
	capable := func(id string) (n int) {
		for _, s := range signalsOf(a, id) {
			if e := s.Attributes.Status.Error; e.Type != "COMPATIBILITY" {
				n++
			}
		}
		return n
	}
	require.Equal(t, 60, capable(smartcartest.Model3))
	require.Equal(t, 59, capable(smartcartest.ModelS2018), "no place is home for a car that does not stream")
	require.Equal(t, 61, capable(smartcartest.MachE))
	require.Equal(t, "VEHICLE_NOT_CAPABLE", *signalsOf(a, smartcartest.Model3)["internalcombustionengine-range"].Attributes.Status.Error.Code)
}

func TestV3OldValueBesideAnError(t *testing.T) {
	a := v3(t)
	list := signalsOf(a, smartcartest.Model3)
	rate := list["charge-chargerate"]
	require.Equal(t, "ERROR", rate.Attributes.Status.Value)
	require.Equal(t, "NOT_CHARGING", *rate.Attributes.Status.Error.Code)
	require.InDelta(t, 30, rate.Attributes.Body["value"], 0)
	require.Less(t, rate.Meta.OEMUpdatedAt, a.sim.Now().Add(-24*time.Hour))
	left := list["charge-timetocomplete"]
	require.Equal(t, map[string]any{"value": nil, "unit": "minutes"}, left.Attributes.Body)
	require.Equal(t, "ERROR", left.Attributes.Status.Value)
	a.post(v3car(smartcartest.Model3, "/commands/charge/set-limit"), `{"data":{"attributes":{"percent":100}}}`).ok(nil)
	a.post(v3car(smartcartest.Model3, "/commands/charge/start"), "").ok(nil)
	list = signalsOf(a, smartcartest.Model3)
	require.Equal(t, "SUCCESS", list["charge-chargerate"].Attributes.Status.Value)
	require.Equal(t, map[string]any{"value": 120.0, "unit": "minutes"}, list["charge-timetocomplete"].Attributes.Body)
}

func TestV3CommandsShowInTheSignals(t *testing.T) {
	a := v3(t)
	require.NoError(t, a.sim.Pair(modelY))
	value := func(code string) any { return signalsOf(a, modelY)[code].Attributes.Body["value"] }
	require.Equal(t, false, value("charge-ischargingportflapopen"))
	a.post(v3car(modelY, "/commands/charge-port/open"), "").ok(nil)
	require.Equal(t, true, value("charge-ischargingportflapopen"))
	a.post(v3car(modelY, "/commands/charge-port/close"), "").ok(nil)
	require.Equal(t, false, value("charge-ischargingportflapopen"))
	var made execution
	a.post(v3car(modelY, "/charge-schedules/workweek"),
		`{"data":{"attributes":{"location":{"latitude":1,"longitude":2},"weekdays":{"startTime":"01:00","stopTime":"02:00"}}}}`).ok(&made)
	raw, err := json.Marshal(signalsOf(a, modelY)["charge-chargetimers"].Attributes.Body["values"])
	require.NoError(t, err)
	require.JSONEq(t, `[{"type":"LOCATION","scheduleType":"WORKWEEK","scheduleId":"`+made.Data.Attributes.ScheduleID+`",
		"condition":{"name":null,"address":null,"latitude":1,"longitude":2},"departureTimers":[],"isOEMOptimizationEnabled":false,
		"schedules":[{"start":"01:00:00","end":"02:00:00","days":["MONDAY","TUESDAY","WEDNESDAY","THURSDAY","FRIDAY"]}]}]`, string(raw))
	a.post(v3car(modelY, "/commands/security/unlock"), "").ok(nil)
	doors := signalsOf(a, modelY)["closure-doors"].Attributes.Body["values"].([]any)
	require.Equal(t, map[string]any{"row": 0.0, "column": 0.0, "isOpen": false, "isLocked": false}, doors[0])
}

func TestV3NeverSubscribed(t *testing.T) {
	a := v3(t, smartcartest.WithCars(smartcartest.Car{ID: "new", Make: "TESLA", Integration: smartcartest.Streaming, NeverSubscribed: true}))
	require.Empty(t, signalsOf(a, "new"))
	a.get(v3car("new", "/signals/odometer-traveleddistance")).fails3(404, "RESOURCE_NOT_FOUND", "SIGNAL_NOT_FOUND")
	require.Empty(t, a.sim.BrokenWindows("new"), "nothing was read")
	v2 := &api{t: t, sim: a.sim, http: a.http, origin: a.origin}
	v2.login(map[string][]string{"decision": {"grant"}})
	v2.post(car("new", "/webhooks/hook-1"), "{}").ok(nil)
	require.Len(t, signalsOf(a, "new"), 93)
}

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
