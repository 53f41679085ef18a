package smartcartest_test

import (
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seed-498a1bc4/smartcar/smartcartest"
)

// TestLegacyDay asks a legacy car every minute of a day: it changes each 5
// minutes while awake, 5 s after the beat, and keeps its last value asleep.
func TestLegacyDay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // begins at midnight UTC
		old := smartcartest.Car{ID: "s", Make: "TESLA", Model: "Model S", Integration: smartcartest.Legacy, AwakeFrom: 7*time.Hour + 2*time.Minute, AwakeFor: 2 * time.Hour}
		a := newAPI(t, smartcartest.WithCars(old))
		refresh := a.login(map[string][]string{"decision": {"grant"}})
		midnight := time.Now().UTC()
		wakes := midnight.Add(7*time.Hour + 2*time.Minute)
		sleeps := wakes.Add(2 * time.Hour)
		for time.Since(midnight) < 24*time.Hour {
			now := time.Now().UTC()
			want := wakes.Add(-22 * time.Hour) // when it fell asleep yesterday
			if seen := now.Add(-5 * time.Second); !seen.Before(wakes) {
				if seen.After(sleeps) {
					seen = sleeps
				}
				want = wakes.Add(seen.Sub(wakes).Truncate(5 * time.Minute))
			}
			res := a.get(car("s", "/battery")).ok(nil)
			require.Equal(t, want, res.time("SC-Data-Age"), now)
			require.Equal(t, want.Add(5*time.Second), res.time("SC-Fetched-At"), now)
			if now.Minute() == 59 {
				var p pair
				a.renew(refresh).ok(&p)
				a.token, refresh = p.Access, p.Refresh
			}
			time.Sleep(time.Minute)
		}
		live := 0
		for _, e := range a.sim.Ledger("s") {
			require.True(t, e.AtGate && e.Counted && !e.Keyless)
			if e.Live {
				live++
			}
		}
		require.Equal(t, 1+25, live, "yesterday's last, and a beat each 5 minutes of 2 hours, both ends counted")
		require.Empty(t, a.sim.BrokenWindows("s"))
	})
}

func TestLegacyAsleepAwake(t *testing.T) {
	a := connected(t, stopped())
	id := smartcartest.ModelX2020
	now := a.sim.Now()
	asleep := a.get(car(id, "/battery")).ok(nil)
	require.Equal(t, now.Add(-3*time.Hour).Truncate(5*time.Minute), asleep.time("SC-Data-Age"))
	var status struct{ Status string }
	a.get(car(id, "/tesla/status")).ok(&status)
	require.Equal(t, "ASLEEP", status.Status)
	require.NoError(t, a.sim.Wake(id))
	require.Equal(t, asleep.time("SC-Data-Age"), a.get(car(id, "/battery")).time("SC-Data-Age"), "the poller has not been yet")
	a.sim.Advance(5 * time.Second)
	require.Equal(t, now, a.get(car(id, "/battery")).time("SC-Data-Age"), "the beats begin when it wakes")
	a.sim.Advance(5 * time.Minute)
	require.Equal(t, now.Add(5*time.Minute), a.get(car(id, "/battery")).time("SC-Data-Age"))
	require.NoError(t, a.sim.Sleep(id))
	a.sim.Advance(time.Hour)
	require.Equal(t, now.Add(5*time.Minute), a.get(car(id, "/battery")).time("SC-Data-Age"))
	require.NoError(t, a.sim.FollowSchedule(id)) // awake 07:00 to 09:00, so asleep now
	require.Equal(t, now.Add(5*time.Minute), a.get(car(id, "/battery")).time("SC-Data-Age"))
	a.get(car(id, "/tesla/status")).ok(&status)
	require.Equal(t, "ASLEEP", status.Status)
	require.Error(t, a.sim.Wake("unknown"))
}

func TestAsleepError(t *testing.T) {
	a := connected(t, smartcartest.WithCars(smartcartest.Car{ID: "s", Make: "TESLA", Integration: smartcartest.Legacy, Asleep: true, AsleepError: true}))
	f := a.get(car("s", "/battery")).fails(409, "VEHICLE_STATE", "ASLEEP")
	require.Nil(t, f.Resolution.Type)
	a.post(car("s", "/security"), `{"action":"LOCK"}`).fails(409, "VEHICLE_STATE", "ASLEEP")
	require.NoError(t, a.sim.Wake("s"))
	a.post(car("s", "/security"), `{"action":"LOCK"}`).ok(nil)
}

