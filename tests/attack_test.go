package smartcar_test

import (
	"testing"
	"testing/synctest"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
	"github.com/stretchr/testify/require"
)

// The user is forgotten between two tries of one read: the second one must not
// make them known again.
//
//  1. The read makes the user known, and its first try fails.
//  2. While it waits to try again, Forget removes all there is.
//  3. The second try brings an answer.
func TestForgetBetweenTwoTriesOfARead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		db := newSpoiledStore()
		client := apiClient(t, sim, smartcar.V3, smartcar.WithStore(db), allAnswers)
		user := client.User(connect(t, sim, client).UserID)
		sim.Inject(smartcartest.Fault{Path: "/signals", Status: 503})
		done := make(chan error, 1)
		go func() { _, err := user.Vehicle(smartcartest.MachE).Odometer(t.Context()); done <- err }()
		synctest.Wait() // until the first try has failed
		require.NoError(t, user.Forget(t.Context()))
		<-done
		requireNothingKept(t, db)
	})
}
