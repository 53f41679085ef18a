package smartcartest_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/seed-498a1bc4/smartcar/smartcartest"
)

func TestWebhookTestButton(t *testing.T) {
	a, r, id := hooked(t, smartcartest.Webhook{})
	d, err := a.sim.TestWebhook(t.Context(), id, modelY)
	require.NoError(t, err)
	require.Equal(t, "VEHICLE_STATE", d.EventType)
	require.Equal(t, mac(a.sim.ManagementToken(), r.got[0].body), r.got[0].header.Get("SC-Signature"))
	e := r.take(t)[0]
	require.Equal(t, "TEST", at(e, "meta", "mode"))
	require.Equal(t, "test", at(e, "data", "vehicle", "mode"))
	require.Equal(t, a.sim.UserID(), at(e, "data", "user", "id"))
	require.Empty(t, a.sim.Ledger(modelY))
	r.statuses = []int{500}
	_, err = a.sim.TestWebhook(t.Context(), id, "")
	require.ErrorContains(t, err, "500")
	require.Empty(t, a.deliver(), "it is not tried again")
	_, err = a.sim.TestWebhook(t.Context(), "unknown", "")
	require.Error(t, err)
	_, err = a.sim.TestWebhook(t.Context(), id, "unknown")
	require.Error(t, err)
}
