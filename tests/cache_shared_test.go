package smartcar_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
	"github.com/stretchr/testify/require"
)

// inFlight starts a slow first read of a keyless car.
func inFlight(t *testing.T, sim *smartcartest.Server, v *smartcar.Vehicle, fault smartcartest.Fault) (result chan error) {
	t.Helper()
	_, err := v.Access(t.Context())
	require.NoError(t, err)
	fault.Path = "/odometer"
	sim.Inject(fault)
	result = make(chan error, 1)
	go func() { _, err := v.Odometer(t.Context()); result <- err }()
	synctest.Wait()
	return result
}

func TestReadInFlightIsShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		_, user := connected(t, sim)
		v := user.Vehicle(smartcartest.ModelY)
		first := inFlight(t, sim, v, smartcartest.Fault{Latency: 20 * time.Second})

		_, err := v.Battery(t.Context())
		var limited *smartcar.RateLimitError
		require.ErrorAs(t, err, &limited, "it was not asked for that")
		require.True(t, limited.InFlight)

		shared := make(chan error)
		for range 5 {
			go func() {
				r, err := v.Odometer(t.Context())
				if err == nil && (r.Source != smartcar.SourceCache || r.Stale || r.Distance == nil) {
					err = errors.New("not the answer of the first caller")
				}
				shared <- err
			}()
		}
		require.NoError(t, <-first)
		for range 5 {
			require.NoError(t, <-shared)
		}
		require.Equal(t, 1, countedData(sim, smartcartest.ModelY))
		require.Empty(t, sim.BrokenWindows(smartcartest.ModelY))
	})
}

// However the scheduler interleaves the two, they share.
func TestReadInFlightIsSharedInAnyOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		_, user := connected(t, sim)
		v := user.Vehicle(smartcartest.ModelY)
		_, err := v.Access(t.Context())
		require.NoError(t, err)
		for range 500 {
			sim.Inject(smartcartest.Fault{Path: "/odometer", Latency: time.Second})
			first := make(chan error, 1)
			go func() { _, err := v.Odometer(t.Context()); first <- err }()
			synctest.Wait()
			_, err := v.Odometer(t.Context())
			require.NoError(t, err)
			require.NoError(t, <-first)
			time.Sleep(window + time.Second)
		}
	})
}

// The turn is taken in the store, and the request has not left yet.
func TestReadAboutToLeaveIsShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		db := newSpoiledStore()
		db.after = func(string, []byte) error { // as over a slow network
			time.Sleep(100 * time.Millisecond)
			return nil
		}
		_, user := connected(t, sim, smartcar.WithStore(db))
		v := user.Vehicle(smartcartest.ModelY)
		_, err := v.Access(t.Context())
		require.NoError(t, err)
		first := make(chan error, 1)
		go func() { _, err := v.Odometer(t.Context()); first <- err }()
		time.Sleep(50 * time.Millisecond)
		require.Zero(t, countedData(sim, smartcartest.ModelY))
		_, err = v.Odometer(t.Context())
		require.NoError(t, err)
		require.NoError(t, <-first)
		require.Equal(t, 1, countedData(sim, smartcartest.ModelY))
	})
}

func TestSharedReadThatFails(t *testing.T) {
	for name, opts := range map[string][]smartcar.CallOption{
		"sharing": nil, "sharing or stale": {smartcar.AllowStale()},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sim := smartcartest.New()
				_, user := connected(t, sim)
				v := user.Vehicle(smartcartest.ModelY)
				first := inFlight(t, sim, v, smartcartest.Fault{Latency: 20 * time.Second, DropAfter: true})
				_, err := v.With(opts...).Odometer(t.Context())
				require.ErrorIs(t, err, smartcar.ErrRateLimited)
				require.Error(t, <-first)
				require.Equal(t, 1, countedData(sim, smartcartest.ModelY))
			})
		})
	}
}

