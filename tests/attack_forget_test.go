package smartcar_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
	"github.com/seed-498a1bc4/smartcar/store"
	"github.com/stretchr/testify/require"
)

// deletingStore tells when a record has been deleted.
type deletingStore struct {
	*spoiledStore
	deleted func(key string)
}

func (s *deletingStore) Delete(ctx context.Context, key string, old store.Revision) error {
	err := s.spoiledStore.Delete(ctx, key, old)
	if s.deleted != nil {
		s.deleted(key)
	}
	return err
}

func requireNothingKept(t *testing.T, db *spoiledStore) {
	t.Helper()
	for _, key := range db.live(t) {
		if strings.HasPrefix(key, "answers/") { // an empty one goes by itself
			record, err := db.Store.Load(t.Context(), key)
			require.NoError(t, err)
			require.NotContains(t, string(record.Value), "scope")
			continue
		}
		require.True(t, strings.HasPrefix(key, "application/"), "%s is kept of a forgotten user", key)
	}
}

// onEitherAPI runs a story on each.
func onEitherAPI(t *testing.T, story func(t *testing.T, sim *smartcartest.Server, api smartcar.API)) {
	t.Helper()
	for _, api := range []smartcar.API{smartcar.V2, smartcar.V3} {
		t.Run(string(api), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { story(t, smartcartest.New(), api) })
		})
	}
}

var allAnswers = smartcar.WithStoredAnswers(smartcar.StoredAnswers{Location: true})

// Another replica reads one more car just before the user is marked.
func TestForgetFindsTheCarThatCameLast(t *testing.T) {
	onEitherAPI(t, func(t *testing.T, sim *smartcartest.Server, api smartcar.API) {
		db := newSpoiledStore()
		client := apiClient(t, sim, api, smartcar.WithStore(db), allAnswers)
		other := apiClient(t, sim, api, smartcar.WithStore(db), allAnswers)
		user := client.User(connect(t, sim, client).UserID)
		_, err := user.Vehicle(smartcartest.MachE).Odometer(t.Context())
		require.NoError(t, err)
		var once sync.Once
		db.before = func(_ string, value []byte) error {
			if strings.Contains(string(value), `"forgotten":true`) {
				once.Do(func() {
					_, err := other.User(user.ID()).Vehicle(smartcartest.ModelS2018).Location(t.Context())
					require.NoError(t, err)
				})
			}
			return nil
		}
		require.NoError(t, user.Forget(t.Context()))
		requireNothingKept(t, db)
	})
}

// A read comes back in the middle of Forget, after its car was forgotten.
func TestForgetWhileAReadComesBack(t *testing.T) {
	onEitherAPI(t, func(t *testing.T, sim *smartcartest.Server, api smartcar.API) {
		db := &deletingStore{spoiledStore: newSpoiledStore()}
		client := apiClient(t, sim, api, smartcar.WithStore(db), allAnswers)
		user := client.User(connect(t, sim, client).UserID)
		v := user.Vehicle(smartcartest.ModelS2018)
		_, err := v.Odometer(t.Context())
		require.NoError(t, err)
		sim.Inject(smartcartest.Fault{Path: "/vehicles/", LatencyAfter: time.Minute})
		done := make(chan error, 1)
		go func() { _, err := v.Location(t.Context()); done <- err }()
		time.Sleep(time.Second)
		db.deleted = func(key string) {
			if strings.HasPrefix(key, "car/") {
				db.deleted = nil
				require.NoError(t, <-done)
			}
		}
		require.NoError(t, user.Forget(t.Context()))
		requireNothingKept(t, db.spoiledStore)
	})
}

// A replica that has not heard of it goes on reading: what it keeps is found by
// the next Forget, and none of it is of the time before.
func TestForgetIsHeardOfByOtherReplicas(t *testing.T) {
	onEitherAPI(t, func(t *testing.T, sim *smartcartest.Server, api smartcar.API) {
		for _, pause := range []time.Duration{time.Second, 10 * time.Minute} {
			db := newSpoiledStore()
			client := apiClient(t, sim, api, smartcar.WithStore(db), allAnswers)
			other := apiClient(t, sim, api, smartcar.WithStore(db), allAnswers)
			user := client.User(connect(t, sim, client).UserID)
			v := other.User(user.ID()).Vehicle(smartcartest.ModelS2018)
			_, err := v.Location(t.Context())
			require.NoError(t, err)
			require.NoError(t, user.Forget(t.Context()))
			time.Sleep(pause)
			_, _ = v.Odometer(t.Context())
			_, _ = v.Signals(t.Context())
			require.NoError(t, user.Forget(t.Context()))
			requireNothingKept(t, db)
		}
	})
}

// The owner comes back while Forget is still at work: the new login is theirs.
func TestConnectWhileForgetIsAtWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		db := &deletingStore{spoiledStore: newSpoiledStore()}
		client, user := connected(t, sim, smartcar.WithStore(db))
		other := newClient(t, sim, smartcar.WithStore(db))
		_, err := user.Vehicle(smartcartest.MachE).Odometer(t.Context())
		require.NoError(t, err)
		db.deleted = func(string) {
			db.deleted = nil
			connect(t, sim, other)
		}
		require.NoError(t, user.Forget(t.Context()))
		_, err = other.User(user.ID()).Vehicle(smartcartest.MachE).Odometer(t.Context())
		require.NoError(t, err)
		time.Sleep(2 * time.Minute)
		requireLoggedIn(t, client.User(user.ID()).Vehicle(smartcartest.MachE))
	})
}

// Another replica marks the user just before the new grant is filed.
func TestConnectIsNotFiledUnderAForgottenUser(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		db := newSpoiledStore()
		client, user := connected(t, sim, smartcar.WithStore(db))
		_, err := user.Vehicle(smartcartest.MachE).Odometer(t.Context())
		require.NoError(t, err)
		loads := 0
		db.load = func(key string) error {
			if !strings.HasPrefix(key, "user/") {
				return nil
			}
			if loads++; loads == 2 {
				r, err := db.Store.Load(t.Context(), key)
				require.NoError(t, err)
				marked := strings.TrimSuffix(string(r.Value), "}") + `,"forgotten":true}`
				_, err = db.Store.CompareAndSwap(t.Context(), key, r.Revision, []byte(marked), 0)
				require.NoError(t, err)
			}
			return nil
		}
		connect(t, sim, client)
		require.Greater(t, loads, 2)
		requireLoggedIn(t, newClient(t, sim, smartcar.WithStore(db)).User(user.ID()).Vehicle(smartcartest.MachE))
	})
}
