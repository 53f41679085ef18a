package smartcar_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
	"github.com/stretchr/testify/require"
)

// A week of a keyless car polled every minute: 21 turns of 8 hours, and one
// more if the first falls on the start.
func TestWeekOfKeylessTeslaPolledEveryMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		_, user := connected(t, sim)
		v := user.Vehicle(smartcartest.Cybertruck)

		var next time.Time // what the refusals promised
		live := 0
		for range 7 * 24 * 60 {
			_, err := v.Battery(t.Context())
			var limited *smartcar.RateLimitError
			switch {
			case err == nil:
				require.False(t, time.Now().Before(next), "live read before the promised time")
				live++
				next = time.Now().Add(8 * time.Hour)
			default:
				require.ErrorAs(t, err, &limited)
				require.True(t, limited.Local)
				require.WithinDuration(t, next, limited.NextAllowed, 2*time.Millisecond)
				require.True(t, time.Now().Before(limited.NextAllowed))
			}
			time.Sleep(time.Minute)
		}
		require.GreaterOrEqual(t, live, 21)
		require.LessOrEqual(t, live, 22)
		require.Empty(t, sim.BrokenWindows(smartcartest.Cybertruck))
		require.Equal(t, live, countedData(sim, smartcartest.Cybertruck))
	})
}

func countedData(sim *smartcartest.Server, vehicleID string) int {
	n := 0
	for _, e := range sim.Ledger(vehicleID) {
		if e.Kind == smartcartest.Data {
			n++
		}
	}
	return n
}

// A day of a legacy car that is awake for six hours: every refresh is seen
// once, none twice, and the car is not asked more often than it can answer.
func TestDayOfLegacyTeslaWatched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		garage := smartcartest.DefaultGarage()
		for i := range garage {
			if garage[i].ID == smartcartest.ModelS2018 {
				garage[i].AwakeFrom, garage[i].AwakeFor = 9*time.Hour, 6*time.Hour
			}
		}
		sim := smartcartest.New(smartcartest.WithCars(garage...))
		_, user := connected(t, sim)

		ctx, cancel := context.WithTimeout(t.Context(), 24*time.Hour)
		defer cancel()
		seen := make(map[time.Time]int)
		for snapshot, err := range user.Vehicle(smartcartest.ModelS2018).Watch(ctx, smartcar.Battery) {
			if errors.Is(err, context.DeadlineExceeded) {
				break
			}
			require.NoError(t, err)
			battery, err := snapshot.Battery()
			require.NoError(t, err)
			seen[battery.RecordedAt]++
		}
		inDay := 0
		for at, times := range seen {
			require.Equal(t, 1, times, "recorded %v", at)
			if at.Hour() >= 9 && at.Hour() < 15 || at.Hour() == 15 && at.Minute() == 0 {
				inDay++
			}
		}
		require.GreaterOrEqual(t, inDay, 6*12)
		require.LessOrEqual(t, countedData(sim, smartcartest.ModelS2018), 288)
		t.Logf("values %d (awake %d), reads %d", len(seen), inDay, countedData(sim, smartcartest.ModelS2018))
	})
}
