package smartcar_test

import (
	"bytes"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/signals"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
	"github.com/stretchr/testify/require"
)

const compatiblePath = "GET /v3/compatible-vehicles"

func TestCompatibleModelsFixtures(t *testing.T) {
	want := map[string][]smartcar.CompatibleModel{
		"documented": {{
			Make: "Tesla", Model: "Model 3", Region: "US", Powertrain: "BEV", FirstYear: 2016, LastYear: 2026,
			Signals: []smartcar.CompatibleSignal{
				{Code: signals.TractionBatteryStateOfCharge, Name: "State Of Charge", Permission: "read_battery"},
				{Code: signals.LocationPreciseLocation, Name: "Location", Permission: "read_location"},
			},
			Commands: []string{"charge-start", "closure-lock"},
		}},
		"odd": {
			{
				Make: "Mercedes-Benz", Model: "EQE", Region: "EUROPE", Powertrain: "BEV", FirstYear: 2023,
				Signals:  []smartcar.CompatibleSignal{{Code: signals.SurveillanceBrand, Name: "Brand"}},
				Commands: []string{"charge-stop"},
			},
			{Make: "Toyota", Model: "Prius", Region: "US", Powertrain: "ICE"},
		},
	}
	for _, name := range fixtureNames(t, "v3/compatible") {
		t.Run(name, func(t *testing.T) {
			f := readFixture(t, "v3/compatible/"+name)
			transport := newCanned(t).on(compatiblePath, f.reply())
			got, err := cannedClient(t, transport).CompatibleModels(t.Context(), smartcar.CompatibleFilter{
				Region: f.Request.Query["filter[region]"], Make: f.Request.Query["filter[make]"], Powertrain: f.Request.Query["filter[powertrainType]"],
			})
			require.NoError(t, err)
			require.Contains(t, want, name)
			require.Equal(t, want[name], got)
			sent := transport.requests(compatiblePath)
			require.Len(t, sent, 1)
			require.Len(t, sent[0].query, len(f.Request.Query))
			for k, v := range f.Request.Query {
				require.Equal(t, v, sent[0].query.Get(k))
			}
		})
	}
}

// No credential leaves, on either API, and a day passes between two requests for
// the same.
func TestCompatibleModelsTakeNoCredentialsAndAreKeptForADay(t *testing.T) {
	for _, api := range []smartcar.API{smartcar.V2, smartcar.V3} {
		t.Run(string(api), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sim := smartcartest.New()
				tap := &wireTap{next: sim.Transport()}
				client := apiClient(t, sim, api, smartcar.WithHTTPClient(&http.Client{Transport: tap}))
				ask := func(filter smartcar.CompatibleFilter) []smartcar.CompatibleModel {
					t.Helper()
					models, err := client.CompatibleModels(t.Context(), filter)
					require.NoError(t, err)
					require.NotEmpty(t, models)
					return models
				}
				teslas := ask(smartcar.CompatibleFilter{Region: "us", Make: "Tesla"})
				for _, m := range teslas {
					require.Equal(t, "Tesla", m.Make)
					require.Equal(t, "US", m.Region)
				}
				permission, ok := teslas[0].Permission(signals.TractionBatteryRange)
				require.True(t, ok)
				require.Equal(t, "read_battery", permission)
				_, ok = teslas[0].Permission(signals.InternalCombustionEngineFuelLevel)
				require.False(t, ok, "a Tesla has no tank")
				require.Contains(t, teslas[0].Commands, "closure-lock")

				teslas[0].Make, teslas[0].Signals[0].Permission, teslas[0].Commands[0] = "changed", "changed", "changed"
				time.Sleep(24*time.Hour - time.Second)
				again := ask(smartcar.CompatibleFilter{Region: "US", Make: " tesla "})
				require.Len(t, tap.to(""), 1, "the same question, in another case")
				require.Equal(t, "Tesla", again[0].Make, "callers do not see each other's changes")
				require.NotEqual(t, "changed", again[0].Signals[0].Permission)
				require.NotEqual(t, "changed", again[0].Commands[0])
				time.Sleep(time.Second)
				ask(smartcar.CompatibleFilter{Region: "US", Make: "TESLA"})
				require.Len(t, tap.to(""), 2)
				ask(smartcar.CompatibleFilter{})
				ask(smartcar.CompatibleFilter{Powertrain: "bev"})
				require.Len(t, tap.to(""), 4)
				for _, r := range tap.to("") {
					require.Equal(t, "compatibility.api.smartcar.com", r.host)
					require.NotContains(t, r.header, "Authorization")
					require.NotContains(t, r.header, "Sc-User-Id")
				}
			})
		})
	}
}

