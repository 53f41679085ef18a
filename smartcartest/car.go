package smartcartest

import (
	"slices"
	"strconv"
	"strings"
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

	// Powertrain is BEV, PHEV, HEV or ICE; empty means BEV. A BEV has neither
	// fuel nor engine oil, an HEV or ICE has no battery to charge; what they
	// lack answers VEHICLE_NOT_CAPABLE. The vendor calls an HEV an ICE in most
	// of its answers.
	Powertrain string

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

// withDefaults returns a copy in which each zero value that stands for
// something is replaced. The caller cannot reach the copy's slices. index
// names a car that has no ID.
func (c Car) withDefaults(index int) Car {
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
	if c.Powertrain = strings.ToUpper(c.Powertrain); c.Powertrain == "" {
		c.Powertrain = "BEV"
	}
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

// burnsFuel says whether the car has fuel and engine oil.
func (c *Car) burnsFuel() bool { return c.Powertrain != "BEV" }

// plugsIn says whether the car has a battery that can be charged.
func (c *Car) plugsIn() bool { return c.Powertrain == "BEV" || c.Powertrain == "PHEV" }

// powertrainType is the powertrain as connections, vehicles and webhooks say
// it.
func (c *Car) powertrainType() string {
	if c.Powertrain == "HEV" {
		return "ICE"
	}
	return c.Powertrain
}

// tesla says whether the Tesla endpoints exist for the car.
func (c *Car) tesla() bool { return c.Make == "TESLA" }

// reachedBy says whether an account has the car, and whether as a driver only.
func (c *Car) reachedBy(account string) (ok, driver bool) {
	if c.Owner == account {
		return true, c.Driver
	}
	return slices.Contains(c.SharedWith, account), true
}

// displayName is the car as the pages show it.
func displayName(v *vehicle) string {
	return displayMake(v.Make) + " " + v.Model + " " + strconv.Itoa(v.Year)
}
