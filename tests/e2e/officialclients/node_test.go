package officialclients_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seed-498a1bc4/smartcar/smartcartest"
)

// patience bounds what node may take; the machine may be busy.
const patience = 2 * time.Minute

// node is a script of this folder, ready to run with the environment of a
// simulator and more.
func node(t *testing.T, script string, environment ...string) *exec.Cmd {
	t.Helper()
	path, err := exec.LookPath("node")
	if err != nil {
		missing(t, "node")
	}
	if _, err := os.Stat("node_modules/smartcar/package.json"); err != nil {
		missing(t, "the package smartcar: npm ci in e2e/officialclients")
	}
	// The test's context ends before the clean-up that lets the script end.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), patience)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, path, "--no-deprecation", script)
	cmd.Env = append(os.Environ(), environment...)
	cmd.WaitDelay = 10 * time.Second
	return cmd
}

// missing skips, or fails where everything has to be there.
func missing(t *testing.T, what string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf("%s is missing", what)
	}
	t.Skipf("%s is missing", what)
}

// garage is one car of each kind, by a name for the list of failures; the
// first is a Tesla that takes everything.
func garage() (smartcartest.Option, map[string]string) {
	volt := smartcartest.Car{
		ID: "00000008-2018-4000-8000-000000000008", Make: "CHEVROLET", Model: "Volt", Year: 2018, VIN: "1G1RC6S52JU000008", Powertrain: "PHEV", Plugged: true, OdometerKm: 61_000,
	}
	names := map[string]string{
		"Model 3": smartcartest.Model3, "Model Y without key": smartcartest.ModelY, "Model S": smartcartest.ModelS2018,
		"Mach-E": smartcartest.MachE, "Volt": volt.ID,
	}
	cars := []smartcartest.Car{}
	for _, c := range append(smartcartest.DefaultGarage(), volt) {
		for _, id := range names {
			if c.ID == id {
				cars = append(cars, c)
			}
		}
	}
	return smartcartest.WithCars(cars...), names
}

// documented is a failure that the vendor documents, or that the client brings
// about itself. car and method are parts of the names; empty is any.
type documented struct{ car, method, err, why string }

// documentedFailures is the list of all calls that may fail, and why.
func documentedFailures() []documented {
	const (
		incapable = "SmartcarError 501 COMPATIBILITY:VEHICLE_NOT_CAPABLE"
		invalid   = "SmartcarError 400 VALIDATION:null"
		noToken   = "SmartcarError 401 AUTHENTICATION:null"
		keyless   = "SmartcarError 429 RATE_LIMIT:VEHICLE"
		noKey     = "SmartcarError 400 CONNECTED_SERVICES_ACCOUNT:VIRTUAL_KEY_REQUIRED"
		state     = "SmartcarError 409 VEHICLE_STATE:"
	)
	return []documented{
		{"", "exchangeCode again", "SmartcarError 400 invalid_grant:null", "a code works once"},
		{"", "exchangeCode malformed", "SmartcarError 400 invalid_request:null", "it is no code"},
		{"", "exchangeRefreshToken malformed", "SmartcarError 400 invalid_request:null", "it is no refresh token"},
		{"", "AuthClient with a wrong secret", "SmartcarError 401 invalid_client:null", "the secret is wrong"},
		{"", "getUser with a wrong token", noToken, "the token is wrong"},
		{"", "attributes of no id", invalid, "it is no id"},
		{"", "getVehicles of a malformed version", "SmartcarError 404 RESOURCE_NOT_FOUND:PATH", "only a well-formed version is served"},
		{"", "getVehicle with a user token", "SmartcarError 401 SDK_ERROR:null", "API v3 takes application tokens only, and the client cannot read its errors"},
		{"", "getSignals", "SmartcarError 400 SDK_ERROR:null", "API v3 wants the header sc-user-id, which this method cannot send"},
		{"", "getSignal", "SmartcarError 400 SDK_ERROR:null", "API v3 wants the header sc-user-id, which this method cannot send"},
		{"", "attributes after disconnect", noToken, "the token does not cover the car any more"},

		{"", "serviceHistory without dates", invalid, "the client sends start_date=undefined"},
		{"", "subscribe to no id", invalid, "it is no id"},
		{"", "unsubscribe with a wrong token", noToken, "the token is wrong"},
		{"", "batch with a misspelled path", invalid, "the whole batch fails"},

		{"Model 3", "fuel", incapable, "an electric car"},
		{"Model 3", "engineOil", incapable, "an electric car"},
		{"Model S", "fuel", incapable, "an electric car"},
		{"Model S", "engineOil", incapable, "an electric car"},
		{"Mach-E", "fuel", incapable, "an electric car"},
		{"Mach-E", "engineOil", incapable, "an electric car"},
		{"Model Y without key", "fuel", incapable, "an electric car"},
		{"Model Y without key", "engineOil", incapable, "an electric car"},
		{"Model 3", "diagnostic", incapable, "makes of Stellantis and GM only"},
		{"Model S", "diagnostic", incapable, "makes of Stellantis and GM only"},
		{"Model Y without key", "diagnostic", incapable, "makes of Stellantis and GM only"},
		{"Model 3", "serviceHistory", incapable, "some makes only, Tesla is none of them"},
		{"Model S", "serviceHistory", incapable, "some makes only, Tesla is none of them"},
		{"Model Y without key", "serviceHistory", incapable, "some makes only, Tesla is none of them"},
		{"Mach-E", "tesla/", incapable, "no Tesla"},
		{"Volt", "tesla/", incapable, "no Tesla"},

		{"Model Y without key", "", keyless, "a streaming Tesla without the key: one data request in 8 hours"},
		{"Model Y without key", "", noKey, "a command needs the key"},
		{"Model S", "startCharge", state + "CHARGING_PLUG_NOT_CONNECTED", "it is not plugged in"},
		{"Model S", "POST tesla/charge/ammeter", state + "CHARGING_PLUG_NOT_CONNECTED", "it is not plugged in"},
		{"Model 3", "tesla/charge/", state + "NOT_CHARGING", "it does not charge"},
		{"Model S", "tesla/charge/", state + "NOT_CHARGING", "it does not charge"},
	}
}

