package smartcar_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
	"github.com/stretchr/testify/require"
)

// The key comes with the answer on v3: that it was gone already when the answer
// was asked for makes that request the first one of a window.
func TestAnswerThatShowsTheKeyGoneOpensAWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		v := onV3(t, sim).Vehicle(smartcartest.Model3)
		_, err := v.Battery(t.Context())
		require.NoError(t, err)
		time.Sleep(9 * time.Hour)
		require.NoError(t, sim.Unpair(smartcartest.Model3))
		time.Sleep(time.Hour)
		_, err = v.Battery(t.Context())
		require.NoError(t, err)
		time.Sleep(time.Minute)
		refusedLocally(t, v)
		refusedUntil(t, v, time.Now().Add(window-time.Minute))
		require.Empty(t, sim.BrokenWindows(smartcartest.Model3))
	})
}

// A program may log the error: whose car it is stands in the link alone.
func TestErrorTextShowsNoVINOfALink(t *testing.T) {
	link, err := smartcar.ParseVirtualKeyURL("https://www.tesla.com/_ak/smartcar.com?vin=5YJ3E1EA7KF317000")
	require.NoError(t, err)
	missing := &smartcar.VirtualKeyRequiredError{Operation: smartcar.Lock, URL: link}
	require.NotContains(t, missing.Error(), "5YJ3")
	require.Contains(t, missing.Error(), "https://www.tesla.com/_ak/smartcar.com")
	for _, verb := range []string{"%v", "%+v", "%#v"} {
		require.NotContains(t, fmt.Sprintf(verb, missing), "5YJ3")
	}
	require.Equal(t, "https://www.tesla.com/_ak/smartcar.com?vin=5YJ3E1EA7KF317000", missing.URL.String())
}

// Guessed ids leave nothing behind on v3 either, where a car is noted first.
func TestGuessedVehicleIDsAreNotNotedOnV3(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		db := newSpoiledStore()
		client := apiClient(t, sim, smartcar.V3, smartcar.WithStore(db))
		user := client.User(connect(t, sim, client).UserID)
		for i := range 20 {
			v := user.Vehicle(fmt.Sprintf("guess-%d", i))
			_, err := v.Battery(t.Context())
			require.ErrorIs(t, err, smartcar.ErrNotFound)
			_, err = v.Attributes(t.Context())
			require.ErrorIs(t, err, smartcar.ErrNotFound)
		}
		_, err := user.Vehicle(smartcartest.MachE).Battery(t.Context())
		require.NoError(t, err)
		record, err := db.Load(t.Context(), "user/"+user.ID())
		require.NoError(t, err)
		require.NotContains(t, string(record.Value), "guess-")
		record, err = db.Load(t.Context(), "usercars/"+user.ID()+"/")
		require.NoError(t, err)
		require.NotContains(t, string(record.Value), "guess-")
		require.Contains(t, string(record.Value), smartcartest.MachE)
		require.NoError(t, user.Forget(t.Context()))
		requireNothingKept(t, db)
	})
}
