package smartcar_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
	"github.com/seed-498a1bc4/smartcar/store"
	"github.com/stretchr/testify/require"
)

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

// A record that cannot be read may hide an open window: one window, no more.
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

// A proxy does not speak for Smartcar, and cannot switch the application off.
func TestProxysLimitPausesForAMinuteAtMost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		v := metCar(t, sim)
		sim.Inject(smartcartest.Fault{Path: "/odometer", Status: http.StatusTooManyRequests, Header: http.Header{"Retry-After": {"9999999"}}, Body: "<html>proxy"})
		_, err := v.Odometer(t.Context())
		var limited *smartcar.RateLimitError
		require.ErrorAs(t, err, &limited)
		require.Equal(t, smartcar.RuleApplication, limited.Rule)
		require.LessOrEqual(t, time.Until(limited.NextAllowed), time.Minute)
		_, err = v.Odometer(t.Context())
		require.ErrorAs(t, err, &limited)
		require.True(t, limited.Local)
		_, err = v.With(smartcar.IgnorePolicy()).Odometer(t.Context())
		require.NoError(t, err)
		time.Sleep(time.Minute)
		_, err = v.Odometer(t.Context())
		require.NoError(t, err)
	})
}

func TestWaitKnowsTheApplicationsPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		v := metCar(t, sim)
		sim.Inject(smartcartest.Fault{Path: "/odometer", ErrorType: "RATE_LIMIT", ErrorCode: "SMARTCAR_API", Header: http.Header{"Retry-After": {"600"}}})
		_, err := v.Odometer(t.Context())
		require.ErrorIs(t, err, smartcar.ErrRateLimited)
		began := time.Now()
		access, err := v.Access(t.Context())
		require.NoError(t, err)
		require.Equal(t, smartcar.RuleApplication, access.Rule)
		require.True(t, began.Add(10*time.Minute).Equal(access.NextRead))
		require.NoError(t, v.Wait(t.Context()))
		require.Equal(t, 10*time.Minute, time.Since(began))
		_, err = v.Odometer(t.Context())
		require.NoError(t, err)
	})
}

func TestApplicationLimitInsideABatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		v := metCar(t, sim)
		sim.Inject(smartcartest.Fault{Path: "/batch", Status: 200, Body: `{"responses":[
			{"path":"/battery","code":429,"body":{"type":"RATE_LIMIT","code":"SMARTCAR_API","description":"x"}},
			{"path":"/odometer","code":200,"body":{"distance":5}}]}`})
		s, err := v.Snapshot(t.Context(), smartcar.Battery, smartcar.Odometer)
		require.NoError(t, err)
		_, err = s.Odometer()
		require.NoError(t, err)
		_, err = s.Battery()
		var limited *smartcar.RateLimitError
		require.ErrorAs(t, err, &limited)
		require.Equal(t, smartcar.Battery, limited.Operation)
		require.Equal(t, smartcar.RuleApplication, limited.Rule)
		require.True(t, limited.NextAllowed.After(time.Now()))
		var answer *smartcar.Error
		require.ErrorAs(t, err, &answer)
		require.Equal(t, "SMARTCAR_API", answer.Code)
	})
}

// What changes something is not repeated once it may have been sent, even
// where it changes nothing about the car.
func TestChangesAreSentOnce(t *testing.T) {
	for name, change := range map[string]func(context.Context, *smartcar.Client, *smartcar.Vehicle) error{
		"disconnect": func(ctx context.Context, _ *smartcar.Client, v *smartcar.Vehicle) error { return v.Disconnect(ctx) },
		"delete connections": func(ctx context.Context, c *smartcar.Client, v *smartcar.Vehicle) error {
			_, err := c.DeleteConnections(ctx, smartcar.ConnectionFilter{VehicleID: v.ID()})
			return err
		},
		"POST of metadata": func(ctx context.Context, _ *smartcar.Client, v *smartcar.Vehicle) error {
			_, err := v.Request(ctx, smartcar.Request{Method: http.MethodPost, Path: "webhooks/x", Kind: smartcar.KindMetadata})
			return err
		},
	} {
		for how, fault := range map[string]smartcartest.Fault{
			"answer lost": {DropAfter: true}, "unclear": {DropBefore: true}, "proxy": {Status: 502}, "server": {ErrorType: "SERVER", ErrorCode: "INTERNAL"},
		} {
			t.Run(name+", "+how, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					sim := smartcartest.New()
					client, user := connected(t, sim)
					v := user.Vehicle(smartcartest.MachE)
					_, err := v.Odometer(t.Context())
					require.NoError(t, err)
					fault.Times = -1
					sim.Inject(fault)
					before := len(sim.Requests())
					err = change(t.Context(), client, v)
					require.Error(t, err)
					require.False(t, smartcar.Retryable(err))
					require.Len(t, sim.Requests(), before+1)
				})
			})
		}
	}
}