// covers says whether the failure of a call is this one.
func (d documented) covers(name, err string) bool {
	return strings.HasPrefix(name, d.car) && strings.Contains(name, d.method) && err == d.err
}

func TestNodeCallsEverything(t *testing.T) {
	cars, names := garage()
	sim := smartcartest.New(cars)
	origin, stop, err := sim.Start()
	require.NoError(t, err)
	defer stop()
	ids, err := json.Marshal(names)
	require.NoError(t, err)
	cmd := node(t, "calls.js", append(sim.Environment(origin), "CARS="+string(ids), "WEBHOOK_ID=5a8e5e38-12e7-4a85-9f2d-1f1b64c0f2a1")...)
	var problems bytes.Buffer
	cmd.Stderr = &problems
	out, err := cmd.Output()
	require.NoError(t, err, "%s", &problems)
	var said struct {
		Calls []struct {
			Name, Error string
			Holes       []string
		}
		Uncalled, Public []string
	}
	require.NoError(t, json.Unmarshal(out, &said), "%s", out)
	require.Empty(t, said.Uncalled, "every public method is called")
	require.Greater(t, len(said.Public), 40)
	list := documentedFailures()
	used := make([]bool, len(list))
	failed := 0
	for _, c := range said.Calls {
		require.Empty(t, c.Holes, c.Name)
		if c.Error == "" {
			continue
		}
		failed++
		found := false
		for i, d := range list {
			if d.covers(c.Name, c.Error) {
				found, used[i] = true, true
			}
		}
		if !found {
			t.Errorf("%s: %s is not on the list of documented failures", c.Name, c.Error)
		}
	}
	for i, d := range list {
		if !used[i] {
			t.Errorf("%s %s: %s does not happen any more", d.car, d.method, d.err)
		}
	}
	t.Logf("%d methods, %d calls, %d of them end in a documented failure", len(said.Public), len(said.Calls), failed)
}

// startReceiver runs a receiver of webhooks and returns its address.
func startReceiver(t *testing.T, sim *smartcartest.Server) string {
	t.Helper()
	cmd := node(t, "receiver.js", sim.Environment("http://127.0.0.1")...)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	require.NoError(t, err)
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = stdin.Close() // the receiver ends then
		require.NoError(t, cmd.Wait())
	})
	port, err := bufio.NewReader(stdout).ReadString('\n')
	require.NoError(t, err)
	return "http://127.0.0.1:" + strings.TrimSpace(port) + "/"
}
