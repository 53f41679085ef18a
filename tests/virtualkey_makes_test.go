package smartcar_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
	"github.com/stretchr/testify/require"
)

// What a make says is Tesla's name, another make, or nothing: of nothing, no rule
// may follow.
func TestMakeSaysTeslaAnotherMakeOrNothing(t *testing.T) {
	t.Parallel()
	for class, makes := range map[smartcar.VehicleClass][]string{
		smartcar.ClassStreaming: {
			"TESLA", "Tesla", "tesla", "Tesla, Inc.", "TESLA,INC", "tesla_motors", "Tesla-Motors", " Tesla\tMotors ", "\"TESLA\"",
			"tesla.com", "T.E.S.L.A.", "TeslaMotors",
		},
		smartcar.ClassUnknown: {
			"", " ", "UNKNOWN", "unknown", "<unknown>", "Unknown Make", "unknown_make", "null", "NULL", "nil", "None", "n/a", "N/A", "NaN",
			"undefined", "not available", "NOT_SPECIFIED", "-", "?", "???", "0", "12345", "x", "X", "xxx", "other", "特斯拉", "\x00", "[object Object]",
			"Make: Tesla", "The Tesla",
		},
		smartcar.ClassOther: {
			"FORD", "BMW", "MG", "VW", "BYD", "DS", "RAM", "Mercedes-Benz", "LAND ROVER", "Citroën", "Škoda", "Genesis", "Otosan", "smart", "NIO",
		},
	} {
		for _, name := range makes {
			got := smartcar.VehicleIdentity{Make: name, Model: "Model Y", Year: 2022}.KeyRequirement()
			require.Equal(t, class, got.Class, "%q", name)
			require.NotEmpty(t, got.Reason, "%q", name)
		}
	}
}

func TestModelOfATesla(t *testing.T) {
	t.Parallel()
	for name, models := range map[string][]string{
		"S": {
			"Model S", "MODEL S", "models", "ModelS", "Model-S", "model_s", "Model-S-P100D", "Model S P85D", "ModelS-Plaid", "MODELSPLAID",
			"S", "S75D", "s 75d", "S-P100DL", "S85", "S 60", "Tesla Model S", "TESLA-MODEL-S-100D", "Model S (Long Range)", "S100D", "ModelS90D", "S-",
		},
		"X": {"Model X", "ModelX", "X", "X90D", "X-P100D", "X 100D", "Model_X_Plaid", "Tesla, Model X", "2019 Model X", "Tesla 2020 X"},
		"keyed": {
			"Model 3", "model3", "3", "Model-3-LR", "3 Performance", "Model 3 Standard Range Plus", "MODEL3LR",
			"Model Y", "ModelY-LR", "ModelYLR", "Y", "Y Performance", "Y-LR", "MODELYAWD", "Model Y (Juniper)",
			"Cybertruck", "CYBERTRUCK AWD", "Cyberbeast", "cyberbeast-tri", "Tesla Cybertruck", "CybertruckFoundation", "Cyber Truck", "CYBER-TRUCK AWD", "2021 Model 3",
		},
		"unknown": {
			"", "Model", "Tesla", "Model Tesla", "Roadster", "roadster sport", "Semi", "Cybercab", "Sedan", "SUV", "Yacht", "Xray", "3500", "Model 2",
			"Model Sedan", "S999999", "unknown", "null", "?", "Model ?", "-", "Optimus", "Cyber", "Cyber Cab", "2019", "3500 Model S",
		},
	} {
		for _, model := range models {
			old := smartcar.VehicleIdentity{Make: "Tesla", Model: model, Year: 2020}.KeyRequirement().Class
			young := smartcar.VehicleIdentity{Make: "Tesla", Model: model, Year: 2022}.KeyRequirement().Class
			switch {
			case name == "S" || name == "X":
				require.Equal(t, smartcar.ClassLegacy, old, "%q", model)
				require.Equal(t, smartcar.ClassStreaming, young, "%q", model)
			case name == "keyed":
				require.Equal(t, smartcar.ClassStreaming, old, "%q", model)
				require.Equal(t, smartcar.ClassStreaming, young, "%q", model)
			default:
				require.Equal(t, smartcar.ClassUnknown, old, "%q", model)
				require.Equal(t, smartcar.ClassUnknown, young, "%q", model)
			}
		}
	}
}

