package smartcar_test

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/signals"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
	"github.com/seed-498a1bc4/smartcar/store"
)

// A foreignCall is one call of the package that asks Smartcar something.
type foreignCall struct {
	name    string
	command bool
	fits    string // bodies among foreignBodies that are answers to this very call
	do      func(ctx context.Context, v *smartcar.Vehicle) error
}

func ofRead[T any](read func(*smartcar.Vehicle, context.Context) (T, error)) func(context.Context, *smartcar.Vehicle) error {
	return func(ctx context.Context, v *smartcar.Vehicle) error { _, err := read(v, ctx); return err }
}

func ofList[T any](list func(context.Context) iter.Seq2[T, error]) func(context.Context, *smartcar.Vehicle) error {
	return func(ctx context.Context, _ *smartcar.Vehicle) error { _, err := collected(list(ctx)); return err }
}

// foreignCalls are all of them that the API has.
func foreignCalls(api smartcar.API, client *smartcar.Client, user *smartcar.User) (calls []foreignCall) {
	read := func(name, fits string, do func(context.Context, *smartcar.Vehicle) error) {
		calls = append(calls, foreignCall{name: name, fits: fits, do: do})
	}
	for _, r := range tableReads() {
		read(string(r.op), "", func(ctx context.Context, v *smartcar.Vehicle) error { _, err := r.vehicle(ctx, v); return err })
	}
	for name, command := range commandCalls() {
		calls = append(calls, foreignCall{name: name, command: true, do: func(ctx context.Context, v *smartcar.Vehicle) error {
			_, err := command(ctx, v)
			return err
		}})
	}
	histories := ""
	if api == smartcar.V2 {
		histories = "a list"
	}
	read("service-history", histories, func(ctx context.Context, v *smartcar.Vehicle) error {
		_, err := v.ServiceHistory(ctx, time.Time{}, time.Time{})
		return err
	})
	read("snapshot", "", func(ctx context.Context, v *smartcar.Vehicle) error {
		_, err := v.Snapshot(ctx, smartcar.Battery, smartcar.Odometer)
		return err
	})
	read("permissions", "", ofRead((*smartcar.Vehicle).Permissions))
	read("vehicles", "vehicles", ofList(user.Vehicles))
	read("connections", "", ofList(func(ctx context.Context) iter.Seq2[smartcar.Connection, error] {
		return client.Connections(ctx, smartcar.ConnectionFilter{})
	}))
	read("delete-connections", "", func(ctx context.Context, _ *smartcar.Vehicle) error {
		_, err := client.DeleteConnections(ctx, smartcar.ConnectionFilter{UserID: user.ID()})
		return err
	})
	read("disconnect", "", func(ctx context.Context, v *smartcar.Vehicle) error { return v.Disconnect(ctx) })
	read("subscribe", "", func(ctx context.Context, v *smartcar.Vehicle) error { return v.Subscribe(ctx, "w1") })
	read("compatible-models", "", func(ctx context.Context, _ *smartcar.Vehicle) error {
		_, err := client.CompatibleModels(ctx, smartcar.CompatibleFilter{Make: "TESLA"})
		return err
	})
	noBody := ""
	if api == smartcar.V2 {
		noBody = "no fields"
	}
	read("unsubscribe", noBody, func(ctx context.Context, v *smartcar.Vehicle) error { return v.Unsubscribe(ctx, "w1") })
	if api == smartcar.V2 {
		for name, command := range teslaCommandCalls() {
			calls = append(calls, foreignCall{name: name, command: true, do: func(ctx context.Context, v *smartcar.Vehicle) error {
				_, err := command(ctx, v)
				return err
			}})
		}
		read("key-status", "", ofRead((*smartcar.Vehicle).KeyStatus))
		read("compatibility", "", func(ctx context.Context, _ *smartcar.Vehicle) error {
			_, err := client.Compatibility(ctx, "5YJ3E1EA2NF000001", smartcar.CompatibilityOptions{Scope: []string{"read_odometer"}})
			return err
		})
		return calls
	}
	calls = append(calls,
		foreignCall{name: "open-charge-port", command: true, do: ofRead((*smartcar.Vehicle).OpenChargePort)},
		foreignCall{name: "close-charge-port", command: true, do: ofRead((*smartcar.Vehicle).CloseChargePort)},
		foreignCall{name: "set-charge-schedule", command: true, do: func(ctx context.Context, v *smartcar.Vehicle) error {
			_, err := v.SetChargeSchedule(ctx, smartcar.ChargeSchedule{Daily: &smartcar.ChargeTimes{Start: "22:00"}})
			return err
		}},
		foreignCall{name: "delete-charge-schedule", command: true, do: func(ctx context.Context, v *smartcar.Vehicle) error {
			_, err := v.DeleteChargeSchedule(ctx, "s1")
			return err
		}},
	)
	read("signals", "", ofRead((*smartcar.Vehicle).Signals))
	read("signal", "", func(ctx context.Context, v *smartcar.Vehicle) error {
		_, err := v.Signal(ctx, signals.ClosureIsLocked)
		return err
	})
	read("connection", "", func(ctx context.Context, _ *smartcar.Vehicle) error {
		_, err := client.Connection(ctx, "c1")
		return err
	})
	read("remove-user", "", func(ctx context.Context, _ *smartcar.Vehicle) error { return client.RemoveUser(ctx, user.ID()) })
	read("webhooks", "", ofList(func(ctx context.Context) iter.Seq2[smartcar.Webhook, error] {
		return client.Webhooks(ctx, smartcar.WebhookFilter{})
	}))
	read("webhook", "a resource", func(ctx context.Context, _ *smartcar.Vehicle) error {
		_, err := client.Webhook(ctx, "w1")
		return err
	})
	read("subscriptions", "", ofList(func(ctx context.Context) iter.Seq2[smartcar.Subscription, error] {
		return client.Subscriptions(ctx, smartcar.SubscriptionFilter{})
	}))
	read("subscription", "a resource", func(ctx context.Context, _ *smartcar.Vehicle) error {
		_, err := client.Subscription(ctx, "s1")
		return err
	})
	read("delete-subscription", "", func(ctx context.Context, _ *smartcar.Vehicle) error { return client.DeleteSubscription(ctx, "s1") })
	read("move-to-v3", "", func(ctx context.Context, _ *smartcar.Vehicle) error {
		_, err := client.MoveToV3(ctx, smartcar.MoveOptions{})
		return err
	})
	for i := range calls {
		if calls[i].name == "subscribe" {
			calls[i].fits = "a resource" // a subscription that was made at once
		}
	}
	return calls
}

