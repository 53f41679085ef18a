package smartcar_test

import (
	"context"
	"encoding/json"
	"math"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
	"github.com/stretchr/testify/require"
)

// teslaCommandCalls are the commands that API v2.0 has for Teslas alone.
func teslaCommandCalls() map[string]commandCall {
	return map[string]commandCall{
		"open-charge-port": func(ctx context.Context, v *smartcar.Vehicle) (*smartcar.CommandResult, error) {
			return v.OpenChargePort(ctx)
		},
		"close-charge-port": func(ctx context.Context, v *smartcar.Vehicle) (*smartcar.CommandResult, error) {
			return v.CloseChargePort(ctx)
		},
		"set-charge-current": func(ctx context.Context, v *smartcar.Vehicle) (*smartcar.CommandResult, error) {
			return v.SetChargeCurrent(ctx, 48)
		},
		"start-climate": func(ctx context.Context, v *smartcar.Vehicle) (*smartcar.CommandResult, error) {
			return v.StartClimate(ctx)
		},
		"stop-climate": func(ctx context.Context, v *smartcar.Vehicle) (*smartcar.CommandResult, error) {
			return v.StopClimate(ctx)
		},
		"set-climate": func(ctx context.Context, v *smartcar.Vehicle) (*smartcar.CommandResult, error) {
			return v.SetClimate(ctx, 20.5)
		},
	}
}

// The exact request of every command to a Tesla, and what is made of its answer.
func TestTeslaCommandFixtures(t *testing.T) {
	for name, call := range teslaCommandCalls() {
		t.Run(name, func(t *testing.T) {
			f := readFixture(t, "v2/commands/"+name)
			key := f.Request.Method + " " + f.Request.Path
			transport := newCanned(t).on(key, f.reply())
			result, err := call(t.Context(), cannedVehicle(t, transport))
			require.NoError(t, err)
			var answer struct{ Status, Message string }
			require.NoError(t, json.Unmarshal(f.Response.Body, &answer))
			require.NotEmpty(t, answer.Status)
			require.Equal(t, answer.Status, result.Status)
			require.Equal(t, answer.Message, result.Message)
			sent := transport.requests(key)
			require.Len(t, sent, 1)
			require.JSONEq(t, string(f.Request.Body), sent[0].body)
			require.Empty(t, sent[0].header.Get("SC-Unit-System"), "degrees Celsius, whatever the client reads in")
		})
	}
}

// An answer about the climate that says neither what it is nor success is none.
func TestClimateAnswersOfEveryForm(t *testing.T) {
	for body, good := range map[string]bool{
		`{"status":"ON","temperature":20}`: true, `{"status":"off","temperature":null}`: true, `{"status":"success"}`: true,
		`{"status":"error","temperature":20}`: false, `{"temperature":20}`: false, `{}`: false,
	} {
		transport := newCanned(t).on("POST /v2.0/vehicles/{id}/tesla/climate/cabin", jsonReply(200, body))
		_, err := cannedVehicle(t, transport).StartClimate(t.Context())
		if good {
			require.NoError(t, err, body)
			continue
		}
		require.ErrorIs(t, err, smartcar.ErrUnexpectedAnswer, body)
		require.True(t, smartcar.MayHaveSucceeded(err), body)
	}
}

func TestTeslaCommandArguments(t *testing.T) {
	v := cannedVehicle(t, newCanned(t))
	for _, celsius := range []float64{0, -1, 50, 68, math.NaN(), math.Inf(1)} {
		_, err := v.SetClimate(t.Context(), celsius)
		requireArgumentError(t, err, "SetClimate celsius")
	}
	for _, amperes := range []int{0, -5, 81} {
		_, err := v.SetChargeCurrent(t.Context(), amperes)
		requireArgumentError(t, err, "SetChargeCurrent amperes")
	}
}