// An answer of an earlier window is not what the one in flight will say.
func TestSharedReadIsNotAnEarlierAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		_, user := connected(t, sim)
		v := user.Vehicle(smartcartest.ModelY)
		old, err := v.Odometer(t.Context())
		require.NoError(t, err)
		time.Sleep(window + time.Second)
		first := inFlight(t, sim, v, smartcartest.Fault{Latency: 20 * time.Second})
		fresh, err := v.With(smartcar.AllowStale()).Odometer(t.Context())
		require.NoError(t, err)
		require.False(t, fresh.Stale)
		require.True(t, fresh.RecordedAt.After(old.RecordedAt))
		require.NoError(t, <-first)
	})
}

func TestWaitingForASharedReadEndsWithTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		_, user := connected(t, sim)
		v := user.Vehicle(smartcartest.ModelY)
		first := inFlight(t, sim, v, smartcartest.Fault{Latency: 20 * time.Second})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		_, err := v.Odometer(ctx)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, time.Second, time.Since(began))
		require.NoError(t, <-first)
	})
}

// Two owners, one car: what one was told is nothing the other may hear without
// asking Smartcar in his own name.
func TestSharedCarLeaksNoAnswerBetweenItsOwners(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New(garageEach(func(c *smartcartest.Car) { c.SharedWith = []string{"bob"} }))
		client := newClient(t, sim)
		alice := client.User(connectAs(t, sim, client, "").UserID)
		bob := client.User(connectAs(t, sim, client, "bob").UserID)
		require.NotEqual(t, alice.ID(), bob.ID())

		_, err := alice.Vehicle(smartcartest.ModelS2018).Odometer(t.Context())
		require.NoError(t, err)
		his, err := bob.Vehicle(smartcartest.ModelS2018).Odometer(t.Context())
		require.NoError(t, err)
		require.Equal(t, smartcar.SourceLive, his.Source)
		require.Equal(t, 2, countedData(sim, smartcartest.ModelS2018))

		// Nor where the policy refuses and stale answers are allowed.
		_, err = alice.Vehicle(smartcartest.ModelY).Odometer(t.Context())
		require.NoError(t, err)
		_, err = bob.Vehicle(smartcartest.ModelY).With(smartcar.AllowStale()).Odometer(t.Context())
		require.ErrorIs(t, err, smartcar.ErrRateLimited)
		_, err = alice.Vehicle(smartcartest.ModelY).With(smartcar.AllowStale()).Odometer(t.Context())
		require.NoError(t, err)

		// Bob is out: what he was told goes, what she was told stays.
		require.NoError(t, bob.Vehicle(smartcartest.ModelS2018).Disconnect(t.Context()))
		hers, err := alice.Vehicle(smartcartest.ModelS2018).Odometer(t.Context())
		require.NoError(t, err)
		require.Equal(t, smartcar.SourceCache, hers.Source)
		require.Empty(t, sim.BrokenWindows(smartcartest.ModelY))
	})
}

// An owner who shares an answer in flight shares it with himself only.
func TestSharedCarInFlightLeaksNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New(garageEach(func(c *smartcartest.Car) { c.SharedWith = []string{"bob"} }))
		client := newClient(t, sim)
		alice := client.User(connectAs(t, sim, client, "").UserID).Vehicle(smartcartest.ModelY)
		bob := client.User(connectAs(t, sim, client, "bob").UserID).Vehicle(smartcartest.ModelY)
		_, err := alice.Access(t.Context())
		require.NoError(t, err)
		sim.Inject(smartcartest.Fault{Path: "/odometer", Latency: 10 * time.Second})
		done := make(chan error)
		go func() { _, err := alice.Odometer(t.Context()); done <- err }()
		synctest.Wait()
		_, err = bob.With(smartcar.AllowStale()).Odometer(t.Context())
		require.ErrorIs(t, err, smartcar.ErrRateLimited)
		require.NoError(t, <-done)
	})
}

