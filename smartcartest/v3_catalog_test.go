package smartcartest_test

import (
	"slices"
	"strings"
	"testing"

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
		return smartcartest.Car{ID: id, Make: make_, Model: "M", VIN: "5YJ3E1EA2NF000001", Powertrain: "PHEV", Integration: how, Paired: true, Charging: true, Battery: 0.4}
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
	require.Equal(t, 57, capable(smartcartest.MachE))
	require.Equal(t, "VEHICLE_NOT_CAPABLE", *signalsOf(a, smartcartest.Model3)["internalcombustionengine-range"].Attributes.Status.Error.Code)
}