// foreignBodies come with status 200, and none of them is Smartcar's answer: they
// are a portal's, a proxy's, or what another call is answered with.
func foreignBodies(api smartcar.API) map[string]string {
	bodies := map[string]string{
		"a portal":     `{"status":"welcome"}`,
		"no fields":    `{}`,
		"no data":      `{"data":{}}`,
		"nulls":        `{"data":null,"vehicles":null,"permissions":null,"connections":null,"status":null,"responses":null}`,
		"null":         `null`,
		"a list":       `[]`,
		"a text":       `"ok"`,
		"a page":       `<html><body>Sign in to the network</body></html>`,
		"a list of no": `{"data":["a"],"vehicles":[{}],"permissions":[null,[],{}],"connections":["a"],"responses":[1]}`,
	}
	if api == smartcar.V2 {
		bodies["vehicles"] = `{"vehicles":["a"],"paging":{"count":1,"offset":0}}`
	} else {
		bodies["a resource"] = `{"data":{"id":"w1","type":"webhook","attributes":{"name":"x","isEnabled":true}}}`
	}
	return bodies
}

// storedText is all that a store holds, for comparison.
type storedText struct {
	store.Store
	changed []string
}

func (s *storedText) CompareAndSwap(ctx context.Context, key string, old store.Revision, value []byte, ttl time.Duration) (store.Record, error) {
	r, err := s.Store.CompareAndSwap(ctx, key, old, value, ttl)
	if err == nil {
		s.changed = append(s.changed, key)
	}
	return r, err
}

func (s *storedText) Delete(ctx context.Context, key string, old store.Revision) error {
	s.changed = append(s.changed, "-"+key)
	return s.Store.Delete(ctx, key, old)
}

