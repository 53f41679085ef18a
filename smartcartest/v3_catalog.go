package smartcartest

import (
	"slices"
	"strings"
	"time"
)

// signals is the catalog of API v3: 93 codes. The casing of some names is a
// guess; the codes are the documented ones.
func signals() []signal {
	return slices.Concat(chargeSignals(), chargeLists(), closureSignals(), statusSignals(), diagnosticSignals(), driveSignals(), identitySignals())
}

// The documented bodies: B, N(unit) and S of the reference.

// boolBody, numberBody and stringBody are the documented bodies with one
// value; the reference calls them B, N(unit) and S.
func boolBody(f func(*view) bool) func(*view) (object, *apiError) {
	return func(w *view) (object, *apiError) { return object{"value": f(w)}, nil }
}

// numberBody is a number with its unit; see boolBody.
func numberBody(unit string, f func(*view) float64) func(*view) (object, *apiError) {
	return func(w *view) (object, *apiError) { return object{"value": f(w), "unit": unit}, nil }
}

// stringBody is a word; see boolBody.
func stringBody(f func(*view) string) func(*view) (object, *apiError) {
	return func(w *view) (object, *apiError) { return object{"value": f(w)}, nil }
}

// fixedBody is the same for every car. body makes a new object each time, as
// Variants may change it.
func fixedBody(body func() object) func(*view) (object, *apiError) {
	return func(*view) (object, *apiError) { return body(), nil }
}

// never is false for every car.
func never(*view) bool { return false }

// flat is the same number for every car.
func flat(v float64) func(*view) float64 { return func(*view) float64 { return v } }

// whileCharging is a number that exists only while the car charges. Otherwise
// the signal is an error, and its body holds the last value beside the error.
// A last of nil is null in JSON.
func whileCharging(unit string, last any, f func(*view) float64) func(*view) (object, *apiError) {
	return func(w *view) (object, *apiError) {
		if w.chargeStatus() != "CHARGING" {
			return object{"value": last, "unit": unit}, newError("VEHICLE_STATE", "NOT_CHARGING")
		}
		return object{"value": f(w), "unit": unit}, nil
	}
}

// chargeSignals are those of the group Charge whose body is one value.
func chargeSignals() []signal {
	const group, read = "Charge", "read_charge"
	return []signal{
		{group, "Amperage", read, "", onlyTesla, whileCharging("ampere", 0, func(w *view) float64 { return w.amperage })},
		{group, "AmperageMax", read, "", onlyTesla, numberBody("ampere", flat(48))},
		{group, "AmperageRequested", read, "", onlyTesla, numberBody("ampere", func(w *view) float64 { return w.amperage })},
		{group, "ChargePortStatusColor", read, "", onlyTesla, stringBody(func(w *view) string {
			if w.chargeStatus() == "CHARGING" {
				return "green"
			}
			return "blue"
		})},
		{group, "ChargeRate", read, "", everyCar, whileCharging("km/h", 30, func(w *view) float64 { return round(kmPerKW*w.kW(), 1) })},
		{group, "ChargerPhases", read, "", onlyTesla, fixedBody(func() object { return object{"value": 1} })},
		{group, "ChargingConnectorType", read, "", everyCar, stringBody(func(w *view) string {
			switch {
			case !w.plugged:
				return "invalid" // as captured, with SUCCESS: nothing is plugged in
			case w.tesla():
				return "IEC"
			default:
				return "J1772"
			}
		})},
		{group, "DetailedChargingStatus", read, "/charge", everyCar, stringBody((*view).chargeStatus)},
		{group, "EnergyAdded", read, "", everyCar, numberBody("kWh", flat(11.52))},
		{group, "FastChargerType", read, "", onlyTesla, stringBody(func(*view) string { return "CCS" })},
		{group, "IsCharging", read, "/charge", everyCar, boolBody(func(w *view) bool { return w.chargeStatus() == "CHARGING" })},
		{group, "IsChargingCableConnected", read, "/charge", everyCar, boolBody(func(w *view) bool { return w.plugged })},
		{group, "IsChargingCableLatched", read, "", onlyTesla, boolBody(func(w *view) bool { return w.plugged })},
		{group, "IsChargingPortFlapOpen", read, "", onlyTesla, boolBody(func(w *view) bool { return w.plugged || w.flapOpen })},
		{group, "IsFastChargerPresent", read, "", onlyTesla, boolBody(never)},
		{group, "TimeToComplete", read, "", everyCar, whileCharging("minutes", nil, (*view).minutesToLimit)},
		{group, "Voltage", read, "", onlyTesla, numberBody("volts", func(w *view) float64 {
			if w.chargeStatus() == "CHARGING" {
				return volts
			}
			return 1
		})},
		{group, "Wattage", read, "", onlyTesla, whileCharging("watts", 8000, func(w *view) float64 { return 1000 * w.kW() })},
	}
}

