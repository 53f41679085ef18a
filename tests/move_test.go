package smartcar_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
	"github.com/seed-498a1bc4/smartcar/store"
	"github.com/stretchr/testify/require"
)

// moving is a client of each API over one store, with the default owner
// connected on v2.0 and another one who only v3 knows of.
func moving(t *testing.T, sim *smartcartest.Server) (v2, v3 *smartcar.Client, user *smartcar.User, db *peekStore) {
	t.Helper()
	db = &peekStore{Store: store.NewMemory()}
	v2 = apiClient(t, sim, smartcar.V2, smartcar.WithStore(db))
	authorizeURL, cookies := begin(t, v2, smartcar.ConnectOptions{ExternalID: "acct_42"})
	callbackURL, err := sim.Grant(authorizeURL)
	require.NoError(t, err)
	grant, err := finish(v2, callbackURL, cookies)
	require.NoError(t, err)
	return v2, apiClient(t, sim, smartcar.V3, smartcar.WithStore(db)), v2.User(grant.UserID), db
}

func TestMoveToV3PairsWhatBothAPIsKnow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		_, v3, user, db := moving(t, sim)
		listed, err := listedVehicles(t.Context(), user)
		require.NoError(t, err)
		before, err := db.Load(t.Context(), "user/"+user.ID())
		require.NoError(t, err)

		report, err := v3.MoveToV3(t.Context(), smartcar.MoveOptions{Users: []string{user.ID(), "somebody-else"}})
		require.NoError(t, err)
		require.True(t, report.Done)
		require.Equal(t, []string{"somebody-else"}, report.MissingUsers)
		require.Equal(t, 7, report.Connections)
		require.Equal(t, 7, report.Matched)
		require.Len(t, report.Users, 1)
		u := report.Users[0]
		require.True(t, u.Known)
		require.False(t, u.Filed)
		require.Equal(t, "acct_42", u.ExternalID)
		require.Empty(t, u.MissingVehicles)
		ids := map[string]bool{}
		for _, v := range u.Vehicles {
			require.True(t, v.Known)
			require.NotEmpty(t, v.ConnectionID)
			ids[v.VehicleID] = true
		}
		for _, id := range listed {
			require.Contains(t, ids, id)
		}
		after, err := db.Load(t.Context(), "user/"+user.ID())
		require.NoError(t, err)
		require.Equal(t, before.Revision, after.Revision, "a dry run writes nothing")

		applied, err := v3.MoveToV3(t.Context(), smartcar.MoveOptions{Apply: true})
		require.NoError(t, err)
		require.True(t, applied.Users[0].Filed)
		filed, err := db.Load(t.Context(), "user/"+user.ID())
		require.NoError(t, err)
		require.NotEqual(t, before.Revision, filed.Revision)
		again, err := v3.MoveToV3(t.Context(), smartcar.MoveOptions{Apply: true})
		require.NoError(t, err)
		require.Equal(t, applied, again)
		unchanged, err := db.Load(t.Context(), "user/"+user.ID())
		require.NoError(t, err)
		require.Equal(t, filed.Revision, unchanged.Revision, "what is filed is not written again")

		// The tokens of v2.0 still work, and v3 needs none of them.
		_, err = user.Vehicle(smartcartest.Model3).Odometer(t.Context())
		require.NoError(t, err)
		_, err = v3.User(user.ID()).Vehicle(smartcartest.Model3).Odometer(t.Context())
		require.NoError(t, err)
	})
}

func TestMoveToV3ReportsWhatOnlyOneAPIKnows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		_, v3, user, _ := moving(t, sim)
		_, err := listedVehicles(t.Context(), user)
		require.NoError(t, err)
		// One car has gone from v3, and a new store knows nobody.
		for connection, err := range v3.Connections(t.Context(), smartcar.ConnectionFilter{VehicleID: smartcartest.MachE}) {
			require.NoError(t, err)
			_, err = v3.DeleteConnections(t.Context(), smartcar.ConnectionFilter{UserID: connection.UserID, VehicleID: connection.VehicleID})
			require.NoError(t, err)
		}
		report, err := v3.MoveToV3(t.Context(), smartcar.MoveOptions{})
		require.NoError(t, err)
		require.Equal(t, []string{smartcartest.MachE}, report.Users[0].MissingVehicles)
		require.Equal(t, 6, report.Matched)

		stranger := apiClient(t, sim, smartcar.V3)
		report, err = stranger.MoveToV3(t.Context(), smartcar.MoveOptions{})
		require.NoError(t, err)
		require.False(t, report.Users[0].Known)
		require.Zero(t, report.Matched)
		require.Equal(t, 6, report.Connections)
	})
}

// A run that is cut off at any page is resumed, also from JSON.
func TestMoveToV3IsResumed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cars := make([]smartcartest.Car, 250)
		for i := range cars {
			cars[i] = smartcartest.Car{Make: "FORD", Model: "Mustang Mach-E", Year: 2022}
		}
		sim := smartcartest.New(smartcartest.WithCars(cars...))
		_, v3, _, _ := moving(t, sim)
		var report *smartcar.MoveReport
		asked := 0
		for range 10 {
			asked++
			pages := 0
			sim.ClearFaults()
			sim.Inject(smartcartest.Fault{ErrorType: "VALIDATION", Times: -1, Match: func(r *http.Request) bool {
				if !strings.HasSuffix(r.URL.Path, "/v3/connections") {
					return false
				}
				pages++
				return pages > 1 // one page a run
			}})
			got, err := v3.MoveToV3(t.Context(), smartcar.MoveOptions{Resume: report})
			require.NotNil(t, got)
			raw, jsonErr := json.Marshal(got)
			require.NoError(t, jsonErr)
			report = new(smartcar.MoveReport)
			require.NoError(t, json.Unmarshal(raw, report))
			if err == nil {
				break
			}
			require.ErrorIs(t, err, smartcar.ErrValidation)
			require.False(t, report.Done)
		}
		require.True(t, report.Done)
		require.Equal(t, 250, report.Connections)
		require.Equal(t, 5, asked, "three pages of live connections, one after them, none of simulated ones")
	})
}

func TestMoveToV3IsForV3(t *testing.T) {
	sim := smartcartest.New()
	_, err := apiClient(t, sim, smartcar.V2).MoveToV3(t.Context(), smartcar.MoveOptions{})
	require.ErrorIs(t, err, smartcar.ErrNotSupported)
	_, err = apiClient(t, sim, smartcar.V3).MoveToV3(t.Context(), smartcar.MoveOptions{Resume: &smartcar.MoveReport{}})
	require.ErrorIs(t, err, smartcar.ErrInvalidArgument)
}
