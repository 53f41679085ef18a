package smartcartest_test

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/seed-498a1bc4/smartcar/smartcartest"
)

type batch struct {
	Responses []struct {
		Path    string
		Code    int
		Body    json.RawMessage
		Headers map[string]string
	}
}

func TestBatch(t *testing.T) {
	a := connected(t, stopped())
	require.NoError(t, a.sim.SetPermissions(modelY, "read_battery", "read_vehicle_info", "read_vin", "read_fuel"))
	var b batch
	res := a.post(car(modelY, "/batch"), `{"requests":[{"path":"/battery"},{"path":"/odometer"},{"path":"/"},{"path":"/permissions?limit=1"},{"path":"/fuel"},{"path":"/tesla/virtual_key"}]}`).ok(&b)
	codes := []int{}
	for _, r := range b.Responses {
		codes = append(codes, r.Code)
		require.NotNil(t, r.Headers)
	}
	require.Equal(t, []int{200, 403, 200, 200, 501, 200}, codes)
	require.Equal(t, "/battery", b.Responses[0].Path)
	require.JSONEq(t, `{"percentRemaining":0.8,"range":360}`, string(b.Responses[0].Body))
	require.Equal(t, map[string]string{
		"sc-data-age": "2026-11-23T12:00:00.000Z", "sc-fetched-at": "2026-11-23T12:00:30.000Z", "sc-unit-system": "metric",
	}, b.Responses[0].Headers)
	var f failure
	require.NoError(t, json.Unmarshal(b.Responses[1].Body, &f))
	require.Equal(t, "PERMISSION", f.Type)
	require.Nil(t, f.Code)
	require.Equal(t, res.header.Get("SC-Request-Id"), f.RequestID)

	a.get(car(modelY, "/battery")).fails(429, "RATE_LIMIT", "VEHICLE") // the batch was the turn
	a.post(car(modelY, "/batch"), `{"requests":[{"path":"/battery"}]}`).fails(429, "RATE_LIMIT", "VEHICLE")
	a.post(car(modelY, "/batch"), `{"requests":[{"path":"/vin"}]}`).ok(nil)
	a.post(car(modelY, "/batch"), `{"requests":[{"path":"/odometer"}]}`).ok(nil) // no permission: never at the gate
	ledger := a.sim.Ledger(modelY)
	require.Len(t, ledger, 5)
	require.Len(t, ledger[0].Items, 6)
	require.True(t, ledger[0].Counted)
	require.Equal(t, smartcartest.Metadata, ledger[3].Kind)
	require.Equal(t, smartcartest.Data, ledger[4].Kind)
	require.False(t, ledger[4].AtGate)
	require.Len(t, a.sim.BrokenWindows(modelY), 2)
}

func TestBatchKeyRequiredStandsInTheItems(t *testing.T) {
	a := connected(t, stopped(), smartcartest.WithKeylessAnswer(smartcartest.KeyRequired))
	body := `{"requests":[{"path":"/battery"},{"path":"/vin"}]}`
	a.post(car(modelY, "/batch"), body).ok(nil)
	var b batch
	a.post(car(modelY, "/batch"), body).ok(&b)
	require.Equal(t, 400, b.Responses[0].Code)
	require.Contains(t, string(b.Responses[0].Body), "VIRTUAL_KEY_REQUIRED")
	require.Equal(t, 200, b.Responses[1].Code)
}

func TestBatchErrors(t *testing.T) {
	a := connected(t)
	for _, body := range []string{``, `{}`, `{"requests":[]}`, `{"requests":[{"path":"battery"}]}`, `[]`,
		`{"requests":[{"path":"/odometer"},{"path":"/LOCATIONNNNNNNN"}]}`, `{"requests":[{"path":"/tesla/pin"}]}`} {
		f := a.post(car(smartcartest.Model3, "/batch"), body).fails(400, "VALIDATION", "")
		require.NotEmpty(t, f.Detail)
	}
	for _, e := range a.sim.Ledger(smartcartest.Model3) {
		require.False(t, e.AtGate, "nothing is read")
	}
}