// Every operation of either API knows its own answers, by the one check of its row:
// another body is an error that says so, nothing of it is kept, nobody is taken for
// disconnected, and a command behind it may have been carried out.
func TestNoForeignAnswerIsTakenForSmartcars(t *testing.T) {
	for _, api := range []smartcar.API{smartcar.V2, smartcar.V3} {
		for kind, body := range foreignBodies(api) {
			t.Run(fmt.Sprint(api, " ", kind), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					sim := smartcartest.New()
					db := &storedText{Store: store.NewMemory()}
					client := apiClient(t, sim, api, smartcar.WithStore(db))
					user := client.User(connect(t, sim, client).UserID)
					v := user.Vehicle(smartcartest.MachE) // no window is in the way
					_, err := v.Odometer(t.Context())
					require.NoError(t, err)
					sim.Inject(smartcartest.Fault{Status: 200, Body: body, Times: -1, Match: func(r *http.Request) bool {
						return !strings.Contains(r.URL.Path, "token")
					}})
					db.changed = nil
					for _, call := range foreignCalls(api, client, user) {
						if call.fits == kind {
							continue
						}
						err := call.do(t.Context(), v)
						require.ErrorIs(t, err, smartcar.ErrUnexpectedAnswer, call.name)
						require.NotErrorIs(t, err, smartcar.ErrNotConnected, call.name)
						require.NotErrorIs(t, err, smartcar.ErrNotSupported, call.name)
						require.Equal(t, call.command, smartcar.MayHaveSucceeded(err), call.name)
						require.False(t, smartcar.Retryable(err), call.name)
					}
					for _, key := range db.changed {
						require.True(t, strings.HasPrefix(key, "app/"), "%s was written", key)
					}
					sim.ClearFaults()
					access, err := v.Access(t.Context())
					require.NoError(t, err)
					require.Equal(t, smartcar.ClassOther, access.Class)
					_, err = v.Battery(t.Context())
					require.NoError(t, err)
					ids, err := listedVehicles(t.Context(), user)
					require.NoError(t, err)
					require.Len(t, ids, 7)
				})
			})
		}
	}
}

// While make and model cannot be read, a car gets the one turn of a keyless one, and
// they are asked for again after five minutes.
func TestCaseForeignAttributes(t *testing.T) {
	for api, body := range map[smartcar.API]string{smartcar.V2: `{"status":"welcome"}`, smartcar.V3: `{"data":{}}`} {
		t.Run(string(api), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sim := smartcartest.New(garageWith(smartcartest.ModelY, func(c *smartcartest.Car) { c.Paired = false }))
				client := apiClient(t, sim, api)
				v := client.User(connect(t, sim, client).UserID).Vehicle(smartcartest.ModelY)
				sim.Inject(smartcartest.Fault{Status: 200, Body: body, Match: attributesOf(v.ID())})
				for range 50 {
					_, _ = v.Battery(t.Context())
				}
				require.Equal(t, 1, countedData(sim, v.ID()))
				require.Empty(t, sim.BrokenWindows(v.ID()))
				asked := func() (n int) {
					for _, r := range sim.Requests() {
						if r.Method == http.MethodGet && strings.HasSuffix(r.Path, "/vehicles/"+v.ID()) {
							n++
						}
					}
					return n
				}
				require.Equal(t, 1, asked())
				time.Sleep(6 * time.Minute)
				_, err := v.Battery(t.Context())
				require.ErrorIs(t, err, smartcar.ErrRateLimited)
				again := map[smartcar.API]int{smartcar.V2: 2, smartcar.V3: 1} // v3: the VIN in the data has told the class
				require.Equal(t, again[api], asked(), "asked again after five minutes")
				require.Empty(t, sim.BrokenWindows(v.ID()))
			})
		})
	}
}

// A reading of which not one field is there is none, and takes the turn all the
// same; a field that is null is what the car said. Neither is handed out later.
func TestCaseForeignReading(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		_, user := connected(t, sim)
		v := user.Vehicle(smartcartest.ModelY)
		sim.Inject(smartcartest.Fault{Path: "/battery", Status: 200, Body: `{"status":"welcome"}`})
		battery, err := v.Battery(t.Context())
		require.ErrorIs(t, err, smartcar.ErrUnexpectedAnswer)
		require.Nil(t, battery)
		battery, err = v.With(smartcar.AllowStale()).Battery(t.Context())
		require.ErrorIs(t, err, smartcar.ErrRateLimited)
		require.Nil(t, battery)

		time.Sleep(9 * time.Hour)
		sim.Inject(smartcartest.Fault{Path: "/battery", Status: 200, Body: `{"percentRemaining":null}`})
		battery, err = v.Battery(t.Context())
		require.NoError(t, err)
		require.Nil(t, battery.Percent)
		require.Empty(t, sim.BrokenWindows(v.ID()))
	})
}