// chargeLists are those of the group Charge whose body is a list.
func chargeLists() []signal {
	const group = "Charge"
	return []signal{
		{group, "ChargeLimits", "read_charge", "/charge/limit", everyCar, func(w *view) (object, *apiError) {
			percent := round(100*w.limit, 2)
			var active any // null when not plugged in
			if w.plugged {
				active = percent
			}
			return object{
				"values":      []object{{"type": "GLOBAL", "limit": percent, "condition": nil}},
				"activeLimit": active, "unit": "percent",
			}, nil
		}},
		{group, "ChargeRecords", "read_charge_records", "", everyCar, func(w *view) (object, *apiError) {
			start := w.born.Add(-48 * time.Hour)
			return object{"values": []object{{
				"id": namedUUID("charge", w.ID), "cost": object{"currency": "EUR", "energyAmount": 6.9, "otherAmount": nil},
				"startTime": start.Format(timeLayout), "endTime": start.Add(2 * time.Hour).Format(timeLayout),
				"location":    object{"name": "Home", "address": nil, "latitude": w.Latitude, "longitude": w.Longitude},
				"energyAdded": 23.1, "connectorType": "TYPE_2", "isPublicCharger": false,
				"startStateOfCharge": 40, "endStateOfCharge": 70,
			}}}, nil
		}},
		{group, "ChargeTimers", "read_charge", "", everyCar, func(w *view) (object, *apiError) {
			list := []object{}
			for _, p := range w.schedules {
				list = append(list, p.timer())
			}
			return object{"values": list}, nil
		}},
	}
}

// closureSignals are doors, windows, trunks and locks.
func closureSignals() []signal {
	const group, read, v2 = "Closure", "read_security", "/security"
	corners := func(w *view, locks bool) []object {
		list := []object{}
		for i := range 4 {
			one := object{"row": i / 2, "column": i % 2, "isOpen": false}
			if locks {
				one["isLocked"] = w.locked
			}
			list = append(list, one)
		}
		return list
	}
	all := func(locks bool) func(*view) (object, *apiError) {
		return func(w *view) (object, *apiError) {
			return object{"values": corners(w, locks), "rowCount": 2, "columnCount": 2}, nil
		}
	}
	lid := func(w *view) (object, *apiError) { return object{"isOpen": false, "isLocked": w.locked}, nil }
	closed := fixedBody(func() object { return object{"isOpen": false} })
	return []signal{
		{group, "Doors", read, v2, everyCar, all(true)},
		{group, "Windows", read, v2, everyCar, all(false)},
		{group, "FrontTrunk", read, v2, everyCar, lid},
		{group, "RearTrunk", read, v2, everyCar, lid},
		{group, "Tailgate", read, v2, notTesla, lid},
		{group, "Sunroof", read, v2, everyCar, closed},
		{group, "EngineCover", read, v2, notTesla, closed},
		{group, "IsLocked", read, v2, everyCar, boolBody(func(w *view) bool { return w.locked })},
	}
}

