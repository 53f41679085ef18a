package smartcartest

import "net/http"

// teslaReads are the reads of /tesla/. The table has them for every car, and
// operation.capable refuses them for other makes.
func teslaReads() []operation {
	get := func(path, permission string, kind Kind, units bool, read func(*view) (any, *apiError)) operation {
		return operation{method: http.MethodGet, path: "/tesla" + path, permission: permission, kind: kind, hasUnits: units, read: read}
	}
	data := func(path, permission string, units bool, read func(*view) any) operation {
		return get(path, permission, Data, units, func(w *view) (any, *apiError) { return read(w), nil })
	}
	charging := func(path, permission string, read func(*view) any) operation {
		return get(path, permission, Data, false, func(w *view) (any, *apiError) {
			if w.chargeStatus() != "CHARGING" {
				return nil, newError("VEHICLE_STATE", "NOT_CHARGING")
			}
			return read(w), nil
		})
	}
	return []operation{
		get("/virtual_key", "read_vehicle_info", Metadata, false, virtualKey),
		get("/migration", "read_vehicle_info", Metadata, false, func(w *view) (any, *apiError) {
			return object{"requiresMigration": w.PlatformNotCapable}, nil
		}),
		data("/status", "read_extended_vehicle_info", false, func(w *view) any {
			if w.asleep(w.now) {
				return object{"status": "ASLEEP", "inService": false, "gear": nil}
			}
			return object{"status": "ONLINE", "inService": false, "gear": "PARK"}
		}),
		data("/user/access", "", false, func(w *view) any {
			access := "OWNER"
			if w.driver {
				access = "DRIVER"
			}
			return object{"accessType": access, "permissions": []string{"vehicle_device_data", "vehicle_cmds", "vehicle_charging_cmds", "vehicle_location"}}
		}),
		data("/attributes", "read_extended_vehicle_info", true, teslaAttributes),
		data("/alerts", "read_alerts", false, func(*view) any { return object{"alerts": []object{}} }),
		data("/battery", "read_battery", true, func(w *view) any {
			left := w.km(w.rangeLeft())
			return object{
				"percentRemaining": w.stateOfCharge(), "range": left, "heaterOn": false, "rangeEstimated": left, "rangeIdeal": left,
				"percentRemainingUsable": nil, "maxRangeChargeCounter": nil, "notEnoughPowerToHeat": false,
			}
		}),
		data("/charge", "read_charge", false, teslaCharge),
		charging("/charge/ammeter", "read_charge", func(w *view) any { return object{"amperage": w.amperage} }),
		charging("/charge/wattmeter", "read_charge", func(w *view) any { return object{"wattage": round(w.amperage*0.23, 2)} }),
		data("/charge/voltmeter", "read_charge", false, func(w *view) any { return object{"voltage": 230} }),
		data("/climate/cabin", "read_climate", true, func(w *view) any { return cabin(w, w.condition) }),
		data("/climate/defroster", "read_climate", false, func(w *view) any {
			return object{"frontStatus": onOff(w.defrost), "rearStatus": onOff(w.defrost)}
		}),
		data("/climate/steering_wheel", "read_climate", false, func(w *view) any { return object{"status": onOff(w.wheelHeat)} }),
		data("/compass", "read_compass", false, func(*view) any { return object{"direction": "SW", "heading": 225} }),
		data("/speedometer", "read_speedometer", true, func(*view) any { return object{"speed": 0} }),
		data("/thermometer/exterior", "read_thermometer", true, func(w *view) any { return object{"temperature": w.celsius(12.5)} }),
		data("/thermometer/interior", "read_thermometer", true, func(w *view) any { return object{"temperature": w.celsius(18)} }),
	}
}

// virtualKey answers the key status. A legacy car is answered as not paired,
// although it needs no key.
func virtualKey(w *view) (any, *apiError) {
	switch {
	case w.PlatformNotCapable:
		return nil, newError("COMPATIBILITY", "PLATFORM_NOT_CAPABLE")
	case w.driver:
		return nil, newError("CONNECTED_SERVICES_ACCOUNT", "VEHICLE_MISSING")
	}
	return object{"isPaired": w.Integration == Streaming && w.Paired}, nil
}