func TestYearThatIsNoneTellsNothing(t *testing.T) {
	t.Parallel()
	for year, want := range map[int]smartcar.VehicleClass{
		-2019: smartcar.ClassUnknown, 0: smartcar.ClassUnknown, 19: smartcar.ClassUnknown, 2007: smartcar.ClassUnknown,
		2012: smartcar.ClassLegacy, 2020: smartcar.ClassLegacy, 2021: smartcar.ClassUnknown, 2022: smartcar.ClassStreaming,
		2031: smartcar.ClassStreaming, 2039: smartcar.ClassStreaming, 2100: smartcar.ClassUnknown, 20190: smartcar.ClassUnknown,
		20220: smartcar.ClassUnknown, 1 << 31: smartcar.ClassUnknown,
	} {
		got := smartcar.VehicleIdentity{Make: "TESLA", Model: "Model X", Year: year}.KeyRequirement()
		require.Equal(t, want, got.Class, year)
	}
}

// What a VIN leaves open the attributes decide, and the other way round; where
// they contradict each other, the VIN stands.
func TestVINAndAttributesDecideTogether(t *testing.T) {
	t.Parallel()
	const noYear, noDrive, noModel, roadster = "5YJSA1E20UF000001", "5YJSA1E73MF000001", "5YJBEHED3TA000001", "SFZRE2B1483000001"
	for name, tt := range map[string]struct {
		identity smartcar.VehicleIdentity
		want     smartcar.VehicleClass
	}{
		"case 8: no year in the VIN":           {smartcar.VehicleIdentity{VIN: noYear, Make: "TESLA", Model: "Model S", Year: 2019}, smartcar.ClassLegacy},
		"no year in the VIN, a young car":      {smartcar.VehicleIdentity{VIN: noYear, Make: "TESLA", Model: "Model S", Year: 2023}, smartcar.ClassStreaming},
		"the year without a make or a model":   {smartcar.VehicleIdentity{VIN: noYear, Year: 2019}, smartcar.ClassLegacy},
		"a make that says nothing":             {smartcar.VehicleIdentity{VIN: noYear, Make: "UNKNOWN", Model: "null", Year: 2019}, smartcar.ClassLegacy},
		"no year in either":                    {smartcar.VehicleIdentity{VIN: noYear, Make: "TESLA", Model: "Model S"}, smartcar.ClassUnknown},
		"five digits":                          {smartcar.VehicleIdentity{VIN: noYear, Make: "TESLA", Model: "Model S", Year: 20190}, smartcar.ClassUnknown},
		"2021 in the attributes alone":         {smartcar.VehicleIdentity{VIN: noYear, Make: "TESLA", Model: "Model S", Year: 2021}, smartcar.ClassLegacy},
		"drive unit of no record":              {smartcar.VehicleIdentity{VIN: noDrive, Make: "TESLA", Model: "Model S", Year: 2021}, smartcar.ClassUnknown},
		"the year of the VIN stands":           {smartcar.VehicleIdentity{VIN: noDrive, Make: "TESLA", Model: "Model S", Year: 2019}, smartcar.ClassUnknown},
		"model of no record":                   {smartcar.VehicleIdentity{VIN: noModel, Make: "TESLA", Model: "Model Y"}, smartcar.ClassStreaming},
		"model of no record, old":              {smartcar.VehicleIdentity{VIN: noModel, Make: "TESLA", Model: "X75D", Year: 2018}, smartcar.ClassStreaming},
		"a Roadster is no Model S":             {smartcar.VehicleIdentity{VIN: roadster, Make: "TESLA", Model: "Model S", Year: 2019}, smartcar.ClassUnknown},
		"another make does not say which":      {smartcar.VehicleIdentity{VIN: noYear, Make: "BMW", Model: "i3", Year: 2019}, smartcar.ClassUnknown},
		"another maker's VIN and no make":      {smartcar.VehicleIdentity{VIN: "WBA3A5C51CF256551", Make: "unknown", Model: "Model S", Year: 2019}, smartcar.ClassUnknown},
		"a VIN that cannot be read, a Model 3": {smartcar.VehicleIdentity{VIN: "5YJ3E1EA7KF00000", Make: "Tesla, Inc.", Model: "Model 3"}, smartcar.ClassStreaming},
	} {
		require.Equal(t, tt.want, tt.identity.KeyRequirement().Class, name)
	}
}

