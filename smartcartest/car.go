package smartcartest

import (
	"slices"
	"time"
)

// Integration says how a car's data reaches the vendor.
type Integration int

const (
	// Other is every car without rules of its own: each read asks the car.
	Other Integration = iota
	// Streaming is a Tesla that streams once it has the virtual key: Model 3,
	// Model Y, Cybertruck, and the Model S and X of 2021 and later. Without
	// the key it allows one data request per window and no command.
	Streaming
	// Legacy is a Tesla that needs no key: its data is refreshed by a poller
	// every few minutes while it is awake.
	Legacy
)

// String is the name of the constant in lower case.
func (i Integration) String() string {
	switch i {
	case Streaming:
		return "streaming"
	case Legacy:
		return "legacy"
	default:
		return "other"
	}
}

// Vehicle ids of the default garage.
const (
	Model3     = "00000001-2022-4000-8000-000000000001" // Model 3 2022: streaming, key paired
	ModelY     = "00000002-2023-4000-8000-000000000002" // Model Y 2023: streaming, no key
	Cybertruck = "00000003-2024-4000-8000-000000000003" // Cybertruck 2024: streaming, no key
	ModelS2018 = "00000004-2018-4000-8000-000000000004" // Model S 2018: legacy, awake
	ModelX2020 = "00000005-2020-4000-8000-000000000005" // Model X 2020: legacy, asleep
	ModelS2021 = "00000006-2021-4000-8000-000000000006" // Model S 2021 on the hardware before the refresh: legacy, awake
	MachE      = "00000007-2022-4000-8000-000000000007" // Ford Mustang Mach-E 2022: other
)

// Car describes one simulated car. It is configuration: New copies it, and
// nothing is ever written back. The zero value of most fields is a plausible
// car; where it is not, the field says so.
type Car struct {
	// ID is the vehicle id; New invents one when it is empty. Of two cars with
	// one id the later wins.
	ID string
	// Make is upper case as the vendor writes it, e.g. TESLA.
	Make  string
	Model string
	Year  int
	// VIN is 17 characters; when empty, the VIN is answered with
	// VEHICLE_NOT_CAPABLE.
	VIN string

	// Integration says which rules hold for the car. It is never inferred from
	// the model or the VIN.
	Integration Integration
	// Paired says that a Streaming car has the virtual key.
	Paired bool
	// DataSharing makes a Legacy car stream: its owner has allowed it in the
	// car. It needs no key then either.
	DataSharing bool
	// PlatformNotCapable makes the key status of a Tesla answer
	// COMPATIBILITY:PLATFORM_NOT_CAPABLE, as over the retired integration.
	PlatformNotCapable bool

	// Owner names the account the car belongs to; empty is the default owner.
	Owner string
	// Driver says that Owner's account is only a driver of the car: the key
	// status is CONNECTED_SERVICES_ACCOUNT:VEHICLE_MISSING then.
	Driver bool
	// SharedWith names further accounts that reach the same car as drivers.
	SharedWith []string
	// Permissions are what the owner's account can grant; nil is all.
	Permissions []string

	// AwakeFrom is the time of day, in UTC, at which the car wakes, and
	// AwakeFor how long it stays awake. Zero or at least 24 h for AwakeFor is
	// a car that is always awake.
	AwakeFrom, AwakeFor time.Duration
	// Asleep makes the car start asleep, whatever the schedule says, its last
	// values recorded 3 hours before New. Wake or FollowSchedule end it.
	Asleep bool
	// AsleepError makes the car answer 409 VEHICLE_STATE:ASLEEP while it
	// sleeps, instead of its last values.
	AsleepError bool

	// OdometerKm is the odometer at New, in km; it grows by KmPerDay (zero
	// means 24) a day.
	OdometerKm, KmPerDay float64
	// Battery is the charge at New, 0 to 1; zero means 0.8. It falls by 0.01
	// an hour for a day and starts over; a charging car gains 0.1 an hour.
	Battery float64
	// RangeKm is the range of the full battery, in km; zero means 450.
	RangeKm float64
	// CapacityKWh is the size of the battery; zero means 75.
	CapacityKWh float64
	// Latitude and Longitude are in degrees and never change; zero for both
	// means Berlin.
	Latitude, Longitude float64
	// ChargeLimit is 0.5 to 1; zero means 0.8.
	ChargeLimit float64
	// Plugged and Charging are the state at New; Charging implies Plugged.
	Plugged, Charging bool
	// Unlocked is the state at New.
	Unlocked bool
	// Unsupported lists the v2 paths below the vehicle that the car answers
	// with COMPATIBILITY:VEHICLE_NOT_CAPABLE, e.g. "/fuel"; the v3 signals of
	// the same data answer so too. Codes of v3 signals, e.g. "charge-voltage",
	// and paths of v3 commands, e.g. "/commands/charge/start", can stand there.
	Unsupported []string

	// NeverSubscribed says that the vendor has stored nothing of the car yet, as
	// no webhook was ever subscribed to it: its v3 list of signals is empty and
	// each signal is 404 RESOURCE_NOT_FOUND:SIGNAL_NOT_FOUND, until it is
	// subscribed. Such a request does not reach the car and takes no turn.
	NeverSubscribed bool
	// Unavailable are the codes of the v3 signals whose status is UNAVAILABLE.
	Unavailable []string
	// SlowCommands is how long the car takes for a command of API v3: above
	// zero, commands and schedules are answered 202 at once and their result
	// is streamed that much later. v2.0 answers at once. The effect shows from
	// the request on, as a client cannot know when it happened.
	SlowCommands time.Duration
}

