package smartcar_test

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
	"github.com/seed-498a1bc4/smartcar/store"
	"github.com/stretchr/testify/require"
)

var (
	firstSealKey  = bytes.Repeat([]byte{1}, 32)
	secondSealKey = bytes.Repeat([]byte{2}, 32)
)

func sealed(t *testing.T, inner store.Store, keys ...[]byte) *store.Sealed {
	t.Helper()
	s, err := store.NewSealed(inner, keys...)
	require.NoError(t, err)
	return s
}

func TestSealedHidesTokens(t *testing.T) {
	plain := newSpoiledStore()
	var written [][]byte
	plain.before = func(_ string, value []byte) error {
		written = append(written, bytes.Clone(value))
		return nil
	}
	db := sealed(t, plain, firstSealKey)
	sim := smartcartest.New()
	_, user := connected(t, sim, smartcar.WithStore(db))
	_, err := user.Vehicle(smartcartest.Model3).Battery(t.Context())
	require.NoError(t, err)
	require.NotEmpty(t, written)
	for _, value := range written {
		require.NotContains(t, string(value), "access_token")
		require.NotContains(t, string(value), user.ID())
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d"} {
		require.NotContains(t, fmt.Sprintf(verb, db), "01010101")
	}
}

func TestSealedRotatesKeys(t *testing.T) {
	ctx, plain := t.Context(), store.NewMemory()
	r, err := sealed(t, plain, firstSealKey).CompareAndSwap(ctx, "k", "", []byte("value"), 0)
	require.NoError(t, err)
	require.Equal(t, "value", string(r.Value))

	both := sealed(t, plain, secondSealKey, firstSealKey)
	r, err = both.Load(ctx, "k")
	require.NoError(t, err)
	require.Equal(t, "value", string(r.Value))
	_, err = both.CompareAndSwap(ctx, "k", r.Revision, []byte("again"), 0)
	require.NoError(t, err)

	r, err = sealed(t, plain, secondSealKey).Load(ctx, "k")
	require.NoError(t, err, "the new key alone opens what was written since")
	require.Equal(t, "again", string(r.Value))
	_, err = sealed(t, plain, firstSealKey).Load(ctx, "k")
	require.ErrorIs(t, err, store.ErrSealed)
}

func TestSealedRecordsCannotBeSwappedOrChanged(t *testing.T) {
	ctx, plain := t.Context(), store.NewMemory()
	db := sealed(t, plain, firstSealKey)
	_, err := db.CompareAndSwap(ctx, "grant/alice", "", []byte("alice's tokens"), 0)
	require.NoError(t, err)
	raw, err := plain.Load(ctx, "grant/alice")
	require.NoError(t, err)
	for i := range raw.Value {
		changed := bytes.Clone(raw.Value)
		changed[i] ^= 0x40
		_, err = plain.CompareAndSwap(ctx, fmt.Sprint("changed", i), "", changed, 0)
		require.NoError(t, err)
		_, err = db.Load(ctx, fmt.Sprint("changed", i))
		require.ErrorIs(t, err, store.ErrSealed)
	}
	for _, value := range [][]byte{raw.Value, nil, []byte("plain"), raw.Value[:20]} {
		key := fmt.Sprint("grant/bob", len(value))
		_, err = plain.CompareAndSwap(ctx, key, "", value, 0)
		require.NoError(t, err)
		_, err = db.Load(ctx, key)
		require.ErrorIs(t, err, store.ErrSealed, "moved or not sealed")
	}
}

func TestSealedReportsConflictsWithTheOpenedRecord(t *testing.T) {
	ctx := t.Context()
	db := sealed(t, store.NewMemory(), firstSealKey)
	first, err := db.CompareAndSwap(ctx, "k", "", []byte("first"), 0)
	require.NoError(t, err)
	current, err := db.CompareAndSwap(ctx, "k", "", []byte("second"), 0)
	require.ErrorIs(t, err, store.ErrConflict)
	first.Now = current.Now // each answer has its own
	require.Equal(t, first, current)
	require.ErrorIs(t, db.Delete(ctx, "k", "other"), store.ErrConflict)
	require.NoError(t, db.Delete(ctx, "k", first.Revision))
	_, err = db.Load(ctx, "k")
	require.ErrorIs(t, err, store.ErrNotFound)
	none, err := db.CompareAndSwap(ctx, "k", first.Revision, []byte("third"), 0)
	require.ErrorIs(t, err, store.ErrConflict)
	require.Equal(t, store.Record{Now: none.Now}, none)
}

