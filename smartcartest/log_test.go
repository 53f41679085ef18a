package smartcartest_test

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestNoSecretInTheLog(t *testing.T) {
	a := connected(t)
	a.get("/v2.0/user?access_token=hidden&flags=country:DE").ok(nil)
	for _, r := range a.sim.Requests() {
		require.NotContains(t, r.Query, "hidden")
	}
	last := a.sim.Requests()[len(a.sim.Requests())-1]
	require.Equal(t, "/v2.0/user", last.Path)
	require.Equal(t, 200, last.Status)
	require.Contains(t, last.Query, "country")
}
