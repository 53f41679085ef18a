package smartcar_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
	"github.com/stretchr/testify/require"
)

// The quickstart's story: connect, key link, first and second read, refused
// command, pairing, open gate.
func TestKeylessTeslaFromConnectToPairing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		sim := smartcartest.New()
		client := newClient(t, sim)
		grant := connect(t, sim, client)
		require.Equal(t, sim.UserID(), grant.UserID)
		require.Equal(t, "https://www.tesla.com/_ak/smartcar.com", grant.VirtualKeyURL.String())

		v := client.User(grant.UserID).Vehicle(smartcartest.ModelY)
		battery, err := v.Battery(ctx)
		require.NoError(t, err)
		require.NotNil(t, battery.Percent)
		require.Equal(t, smartcar.SourceLive, battery.Source)
		answered := time.Now()

		_, err = v.Odometer(ctx)
		var limited *smartcar.RateLimitError
		require.ErrorAs(t, err, &limited)
		require.True(t, limited.Local)
		require.Equal(t, smartcar.RuleKeyless, limited.Rule)
		require.WithinDuration(t, answered.Add(8*time.Hour), limited.NextAllowed, time.Second)

		_, err = v.Lock(ctx)
		var key *smartcar.VirtualKeyRequiredError
		require.ErrorAs(t, err, &key)
		require.True(t, key.Local)
		require.Equal(t, grant.VirtualKeyURL, key.URL)

		require.NoError(t, sim.Pair(smartcartest.ModelY))
		status, err := v.KeyStatus(ctx)
		require.NoError(t, err)
		require.Equal(t, smartcar.KeyInstalled, status.State)
		_, err = v.Odometer(ctx)
		require.NoError(t, err)
		_, err = v.Lock(ctx)
		require.NoError(t, err)
		require.Empty(t, sim.BrokenWindows(smartcartest.ModelY))
	})
}

// Pairing is seen within the same millisecond as the refusal before it, by a
// clock that counts nanoseconds.
func TestPairingIsSeenAtOnceByAnyClock(t *testing.T) {
	for _, offset := range []time.Duration{0, 1, 300, 999_999, time.Millisecond + 1} {
		t.Run(offset.String(), func(t *testing.T) {
			clock := new(simClock)
			clock.advance(offset)
			sim := smartcartest.New(smartcartest.WithClock(clock.Now))
			_, user := connected(t, sim, smartcar.WithClock(clock))
			v := user.Vehicle(smartcartest.ModelY)
			_, err := v.Lock(t.Context())
			require.ErrorIs(t, err, smartcar.ErrVirtualKeyRequired)
			_, err = v.Battery(t.Context())
			require.NoError(t, err)

			require.NoError(t, sim.Pair(smartcartest.ModelY))
			status, err := v.KeyStatus(t.Context())
			require.NoError(t, err)
			require.Equal(t, smartcar.KeyInstalled, status.State)
			_, err = v.Lock(t.Context())
			require.NoError(t, err)
		})
	}
}