// What fails is not kept, and what Smartcar does not send is said.
func TestCompatibleModelsThatDidNotCome(t *testing.T) {
	var log bytes.Buffer
	transport := newCanned(t).on(compatiblePath,
		jsonReply(200, `<html>`), jsonReply(200, `{"data":{"message":"portal"}}`), jsonReply(500, `{"errors":[{"type":"SERVER","code":"INTERNAL"}]}`),
		jsonReply(401, `{"errors":[{"type":"AUTHENTICATION","code":"UNAUTHORIZED"}]}`),
		jsonReply(200, `{"data":[],"meta":{"totalCount":0}}`),
		jsonReply(200, `{"data":[{"id":"x","attributes":{"make":"Tesla"}}],"meta":{"totalCount":2}}`))
	client := cannedClient(t, transport, smartcar.WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
	for _, want := range []error{smartcar.ErrUnexpectedAnswer, smartcar.ErrUnexpectedAnswer, smartcar.ErrUnavailable, smartcar.ErrUnauthorized} {
		_, err := client.CompatibleModels(t.Context(), smartcar.CompatibleFilter{Region: "CA"})
		require.ErrorIs(t, err, want)
	}
	models, err := client.CompatibleModels(t.Context(), smartcar.CompatibleFilter{Region: "CA"})
	require.NoError(t, err)
	require.Empty(t, models)
	require.NotContains(t, log.String(), "WARN")
	models, err = client.CompatibleModels(t.Context(), smartcar.CompatibleFilter{Region: "US"})
	require.NoError(t, err)
	require.Len(t, models, 1)
	require.Contains(t, log.String(), "more compatible models than came")
}

// All models with all signals are more than any other answer may have.
func TestCompatibleModelsMayBeLarge(t *testing.T) {
	one := `{"id":"x","attributes":{"make":"Tesla","model":"Model 3","capabilities":[` +
		strings.TrimSuffix(strings.Repeat(`{"type":"signal","capability":"odometer-traveleddistance","permission":"read_odometer"},`, 93), ",") + `]}}`
	body := `{"data":[` + strings.TrimSuffix(strings.Repeat(one+",", 1384), ",") + `]}`
	require.Greater(t, len(body), 8<<20)
	models, err := cannedClient(t, newCanned(t).on(compatiblePath, jsonReply(200, body))).CompatibleModels(t.Context(), smartcar.CompatibleFilter{})
	require.NoError(t, err)
	require.Len(t, models, 1384)
}

func TestCompatibleFilterIsChecked(t *testing.T) {
	client := cannedClient(t, newCanned(t))
	for argument, filters := range map[string][]smartcar.CompatibleFilter{
		"CompatibleFilter.Region":     {{Region: "ASIA"}, {Region: "U S"}},
		"CompatibleFilter.Powertrain": {{Powertrain: "HEV"}, {Powertrain: "steam"}},
		"CompatibleFilter.Make":       {{Make: "TESLA,FORD"}, {Make: "TES\nLA"}, {Make: strings.Repeat("T", 65)}},
	} {
		for _, f := range filters {
			_, err := client.CompatibleModels(t.Context(), f)
			requireArgumentError(t, err, argument)
		}
	}
}

// The catalog and the codes name the same permission, where both name one.
func TestPermissionsOfSignals(t *testing.T) {
	sim := smartcartest.New()
	models, err := newClientV3(t, sim).CompatibleModels(t.Context(), smartcar.CompatibleFilter{})
	require.NoError(t, err)
	seen := map[signals.Code]bool{}
	for _, m := range models {
		for _, s := range m.Signals {
			seen[s.Code] = true
			if s.Permission != "" && s.Code.Permission() != "" {
				require.Equal(t, s.Permission, s.Code.Permission(), s.Code)
			}
		}
	}
	require.Greater(t, len(seen), 80)
	require.Equal(t, "read_battery", signals.TractionBatteryStateOfCharge.Permission())
	require.Empty(t, signals.SurveillanceBrand.Permission(), "none is documented")
	require.Empty(t, signals.Code("odometer-moons").Permission())
}
