package smartcartest_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seed-498a1bc4/smartcar/smartcartest"
)

func TestV3Vehicle(t *testing.T) {
	a := v3(t)
	a.user = ""
	var got struct {
		Data struct {
			ID, Type   string
			Attributes map[string]any
		}
	}
	a.get(v3car(smartcartest.Model3, "")).ok(&got)
	require.Equal(t, smartcartest.Model3, got.Data.ID)
	require.Equal(t, "vehicle", got.Data.Type)
	require.Equal(t, map[string]any{"make": "TESLA", "model": "Model 3", "year": 2022.0, "powertrainType": "BEV", "mode": "live"}, got.Data.Attributes)
	a.get(v3car("unknown", "")).fails3(404, "RESOURCE_NOT_FOUND", "VEHICLE_NOT_FOUND")
	a.get(v3car(smartcartest.Model3, "/battery")).fails3(404, "RESOURCE_NOT_FOUND", "INVALID_PATH")
	a.get("/v3/vehicles").fails3(404, "RESOURCE_NOT_FOUND", "INVALID_PATH")
	e := a.get(v3car(smartcartest.Model3, "/signals")).fails3(400, "VALIDATION", "MISSING_PARAMETER")
	require.Equal(t, "missing userId", e["detail"])
	a.user = "stranger"
	a.get(v3car(smartcartest.Model3, "/signals")).fails3(404, "RESOURCE_NOT_FOUND", "VEHICLE_NOT_FOUND")
	a.sim.Advance(time.Hour + time.Second)
	a.get(v3car(smartcartest.Model3, "")).fails3(401, "AUTHENTICATION", "UNAUTHORIZED")
	a.token = ""
	a.get(v3car(smartcartest.Model3, "")).fails3(401, "AUTHENTICATION", "UNAUTHORIZED")
}

func TestV3Billing(t *testing.T) {
	a := v3(t)
	a.sim.Inject(smartcartest.Fault{ErrorType: "BILLING", ErrorCode: "VEHICLE_REQUEST_LIMIT"})
	a.get(v3car(smartcartest.Model3, "/signals")).fails3(430, "BILLING", "VEHICLE_REQUEST_LIMIT")
	a.sim.Inject(smartcartest.Fault{ErrorType: "BILLING", ErrorCode: "INVALID_PLAN", ErrorShape: smartcartest.BareError})
	require.Contains(t, string(a.get(v3car(smartcartest.Model3, "")).body), `{"code":"INVALID_PLAN"`)
}