func TestTeslaFromClimateToCharge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		_, user := connected(t, sim)
		v := user.Vehicle(smartcartest.Model3)
		for _, step := range []struct {
			do     func() (*smartcar.CommandResult, error)
			status string
			on     bool
		}{
			{func() (*smartcar.CommandResult, error) { return v.StartClimate(t.Context()) }, "ON", true},
			{func() (*smartcar.CommandResult, error) { return v.SetClimate(t.Context(), 22.5) }, "ON", true},
			{func() (*smartcar.CommandResult, error) { return v.StopClimate(t.Context()) }, "OFF", false},
		} {
			result, err := step.do()
			require.NoError(t, err)
			require.Equal(t, step.status, result.Status)
			climate, err := v.TeslaClimate(t.Context())
			require.NoError(t, err)
			require.Equal(t, step.on, *climate.On)
		}
		climate, err := v.TeslaClimate(t.Context())
		require.NoError(t, err)
		require.InDelta(t, 22.5, *climate.Temperature, 0.01)
		climate, err = v.With(smartcar.InUnits(smartcar.Imperial)).TeslaClimate(t.Context())
		require.NoError(t, err)
		require.InDelta(t, 72.5, *climate.Temperature, 0.01)
		_, err = v.SetClimate(t.Context(), 40)
		require.ErrorIs(t, err, smartcar.ErrValidation, "the car's own bounds")

		_, err = v.SetChargeLimit(t.Context(), 100)
		require.NoError(t, err)
		_, err = v.StartCharge(t.Context())
		require.NoError(t, err)
		_, err = v.SetChargeCurrent(t.Context(), 16)
		require.NoError(t, err)
		charge, err := v.TeslaCharge(t.Context())
		require.NoError(t, err)
		require.Equal(t, smartcar.ChargeStateCharging, charge.State)
		require.InDelta(t, 16, *charge.Amperes, 0)
		require.InDelta(t, 16, *charge.AmperesRequested, 0)
		require.InDelta(t, 16*0.23, *charge.Kilowatts, 0.01)
		require.InDelta(t, 100, *charge.LimitPercent, 0)
		require.Empty(t, charge.Connector)

		_, err = user.Vehicle(smartcartest.MachE).StartClimate(t.Context())
		require.ErrorIs(t, err, smartcar.ErrNotSupported)
		_, err = user.Vehicle(smartcartest.MachE).TeslaCharge(t.Context())
		require.ErrorIs(t, err, smartcar.ErrNotSupported)
	})
}

// On API v3 the same reads are made of signals, and only what v2.0 alone has is
// refused before any request.
func TestTeslaReadsOnV3(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, tap := tapped(t, smartcartest.New())
		v := client.User("u").Vehicle("v")
		for name, command := range teslaCommandCalls() {
			if strings.Contains(name, "port") {
				continue
			}
			_, err := command(t.Context(), v)
			require.ErrorIs(t, err, smartcar.ErrNotSupported, name)
		}
		require.Empty(t, tap.to(""))

		sim := smartcartest.New()
		v = onV3(t, sim).Vehicle(smartcartest.Model3)
		snapshot, err := v.Snapshot(t.Context(), smartcar.TeslaCharge, smartcar.TeslaClimate)
		require.NoError(t, err)
		charge, err := snapshot.TeslaCharge()
		require.NoError(t, err)
		require.NotNil(t, charge.PluggedIn)
		require.NotNil(t, charge.LimitPercent)
		climate, err := snapshot.TeslaClimate()
		require.NoError(t, err)
		require.NotNil(t, climate.On)
		require.NotNil(t, climate.Temperature)
	})
}

// Commands to the climate need the key, are refused without it, and prove it.
func TestTeslaCommandsAndTheKey(t *testing.T) {
	for name, command := range teslaCommandCalls() {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sim := smartcartest.New(garageWith(smartcartest.Model3, func(c *smartcartest.Car) { c.Plugged = name == "set-charge-current" }))
				_, user := connected(t, sim)
				_, err := user.Vehicle(smartcartest.ModelY).KeyStatus(t.Context())
				require.NoError(t, err)
				_, err = command(t.Context(), user.Vehicle(smartcartest.ModelY))
				require.ErrorIs(t, err, smartcar.ErrVirtualKeyRequired)
				require.Empty(t, commandsOf(sim, smartcartest.ModelY), "decided here")

				v := user.Vehicle(smartcartest.Model3)
				sim.Inject(smartcartest.Fault{Path: "/tesla/virtual_key", ErrorType: "SERVER", ErrorCode: "INTERNAL", Times: -1})
				_, err = command(t.Context(), v)
				require.NoError(t, err)
				require.Len(t, commandsOf(sim, v.ID()), 1)
				access, err := v.Access(t.Context())
				require.NoError(t, err)
				require.Equal(t, smartcar.KeyInstalled, access.Key.State)
				require.Equal(t, smartcar.KeyFromCommand, access.Key.Source)
			})
		})
	}
}