// Who has no connection is told nothing more, not even what was told before.
func TestDeleteConnectionsDropsKeptAnswers(t *testing.T) {
	for name, filter := range map[string]func(*smartcar.User) smartcar.ConnectionFilter{
		"of the user": func(u *smartcar.User) smartcar.ConnectionFilter {
			return smartcar.ConnectionFilter{UserID: u.ID()}
		},
		"of each car": nil,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sim := smartcartest.New()
				client, user := connected(t, sim)
				legacy := user.Vehicle(smartcartest.ModelX2020)
				keyless := user.Vehicle(smartcartest.ModelY).With(smartcar.AllowStale())
				for _, v := range []*smartcar.Vehicle{legacy, keyless} {
					_, err := v.Location(t.Context())
					require.NoError(t, err)
				}
				filters := []smartcar.ConnectionFilter{{VehicleID: legacy.ID()}, {VehicleID: keyless.ID()}}
				if filter != nil {
					filters = []smartcar.ConnectionFilter{filter(user)}
				}
				for _, f := range filters {
					_, err := client.DeleteConnections(t.Context(), f)
					require.NoError(t, err)
				}
				for _, v := range []*smartcar.Vehicle{legacy, keyless} {
					location, err := v.Location(t.Context())
					require.Error(t, err)
					require.Nil(t, location)
				}
			})
		})
	}
}

// The link came with the VIN of one car: another one's owner must not see it.
func TestKeyLinkOfAnotherCarCarriesNoVIN(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		client := newClient(t, sim)
		authorizeURL, cookies := begin(t, client, smartcar.ConnectOptions{})
		callback, err := sim.Grant(authorizeURL)
		require.NoError(t, err)
		const number = "7SAYGDEF0PF000001"
		callback = withParameter(t, callback, "virtual_key_url", "https://www.tesla.com/_ak/smartcar.com?vin="+number)
		grant, err := finish(client, callback, cookies)
		require.NoError(t, err)
		require.Contains(t, grant.VirtualKeyURL.String(), number)
		v := client.User(grant.UserID).Vehicle(smartcartest.Cybertruck)
		access, err := v.Access(t.Context())
		require.NoError(t, err)
		require.Equal(t, "https://www.tesla.com/_ak/smartcar.com", access.VirtualKeyURL.String())
		_, err = v.Lock(t.Context())
		var missing *smartcar.VirtualKeyRequiredError
		require.ErrorAs(t, err, &missing)
		require.Equal(t, access.VirtualKeyURL, missing.URL)
	})
}

// Joined behind an error of this package that answers the question with no.
func TestMayHaveSucceededBehindAnotherFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		v := metCar(t, sim)
		sim.Inject(smartcartest.Fault{Path: "/odometer", ErrorType: "PERMISSION"})
		sim.Inject(smartcartest.Fault{Path: "/security", DropAfter: true})
		_, read := v.Odometer(t.Context())
		_, command := v.Lock(t.Context())
		require.False(t, smartcar.MayHaveSucceeded(read))
		require.True(t, smartcar.MayHaveSucceeded(command))
		require.True(t, smartcar.MayHaveSucceeded(errors.Join(read, command)))
		require.True(t, smartcar.MayHaveSucceeded(fmt.Errorf("both: %w, %w", read, fmt.Errorf("then: %w", command))))
	})
}

func TestNoJSONShowsASecretOfANestedValue(t *testing.T) {
	config := smartcar.Config{ClientID: "the-client-id", ClientSecret: secretClient, StateKey: []byte(secretStateKey), ManagementToken: secretManagement}
	tokens := smartcar.Tokens{AccessToken: secretAccess, RefreshToken: secretRefresh}
	expected := smartcar.Expected{State: secretAnswer}
	type job struct {
		Config   smartcar.Config
		Tokens   []smartcar.Tokens
		Expected map[string]*smartcar.Expected
		Record   *smartcar.Tokens
	}
	value := job{config, []smartcar.Tokens{tokens}, map[string]*smartcar.Expected{"e": &expected}, &tokens}
	hidden := secrets("")
	for name, v := range map[string]any{"struct": value, "pointer": &value, "list": []any{config, tokens, expected}} {
		raw, err := json.Marshal(v)
		require.NoError(t, err)
		requireNoSecret(t, name+" in JSON", string(raw), hidden)
		var logs bytes.Buffer
		slog.New(slog.NewJSONHandler(&logs, nil)).Info("job", "value", v, slog.Group("g", "value", v))
		require.Contains(t, logs.String(), "job")
		requireNoSecret(t, name+" in a log", logs.String(), hidden)
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d", "%x", "%X"} {
		record := store.Record{Value: []byte(secretRefresh), Revision: "r"}
		requireNoSecret(t, "Record by "+verb, fmt.Sprintf(verb, record), hidden)
		requireNoSecret(t, "*Record by "+verb, fmt.Sprintf(verb, []*store.Record{&record}), hidden)
		requireNoSecret(t, "a struct with one by "+verb, fmt.Sprintf(verb, struct{ R store.Record }{record}), hidden)
	}
}

