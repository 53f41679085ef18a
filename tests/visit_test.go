package smartcar_test

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
	"github.com/seed-498a1bc4/smartcar/store"
	"github.com/stretchr/testify/require"
)

// allPlaces stores what visits need, wherever the car is.
var allPlaces = smartcar.WithStoredAnswers(smartcar.StoredAnswers{Location: true})

// taken notes what visits hand over.
type taken struct {
	at   []time.Time
	fail error
}

func (k *taken) handle(_ context.Context, s *smartcar.Snapshot) error {
	if k.fail != nil {
		return k.fail
	}
	if _, err := s.Battery(); err != nil {
		return err
	}
	k.at = append(k.at, time.Now())
	return nil
}

// visitFor visits a car whenever it is due, and twice each time: the second is told the
// same time again.
func visitFor(t *testing.T, v *smartcar.Vehicle, d time.Duration, handle func(context.Context, *smartcar.Snapshot) error) (visits int) {
	t.Helper()
	for end := time.Now().Add(d); time.Now().Before(end); visits++ {
		visit, err := v.Visit(t.Context(), handle, smartcar.Battery, smartcar.Odometer)
		require.NoError(t, err)
		require.True(t, visit.Next.After(time.Now()))
		require.NotEmpty(t, visit.Rule)
		again, err := v.Visit(t.Context(), handle, smartcar.Battery, smartcar.Odometer)
		require.NoError(t, err)
		require.False(t, again.Asked)
		require.WithinDuration(t, visit.Next, again.Next, time.Second)
		time.Sleep(time.Until(visit.Next))
	}
	return visits
}

func TestVisitsKeepThePaceOfTheCar(t *testing.T) {
	for name, tt := range map[string]struct {
		id          string
		opts        []smartcar.CallOption
		least, most int // requests for data in a day
	}{
		"without its key":         {smartcartest.ModelY, nil, 3, 3},
		"paired":                  {smartcartest.Model3, nil, 460, 480},
		"paired, at its own pace": {smartcartest.Model3, []smartcar.CallOption{smartcar.Every(time.Hour)}, 23, 24},
		"legacy":                  {smartcartest.ModelS2018, nil, 200, 290},
		"another make":            {smartcartest.MachE, nil, 46, 48},
	} {
		for _, api := range []smartcar.API{smartcar.V2, smartcar.V3} {
			t.Run(name+" "+string(api), func(t *testing.T) {
				if testing.Short() && api == smartcar.V3 && tt.least >= 200 {
					t.Skip("a day of a car that is read every few minutes: API v2.0 alone is enough here")
				}
				synctest.Test(t, func(t *testing.T) {
					sim := smartcartest.New()
					client := apiClient(t, sim, api, allPlaces)
					user := client.User(connect(t, sim, client).UserID)
					var k taken
					visitFor(t, user.Vehicle(tt.id).With(tt.opts...), day, k.handle)
					data := countedData(sim, tt.id)
					require.GreaterOrEqual(t, data, tt.least)
					require.LessOrEqual(t, data, tt.most)
					require.GreaterOrEqual(t, len(k.at), data*9/10, "nearly each brought something new")
					require.LessOrEqual(t, len(k.at), data)
					require.Empty(t, sim.BrokenWindows(tt.id))
				})
			})
		}
	}
}