// A field whose value is of another kind is as good as absent: a reading of which not
// one field can be read is none. Null stays an answer.
func TestReadingWhoseFieldsCannotBeRead(t *testing.T) {
	for _, r := range tableReads() {
		f := readFixture(t, "v2/reads/"+string(r.op))
		for value, want := range map[string]error{`[[]]`: smartcar.ErrUnexpectedAnswer, `null`: nil} {
			var fields map[string]json.RawMessage
			require.NoError(t, json.Unmarshal(f.Response.Body, &fields))
			for name := range fields {
				fields[name] = json.RawMessage(value)
			}
			if r.op == smartcar.TeslaUserAccess && want == nil {
				fields["permissions"] = json.RawMessage(`[]`)
			}
			body, err := json.Marshal(fields)
			require.NoError(t, err)
			_, err = r.vehicle(t.Context(), cannedVehicle(t, newCanned(t).on("GET "+f.Request.Path, jsonReply(200, string(body)))))
			require.ErrorIs(t, err, want, "%s: %s", r.op, body)
		}
	}
	for body, want := range map[string]error{
		`{"percentRemaining":"welcome"}`:            smartcar.ErrUnexpectedAnswer,
		`{"percentRemaining":{"value":0.3}}`:        smartcar.ErrUnexpectedAnswer,
		`{"percentRemaining":"","range":true}`:      smartcar.ErrUnexpectedAnswer,
		`{"percentRemaining":"0.3","range":"n/a"}`:  nil,
		`{"percentRemaining":null,"range":"n/a"}`:   nil,
		`{"PERCENTREMAINING":0.3,"status":"ok"}`:    nil,
		"\xef\xbb\xbf" + `{"percentRemaining":0.3}`: smartcar.ErrUnexpectedAnswer,
	} {
		_, err := cannedVehicle(t, newCanned(t).on(batteryPath, jsonReply(200, body))).Battery(t.Context())
		require.ErrorIs(t, err, want, body)
	}
}

// The page of a proxy uses the turn, whatever its status: the proxy may have passed the
// request on. An error of Smartcar's with that status gives it back.
func TestPageOfAProxyUsesTheTurn(t *testing.T) {
	errs := map[int]string{
		400: `{"type":"VALIDATION","code":"PARAMETER"}`, 403: `{"type":"PERMISSION","code":null}`, 404: `{"type":"RESOURCE_NOT_FOUND","code":"PATH"}`,
		430: `{"type":"BILLING","code":"VEHICLE_LIMIT"}`, 501: `{"type":"COMPATIBILITY","code":"VEHICLE_NOT_CAPABLE"}`,
	}
	for status, body := range errs {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			bothAPIs(t, func(t *testing.T, sim *smartcartest.Server, client *smartcar.Client, user *smartcar.User) {
				v := user.Vehicle(smartcartest.ModelY)
				path := batteryOf(client.API())
				sim.Inject(smartcartest.Fault{Path: path, Status: status, Body: body})
				_, err := v.Battery(t.Context())
				require.NotErrorIs(t, err, smartcar.ErrUnexpectedAnswer)
				sim.Inject(smartcartest.Fault{Path: path, Status: status, Body: "<html>", AfterProcessing: true})
				_, err = v.Battery(t.Context())
				require.ErrorIs(t, err, smartcar.ErrUnexpectedAnswer)
				for range 7 {
					closed(t, v)
					time.Sleep(time.Hour)
				}
				require.Empty(t, sim.BrokenWindows(v.ID()))
				require.Equal(t, 2, countPath(sim, path))
			})
		})
	}
}

// The word of a token endpoint ends a login there alone.
func TestInvalidGrantOfAnotherEndpoint(t *testing.T) {
	bothAPIs(t, func(t *testing.T, sim *smartcartest.Server, client *smartcar.Client, user *smartcar.User) {
		for _, status := range []int{200, 400} {
			path := map[smartcar.API]string{smartcar.V2: "/battery", smartcar.V3: "/signals"}[client.API()]
			sim.Inject(smartcartest.Fault{Path: path, Status: status, Body: `{"error":"invalid_grant"}`})
			_, err := user.Vehicle(smartcartest.MachE).Battery(t.Context())
			require.Error(t, err)
			require.NotErrorIs(t, err, smartcar.ErrReconnectRequired)
		}
		who := map[smartcar.API]string{smartcar.V2: "/user", smartcar.V3: "/connections"}[client.API()]
		sim.Inject(smartcartest.Fault{Path: who, Status: 200, Body: `{"error":"invalid_grant"}`})
		link, cookies := begin(t, client, smartcar.ConnectOptions{})
		callback, err := sim.Grant(link)
		require.NoError(t, err)
		_, err = finish(client, callback, cookies)
		var pending *smartcar.PendingGrantError
		require.ErrorAs(t, err, &pending)
		_, err = client.Connect().Resume(t.Context(), pending.GrantID)
		require.NoError(t, err)
	})
}

