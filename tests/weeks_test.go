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
// once, none twice, and the car is not asked more often than it could answer,
// wherever its beat lies.
func TestDayOfLegacyTeslaWatched(t *testing.T) {
	for _, wakes := range []time.Duration{9 * time.Hour, 9*time.Hour + time.Second, 7*time.Hour + 3*time.Minute + 20*time.Second, 13*time.Hour + 59*time.Second} {
		t.Run(wakes.String(), func(t *testing.T) { synctest.Test(t, func(t *testing.T) { watchLegacyDay(t, wakes) }) })
	}
}

func watchLegacyDay(t *testing.T, wakes time.Duration) {
	garage := smartcartest.DefaultGarage()
	for i := range garage {
		if garage[i].ID == smartcartest.ModelS2018 {
			garage[i].AwakeFrom, garage[i].AwakeFor = wakes, 6*time.Hour
		}
	}
	sim := smartcartest.New(smartcartest.WithCars(garage...))
	_, user := connected(t, sim)

	midnight := time.Now()
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
	for beat := midnight.Add(wakes); !beat.After(midnight.Add(wakes + 6*time.Hour)); beat = beat.Add(5 * time.Minute) {
		require.Equal(t, 1, seen[beat.UTC()], "recorded %v", beat)
		delete(seen, beat.UTC())
	}
	require.Len(t, seen, 1, "beside the day's values only the one from the day before")
	require.LessOrEqual(t, countedData(sim, smartcartest.ModelS2018), 288)
}