// A car that has nothing to say is visited after ever longer pauses, whichever its class:
// the pace of its class is for data. When it wakes, the visits see it within the longest.
func TestVisitsOfCarsThatHaveNothingToSay(t *testing.T) {
	for name, change := range map[string]func(*smartcartest.Car){
		"asleep":         func(c *smartcartest.Car) { c.Asleep, c.AsleepError = true, true },
		"nothing stored": func(c *smartcartest.Car) { c.NeverSubscribed = true },
	} {
		for _, id := range []string{smartcartest.Model3, smartcartest.ModelY, smartcartest.ModelS2018, smartcartest.MachE} {
			for _, api := range []smartcar.API{smartcar.V2, smartcar.V3} {
				if name == "nothing stored" && api == smartcar.V2 {
					continue // API v2.0 asks the car
				}
				t.Run(name+" "+id+" "+string(api), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						sim := smartcartest.New(garageWith(id, change))
						client := apiClient(t, sim, api, allPlaces)
						v := client.User(connect(t, sim, client).UserID).Vehicle(id)
						var k taken
						rest := func(d time.Duration) {
							for end := time.Now().Add(d); time.Now().Before(end); {
								visit, _ := v.Visit(t.Context(), k.handle, smartcar.Battery, smartcar.Odometer)
								require.True(t, visit.Next.After(time.Now()))
								time.Sleep(time.Until(visit.Next))
							}
						}
						rest(day)
						require.LessOrEqual(t, countedData(sim, id), 30)
						require.Greater(t, countedData(sim, id), 20, "and it is asked again")
						require.Empty(t, k.at)
						if name == "asleep" {
							require.NoError(t, sim.Wake(id))
							rest(2 * time.Hour)
							require.NotEmpty(t, k.at)
						}
						require.Empty(t, sim.BrokenWindows(id))
					})
				})
			}
		}
	}
}

// A visit says that it has asked for the status of the key, with the data or without.
func TestVisitSaysThatItLookedAtTheKey(t *testing.T) {
	for api, looks := range map[smartcar.API]map[string]int{
		smartcar.V2: {smartcartest.Model3: 4, smartcartest.ModelY: 6, smartcartest.ModelS2018: 0},
		smartcar.V3: {smartcartest.Model3: 0, smartcartest.ModelY: 0, smartcartest.ModelS2018: 0},
	} {
		for id, want := range looks {
			t.Run(string(api)+" "+id, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					sim := smartcartest.New()
					client := apiClient(t, sim, api, allPlaces)
					user := client.User(connect(t, sim, client).UserID)
					v := user.Vehicle(id).With(smartcar.Every(time.Hour))
					var k taken
					said := 0
					for end := time.Now().Add(3 * day); time.Now().Before(end); {
						visit, err := v.Visit(t.Context(), k.handle, smartcar.Battery)
						require.NoError(t, err)
						if visit.KeyAsked {
							said++
						}
						time.Sleep(time.Until(visit.Next))
					}
					require.Len(t, statusReads(sim), said)
					require.Equal(t, want, said)
				})
			})
		}
	}
}

var errHandle = errors.New("the queue is full")

// What handle fails on comes again, without a request, and the newest of it.
func TestVisitHandsOverAtLeastOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		db := store.NewMemory()
		_, user := connected(t, sim, smartcar.WithStore(db), allPlaces)
		v := user.Vehicle(smartcartest.Model3)
		k := taken{fail: errHandle}
		for _, pause := range []time.Duration{time.Minute, 5 * time.Minute, 15 * time.Minute, time.Hour, time.Hour} {
			visit, err := v.Visit(t.Context(), k.handle, smartcar.Battery)
			require.ErrorIs(t, err, errHandle)
			require.Nil(t, visit.Snapshot)
			require.WithinDuration(t, time.Now().Add(pause), visit.Next, time.Second)
			early, err := v.Visit(t.Context(), k.handle, smartcar.Battery)
			require.NoError(t, err)
			require.False(t, early.Asked)
			require.Equal(t, visit.Next, early.Next)
			time.Sleep(time.Until(visit.Next))
		}

		// The process dies in the handler: another one hands it over, and asks nobody.
		visit, err := v.Visit(t.Context(), func(context.Context, *smartcar.Snapshot) error { panic("secret") }, smartcar.Battery)
		require.ErrorIs(t, err, smartcar.ErrHandlerPanicked)
		require.NotContains(t, err.Error(), "secret")
		time.Sleep(time.Until(visit.Next))
		k.fail = nil
		visit, err = v.Visit(t.Context(), k.handle, smartcar.Battery)
		require.NoError(t, err)
		require.NotNil(t, visit.Snapshot)
		require.Len(t, k.at, 1)
		again, err := v.Visit(t.Context(), k.handle, smartcar.Battery)
		require.NoError(t, err)
		require.Nil(t, again.Snapshot)
		require.Len(t, k.at, 1)
	})
}