// One user's answers are not another's, though one token asks for both.
func TestAnswersOfASharedCarOnV3(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New(garageEach(func(c *smartcartest.Car) { c.SharedWith = []string{"driver"} }))
		client, tap := tapped(t, sim)
		owner := client.User(connect(t, sim, client).UserID)
		driver := client.User(connectAs(t, sim, client, "driver", smartcartest.ModelY, smartcartest.ModelS2018).UserID)
		_, err := owner.Vehicle(smartcartest.ModelY).Location(t.Context())
		require.NoError(t, err)
		_, err = driver.Vehicle(smartcartest.ModelY).With(smartcar.AllowStale()).Location(t.Context())
		require.ErrorIs(t, err, smartcar.ErrRateLimited, "one window for the car, and no answer of the owner's")
		for _, u := range []*smartcar.User{owner, driver} {
			odometer, err := u.Vehicle(smartcartest.ModelS2018).Odometer(t.Context())
			require.NoError(t, err)
			require.Equal(t, smartcar.SourceLive, odometer.Source)
		}
		for _, r := range tap.to(smartcartest.ModelS2018 + "/signals") {
			require.Contains(t, []string{owner.ID(), driver.ID()}, r.header.Get("Sc-User-Id"))
		}
		_, err = driver.Vehicle(smartcartest.Model3).Odometer(t.Context())
		require.ErrorIs(t, err, smartcar.ErrNotFound, "not connected by this user")
		require.NoError(t, driver.Vehicle(smartcartest.ModelS2018).Disconnect(t.Context()))
		_, err = owner.Vehicle(smartcartest.ModelS2018).Odometer(t.Context())
		require.NoError(t, err)
	})
}

// twoReplicas are two clients over one store, both of one connected owner.
func twoReplicas(t *testing.T, sim *smartcartest.Server, bounds smartcar.StoredAnswers) (a, b *smartcar.User, db *spoiledStore) {
	t.Helper()
	db = newSpoiledStore()
	opts := []smartcar.Option{smartcar.WithStore(db), smartcar.WithStoredAnswers(bounds)}
	_, a = connected(t, sim, opts...)
	return a, newClient(t, sim, opts...).User(a.ID()), db
}

func TestStoredAnswersSpareTheOtherReplicaALegacyCar(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		a, b, _ := twoReplicas(t, sim, smartcar.StoredAnswers{})
		time.Sleep(time.Minute)
		live, err := a.Vehicle(smartcartest.ModelS2018).Odometer(t.Context())
		require.NoError(t, err)
		kept, err := b.Vehicle(smartcartest.ModelS2018).Odometer(t.Context())
		require.NoError(t, err)
		require.Equal(t, smartcar.SourceCache, kept.Source)
		require.False(t, kept.Stale)
		require.Equal(t, live.RecordedAt, kept.RecordedAt)
		require.Equal(t, live.ReceivedAt, kept.ReceivedAt)
		require.Equal(t, live.RequestID, kept.RequestID)
		require.InDelta(t, *live.Distance, *kept.Distance, 0)
		require.Equal(t, 1, countedData(sim, smartcartest.ModelS2018))

		time.Sleep(untilNextBeat)
		_, err = b.Vehicle(smartcartest.ModelS2018).Odometer(t.Context())
		require.NoError(t, err)
		again, err := a.Vehicle(smartcartest.ModelS2018).Odometer(t.Context())
		require.NoError(t, err)
		require.Equal(t, smartcar.SourceCache, again.Source, "the other replica has the newer one")
		require.Equal(t, 5*time.Minute, again.RecordedAt.Sub(live.RecordedAt))
		require.Equal(t, 2, countedData(sim, smartcartest.ModelS2018))
	})
}

func TestStoredAnswersAreStaleForAnyReplica(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		a, b, _ := twoReplicas(t, sim, smartcar.StoredAnswers{})
		live, err := a.Vehicle(smartcartest.ModelY).Battery(t.Context())
		require.NoError(t, err)
		stale, err := b.Vehicle(smartcartest.ModelY).With(smartcar.AllowStale()).Battery(t.Context())
		require.NoError(t, err)
		require.True(t, stale.Stale)
		require.InDelta(t, *live.Percent, *stale.Percent, 0)
		_, err = b.Vehicle(smartcartest.ModelY).Battery(t.Context())
		require.ErrorIs(t, err, smartcar.ErrRateLimited, "not asked for, not given")
		_, err = b.Vehicle(smartcartest.ModelY).With(smartcar.AllowStale(), smartcar.InUnits(smartcar.Imperial)).Battery(t.Context())
		require.ErrorIs(t, err, smartcar.ErrRateLimited, "units are never mixed")
	})
}

