package smartcartest_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/seed-498a1bc4/smartcar/smartcartest"
)

func TestV3CompatibleVehicles(t *testing.T) {
	a := newAPI(t, smartcartest.WithAppRateLimit(1, 0), smartcartest.WithCars(append(smartcartest.DefaultGarage(),
		smartcartest.Car{ID: "y21", Make: "TESLA", Model: "Model Y", Year: 2021},
		smartcartest.Car{ID: "prius", Make: "TOYOTA", Model: "Prius", Year: 2020, Powertrain: "HEV"},
		smartcartest.Car{ID: "eqe", Make: "MERCEDES-BENZ", Model: "EQE", Year: 2023},
		smartcartest.Car{ID: "bmw", Make: "BMW", Model: "118i", Year: 2023, Powertrain: "ICE", Unsupported: []string{"/commands/security/lock"}})...))
	type capability struct{ Type, Name, Group, Code, Capability, Permission string }
	type page struct {
		Data []struct {
			ID, Type   string
			Attributes struct {
				Make, Model, Region, PowertrainType string

				Years        struct{ Start, End int }
				Capabilities []capability
			}
		}
		Meta  struct{ Page, PageSize, TotalCount, PageNumber int }
		Links struct{ Self string }
	}
	ask := func(query string) (p page) {
		t.Helper()
		a.get("/v3/compatible-vehicles" + query).ok(&p)
		require.Len(t, p.Data, p.Meta.TotalCount)
		require.Equal(t, 1, p.Meta.Page)
		require.Zero(t, p.Meta.PageNumber)
		return p
	}
	all := ask("")
	require.Len(t, all.Data, 3*9, "each model in each region, the Model S and Y of two years once, and no limit of the application")
	require.Equal(t, "https://compatibility.api.smartcar.com/v3/compatible-vehicles", all.Links.Self)

	y := ask("?filter[make]=tesla&filter[region]=US").Data[1]
	require.Equal(t, "TESLA-Model Y-2021-2023-BEV-US", y.ID)
	require.Equal(t, "vehicle-model-capability", y.Type)
	require.Equal(t, "Tesla", y.Attributes.Make)
	require.Equal(t, 2021, y.Attributes.Years.Start)
	require.Equal(t, 2023, y.Attributes.Years.End)
	for _, want := range []capability{
		{"signal", "State Of Charge", "TractionBattery", "StateOfCharge", "tractionbattery-stateofcharge", "read_battery"},
		{"signal", "Location", "Location", "PreciseLocation", "location-preciselocation", "read_location"},
		{"signal", "VIN", "VehicleIdentification", "VIN", "vehicleidentification-vin", "read_vin"},
		{"command", "Start charge", "", "charge-start", "charge-start", ""},
		{"command", "Lock vehicle", "", "closure-lock", "closure-lock", ""},
	} {
		require.Contains(t, y.Attributes.Capabilities, want)
	}

	ice := ask("?filter[powertrainType]=ICE&filter[region]=EUROPE").Data
	require.Len(t, ice, 2, "hybrids count as ICE")
	require.Equal(t, "Toyota", ice[0].Attributes.Make)
	require.Equal(t, "ICE", ice[0].Attributes.PowertrainType)
	require.Equal(t, "BMW", ice[1].Attributes.Make)
	for _, c := range ice[1].Attributes.Capabilities {
		require.NotContains(t, []string{"closure-lock", "charge-start", "tractionbattery-range"}, c.Capability)
	}
	require.Equal(t, "Mercedes-Benz", ask("?filter[make]=Mercedes-Benz").Data[0].Attributes.Make)
	require.Empty(t, ask("?filter[make]=NISSAN").Data)
	a.get("/v3/compatible-vehicles?filter[region]=ASIA").fails3(400, "VALIDATION", "")
	a.get("/v3/compatible-vehicles?filter[powertrainType]=HEV").fails3(400, "VALIDATION", "")
	a.call(http.MethodPost, "/v3/compatible-vehicles", "").fails3(401, "AUTHENTICATION", "UNAUTHORIZED")
}
