package catalog

func ampere() Unit  { return Unit{"Amperes", "in amperes", true} }
func volt() Unit    { return Unit{"Volts", "in volts", true} }
func watt() Unit    { return Unit{"Watts", "in watts", true} }
func kWh() Unit     { return Unit{"KilowattHours", "in kWh", true} }
func minute() Unit  { return Unit{"Minutes", "in minutes", true} }
func percent() Unit { return Unit{"Percent", "in percent, 0 to 100", true} }
func speed() Unit   { return Unit{"KilometersPerHour", "in km/h", false} }
func km() Unit      { return Unit{"Kilometers", "in km", false} }
func liter() Unit   { return Unit{"Liters", "in liters", false} }
func celsius() Unit { return Unit{"Celsius", "in degrees Celsius", false} }
func kPa() Unit     { return Unit{"Kilopascals", "in kPa", false} }

// signals has a row for each signal that the specification of API v3 lists.
var signals = [...]Signal{
	{"Charge", "Amperage", Number, ampere(), "read_charge", "the current that the car charges with"},
	{"Charge", "AmperageMax", Number, ampere(), "read_charge", "the highest current that the car may charge with"},
	{"Charge", "AmperageRequested", Number, ampere(), "read_charge", "the current that the car asked the charger for"},
	{"Charge", "ChargeLimits", ChargeLimits, percent(), "read_charge", "how far the car will charge, everywhere or under a condition"},
	{"Charge", "ChargePortStatusColor", Word, Unit{}, "read_charge", "the color of the charge port's light: GREEN, BLUE, ORANGE"},
	{"Charge", "ChargeRate", Number, speed(), "read_charge", "the range that the car gains in an hour of charging"},
	{"Charge", "ChargeRecords", ChargeRecords, Unit{}, "read_charge_records", "where, when and how much the car was charged"},
	{"Charge", "ChargerPhases", Number, Unit{}, "read_charge", "the number of phases that the charger uses"},
	{"Charge", "ChargeTimers", ChargeTimers, Unit{}, "read_charge", "when the car is to charge and to be ready"},
	{"Charge", "ChargingConnectorType", Text, Unit{}, "read_charge", "the type of the connector, such as J1772"},
	{"Charge", "DetailedChargingStatus", Word, Unit{}, "read_charge", "what charging is doing: smartcar.ChargeStateCharging and the like, or another word"},
	{"Charge", "EnergyAdded", Number, kWh(), "read_charge", "the energy that charging has added"},
	{"Charge", "FastChargerType", Text, Unit{}, "read_charge", "the type of the fast charger, such as CCS"},
	{"Charge", "IsCharging", Bool, Unit{}, "read_charge", "whether the car is charging"},
	{"Charge", "IsChargingCableConnected", Bool, Unit{}, "read_charge", "whether the car is plugged in"},
	{"Charge", "IsChargingCableLatched", Bool, Unit{}, "read_charge", "whether the charging cable is locked to the car"},
	{"Charge", "IsChargingPortFlapOpen", Bool, Unit{}, "read_charge", "whether the flap of the charge port is open"},
	{"Charge", "IsFastChargerPresent", Bool, Unit{}, "read_charge", "whether the car is at a fast charger"},
	{"Charge", "TimeToComplete", Number, minute(), "read_charge", "the time until the active charge limit is reached"},
	{"Charge", "Voltage", Number, volt(), "read_charge", "the voltage that the car charges with"},
	{"Charge", "Wattage", Number, watt(), "read_charge", "the power that the car charges with"},

	{"Climate", "ExternalTemperature", Number, celsius(), "read_thermometer", "the temperature outside"},
	{"Climate", "InternalTemperature", Number, celsius(), "read_thermometer", "the temperature in the cabin"},

	{"Closure", "Doors", Closures, Unit{}, "read_security", "the doors, open or closed, locked or not"},
	{"Closure", "EngineCover", Closure, Unit{}, "read_security", "the cover of the engine"},
	{"Closure", "FrontTrunk", Closure, Unit{}, "read_security", "the trunk in front"},
	{"Closure", "IsLocked", Bool, Unit{}, "read_security", "whether the car is locked"},
	{"Closure", "RearTrunk", Closure, Unit{}, "read_security", "the trunk behind"},
	{"Closure", "Sunroof", Closure, Unit{}, "read_security", "the sunroof"},
	{"Closure", "Tailgate", Closure, Unit{}, "read_security", "the tailgate"},
	{"Closure", "Windows", Closures, Unit{}, "read_security", "the windows, open or closed"},

	{"ConnectivitySoftware", "CurrentFirmwareVersion", Text, Unit{}, "read_extended_vehicle_info", "the version of the car's software"},

	{"ConnectivityStatus", "IsAsleep", Bool, Unit{}, "read_vehicle_info", "whether the car sleeps to save power"},
	{"ConnectivityStatus", "IsDigitalKeyPaired", Bool, Unit{}, "read_vehicle_info", "whether a digital key is paired with the car; for a Tesla it is the nearest to the virtual key that API v3 has"},
	{"ConnectivityStatus", "IsOnline", Bool, Unit{}, "read_vehicle_info", "whether the car can be reached"},

	{"Diagnostics", "ABS", Diagnostic, Unit{}, "read_diagnostics", "the state of the antilock brakes"},
	{"Diagnostics", "ActiveSafety", Diagnostic, Unit{}, "read_diagnostics", "the state of active safety"},
	{"Diagnostics", "Airbag", Diagnostic, Unit{}, "read_diagnostics", "the state of the airbags"},
	{"Diagnostics", "BrakeFluid", Diagnostic, Unit{}, "read_diagnostics", "the state of the brake fluid"},
	{"Diagnostics", "DriverAssistance", Diagnostic, Unit{}, "read_diagnostics", "the state of driver assistance"},
	{"Diagnostics", "DTCCount", Number, Unit{}, "read_diagnostics", "the number of diagnostic trouble codes"},
	{"Diagnostics", "DTCList", TroubleCodes, Unit{}, "read_diagnostics", "the diagnostic trouble codes"},
	{"Diagnostics", "Emissions", Diagnostic, Unit{}, "read_diagnostics", "the state of emission control"},
	{"Diagnostics", "EVBatteryConditioning", Diagnostic, Unit{}, "read_diagnostics", "the state of the traction battery's conditioning"},
	{"Diagnostics", "EVCharging", Diagnostic, Unit{}, "read_diagnostics", "the state of the charging system"},
	{"Diagnostics", "EVDriveUnit", Diagnostic, Unit{}, "read_diagnostics", "the state of the electric drive unit"},
	{"Diagnostics", "EVHVBattery", Diagnostic, Unit{}, "read_diagnostics", "the state of the high-voltage battery"},
	{"Diagnostics", "Lighting", Diagnostic, Unit{}, "read_diagnostics", "the state of the lights"},
	{"Diagnostics", "MIL", Diagnostic, Unit{}, "read_diagnostics", "the state of the malfunction indicator lamp"},
	{"Diagnostics", "OilLife", Diagnostic, Unit{}, "read_diagnostics", "the state of the oil's age"},
	{"Diagnostics", "OilPressure", Diagnostic, Unit{}, "read_diagnostics", "the state of the oil's pressure"},
	{"Diagnostics", "OilTemperature", Diagnostic, Unit{}, "read_diagnostics", "the state of the oil's temperature"},
	{"Diagnostics", "Telematics", Diagnostic, Unit{}, "read_diagnostics", "the state of telematics"},
	{"Diagnostics", "TirePressure", Diagnostic, Unit{}, "read_diagnostics", "the state of the tires' pressure"},
	{"Diagnostics", "TirePressureMonitoring", Diagnostic, Unit{}, "read_diagnostics", "the state of the system that watches the tires' pressure"},
	{"Diagnostics", "Transmission", Diagnostic, Unit{}, "read_diagnostics", "the state of the transmission"},
	{"Diagnostics", "WasherFluid", Diagnostic, Unit{}, "read_diagnostics", "the state of the washer fluid"},
	{"Diagnostics", "WaterInFuel", Diagnostic, Unit{}, "read_diagnostics", "the state of the fuel, which is to hold no water"},

	{"HVAC", "CabinTargetTemperature", Number, celsius(), "read_climate", "the temperature wanted in the cabin"},
	{"HVAC", "IsCabinHVACActive", Bool, Unit{}, "read_climate", "whether the cabin is heated, cooled or aired"},
	{"HVAC", "IsFrontDefrosterActive", Bool, Unit{}, "read_climate", "whether the front defroster is on"},
	{"HVAC", "IsRearDefrosterActive", Bool, Unit{}, "read_climate", "whether the rear defroster is on"},
	{"HVAC", "IsSteeringHeaterActive", Bool, Unit{}, "read_climate", "whether the heater of the steering wheel is on"},

	{"InternalCombustionEngine", "AmountRemaining", Number, liter(), "read_fuel", "the fuel in the tank"},
	{"InternalCombustionEngine", "FuelLevel", Number, percent(), "read_fuel", "how full the tank is"},
	{"InternalCombustionEngine", "OilLife", Number, percent(), "read_engine_oil", "the oil's remaining life"},
	{"InternalCombustionEngine", "Range", Number, km(), "read_fuel", "how far the fuel lasts"},

	{"Location", "IsAtHome", Bool, Unit{}, "read_location", "whether the car is at home"},
	{"Location", "PreciseLocation", Location, Unit{}, "read_location", "where the car is, or was parked"},

	{"LowVoltageBattery", "StateOfCharge", Number, percent(), "read_battery", "the charge of the 12-volt battery"},
	{"LowVoltageBattery", "Status", Word, Unit{}, "read_battery", "the state of the 12-volt battery: GOOD, WARN or BAD"},

	{"Motion", "CurrentSpeed", Number, speed(), "read_speedometer", "the speed"},

	{"Odometer", "TraveledDistance", Number, km(), "read_odometer", "the distance driven"},

	{"Service", "IsInService", Bool, Unit{}, "read_service_history", "whether the car is in a workshop"},
	{"Service", "Records", ServiceRecords, Unit{}, "read_service_history", "what was done to the car"},

	{"Surveillance", "Brand", Text, Unit{}, "", "what the make calls its surveillance, such as Sentry Mode"},
	{"Surveillance", "IsEnabled", Bool, Unit{}, "", "whether the car watches its surroundings"},

	{"TractionBattery", "IsHeaterActive", Bool, Unit{}, "read_battery", "whether the traction battery is heated"},
	{"TractionBattery", "MaxRangeChargeCounter", Number, Unit{}, "read_battery", "how often the traction battery was charged to its maximum range"},
	{"TractionBattery", "NominalCapacity", NominalCapacity, kWh(), "read_battery", "the rated capacity of the traction battery"},
	{"TractionBattery", "Range", Range, km(), "read_battery", "how far the traction battery lasts"},
	{"TractionBattery", "StateOfCharge", Number, percent(), "read_battery", "the charge of the traction battery"},

	{"Transmission", "DriveMode", DriveMode, Unit{}, "", "the drive mode"},
	{"Transmission", "GearState", Word, Unit{}, "", "the gear: PARK, DRIVE, REVERSE or NEUTRAL"},

	{"VehicleIdentification", "ExteriorColor", Text, Unit{}, "read_extended_vehicle_info", "the color of the car"},
	{"VehicleIdentification", "Nickname", Text, Unit{}, "read_vehicle_info", "the name that the owner gave the car"},
	{"VehicleIdentification", "Packages", List, Unit{}, "read_extended_vehicle_info", "the packages that the car was ordered with"},
	{"VehicleIdentification", "Trim", Text, Unit{}, "read_extended_vehicle_info", "the trim"},
	{"VehicleIdentification", "VIN", Text, Unit{}, "read_vin", "the vehicle identification number, which is personal data"},

	{"VehicleUserAccount", "Permissions", List, Unit{}, "read_user_profile", "what the connected account may do at the make: Tesla scopes such as vehicle_cmds"},
	{"VehicleUserAccount", "Role", Text, Unit{}, "read_user_profile", "the role of the connected account, such as Driver; a Tesla's driver cannot add the virtual key"},

	{"Wheel", "Style", Text, Unit{}, "read_tires", "the style of the wheels"},
	{"Wheel", "Tires", Tires, kPa(), "read_tires", "the pressure of the tires"},
}
