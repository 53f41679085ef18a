package smartcar_test

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
	"github.com/seed-498a1bc4/smartcar/store"
	"github.com/stretchr/testify/require"
)

// peekStore shows what is stored, without its tokens.
type peekStore struct {
	store.Store
	down bool
}

var errPeekDown = errors.New("down")

func (s *peekStore) Load(ctx context.Context, key string) (store.Record, error) {
	if s.down && key[:4] == "answ" {
		return store.Record{}, errPeekDown
	}
	return s.Store.Load(ctx, key)
}

func (s *peekStore) holds(t *testing.T, vehicleID, text string) bool {
	t.Helper()
	r, err := s.Store.Load(t.Context(), "answers/"+vehicleID)
	if errors.Is(err, store.ErrNotFound) {
		return false
	}
	require.NoError(t, err)
	return bytes.Contains(r.Value, []byte(text))
}

// twoReplicas are two clients over one store, both of one connected owner.
func twoReplicas(t *testing.T, sim *smartcartest.Server, bounds smartcar.StoredAnswers) (a, b *smartcar.User, db *peekStore) {
	t.Helper()
	db = &peekStore{Store: store.NewMemory()}
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
		a, b, db := twoReplicas(t, sim, smartcar.StoredAnswers{MaxAge: time.Hour})
		_, err := a.Vehicle(smartcartest.ModelY).Odometer(t.Context())
		require.NoError(t, err)
		time.Sleep(time.Hour - time.Second)
		_, err = b.Vehicle(smartcartest.ModelY).With(smartcar.AllowStale()).Odometer(t.Context())
		require.NoError(t, err)
		time.Sleep(time.Second)
		require.False(t, db.holds(t, smartcartest.ModelY, "odometer"))
		_, err = newClient(t, sim, smartcar.WithStore(db), smartcar.WithStoredAnswers(smartcar.StoredAnswers{MaxAge: time.Hour})).
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
		db.down = true
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
		"StoredAnswers.MaxAge":   {MaxAge: 91 * 24 * time.Hour},
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