// commandsOf are the commands that reached a car's API.
func commandsOf(sim *smartcartest.Server, id string) (list []smartcartest.Entry) {
	for _, e := range sim.Ledger(id) {
		if e.Kind == smartcartest.Command {
			list = append(list, e)
		}
	}
	return list
}

var documentedRequest = regexp.MustCompile("^\\| `([A-Z]+) (tesla/[^`]+)` \\| (\\w+)[^|]*\\| `([^`]+)` \\| ([^|]*) \\|")

// Each request that docs/tesla.md shows works, is of the kind that stands there for
// the policy and for the simulator, and needs the permission.
func TestDocumentedTeslaRequests(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(moduleRoot(t), "docs", "tesla.md"))
	require.NoError(t, err)
	operations, err := os.ReadFile(filepath.Join(moduleRoot(t), "docs", "operations.md"))
	require.NoError(t, err)
	rows := 0
	for line := range strings.Lines(string(text)) {
		row := documentedRequest.FindStringSubmatch(line)
		if row == nil {
			require.False(t, strings.HasPrefix(line, "| `"), "a row that cannot be read: %s", line)
			continue
		}
		rows++
		method, path, kind, permission := row[1], row[2], row[3], row[4]
		require.NotContains(t, string(operations), "`"+method+" /"+path+"`", "it has a method of its own")
		t.Run(method+" "+path, func(t *testing.T) {
			sim := smartcartest.New()
			_, user := connected(t, sim)
			v := user.Vehicle(smartcartest.Model3)
			if strings.Contains(line, "unless it charges") {
				_, err := v.SetChargeLimit(t.Context(), 100)
				require.NoError(t, err)
				_, err = v.StartCharge(t.Context())
				require.NoError(t, err)
			}
			request := smartcar.Request{Method: method, Path: path}
			if argument, _, ok := strings.Cut(strings.TrimPrefix(row[5], "`"), "`"); ok {
				if query, ok := strings.CutPrefix(argument, "?"); ok {
					request.Query, err = url.ParseQuery(query)
					require.NoError(t, err)
				} else {
					request.Body = json.RawMessage(argument)
				}
			}
			if strings.Contains(line, "Kind: smartcar.KindMetadata") {
				request.Kind = smartcar.KindMetadata
			}
			response, err := v.Request(t.Context(), request)
			require.NoError(t, err)
			require.True(t, json.Valid(response.Bytes()))
			entries := sim.Ledger(v.ID())
			last := entries[len(entries)-1]
			require.Equal(t, http.StatusOK, last.Status)
			require.Equal(t, "/v2.0/vehicles/"+v.ID()+"/"+path, last.Path)
			require.EqualValues(t, kind, last.Kind)
			// What the policy takes it for shows on a car without its key: data takes
			// the turn, a command is refused, metadata is neither.
			other := user.Vehicle(smartcartest.ModelY)
			_, err = other.Request(t.Context(), request)
			if kind == "command" {
				require.ErrorIs(t, err, smartcar.ErrVirtualKeyRequired)
			}
			_, err = other.Odometer(t.Context())
			require.Equal(t, kind == "data", err != nil, "%v", err)

			require.NoError(t, sim.SetPermissions(v.ID(), "read_location"))
			_, err = v.Request(t.Context(), request)
			require.ErrorIs(t, err, smartcar.ErrPermission)
			require.NoError(t, sim.SetPermissions(v.ID(), permission))
			_, err = v.Request(t.Context(), request)
			require.NotErrorIs(t, err, smartcar.ErrPermission)
		})
	}
	require.Equal(t, 23, rows)
}
