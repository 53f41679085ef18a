package smartcar_test

import (
	"bytes"
	"fmt"
	"testing"
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
	require.Equal(t, first, current)
	require.ErrorIs(t, db.Delete(ctx, "k", "other"), store.ErrConflict)
	require.NoError(t, db.Delete(ctx, "k", first.Revision))
	_, err = db.Load(ctx, "k")
	require.ErrorIs(t, err, store.ErrNotFound)
	none, err := db.CompareAndSwap(ctx, "k", first.Revision, []byte("third"), 0)
	require.ErrorIs(t, err, store.ErrConflict)
	require.Zero(t, none)
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