// statusSignals are connectivity, climate and surveillance.
func statusSignals() []signal {
	const status, climate = "ConnectivityStatus", "read_climate"
	return []signal{
		{status, "IsAsleep", "read_vehicle_info", "", onlyTesla, boolBody(func(w *view) bool { return w.asleep(w.now) })},
		{status, "IsOnline", "read_vehicle_info", "", onlyTesla, boolBody(func(w *view) bool { return !w.asleep(w.now) })},
		{status, "IsDigitalKeyPaired", "read_vehicle_info", "", onlyTesla, func(w *view) (object, *apiError) {
			if w.PlatformNotCapable {
				return nil, newError("COMPATIBILITY", "PLATFORM_NOT_CAPABLE")
			}
			return object{"value": w.Integration == Streaming && w.Paired}, nil
		}},
		{"ConnectivitySoftware", "CurrentFirmwareVersion", "read_extended_vehicle_info", "", onlyTesla, stringBody(func(*view) string { return "2026.8.3 0ce482dac45d" })},
		{"Climate", "ExternalTemperature", "read_thermometer", "", everyCar, numberBody("celsius", flat(12.5))},
		{"Climate", "InternalTemperature", "read_thermometer", "", onlyTesla, numberBody("celsius", flat(18))},
		{"HVAC", "CabinTargetTemperature", climate, "", onlyTesla, numberBody("celsius", func(w *view) float64 { return round(w.climateSet, 2) })},
		{"HVAC", "IsCabinHVACActive", climate, "", onlyTesla, boolBody(func(w *view) bool { return w.climateOn })},
		{"HVAC", "IsFrontDefrosterActive", climate, "", onlyTesla, boolBody(func(w *view) bool { return w.defrost })},
		{"HVAC", "IsRearDefrosterActive", climate, "", onlyTesla, boolBody(func(w *view) bool { return w.defrost })},
		{"HVAC", "IsSteeringHeaterActive", climate, "", onlyTesla, boolBody(func(w *view) bool { return w.wheelHeat })},
		{"Surveillance", "IsEnabled", "read_security", "", onlyTesla, boolBody(never)},
		{"Surveillance", "Brand", "read_security", "", onlyTesla, stringBody(func(*view) string { return "Sentry Mode" })},
	}
}

// diagnosticSignals are trouble codes and the state of each system.
func diagnosticSignals() []signal {
	const group, read, v2 = "Diagnostics", "read_diagnostics", "/diagnostics/system_status"
	list := []signal{
		{group, "DTCCount", read, "/diagnostics/dtcs", everyCar, numberBody("count", flat(2))},
		{group, "DTCList", read, "/diagnostics/dtcs", everyCar, func(w *view) (object, *apiError) {
			return object{"values": []object{
				{"code": "P302D", "timestamp": w.born.Add(-48 * time.Hour).Format(timeLayout)},
				{"code": "P303D"},
			}}, nil
		}},
	}
	for name := range strings.FieldsSeq(`ABS ActiveSafety Airbag BrakeFluid DriverAssistance Emissions EVBatteryConditioning EVCharging
		EVDriveUnit EVHVBattery Lighting MIL OilLife OilPressure OilTemperature Telematics TirePressure TirePressureMonitoring
		Transmission WasherFluid WaterInFuel`) {
		list = append(list, signal{group, name, read, v2, everyCar, fixedBody(func() object {
			if name == "TirePressureMonitoring" {
				return object{"status": "ALERT", "description": "Left rear tire sensor battery low"}
			}
			return object{"status": "OK"}
		})})
	}
	return list
}

// driveSignals are engine, batteries, speed, odometer and transmission.
func driveSignals() []signal {
	const engine, low, traction = "InternalCombustionEngine", "LowVoltageBattery", "TractionBattery"
	return []signal{
		{engine, "AmountRemaining", "read_fuel", "/fuel", everyCar, numberBody("liters", flat(53.2))},
		{engine, "FuelLevel", "read_fuel", "/fuel", everyCar, numberBody("percent", flat(30))},
		{engine, "OilLife", "read_engine_oil", "/engine/oil", everyCar, numberBody("percent", flat(35))},
		{engine, "Range", "read_fuel", "/fuel", everyCar, numberBody("km", flat(40.5))},
		{low, "StateOfCharge", "read_battery", "", notTesla, numberBody("percent", flat(87))},
		{low, "Status", "read_battery", "", notTesla, stringBody(func(*view) string { return "GOOD" })},
		{"Motion", "CurrentSpeed", "read_speedometer", "", onlyTesla, numberBody("kph", flat(0))},
		{"Odometer", "TraveledDistance", "read_odometer", "/odometer", everyCar, numberBody("km", func(w *view) float64 {
			return round(w.odometer(w.recording.recorded), 2)
		})},
		{traction, "StateOfCharge", "read_battery", "/battery", everyCar, numberBody("percent", func(w *view) float64 { return round(100*w.stateOfCharge(), 2) })},
		{traction, "Range", "read_battery", "/battery", everyCar, func(w *view) (object, *apiError) {
			more := []object{}
			if w.tesla() {
				more = append(more, object{"type": "ESTIMATED", "value": w.rangeLeft()}, object{"type": "RATED", "value": round(w.rangeLeft()*1.05, 1)})
			}
			return object{"value": w.rangeLeft(), "type": "DEFAULT", "additionalValues": more, "unit": "km"}, nil
		}},
		{traction, "NominalCapacity", "read_battery", "/battery/nominal_capacity", everyCar, func(w *view) (object, *apiError) {
			return object{
				"source": "SMARTCAR", "capacity": w.CapacityKWh, "unit": "kWh",
				"availableCapacities": []object{
					{"capacity": w.CapacityKWh, "description": nil},
					{"capacity": w.CapacityKWh + 10, "description": "BEV:Extended Range"},
				},
			}, nil
		}},
		{traction, "IsHeaterActive", "read_battery", "", onlyTesla, boolBody(never)},
		{traction, "MaxRangeChargeCounter", "read_battery", "", onlyTesla, numberBody("count", flat(3))},
		{"Transmission", "GearState", "read_extended_vehicle_info", "", everyCar, stringBody(func(*view) string { return "PARK" })},
		{"Transmission", "DriveMode", "read_extended_vehicle_info", "", notTesla, fixedBody(func() object {
			return object{"canonical": "NORMAL", "oemDisplayName": "Engage"}
		})},
	}
}