func TestStoredAnswersKeepLocationsOnlyWhenAskedFor(t *testing.T) {
	for _, location := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			sim := smartcartest.New()
			a, b, db := twoReplicas(t, sim, smartcar.StoredAnswers{Location: location})
			_, err := a.Vehicle(smartcartest.ModelY).Snapshot(t.Context(), smartcar.Odometer, smartcar.Location)
			require.NoError(t, err)
			require.True(t, db.holds(t, smartcartest.ModelY, "odometer"))
			require.Equal(t, location, db.holds(t, smartcartest.ModelY, "latitude"))
			snapshot, err := b.Vehicle(smartcartest.ModelY).With(smartcar.AllowStale()).Snapshot(t.Context(), smartcar.Odometer, smartcar.Location)
			require.NoError(t, err)
			_, err = snapshot.Odometer()
			require.NoError(t, err)
			_, err = snapshot.Location()
			require.Equal(t, location, err == nil)
		})
	}
}

func TestStoredAnswersEndWithTheirAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		a, b, db := twoReplicas(t, sim, smartcar.StoredAnswers{Keep: time.Hour})
		_, err := a.Vehicle(smartcartest.ModelY).Odometer(t.Context())
		require.NoError(t, err)
		time.Sleep(time.Hour - time.Second)
		_, err = b.Vehicle(smartcartest.ModelY).With(smartcar.AllowStale()).Odometer(t.Context())
		require.NoError(t, err)
		time.Sleep(time.Second)
		require.False(t, db.holds(t, smartcartest.ModelY, "odometer"))
		_, err = newClient(t, sim, smartcar.WithStore(db), smartcar.WithStoredAnswers(smartcar.StoredAnswers{Keep: time.Hour})).
			User(a.ID()).Vehicle(smartcartest.ModelY).With(smartcar.AllowStale()).Odometer(t.Context())
		require.ErrorIs(t, err, smartcar.ErrRateLimited)
	})
}

func TestStoredAnswersStayWithinTheirSize(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		a, _, db := twoReplicas(t, sim, smartcar.StoredAnswers{MaxBytes: 900})
		v := a.Vehicle(smartcartest.Model3)
		for _, read := range []func(context.Context) error{
			func(ctx context.Context) error { _, err := v.Odometer(ctx); return err },
			func(ctx context.Context) error { _, err := v.Battery(ctx); return err },
			func(ctx context.Context) error { _, err := v.Charge(ctx); return err },
		} {
			require.NoError(t, read(t.Context()))
			time.Sleep(time.Second)
		}
		require.True(t, db.holds(t, smartcartest.Model3, `"charge"`))
		require.True(t, db.holds(t, smartcartest.Model3, `"battery"`))
		require.False(t, db.holds(t, smartcartest.Model3, `"odometer"`), "the oldest goes first")
		r, err := db.Load(t.Context(), "answers/"+smartcartest.Model3)
		require.NoError(t, err)
		require.LessOrEqual(t, len(r.Value), 950)
	})
}

func TestStoredAnswersAreDiscardedByACommandAnywhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		a, b, db := twoReplicas(t, sim, smartcar.StoredAnswers{})
		time.Sleep(time.Minute)
		for _, u := range []*smartcar.User{a, b} {
			_, err := u.Vehicle(smartcartest.ModelS2018).LockStatus(t.Context())
			require.NoError(t, err)
		}
		require.Equal(t, 1, countedData(sim, smartcartest.ModelS2018))
		_, err := a.Vehicle(smartcartest.ModelS2018).Unlock(t.Context())
		require.NoError(t, err)
		require.False(t, db.holds(t, smartcartest.ModelS2018, "lock-status"))
		again, err := b.Vehicle(smartcartest.ModelS2018).LockStatus(t.Context())
		require.NoError(t, err)
		require.Equal(t, smartcar.SourceLive, again.Source, "what the other replica kept is from before the command")
	})
}