func TestLegacyCommandsNeedNoKey(t *testing.T) {
	a := connected(t, stopped())
	for _, id := range []string{smartcartest.ModelS2018, smartcartest.ModelX2020, smartcartest.ModelS2021} {
		before := locked(a, id)
		require.True(t, before)
		a.post(car(id, "/security"), `{"action":"UNLOCK"}`).ok(nil)
		a.sim.Advance(5*time.Minute + 15*time.Second)
		require.False(t, locked(a, id), id)
	}
}

func TestStreamingAndSharingRecordEachMinute(t *testing.T) {
	shared := smartcartest.Car{ID: "s", Make: "TESLA", Integration: smartcartest.Legacy, DataSharing: true}
	a := connected(t, stopped(), smartcartest.WithCars(append(smartcartest.DefaultGarage(), shared)...))
	for _, id := range []string{smartcartest.Model3, "s"} {
		first := a.get(car(id, "/odometer")).time("SC-Data-Age")
		require.Equal(t, a.sim.Now().Truncate(time.Minute), first)
		a.post(car(id, "/security"), `{"action":"UNLOCK"}`).ok(nil)
		require.False(t, locked(a, id), "a change is streamed at once")
		a.sim.Advance(time.Minute)
		require.Equal(t, first.Add(time.Minute), a.get(car(id, "/odometer")).time("SC-Data-Age"))
	}
	require.Empty(t, a.sim.BrokenWindows(smartcartest.Model3))
}

func TestValuesAreThoseOfTheRecordedTime(t *testing.T) {
	a := connected(t, stopped())
	id := smartcartest.ModelS2018
	var one, two, three struct{ Distance float64 }
	a.get(car(id, "/odometer")).ok(&one)
	require.NoError(t, a.sim.Sleep(id))
	a.sim.Advance(time.Hour)
	a.get(car(id, "/odometer")).ok(&two)
	require.Equal(t, one, two)
	require.NoError(t, a.sim.Wake(id))
	a.sim.Advance(10 * time.Second)
	a.get(car(id, "/odometer")).ok(&three)
	require.InDelta(t, 1, three.Distance-one.Distance, 0.2) // 24 km a day
}

func TestLegacyRefreshOption(t *testing.T) {
	a := connected(t, stopped(), smartcartest.WithLegacyRefresh(3*time.Second))
	first := a.get(car(smartcartest.ModelS2018, "/odometer")).time("SC-Data-Age")
	a.sim.Advance(3 * time.Second)
	require.Equal(t, first.Add(3*time.Second), a.get(car(smartcartest.ModelS2018, "/odometer")).time("SC-Data-Age"))
}

// TestRandomLife checks what has to hold whatever happens to a car: data is
// never recorded in the future, nor before data that was given out already.
func TestRandomLife(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 7))
	day := []smartcartest.Car{
		{ID: "legacy", Make: "TESLA", Integration: smartcartest.Legacy, AwakeFrom: 22 * time.Hour, AwakeFor: 5 * time.Hour},
		{ID: "streaming", Make: "TESLA", Integration: smartcartest.Streaming, Paired: true, AwakeFrom: 6 * time.Hour, AwakeFor: 3 * time.Hour},
		{ID: "other", Make: "FORD"},
	}
	a := connected(t, stopped(), smartcartest.WithCars(day...))
	newest := map[string]time.Time{}
	for range 2000 {
		id := day[random.IntN(len(day))].ID
		switch random.IntN(8) {
		case 0:
			require.NoError(t, a.sim.Sleep(id))
		case 1:
			require.NoError(t, a.sim.Wake(id))
		case 2:
			require.NoError(t, a.sim.FollowSchedule(id))
		case 3:
			a.post(car(id, "/security"), `{"action":"LOCK"}`).ok(nil)
		default:
			a.sim.Advance(time.Duration(random.Int64N(int64(40 * time.Minute))))
			a.token = refreshed(a)
			res := a.get(car(id, "/security")).ok(nil)
			at, fetched := res.time("SC-Data-Age"), res.time("SC-Fetched-At")
			now := a.sim.Now()
			require.False(t, at.After(fetched) || fetched.After(now), "%v %v %v", at, fetched, now)
			require.False(t, at.Before(newest[id]), "%s went back from %v to %v", id, newest[id], at)
			newest[id] = at
		}
	}
}