// identitySignals are location, service, identity, account and wheels.
func identitySignals() []signal {
	const identity, extended = "VehicleIdentification", "read_extended_vehicle_info"
	return []signal{
		{"Location", "IsAtHome", "read_location", "", onlyTesla, func(w *view) (object, *apiError) {
			if w.Integration != Streaming {
				return nil, newError("COMPATIBILITY", "VEHICLE_NOT_CAPABLE")
			}
			return object{"value": true}, nil
		}},
		{"Location", "PreciseLocation", "read_location", "/location", everyCar, func(w *view) (object, *apiError) {
			body := object{"latitude": w.Latitude, "longitude": w.Longitude, "locationType": "CURRENT"}
			if w.tesla() {
				body["heading"], body["direction"] = 225, "SW"
			}
			return body, nil
		}},
		{"Service", "IsInService", "read_service_history", "", onlyTesla, boolBody(never)},
		{"Service", "Records", "read_service_history", "/service/history", everyCar, func(w *view) (object, *apiError) {
			list := []object{}
			for i := range 3 { // a record every 90 days, the same as in v2.0
				when := w.born.AddDate(0, 0, -90*(i+1))
				list = append(list, object{
					"id": namedUUID("service", w.ID+when.Format(time.DateOnly)), "time": when.Format(timeLayout), "odometer": round(w.odometer(when), 2),
					"cost":    object{"amount": nil, "currency": nil},
					"tasks":   []object{{"id": "3262", "description": "Tires rotated"}},
					"details": []object{},
				})
			}
			return object{"values": list}, nil
		}},
		{identity, "VIN", "read_vin", "/vin", everyCar, func(w *view) (object, *apiError) {
			if w.VIN == "" {
				return nil, newError("COMPATIBILITY", "VEHICLE_NOT_CAPABLE")
			}
			return object{"value": w.VIN}, nil
		}},
		{identity, "Nickname", "read_vehicle_info", "", everyCar, stringBody(func(w *view) string { return w.Model })},
		{identity, "ExteriorColor", extended, "", everyCar, stringBody(func(*view) string { return "SolidBlack" })},
		{identity, "Trim", extended, "", everyCar, stringBody(func(*view) string { return "74d" })},
		{identity, "Packages", extended, "", onlyTesla, fixedBody(func() object { return object{"values": []string{"Default", "Base"}} })},
		{"VehicleUserAccount", "Permissions", "read_user_profile", "", onlyTesla, fixedBody(func() object {
			return object{"values": []string{"vehicle_device_data", "vehicle_cmds", "vehicle_charging_cmds", "vehicle_location"}}
		})},
		{"VehicleUserAccount", "Role", "read_user_profile", "", onlyTesla, stringBody(func(w *view) string {
			if w.driver {
				return "Driver"
			}
			return "Owner"
		})},
		{"Wheel", "Tires", "read_tires", "/tires/pressure", everyCar, func(*view) (object, *apiError) {
			list := []object{}
			for i, kPa := range []float64{219.1, 219, 219.3, 219.2} {
				list = append(list, object{"row": i / 2, "column": i % 2, "tirePressure": kPa})
			}
			return object{"values": list, "rowCount": 2, "columnCount": 2, "unit": "kPa"}, nil
		}},
		{"Wheel", "Style", "read_tires", "", onlyTesla, stringBody(func(*view) string { return "Apollo" })},
	}
}