func TestSealedRefusesBadKeys(t *testing.T) {
	for name, keys := range map[string][][]byte{"none": nil, "short": {firstSealKey, []byte("short")}, "empty": {{}}, "nil": {nil}} {
		t.Run(name, func(t *testing.T) {
			_, err := store.NewSealed(store.NewMemory(), keys...)
			require.ErrorIs(t, err, smartcar.ErrInvalidArgument)
		})
	}
	_, err := store.NewSealed(nil, firstSealKey)
	require.ErrorIs(t, err, smartcar.ErrInvalidArgument)
}

// The old key can go once every user has been renewed: records of users do not
// expire by themselves.
func TestRenewMovesAUserToTheNewestKey(t *testing.T) {
	plain := store.NewMemory()
	sim := smartcartest.New()
	_, user := connected(t, sim, smartcar.WithStore(sealed(t, plain, firstSealKey)))

	early := newClient(t, sim, smartcar.WithStore(sealed(t, plain, secondSealKey)))
	_, err := early.User(user.ID()).VirtualKeyURL(t.Context())
	require.ErrorIs(t, err, store.ErrSealed, "without the old key nothing opens yet")

	both := newClient(t, sim, smartcar.WithStore(sealed(t, plain, secondSealKey, firstSealKey)))
	require.NoError(t, both.User(user.ID()).Renew(t.Context(), 61*24*time.Hour))

	rotated := newClient(t, sim, smartcar.WithStore(sealed(t, plain, secondSealKey)))
	_, err = rotated.User(user.ID()).Vehicle(smartcartest.Model3).Battery(t.Context())
	require.NoError(t, err)
}

// A start of many replicas, each of which renews all users, writes nothing that
// need not be written.
func TestRenewWritesOnlyWhatIsDue(t *testing.T) {
	plain := store.NewMemory()
	sim := smartcartest.New()
	_, user := connected(t, sim, smartcar.WithStore(sealed(t, plain, firstSealKey)))
	revision := func() store.Revision {
		r, err := plain.Load(t.Context(), "user/"+user.ID())
		require.NoError(t, err)
		return r.Revision
	}
	before := revision()
	require.NoError(t, user.Renew(t.Context(), time.Hour))
	require.Equal(t, before, revision())
	require.Equal(t, 1, sim.TokenRequests())

	both := newClient(t, sim, smartcar.WithStore(sealed(t, plain, secondSealKey, firstSealKey)))
	require.NoError(t, both.User(user.ID()).Renew(t.Context(), time.Hour))
	moved := revision()
	require.NotEqual(t, before, moved)
	require.NoError(t, both.User(user.ID()).Renew(t.Context(), time.Hour))
	require.Equal(t, moved, revision())
}

// withForeignRecord is a user whose car has a record of another version.
func withForeignRecord(t *testing.T, sim *smartcartest.Server, vehicleID string) (*smartcar.User, *spoiledStore) {
	t.Helper()
	db := newSpoiledStore()
	_, user := connected(t, sim, smartcar.WithStore(db))
	_, err := listedVehicles(t.Context(), user)
	require.NoError(t, err)
	_, err = db.CompareAndSwap(t.Context(), "car/"+vehicleID, "", []byte{2, 1, 1}, 0)
	require.NoError(t, err)
	time.Sleep(30 * day)
	return user, db
}

// A record that cannot be read may hide a running window: one window, no more.
func TestUnreadableRecordOfAKeylessCar(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		user, db := withForeignRecord(t, sim, smartcartest.ModelY)
		v := user.Vehicle(smartcartest.ModelY)
		began := time.Now()
		refusedLocally(t, v)
		record, err := db.Load(t.Context(), "car/"+smartcartest.ModelY)
		require.NoError(t, err)
		require.NotEqual(t, []byte{2, 1, 1}, record.Value, "it is overwritten")
		for {
			_, err := v.Odometer(t.Context())
			if err == nil {
				break
			}
			at, ok := smartcar.NextAllowed(err)
			require.True(t, ok)
			require.WithinDuration(t, began.Add(window), at, 5*time.Second)
			time.Sleep(10 * time.Minute)
		}
		require.WithinDuration(t, began.Add(window), time.Now(), 11*time.Minute)
	})
}

func TestUnreadableRecordLocksNoOtherCar(t *testing.T) {
	for _, id := range []string{smartcartest.MachE, smartcartest.Model3, smartcartest.ModelS2018} {
		synctest.Test(t, func(t *testing.T) {
			user, _ := withForeignRecord(t, smartcartest.New(), id)
			_, err := user.Vehicle(id).Odometer(t.Context())
			require.NoError(t, err)
			_, err = user.Vehicle(id).Lock(t.Context())
			require.NoError(t, err)
		})
	}
}

