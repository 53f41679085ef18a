package smartcartest_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/seed-498a1bc4/smartcar/smartcartest"
)

// capability is what a car can do with a permission.
type capability struct {
	Permission string
	Endpoint   *string
	Capable    bool
	Reason     *string
}

func TestCompatibility(t *testing.T) {
	a := newAPI(t, smartcartest.WithCars(append(smartcartest.DefaultGarage(), smartcartest.Car{ID: "bolt", Make: "CHEVROLET", Model: "Volt", VIN: "1G1RC6S52JU000008", Powertrain: "PHEV", Unsupported: []string{"/engine/oil"}})...))
	ask := func(q string) answer {
		return a.manage(http.MethodGet, "/v2.0/compatibility?"+q, a.sim.ClientID(), a.sim.ClientSecret())
	}
	var got struct {
		Compatible   bool
		Reason       *string
		Capabilities []capability
	}
	endpoints := map[string]string{
		"read_odometer": "/odometer", "read_fuel": "/fuel", "control_charge": "/charge", "read_charge": "/charge", "read_vin": "/vin", "read_climate": "/tesla/climate/cabin",
	}
	for scope, order := range map[string][]string{
		"read_odometer%20read_fuel%20control_charge%20read_charge%20read_vin": {"read_odometer", "read_fuel", "control_charge", "read_charge", "read_vin"},
		"read_vin%20read_climate%20read_charge%20read_fuel":                   {"read_vin", "read_climate", "read_charge", "read_fuel"},
	} {
		ask("vin=5YJ3E1EA2NF000001&scope=" + scope).ok(&got)
		require.True(t, got.Compatible)
		require.Nil(t, got.Reason)
		require.Len(t, got.Capabilities, len(order), "one entry per permission, in the order of scope")
		for i, c := range got.Capabilities {
			require.Equal(t, order[i], c.Permission)
			require.Equal(t, endpoints[c.Permission], *c.Endpoint)
			require.Equal(t, c.Permission != "read_fuel", c.Capable)
			require.Equal(t, c.Capable, c.Reason == nil)
			if !c.Capable {
				require.Equal(t, "SMARTCAR_NOT_CAPABLE", *c.Reason, "of a Tesla")
			}
		}
	}
	ask("vin=1G1RC6S52JU000008&scope=read_fuel%20read_engine_oil%20read_charge_events").ok(&got)
	require.True(t, got.Capabilities[0].Capable)
	require.Equal(t, "VEHICLE_NOT_CAPABLE", *got.Capabilities[1].Reason, "of any other car")
	require.Equal(t, "SMARTCAR_NOT_CAPABLE", *got.Capabilities[2].Reason)
	require.Nil(t, got.Capabilities[2].Endpoint)
	ask("vin=5YJ3E1EA2NF000001&scope=read_fuel&country=GB").ok(&got)
	require.Empty(t, got.Capabilities)
	ask("vin=WBA00000000000000&scope=read_vin").ok(&got)
	require.False(t, got.Compatible)
	require.Equal(t, "VEHICLE_NOT_COMPATIBLE", *got.Reason)
	ask("vin=short&scope=read_vin").fails(400, "VALIDATION", "")
	ask("vin=5YJ3E1EA2NF000001").fails(400, "VALIDATION", "")
	ask("vin=5YJ3E1EA2NF000001&scope=read_everything").fails(400, "VALIDATION", "")
	a.get("/v2.0/compatibility?vin=5YJ3E1EA2NF000001&scope=read_vin").fails(401, "AUTHENTICATION", "")
}

func TestCompatibilityMatrix(t *testing.T) {
	a := newAPI(t, smartcartest.WithCars(append(smartcartest.DefaultGarage(),
		smartcartest.Car{ID: "y21", Make: "TESLA", Model: "Model Y", Year: 2021},
		smartcartest.Car{ID: "prius", Make: "TOYOTA", Model: "Prius", Year: 2020, Powertrain: "HEV"})...))
	ask := func(q string) answer {
		return a.manage(http.MethodGet, "/v2.0/compatibility/matrix?"+q, a.sim.ClientID(), a.sim.ClientSecret())
	}
	type row struct {
		Model              string
		StartYear, EndYear int
		Type               string
		Endpoints          []string
		Permissions        []string
	}
	var got map[string][]row
	ask("region=US").ok(&got)
	require.Len(t, got, 3)
	require.Equal(t, []row{{"Prius", 2020, 2020, "HEV",
		[]string{"Engine oil life", "Fuel tank", "Location", "Lock & unlock", "Odometer", "Tire pressure", "Vehicle attributes", "VIN"},
		[]string{"read_engine_oil", "read_fuel", "read_location", "control_security", "read_odometer", "read_tires", "read_vehicle_info", "read_vin"},
	}}, got["TOYOTA"])
	require.Equal(t, "Y", got["TESLA"][1].Model)
	require.Equal(t, 2021, got["TESLA"][1].StartYear)
	require.Equal(t, 2023, got["TESLA"][1].EndYear)
	require.NotContains(t, got["TESLA"][1].Permissions, "read_fuel")
	got = nil
	ask("region=EUROPE&make=ford%20NISSAN&type=BEV&scope=read_battery%20read_charge").ok(&got)
	require.Len(t, got, 1)
	require.Equal(t, "BEV", got["FORD"][0].Type)
	got = nil
	ask("region=CA&scope=read_fuel&type=BEV").ok(&got)
	require.Empty(t, got)
	for _, q := range []string{"", "region=ASIA", "region=US&type=EV", "region=US&scope=read_everything"} {
		ask(q).fails(400, "VALIDATION", "")
	}
	a.get("/v2.0/compatibility/matrix?region=US").fails(401, "AUTHENTICATION", "")
}
