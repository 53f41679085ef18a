package smartcar_test

import (
	"context"
	"testing"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
	"github.com/stretchr/testify/require"
)

// A car that is gone is that on both APIs, whatever is asked of it, and whether it was
// known before or not.
func TestCarThatIsGoneForEveryCall(t *testing.T) {
	for name, call := range map[string]func(ctx context.Context, v *smartcar.Vehicle) error{
		"read":       func(ctx context.Context, v *smartcar.Vehicle) error { _, err := v.Battery(ctx); return err },
		"attributes": func(ctx context.Context, v *smartcar.Vehicle) error { _, err := v.Attributes(ctx); return err },
		"VIN":        func(ctx context.Context, v *smartcar.Vehicle) error { _, err := v.VIN(ctx); return err },
		"snapshot": func(ctx context.Context, v *smartcar.Vehicle) error {
			_, err := v.Snapshot(ctx, smartcar.Battery, smartcar.Odometer)
			return err
		},
		"command":     func(ctx context.Context, v *smartcar.Vehicle) error { _, err := v.Lock(ctx); return err },
		"permissions": func(ctx context.Context, v *smartcar.Vehicle) error { _, err := v.Permissions(ctx); return err },
		"disconnect":  func(ctx context.Context, v *smartcar.Vehicle) error { return v.Disconnect(ctx) },
		"raw": func(ctx context.Context, v *smartcar.Vehicle) error {
			_, err := v.Request(ctx, smartcar.Request{Path: "battery"})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			for _, car := range []string{smartcartest.MachE, smartcartest.ModelY, "11111111-2222-4333-8444-555555555555"} {
				bothAPIs(t, func(t *testing.T, sim *smartcartest.Server, client *smartcar.Client, user *smartcar.User) {
					if name == "raw" && client.API() == smartcar.V3 {
						return // there, a path that does not exist is another 404
					}
					v := user.Vehicle(car)
					_, _ = v.Attributes(t.Context())
					sim.Disconnect(car)
					for range 2 {
						err := call(t.Context(), v)
						require.ErrorIs(t, err, smartcar.ErrVehicleGone, car)
						require.NotErrorIs(t, err, smartcar.ErrReconnectRequired)
						require.False(t, smartcar.Retryable(err))
						require.False(t, smartcar.MayHaveSucceeded(err))
					}
				})
			}
		})
	}
}
