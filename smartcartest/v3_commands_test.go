package smartcartest_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/seed-498a1bc4/smartcar/smartcartest"
)

func TestV3Commands(t *testing.T) {
	a := v3(t)
	var got struct {
		Data struct {
			ID, Type   string
			Attributes struct {
				CommandType, ExecutionMode string
				Status                     struct{ Value string }
				Parameters                 map[string]any
			}
		}
	}
	a.post(v3car(smartcartest.Model3, "/commands/security/lock"), "").ok(&got)
	require.Equal(t, "command-execution", got.Data.Type)
	require.Equal(t, "security-lock", got.Data.Attributes.CommandType)
	require.Equal(t, "SUCCESS", got.Data.Attributes.Status.Value)
	a.post(v3car(smartcartest.Model3, "/commands/security/unlock"), "").ok(nil)
	require.Equal(t, false, signalsOf(a, smartcartest.Model3)["closure-islocked"].Attributes.Body["value"])
	a.post(v3car(smartcartest.Model3, "/commands/charge/set-limit"), `{"data":{"attributes":{"percent":90}}}`).ok(&got)
	require.Equal(t, map[string]any{"percent": 90.0}, got.Data.Attributes.Parameters)
	a.post(v3car(smartcartest.Model3, "/commands/charge/set-limit"), `{"data":{"attributes":{"percent":49}}}`).fails3(400, "VALIDATION", "")
	a.post(v3car(smartcartest.Model3, "/commands/charge/set-limit"), `{`).fails3(400, "VALIDATION", "INVALID_INPUT_FORMAT")
	a.post(v3car(smartcartest.Model3, "/commands/climate/start"), "").fails3(404, "RESOURCE_NOT_FOUND", "INVALID_PATH")
	e := a.post(v3car(modelY, "/commands/security/lock"), "").fails3(400, "CONNECTED_SERVICES_ACCOUNT", "VIRTUAL_KEY_REQUIRED")
	require.Equal(t, map[string]any{"type": "ACTION_REQUIRED", "url": "https://www.tesla.com/_ak/smartcar.com"}, e["resolution"])
	require.NoError(t, a.sim.SetPermissions(smartcartest.Model3))
	a.post(v3car(smartcartest.Model3, "/commands/security/lock"), "").fails3(403, "PERMISSION", "")
}

func TestV3EveryCommand(t *testing.T) {
	a := v3(t)
	for path, body := range map[string]string{
		"security/lock": "", "security/unlock": "", "charge/start": "", "charge/stop": "",
		"charge/set-limit": `{"data":{"attributes":{"percent":80}}}`, "charge-port/open": "",
		"navigation/set-destination": `{"data":{"attributes":{"latitude":37.7749,"longitude":-122.4194}}}`,
	} {
		var got execution
		a.post(v3car(smartcartest.Model3, "/commands/"+path), body).ok(&got)
		require.Equal(t, "command-execution", got.Data.Type)
		require.Equal(t, "SUCCESS", got.Data.Attributes.Status.Value)
		require.NotEmpty(t, got.Data.ID)
		require.False(t, got.Data.Meta.ExecutedAt.IsZero())
		if body != "" {
			require.NotEmpty(t, got.Data.Attributes.Parameters, path)
		}
	}
	require.Equal(t, smartcartest.Command, a.sim.Ledger(smartcartest.Model3)[0].Kind)
	limit := v3car(smartcartest.Model3, "/commands/charge/set-limit")
	for _, percent := range []string{"49", "101", "80.5", `"80"`, "null"} {
		a.post(limit, `{"data":{"attributes":{"percent":`+percent+`}}}`).fails3(400, "VALIDATION", "")
	}
	a.post(limit, "").fails3(400, "VALIDATION", "")
	navigate := v3car(smartcartest.Model3, "/commands/navigation/set-destination")
	a.post(navigate, `{"data":{"attributes":{"latitude":91,"longitude":0}}}`).fails3(400, "VALIDATION", "")
	a.post(navigate, `{"data":{"attributes":{"latitude":1}}}`).fails3(400, "VALIDATION", "")
	a.post(v3car(smartcartest.Model3, "/commands/charge-port/close"), "").fails3(409, "VEHICLE_STATE", "CHARGING_PLUG_CONNECTED")
	a.post(v3car(smartcartest.MachE, "/commands/charge-port/open"), "").fails3(501, "COMPATIBILITY", "VEHICLE_NOT_CAPABLE")
	a.get(v3car(smartcartest.Model3, "/commands/security/lock")).fails3(404, "RESOURCE_NOT_FOUND", "INVALID_PATH")
	a.user = ""
	a.post(limit, "").fails3(400, "VALIDATION", "MISSING_PARAMETER")
}
