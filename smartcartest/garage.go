package smartcartest

import (
	"slices"
	"time"
)

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

// DefaultGarage is what New serves without WithCars: one car of each kind the
// rules tell apart, all of the default owner, all permissions granted. The
// check digits of the VINs are right. Every call returns a fresh copy.
//
// All are electric: fuel and engine oil are COMPATIBILITY:VEHICLE_NOT_CAPABLE.
// The Mach-E answers every other core endpoint, so that each has a car that
// answers; the Teslas are not capable where the real ones have nothing to say.
func DefaultGarage() []Car {
	silent := []string{"/service/history", "/diagnostics/system_status", "/diagnostics/dtcs"}
	tesla := func(id, model string, year int, vin string, how Integration, odometer float64) Car {
		return Car{
			ID: id, Make: "TESLA", Model: model, Year: year, VIN: vin, Integration: how,
			OdometerKm: odometer, Unsupported: slices.Clone(silent),
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
