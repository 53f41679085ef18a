package smartcartest_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seed-498a1bc4/smartcar/smartcartest"
)

func TestAppRateLimit(t *testing.T) {
	a := connected(t, stopped(), smartcartest.WithAppRateLimit(3, 2))
	for range 3 {
		a.get("/v2.0/user").ok(nil)
	}
	res := a.get("/v2.0/user")
	res.fails(429, "RATE_LIMIT", "SMARTCAR_API")
	require.Empty(t, res.header.Get("Retry-After"))
	a.sim.Advance(30 * time.Second)
	a.get("/v2.0/user").ok(nil)
	a.get(car(smartcartest.Model3, "/battery")).fails(429, "RATE_LIMIT", "SMARTCAR_API")
	require.False(t, a.sim.Ledger(smartcartest.Model3)[0].AtGate)
}