func TestUnreadableRecordIsForgotten(t *testing.T) {
	for _, id := range []string{smartcartest.MachE, smartcartest.ModelY} {
		synctest.Test(t, func(t *testing.T) {
			user, db := withForeignRecord(t, smartcartest.New(), id)
			require.NoError(t, user.Forget(t.Context()))
			require.Empty(t, db.live(t))
		})
	}
}

func TestGuessedVehicleIDsLeaveNoRecords(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		db := newSpoiledStore()
		_, user := connected(t, sim, smartcar.WithStore(db))
		before := db.live(t)
		for i := range 50 {
			v := user.Vehicle(fmt.Sprintf("90e55000-0000-4000-8000-%012d", i))
			_, err := v.Battery(t.Context())
			require.ErrorIs(t, err, smartcar.ErrUnauthorized)
			_, err = v.Lock(t.Context())
			require.ErrorIs(t, err, smartcar.ErrUnauthorized)
			_, err = v.Access(t.Context())
			require.ErrorIs(t, err, smartcar.ErrUnauthorized)
		}
		require.Equal(t, before, db.live(t))
		record, err := db.Load(t.Context(), "user/"+user.ID())
		require.NoError(t, err)
		require.NotContains(t, string(record.Value), "90e55000")
		_, err = db.Load(t.Context(), "usercars/"+user.ID()+"/")
		require.ErrorIs(t, err, store.ErrNotFound)
	})
}

// Guessed ids leave nothing behind on v3 either, where a car is noted first.
func TestGuessedVehicleIDsAreNotNotedOnV3(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		db := newSpoiledStore()
		client := apiClient(t, sim, smartcar.V3, smartcar.WithStore(db))
		user := client.User(connect(t, sim, client).UserID)
		for i := range 20 {
			v := user.Vehicle(fmt.Sprintf("90e55000-0000-4000-8000-%012d", i))
			_, err := v.Battery(t.Context())
			require.ErrorIs(t, err, smartcar.ErrNotFound)
			_, err = v.Attributes(t.Context())
			require.ErrorIs(t, err, smartcar.ErrNotFound)
		}
		_, err := user.Vehicle(smartcartest.MachE).Battery(t.Context())
		require.NoError(t, err)
		record, err := db.Load(t.Context(), "user/"+user.ID())
		require.NoError(t, err)
		require.NotContains(t, string(record.Value), "90e55000")
		record, err = db.Load(t.Context(), "usercars/"+user.ID()+"/")
		require.NoError(t, err)
		require.NotContains(t, string(record.Value), "90e55000")
		require.Contains(t, string(record.Value), smartcartest.MachE)
		require.NoError(t, user.Forget(t.Context()))
		requireNothingKept(t, db)
	})
}

// notingStore notes the writes of cars, and which may be lost.
type notingStore struct {
	store.Store
	cars    int
	losable []string
}

func (s *notingStore) CompareAndSwap(ctx context.Context, key string, old store.Revision, value []byte, ttl time.Duration) (store.Record, error) {
	if strings.HasPrefix(key, "car/") {
		s.cars++
	}
	if store.MayBeLost(ctx) {
		s.losable = append(s.losable, key)
	}
	return s.Store.CompareAndSwap(ctx, key, old, value, ttl)
}

// Only what ends a turn that stands in the store may be lost: not the turn
// itself, no token, no evidence and no user.
func TestOnlyTheEndOfATurnMayBeLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		db := &notingStore{Store: store.NewMemory()}
		_, user := connected(t, sim, smartcar.WithStore(db))
		keyless, paired := user.Vehicle(smartcartest.ModelY), user.Vehicle(smartcartest.Model3)
		_, err := paired.Odometer(t.Context())
		require.NoError(t, err)
		require.NoError(t, keyless.SetKeyState(t.Context(), smartcar.KeyMissing))
		require.Empty(t, db.losable)

		before := db.cars
		_, err = keyless.Odometer(t.Context())
		require.NoError(t, err)
		require.Equal(t, []string{"car/" + smartcartest.ModelY}, db.losable)
		require.Greater(t, db.cars, before+1)

		sim.Inject(smartcartest.Fault{ErrorType: "CONNECTED_SERVICES_ACCOUNT", ErrorCode: "VIRTUAL_KEY_REQUIRED"})
		_, err = paired.Odometer(t.Context()) // no turn was reserved for it
		require.ErrorIs(t, err, smartcar.ErrVirtualKeyRequired)
		require.Len(t, db.losable, 1)
	})
}