// A VIN is free on API v2.0: whatever the attributes leave open, it is asked.
func TestVINIsReadWhereItIsFreeAndTheAttributesDoNotTell(t *testing.T) {
	const modelY = "border-model-y"
	car := func(change func(*smartcartest.Car)) smartcartest.Car {
		c := smartcartest.Car{
			ID: modelY, Make: "TESLA", Model: "Model Y", Year: 2022, VIN: "5YJYGDEE1MF000001", Integration: smartcartest.Streaming,
		}
		change(&c)
		return c
	}
	for name, c := range map[string]smartcartest.Car{
		"the make is UNKNOWN":                      car(func(c *smartcartest.Car) { c.Make = "UNKNOWN" }),
		"the make is empty":                        car(func(c *smartcartest.Car) { c.Make = "" }),
		"the model is nonsense":                    car(func(c *smartcartest.Car) { c.Model = "?" }),
		"case 9: read_vehicle_info is not granted": car(func(c *smartcartest.Car) { c.Permissions = []string{"read_battery", "read_vin"} }),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sim := smartcartest.New(smartcartest.WithCars(c))
				v := borderConnected(t, sim).Vehicle(modelY)
				for range 5 {
					_, err := v.Battery(t.Context())
					if err != nil {
						require.ErrorIs(t, err, smartcar.ErrRateLimited)
					}
					time.Sleep(10 * time.Minute)
				}
				access, err := v.Access(t.Context())
				require.NoError(t, err)
				require.Equal(t, smartcar.ClassStreaming, access.Class)
				vins := 0
				for _, e := range sim.Ledger(modelY) {
					if strings.HasSuffix(e.Path, "/vin") {
						vins++
					}
				}
				require.Equal(t, 1, vins, "once")
				if c.Make == "TESLA" && c.Permissions == nil { // else this server does not tell the key's status
					require.Empty(t, sim.BrokenWindows(modelY))
				}
			})
		})
	}
}

// The attributes have the year, the VIN has the model and the maker: neither
// tells the class, both do.
func TestClassFollowsFromVINAndAttributesTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const id = "border-model-s"
		sim := smartcartest.New(smartcartest.WithCars(smartcartest.Car{
			ID: id, Make: "UNKNOWN", Model: "UNKNOWN", Year: 2019, VIN: "5YJSA1E20UF000001", Integration: smartcartest.Legacy,
		}))
		access, err := borderConnected(t, sim).Vehicle(id).Access(t.Context())
		require.NoError(t, err)
		require.Equal(t, smartcar.ClassLegacy, access.Class)
	})
}

// No identity makes a panic or a class without a reason, and another make is never
// said to need the key.
func FuzzKeyRequirement(f *testing.F) {
	for _, seed := range [][3]string{
		{"5YJSA1E20UF000001", "TESLA", "Model S"}, {"", "Tesla, Inc.", "Model-S-P100D"}, {"", "UNKNOWN", "S75D"}, {"x", "", "Cyberbeast"}, {"", "tesla", "MODEL"},
	} {
		f.Add(seed[0], seed[1], seed[2], 2019)
	}
	f.Fuzz(func(t *testing.T, number, maker, model string, year int) {
		got := smartcar.VehicleIdentity{VIN: number, Make: maker, Model: model, Year: year}.KeyRequirement()
		require.NotEmpty(t, got.Reason)
		require.Equal(t, got.Need == smartcar.KeyRequired, got.Class == smartcar.ClassStreaming)
		require.Equal(t, got.Need == smartcar.KeyNeedUnknown, got.Class == smartcar.ClassUnknown)
		if got.Class == smartcar.ClassLegacy {
			require.True(t, year < 2021 || number != "", "%d", year)
		}
	})
}