// An answer that is larger than all that may be stored does not push out the others.
func TestStoredAnswerThatIsTooLargeIsDroppedAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		a, _, db := twoReplicas(t, sim, smartcar.StoredAnswers{MaxBytes: 420})
		v := a.Vehicle(smartcartest.Model3)
		_, err := v.Odometer(t.Context())
		require.NoError(t, err)
		require.True(t, db.holds(t, smartcartest.Model3, `"odometer"`))
		time.Sleep(time.Second)
		_, err = v.LockStatus(t.Context())
		require.NoError(t, err)
		require.False(t, db.holds(t, smartcartest.Model3, `"lock-status"`))
		require.True(t, db.holds(t, smartcartest.Model3, `"odometer"`))
	})
}

// What cannot be read goes when the user is forgotten: it may be theirs.
func TestForgetRemovesAnswersThatCannotBeRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		a, _, db := twoReplicas(t, sim, smartcar.StoredAnswers{})
		_, err := a.Vehicle(smartcartest.Model3).Odometer(t.Context())
		require.NoError(t, err)
		key := "answers/" + smartcartest.Model3
		r, err := db.Load(t.Context(), key)
		require.NoError(t, err)
		_, err = db.CompareAndSwap(t.Context(), key, r.Revision, []byte(`{"answers":"garbage"}`), time.Hour)
		require.NoError(t, err)
		require.NoError(t, a.Forget(t.Context()))
		require.False(t, db.holds(t, smartcartest.Model3, "garbage"))
	})
}

func TestStoredAnswersAreForgottenWithTheUser(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		a, _, db := twoReplicas(t, sim, smartcar.StoredAnswers{})
		_, err := a.Vehicle(smartcartest.ModelY).Odometer(t.Context())
		require.NoError(t, err)
		require.True(t, db.holds(t, smartcartest.ModelY, "odometer"))
		require.NoError(t, a.Forget(t.Context()))
		require.False(t, db.holds(t, smartcartest.ModelY, "odometer"))
	})
}

func TestStoredAnswersAreNotNeeded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		a, b, db := twoReplicas(t, sim, smartcar.StoredAnswers{})
		db.load = func(key string) error {
			if strings.HasPrefix(key, "answers/") {
				return errStoreDown
			}
			return nil
		}
		_, err := a.Vehicle(smartcartest.ModelY).Odometer(t.Context())
		require.NoError(t, err)
		_, err = a.Vehicle(smartcartest.ModelY).With(smartcar.AllowStale()).Odometer(t.Context())
		require.NoError(t, err, "this process has it in memory")
		_, err = b.Vehicle(smartcartest.ModelY).With(smartcar.AllowStale()).Odometer(t.Context())
		require.ErrorIs(t, err, smartcar.ErrRateLimited)
	})
}

func TestStoredAnswersHaveBounds(t *testing.T) {
	sim := smartcartest.New()
	for argument, bounds := range map[string]smartcar.StoredAnswers{
		"StoredAnswers.Keep":     {Keep: 91 * 24 * time.Hour},
		"StoredAnswers.MaxBytes": {MaxBytes: 1<<20 + 1},
	} {
		_, err := smartcar.New(smartcar.Config{
			ClientID: sim.ClientID(), ClientSecret: sim.ClientSecret(), RedirectURL: sim.RedirectURL(),
		}, smartcar.WithStoredAnswers(bounds))
		var bad *smartcar.ArgumentError
		require.ErrorAs(t, err, &bad)
		require.Equal(t, argument, bad.Argument)
	}
}

// To forget a user makes no room in the cache: the answers of others stay.
func TestForgetLeavesTheAnswersOfOthersInTheCache(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		db := newSpoiledStore()
		client := apiClient(t, sim, smartcar.V3, smartcar.WithStore(db), smartcar.WithCacheSize(2))
		v := client.User(connect(t, sim, client).UserID).Vehicle(smartcartest.ModelS2018)
		_, err := v.Odometer(t.Context())
		require.NoError(t, err)
		elsewhere := apiClient(t, sim, smartcar.V3, smartcar.WithStore(db)).User("another")
		for _, id := range []string{"car-1", "car-2", "car-3"} {
			require.NoError(t, elsewhere.Vehicle(id).SetKeyState(t.Context(), smartcar.KeyMissing))
		}
		require.NoError(t, client.User("another").Forget(t.Context()))
		odometer, err := v.Odometer(t.Context())
		require.NoError(t, err)
		require.Equal(t, smartcar.SourceCache, odometer.Source)
	})
}