// Only the status success, in any case of letters, is success; what else a 200
// says of a command leaves open whether it was carried out, unless it is an error
// of Smartcar's that tells.
func TestCaseCommandThatFailedWith200(t *testing.T) {
	for body, want := range map[string]struct {
		is  error // nil is success
		may bool
	}{
		`{"status":"success"}`: {nil, false},
		`{"status":"Success"}`: {nil, false},
		`{"status":"failure","message":"Vehicle did not respond"}`: {smartcar.ErrUnexpectedAnswer, true},
		`{"status":"welcome"}`: {smartcar.ErrUnexpectedAnswer, true},
		`{"status":null}`:      {smartcar.ErrUnexpectedAnswer, true},
		``:                     {smartcar.ErrUnexpectedAnswer, true},
		`{"type":"VEHICLE_STATE","code":"ASLEEP","statusCode":409}`:                       {smartcar.ErrAsleep, false},
		`{"type":"VEHICLE_STATE","code":"UNREACHABLE"}`:                                   {smartcar.ErrVehicleState, true},
		`{"type":"CONNECTED_SERVICES_ACCOUNT","code":"VIRTUAL_KEY_REQUIRED"}`:             {smartcar.ErrVirtualKeyRequired, false},
		`{"errors":[{"type":"PERMISSION","code":null,"status":"403","detail":"no"}]}`:     {smartcar.ErrPermission, false},
		`{"errors":[{"type":"UPSTREAM","code":"NO_RESPONSE","status":"502","title":""}]}`: {smartcar.ErrUnavailable, true},
	} {
		transport := newCanned(t).on(lockPath, jsonReply(200, body))
		_, err := cannedVehicle(t, transport).Lock(t.Context())
		require.ErrorIs(t, err, want.is, body)
		require.Equal(t, want.may, smartcar.MayHaveSucceeded(err), body)
		require.Len(t, transport.requests(lockPath), 1, body)
	}
	transport := newCanned(t).on(lockPath, jsonReply(200, `{"status":"failure","message":"Vehicle did not respond"}`))
	_, err := cannedVehicle(t, transport).Lock(t.Context())
	require.ErrorContains(t, err, "Vehicle did not respond")
}

// The body of a success may be Smartcar's error for a read, too, and for a request
// of one's own.
func TestErrorsInTheBodyOfASuccess(t *testing.T) {
	const asleep = `{"type":"VEHICLE_STATE","code":"ASLEEP","description":"it sleeps","statusCode":409}`
	key := "GET /v2.0/vehicles/{id}/battery"
	_, err := cannedVehicle(t, newCanned(t).on(key, jsonReply(200, asleep))).Battery(t.Context())
	require.ErrorIs(t, err, smartcar.ErrAsleep)
	for body, want := range map[string]error{
		asleep: smartcar.ErrAsleep,
		`{"errors":[{"type":"PERMISSION","code":null}]}`: smartcar.ErrPermission,
		`<html>`:                    smartcar.ErrUnexpectedAnswer,
		`{"type":"SEDAN","code":7}`: nil,
		`{"errors":[]}`:             nil,
		`[1]`:                       nil,
		``:                          nil,
	} {
		_, err := cannedVehicle(t, newCanned(t).on(key, jsonReply(200, body))).Request(t.Context(), smartcar.Request{Path: "battery"})
		require.ErrorIs(t, err, want, body)
	}
	_, err = cannedVehicle(t, newCanned(t).on("POST /v2.0/vehicles/{id}/x", jsonReply(200, `<html>`))).
		Request(t.Context(), smartcar.Request{Path: "x", Method: http.MethodPost})
	require.ErrorIs(t, err, smartcar.ErrUnexpectedAnswer)
	require.True(t, smartcar.MayHaveSucceeded(err))
}

// A page that brings nothing new is the last one, whatever it announces.
// A list that does not say how long it is goes on behind a full page, and connections
// without an id are not the same one.