// A process that ends between the read and the handler: the keyless car is not asked
// again for 8 hours, and nothing is lost.
func TestVisitAfterACrash(t *testing.T) {
	for _, api := range []smartcar.API{smartcar.V2, smartcar.V3} {
		synctest.Test(t, func(t *testing.T) {
			sim := smartcartest.New()
			db := store.NewMemory()
			client := apiClient(t, sim, api, smartcar.WithStore(db), allPlaces)
			userID := connect(t, sim, client).UserID
			_, err := client.User(userID).Vehicle(smartcartest.ModelY).Battery(t.Context()) // and then it dies
			require.NoError(t, err)
			client = apiClient(t, sim, api, smartcar.WithStore(db), allPlaces)
			var k taken
			visit, err := client.User(userID).Vehicle(smartcartest.ModelY).Visit(t.Context(), k.handle, smartcar.Battery)
			require.NoError(t, err)
			require.False(t, visit.Asked)
			require.Len(t, k.at, 1)
			require.Equal(t, 1, countedData(sim, smartcartest.ModelY))
		})
	}
}

// A car that cannot be reached is reported once, kept out without requests, and back
// after a Connect. Nothing of a forgotten user is made known again.
func TestVisitOfACarThatIsOut(t *testing.T) {
	for _, api := range []smartcar.API{smartcar.V2, smartcar.V3} {
		t.Run(string(api), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sim := smartcartest.New()
				client := apiClient(t, sim, api, allPlaces)
				user := client.User(connect(t, sim, client).UserID)
				v := user.Vehicle(smartcartest.MachE)
				var k taken
				visit := func() (smartcar.Visit, error) { return v.Visit(t.Context(), k.handle, smartcar.Battery) }
				_, err := visit()
				require.NoError(t, err)
				time.Sleep(3 * time.Hour)
				if api == smartcar.V2 {
					sim.RevokeGrants()
				} else {
					sim.Disconnect(smartcartest.MachE)
				}
				out, err := visit()
				require.Error(t, err)
				require.True(t, out.Retired)
				require.WithinDuration(t, time.Now().Add(day), out.Next, time.Second)
				retired := func() bool {
					d, err := v.Diagnosis(t.Context())
					require.NoError(t, err)
					return d.Retired
				}
				require.True(t, retired())
				asked := len(sim.Requests())
				for range 3 {
					time.Sleep(time.Hour)
					out, err = visit()
					require.NoError(t, err, "said once")
					require.True(t, out.Retired)
				}
				require.Len(t, sim.Requests(), asked)
				time.Sleep(time.Until(out.Next))
				out, err = visit()
				require.NoError(t, err)
				require.True(t, out.Retired)

				connect(t, sim, client)
				require.False(t, retired(), "its owner is back, and no visit has noticed yet")
				back, err := visit()
				require.NoError(t, err)
				require.False(t, back.Retired)
				require.NotNil(t, back.Snapshot)

				require.NoError(t, user.Forget(t.Context()))
				asked = len(sim.Requests())
				gone, err := visit()
				require.ErrorIs(t, err, smartcar.ErrNotConnected)
				require.True(t, gone.Retired)
				require.Zero(t, gone.Next)
				require.Len(t, sim.Requests(), asked)
				require.Empty(t, allVehicles(t, client))
			})
		})
	}
}