// Schemes have no case.
func TestUpperCaseHTTPSGetsASecureCookie(t *testing.T) {
	client, err := smartcar.New(smartcar.Config{ClientID: "i", ClientSecret: "s", RedirectURL: "HTTPS://x.example/cb", StateKey: stateKey})
	require.NoError(t, err)
	w := httptest.NewRecorder()
	require.NoError(t, client.Connect().Start(w, httptest.NewRequest(http.MethodGet, "/", nil), smartcar.ConnectOptions{}))
	cookies := w.Result().Cookies()
	require.Len(t, cookies, 1)
	require.True(t, strings.HasPrefix(cookies[0].Name, "__Host-"))
	require.True(t, cookies[0].Secure)
}

// Simple transports in tests leave things out.
func TestTransportsThatLeaveThingsOut(t *testing.T) {
	for name, answer := range map[string]*http.Response{
		"header":          {StatusCode: 200, Body: http.NoBody},
		"body":            {StatusCode: 200, Header: http.Header{}},
		"header and body": {StatusCode: 500},
		"everything":      {},
		"the answer":      nil,
	} {
		t.Run(name, func(t *testing.T) {
			whole := newCanned(t)
			broken := false
			client := cannedClient(t, roundTripper(func(r *http.Request) (*http.Response, error) {
				if !broken {
					return whole.RoundTrip(r)
				}
				if answer == nil {
					return nil, nil //nolint:nilnil // what is tested
				}
				left := *answer
				return &left, nil
			}))
			tokens := smartcar.Tokens{AccessToken: "a", RefreshToken: "r", Expires: fixtureTime.Add(time.Hour)}
			grant, err := client.ImportTokens(t.Context(), tokens)
			require.NoError(t, err)
			v := client.User(grant.UserID).Vehicle(fixtureVehicle)
			_, err = v.Attributes(t.Context())
			require.NoError(t, err)

			broken = true
			_, err = v.Odometer(t.Context())
			require.Error(t, err)
			_, err = v.Snapshot(t.Context(), smartcar.Odometer, smartcar.Battery)
			require.Error(t, err)
			_, err = client.ImportTokens(t.Context(), tokens)
			require.Error(t, err)
			_, err = client.ImportTokens(t.Context(), smartcar.Tokens{RefreshToken: "r"})
			require.Error(t, err)
			_, err = collectConnections(t.Context(), client, smartcar.ConnectionFilter{})
			if answer == nil || answer.StatusCode != 200 {
				require.Error(t, err)
				_, err = v.Lock(t.Context())
				require.Error(t, err)
			}
		})
	}
}

// conflictStore lets no write through: somebody else is always faster.
type conflictStore struct {
	store.Store
	on atomic.Bool
}

func (s *conflictStore) CompareAndSwap(ctx context.Context, key string, old store.Revision, value []byte, ttl time.Duration) (store.Record, error) {
	if !s.on.Load() {
		return s.Store.CompareAndSwap(ctx, key, old, value, ttl)
	}
	time.Sleep(10 * time.Millisecond)
	current, err := s.Store.Load(context.WithoutCancel(ctx), key) // it does not honor the context
	if err == nil || errors.Is(err, store.ErrNotFound) {
		err = store.ErrConflict
	}
	return current, err
}

// The caller's deadline ends what the store never would.
func TestStoreThatConflictsForEver(t *testing.T) {
	for name, call := range map[string]func(context.Context, *smartcar.User) error{
		"read": func(ctx context.Context, u *smartcar.User) error {
			_, err := u.Vehicle(smartcartest.ModelY).Odometer(ctx)
			return err
		},
		"read that needs a refresh": func(ctx context.Context, u *smartcar.User) error {
			_, err := u.Vehicle(smartcartest.MachE).Odometer(ctx)
			return err
		},
		"renew":  func(ctx context.Context, u *smartcar.User) error { return u.Renew(ctx, 90*day) },
		"forget": func(ctx context.Context, u *smartcar.User) error { return u.Forget(ctx) },
		"key status": func(ctx context.Context, u *smartcar.User) error {
			return u.Vehicle(smartcartest.ModelY).SetKeyStatus(ctx, smartcar.KeyMissing)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				db := &conflictStore{Store: store.NewMemory()}
				_, user := connected(t, smartcartest.New(), smartcar.WithStore(db))
				if strings.Contains(name, "refresh") {
					time.Sleep(3 * time.Hour)
				}
				db.on.Store(true)
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				began := time.Now()
				require.ErrorIs(t, call(ctx, user), context.DeadlineExceeded)
				require.LessOrEqual(t, time.Since(began), 1100*time.Millisecond)
			})
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
	})
}
