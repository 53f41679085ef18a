package smartcar_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
	"github.com/stretchr/testify/require"
)

// storedYears is a store as an earlier version has left it, an hour after its owner
// has connected and each of four cars was read once.
type storedYears struct {
	Commit  string            `json:"commit"`
	API     smartcar.API      `json:"api"`
	At      time.Time         `json:"at"`
	User    string            `json:"user"`
	Records map[string][]byte `json:"records"`
}

// besideYears runs a test for each of them, with a simulator in which the same has
// happened. What it holds of tokens are those of this simulator.
func besideYears(t *testing.T, test func(t *testing.T, sim *smartcartest.Server, old storedYears, db *spoiledStore)) {
	t.Helper()
	paths, err := filepath.Glob("../testdata/years/*.json")
	require.NoError(t, err)
	require.NotEmpty(t, paths)
	for _, path := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".json"), func(t *testing.T) {
			text, err := os.ReadFile(path)
			require.NoError(t, err)
			var old storedYears
			require.NoError(t, json.Unmarshal(text, &old))
			synctest.Test(t, func(t *testing.T) {
				sim := smartcartest.New()
				current := newSpoiledStore()
				client := apiClient(t, sim, old.API, smartcar.WithStore(current))
				require.Equal(t, old.User, connect(t, sim, client).UserID)
				time.Sleep(time.Second)
				for _, id := range []string{smartcartest.ModelY, smartcartest.Model3, smartcartest.ModelS2018, smartcartest.MachE} {
					_, err := client.User(old.User).Vehicle(id).Battery(t.Context())
					require.NoError(t, err)
				}
				time.Sleep(time.Until(old.At))
				db := newSpoiledStore()
				for key, value := range old.Records {
					_, err := db.CompareAndSwap(t.Context(), key, "", withTokensOf(t, current, key, value), 0)
					require.NoError(t, err)
				}
				test(t, sim, old, db)
			})
		})
	}
}

// withTokensOf puts the tokens of the simulator into the record of a grant.
func withTokensOf(t *testing.T, current *spoiledStore, key string, value []byte) []byte {
	t.Helper()
	if !strings.HasPrefix(key, "grant/") {
		return value
	}
	var grant map[string]any
	require.NoError(t, json.Unmarshal(value, &grant))
	rewriteGrants(t, current, func(live map[string]any) {
		grant["access_token"], grant["refresh_token"] = live["access_token"], live["refresh_token"]
	})
	value, err := json.Marshal(grant)
	require.NoError(t, err)
	return value
}

// Whatever an earlier version has stored is understood: no window is lost, no login,
// and no car is locked. Its answers, which were stored for a day, are not handed out:
// they do not say which run of Connect they belong to.
func TestRecordsOfAnEarlierVersion(t *testing.T) {
	besideYears(t, func(t *testing.T, sim *smartcartest.Server, old storedYears, db *spoiledStore) {
		client := apiClient(t, sim, old.API, smartcar.WithStore(db), smartcar.WithStoredAnswers(smartcar.StoredAnswers{Location: true}))
		user := client.User(old.User)
		keyless := user.Vehicle(smartcartest.ModelY)
		_, err := keyless.Odometer(t.Context())
		limit := requireKeyless(t, err)
		require.WithinDuration(t, old.At.Add(7*time.Hour), limit.NextAllowed, time.Minute)
		for _, id := range []string{smartcartest.Model3, smartcartest.ModelS2018, smartcartest.MachE} {
			_, err := user.Vehicle(id).Odometer(t.Context())
			require.NoError(t, err, id)
		}
		_, err = user.Vehicle(smartcartest.Model3).Lock(t.Context())
		require.NoError(t, err)
		time.Sleep(3 * time.Hour)
		_, err = user.Vehicle(smartcartest.MachE).Battery(t.Context())
		require.NoError(t, err, "the token is renewed")
		ids, err := listedVehicles(t.Context(), user)
		require.NoError(t, err)
		require.Len(t, ids, 7)
		time.Sleep(5 * time.Hour)
		_, err = keyless.Odometer(t.Context())
		require.NoError(t, err)
		require.Empty(t, sim.BrokenWindows(keyless.ID()))
		require.NoError(t, user.Forget(t.Context()))
		for _, key := range db.live(t) {
			isWindow := key == "car/"+keyless.ID() || strings.HasPrefix(key, "application/")
			isEmpty := strings.HasPrefix(key, "answers/") && !db.holds(t, strings.TrimPrefix(key, "answers/"), "scope")
			require.True(t, isWindow || isEmpty, "%s is left", key)
		}
	})
}

// Two versions take turns at one store: the earlier one reads back the records as it
// knows them, and drops what it does not know.
func TestVersionsBesideEachOther(t *testing.T) {
	besideYears(t, func(t *testing.T, sim *smartcartest.Server, old storedYears, db *spoiledStore) {
		client := apiClient(t, sim, old.API, smartcar.WithStore(db))
		user := client.User(old.User)
		for i := range 12 {
			for _, id := range []string{smartcartest.ModelY, smartcartest.Model3, smartcartest.ModelS2018, smartcartest.MachE} {
				_, err := user.Vehicle(id).Battery(t.Context())
				if id == smartcartest.MachE || id == smartcartest.Model3 && old.API == smartcar.V2 {
					require.NoError(t, err, "%s is locked", id)
				}
			}
			if i%3 == 2 { // a process of the earlier version restarts with what it knows
				asTheEarlierVersion(t, db, old)
			}
			time.Sleep(time.Hour)
		}
		require.Empty(t, sim.BrokenWindows(smartcartest.ModelY))
		time.Sleep(9 * time.Hour)
		for _, id := range []string{smartcartest.ModelY, smartcartest.Model3, smartcartest.ModelS2018, smartcartest.MachE} {
			_, err := user.Vehicle(id).Battery(t.Context())
			require.NoError(t, err, "%s is locked", id)
		}
		require.Empty(t, sim.BrokenWindows(smartcartest.ModelY))
	})
}

// asTheEarlierVersion rewrites all records as 11e3c14 does: those of users and grants
// without fields it does not know, and those of cars, which it cannot read, as cars
// that were asked just now.
func asTheEarlierVersion(t *testing.T, db *spoiledStore, old storedYears) {
	t.Helper()
	known := map[string][]string{
		"user/":  {"grants", "virtual_key_url", "external_id", "moved", "forgotten", "cars"},
		"grant/": {"user_id", "access_token", "refresh_token", "expires", "obtained_at", "spare", "lease_id", "lease_until", "pending"},
	}
	for _, key := range db.live(t) {
		record, err := db.Load(t.Context(), key)
		require.NoError(t, err)
		value := record.Value
		switch prefix := key[:strings.Index(key, "/")+1]; prefix {
		case "user/", "grant/":
			var all, kept = map[string]any{}, map[string]any{}
			require.NoError(t, json.Unmarshal(value, &all))
			for _, field := range known[prefix] {
				if v, ok := all[field]; ok {
					kept[field] = v
				}
			}
			value, err = json.Marshal(kept)
			require.NoError(t, err)
		case "car/":
			if len(value) == 78 && value[0] == 1 {
				continue
			}
			value = make([]byte, 78)
			value[0] = 1
			ms := uint64(time.Now().UnixMilli())
			for i := range 6 {
				value[24+6+i] = byte(ms >> (8 * (5 - i)))
			}
		default:
			continue
		}
		_, err = db.CompareAndSwap(t.Context(), key, record.Revision, value, 0)
		require.NoError(t, err)
	}
}