func TestVisitNeedsStoredAnswers(t *testing.T) {
	sim := smartcartest.New()
	handle := func(context.Context, *smartcar.Snapshot) error { return nil }
	for name, tt := range map[string]struct {
		opts   []smartcar.Option
		want   []smartcar.Operation
		handle func(context.Context, *smartcar.Snapshot) error
		says   string
	}{
		"no answers":    {nil, []smartcar.Operation{smartcar.Battery}, handle, "WithStoredAnswers"},
		"no cache":      {[]smartcar.Option{allPlaces, smartcar.WithCacheSize(0)}, []smartcar.Operation{smartcar.Battery}, handle, "cache"},
		"no location":   {[]smartcar.Option{smartcar.WithStoredAnswers(smartcar.StoredAnswers{})}, []smartcar.Operation{smartcar.Location}, handle, "StoredAnswers.Location"},
		"no reads":      {[]smartcar.Option{allPlaces}, nil, handle, "at least one"},
		"a command":     {[]smartcar.Option{allPlaces}, []smartcar.Operation{smartcar.Lock}, handle, "command"},
		"metadata only": {[]smartcar.Option{allPlaces}, []smartcar.Operation{smartcar.Attributes}, handle, "data"},
		"no handler":    {[]smartcar.Option{allPlaces}, []smartcar.Operation{smartcar.Battery}, nil, "handle"},
	} {
		t.Run(name, func(t *testing.T) {
			client, user := connected(t, sim, tt.opts...)
			visit, err := user.Vehicle(smartcartest.MachE).Visit(t.Context(), tt.handle, tt.want...)
			require.ErrorIs(t, err, smartcar.ErrInvalidArgument)
			require.ErrorContains(t, err, tt.says)
			require.Zero(t, visit)
			if tt.handle != nil {
				require.ErrorContains(t, client.CanVisit(tt.want...), tt.says)
			}
		})
	}
	client, _ := connected(t, sim, allPlaces)
	require.NoError(t, client.CanVisit(smartcar.Battery, smartcar.Location, smartcar.Attributes))
	require.ErrorIs(t, new(smartcar.Client).CanVisit(smartcar.Battery), smartcar.ErrInvalidArgument)
	_, err := new(smartcar.Vehicle).Visit(t.Context(), handle, smartcar.Battery)
	require.ErrorIs(t, err, smartcar.ErrInvalidArgument)
}

// An engine takes a car without a next time for one that is gone: so there is one
// whatever fails, as long as the user is stored.
func TestVisitHasATimeWhateverFails(t *testing.T) {
	for name, answer := range map[string]reply{
		"unavailable": jsonReply(503, `{"type":"SERVER","code":"INTERNAL"}`),
		"limited":     jsonReply(429, `{"type":"RATE_LIMIT","code":"SMARTCAR_API"}`),
		"lost":        {err: errors.New("reset by peer")},
	} {
		t.Run(name, func(t *testing.T) {
			onEitherAPI(t, func(t *testing.T, sim *smartcartest.Server, api smartcar.API) {
				broken := false
				transport := roundTripFunc(func(r *http.Request) (*http.Response, error) {
					if broken {
						return answer.response(r)
					}
					return sim.Transport().RoundTrip(r)
				})
				client := apiClient(t, sim, api, allPlaces, smartcar.WithHTTPClient(&http.Client{Transport: transport}))
				connectAs(t, sim, client, "", smartcartest.MachE)
				userID := connectAs(t, sim, client, "", smartcartest.Model3).UserID
				// Which of the two grants reaches the car has to be asked.
				v := client.User(userID).Vehicle(smartcartest.MachE)
				broken = true
				var k taken
				for range 3 {
					visit, _ := v.Visit(t.Context(), k.handle, smartcar.Battery)
					require.False(t, visit.Retired)
					require.True(t, visit.Next.After(time.Now()), "%v", visit.Next)
					time.Sleep(time.Until(visit.Next))
				}
				broken = false
				for range 3 {
					visit, err := v.Visit(t.Context(), k.handle, smartcar.Battery)
					require.NoError(t, err)
					time.Sleep(time.Until(visit.Next))
				}
				require.NotEmpty(t, k.at)
			})
		})
	}
}