// DefaultGarage is what New serves without WithCars: one car of each kind the
// rules tell apart, all of the default owner, all permissions granted. The
// check digits of the VINs are right. Every call returns a fresh copy.
//
// The Mach-E answers every core endpoint, fuel and engine oil too, so that
// each has a car that answers; the Teslas answer
// COMPATIBILITY:VEHICLE_NOT_CAPABLE where the real ones have nothing to say.
func DefaultGarage() []Car {
	noEngine := []string{"/fuel", "/engine/oil", "/service/history", "/diagnostics/system_status", "/diagnostics/dtcs"}
	tesla := func(id, model string, year int, vin string, how Integration, odometer float64) Car {
		return Car{
			ID: id, Make: "TESLA", Model: model, Year: year, VIN: vin, Integration: how,
			OdometerKm: odometer, Unsupported: slices.Clone(noEngine),
		}
	}
	model3 := tesla(Model3, "Model 3", 2022, "5YJ3E1EA2NF000001", Streaming, 30_104.32)
	model3.Paired, model3.Plugged = true, true
	asleep := tesla(ModelX2020, "Model X", 2020, "5YJXCDE21LF000005", Legacy, 81_350.5)
	asleep.Asleep, asleep.AwakeFrom, asleep.AwakeFor = true, 7*time.Hour, 2*time.Hour
	return []Car{
		model3,
		tesla(ModelY, "Model Y", 2023, "7SAYGDEE5PA000002", Streaming, 12_001.7),
		tesla(Cybertruck, "Cybertruck", 2024, "7G2CEHED2RA000003", Streaming, 4_200.1),
		tesla(ModelS2018, "Model S", 2018, "5YJSA1E25JF000004", Legacy, 120_450.9),
		asleep,
		tesla(ModelS2021, "Model S", 2021, "5YJSA1E23MF000006", Legacy, 40_777),
		{
			ID: MachE, Make: "FORD", Model: "Mustang Mach-E", Year: 2022, VIN: "3FMTK3SU0NMA00007",
			OdometerKm: 22_222.2, RangeKm: 480, CapacityKWh: 91, Plugged: true,
		},
	}
}

// allPermissions are the documented scopes, also what Connect grants when the
// URL names none.
func allPermissions() []string {
	return []string{
		"control_charge", "control_climate", "control_navigation", "control_pin", "control_security", "control_trunk",
		"read_alerts", "read_battery", "read_charge", "read_charge_events", "read_charge_locations", "read_charge_records",
		"read_climate", "read_compass", "read_diagnostics", "read_engine_oil", "read_extended_vehicle_info", "read_fuel",
		"read_location", "read_odometer", "read_security", "read_service_history", "read_speedometer", "read_thermometer",
		"read_tires", "read_user_profile", "read_vehicle_info", "read_vin",
	}
}

// filled replaces the zero values that stand for something, and copies what
// the caller could still write to.
func (c Car) filled(index int) Car {
	or := func(p *float64, v float64) {
		if *p == 0 {
			*p = v
		}
	}
	if c.ID == "" {
		c.ID = namedUUID("car", index)
	}
	or(&c.KmPerDay, 24)
	or(&c.Battery, 0.8)
	or(&c.RangeKm, 450)
	or(&c.CapacityKWh, 75)
	or(&c.ChargeLimit, 0.8)
	if c.Latitude == 0 && c.Longitude == 0 {
		c.Latitude, c.Longitude = 52.5163, 13.3777
	}
	c.Plugged = c.Plugged || c.Charging
	c.SharedWith = slices.Clone(c.SharedWith)
	c.Unsupported = slices.Clone(c.Unsupported)
	c.Unavailable = slices.Clone(c.Unavailable)
	if c.Permissions == nil {
		c.Permissions = allPermissions()
	} else {
		c.Permissions = slices.Sorted(slices.Values(c.Permissions))
	}
	return c
}

func (c *Car) tesla() bool { return c.Make == "TESLA" }

// reachedBy says whether an account has the car, and whether as a driver only.
func (c *Car) reachedBy(account string) (ok, driver bool) {
	if c.Owner == account {
		return true, c.Driver
	}
	return slices.Contains(c.SharedWith, account), true
}