// teslaAttributes answers /tesla/attributes.
func teslaAttributes(w *view) any {
	var atHome any // null on cars that do not stream
	if w.Integration == Streaming {
		atHome = true
	}
	return object{
		"id": w.ID, "make": w.Make, "model": w.Model, "year": w.Year, "nickname": w.Model,
		"firmwareVersion": "2026.8.3 0ce482dac45d", "trimBadging": "74d", "efficiencyPackage": "Default",
		"performancePackage": "Base", "driverAssistVersion": "TeslaAP3", "atHome": atHome,
		"sentryMode": object{"available": true, "enabled": false},
		"style":      object{"exteriorColor": "SolidBlack", "exteriorTrim": "Black", "interiorTrim": "Black2"},
		"wheel":      object{"style": "Apollo", "diameter": w.scaled(482.6, 1/25.4)},
		"driveUnit":  object{"front": "PM216MOSFET", "rear": "NoneOrSmall"},
	}
}

// teslaCharge answers /tesla/charge.
func teslaCharge(w *view) any {
	state := w.chargeStatus()
	amperage, voltage, wattage := 0.0, 1.0, 0.0
	if state == "CHARGING" {
		amperage, voltage = w.amperage, 230
		wattage = round(amperage*voltage/1000, 2)
	}
	latch := "Disengaged"
	if w.plugged {
		latch = "Engaged"
	}
	return object{
		"amperage": amperage, "completionTime": nil, "wattage": wattage, "voltage": voltage, "isPluggedIn": w.plugged,
		"state": state, "socLimit": w.limit, "amperageMaxVehicle": 48, "socLimitMax": 1, "socLimitMin": 0.5,
		"socLimitDefault": 0.8, "amperageRequested": w.amperage, "energyAdded": 11.52, "rangeAddedRated": nil,
		"rangeAddedIdeal": nil, "chargeRate": nil, "connector": "<invalid>", "fastChargerPresent": false,
		"fastChargerType": "<invalid>", "fastChargerBrand": "<invalid>", "amperageMaxCharger": nil, "chargePortColor": nil,
		"chargePortOpen": w.plugged || w.flapOpen, "chargePortLatch": latch, "chargerPhases": nil,
	}
}

// teslaCommands are the commands of /tesla/.
func teslaCommands() []operation {
	post := func(path, permission string, command func(*view, []byte) (effect, *apiError)) operation {
		return operation{method: http.MethodPost, path: "/tesla" + path, permission: permission, kind: Command, command: command}
	}
	openClose := actionEffect(map[string]effect{"OPEN": {}, "CLOSE": {}})
	return []operation{
		post("/climate/cabin", "control_climate", climate),
		post("/climate/defroster", "control_climate", startStop(func(c *condition, on bool) { c.defrost = on })),
		post("/climate/steering_wheel", "control_climate", startStop(func(c *condition, on bool) { c.wheelHeat = on })),
		post("/pin", "control_pin", setPIN),
		{method: http.MethodDelete, path: "/tesla/pin", permission: "control_pin", kind: Command, command: func(*view, []byte) (effect, *apiError) {
			return effect{apply: func(c *condition) { c.pin = "" }}, nil
		}},
		post("/charge/schedule", "control_charge", planCharge),
		post("/security/trunk", "control_trunk", openClose),
		post("/security/frunk", "control_trunk", openClose),
		post("/charge/charge_port_door", "control_charge", actionEffect(map[string]effect{"OPEN": setFlapOpen(true), "CLOSE": setFlapOpen(false)})),
		post("/charge/ammeter", "control_charge", func(_ *view, b []byte) (effect, *apiError) {
			amps, err := boundedNumber(b, "amperage", 1, 48)
			return effect{
				check: func(c condition) *apiError {
					if !c.plugged {
						return newError("VEHICLE_STATE", "CHARGING_PLUG_NOT_CONNECTED")
					}
					return nil
				},
				apply:  func(c *condition) { c.amperage = amps },
				answer: object{"status": "success", "message": "Successfully sent the following amperage: " + string(mustJSON(amps))},
			}, err
		}),
	}
}
