package smartcar_test

import (
	"fmt"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
	"github.com/stretchr/testify/require"
)

// heedless answers /connections as a server that ignores every filter.
func heedless(connections ...string) func(sentRequest) *http.Response {
	return onlyTo("/v3/connections", func(r sentRequest) *http.Response {
		if r.method != http.MethodGet {
			return respond(204, "")
		}
		return respond(200, fmt.Sprintf(`{"data":[%s],"meta":{"totalCount":%d}}`, strings.Join(connections, ","), len(connections)))
	})
}

func connectionOf(id, user, external, vehicle, mode string) string {
	return fmt.Sprintf(`{"id":%q,"attributes":{"user":{"id":%q,"externalId":%q},"vehicle":{"mode":%q}},"relationships":{"vehicle":{"data":{"id":%q}},"user":{"data":{"id":%q}}}}`,
		id, user, external, mode, vehicle, user)
}

// Who asks for the simulated connections of a user loses no real one.
func TestDeleteConnectionsKeepsOtherModes(t *testing.T) {
	for mode, want := range map[smartcar.ConnectMode][]string{
		smartcar.ModeSimulated: {"c2"}, smartcar.ModeLive: {"c1"}, smartcar.ModeTest: {"c2"}, "": {"c1", "c2"},
	} {
		t.Run(string(mode), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, tap := tapped(t, smartcartest.New())
				tap.instead = heedless(connectionOf("c1", "u1", "a", "v1", "live"), connectionOf("c2", "u1", "a", "v2", "simulated"))
				removed, err := client.DeleteConnections(t.Context(), smartcar.ConnectionFilter{UserID: "u1", Mode: mode})
				require.NoError(t, err)
				ids := []string{}
				for _, c := range removed {
					ids = append(ids, c.ID)
				}
				require.ElementsMatch(t, want, ids)
			})
		})
	}
}

// Connections of others among the real ones do not hide a simulated one.
func TestFiltersIgnoredHideNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, tap := tapped(t, smartcartest.New())
		tap.instead = onlyTo("/v3/connections", func(r sentRequest) *http.Response {
			if r.query.Get("filter[vehicle.mode]") == "live" {
				return respond(200, `{"data":[`+connectionOf("c1", "u2", "b", "v1", "live")+`]}`)
			}
			return respond(200, `{"data":[`+connectionOf("c2", "u1", "acct_42", "v2", "simulated")+`]}`)
		})
		ids := []string{}
		for v, err := range client.User("u1").Vehicles(t.Context()) {
			require.NoError(t, err)
			ids = append(ids, v.ID())
		}
		require.Equal(t, []string{"v2"}, ids)
	})
}

// An answer without the resource is none.
func TestNoResourceIsAnError(t *testing.T) {
	for _, body := range []string{`{}`, `{"data":null}`, `{"data":[]}`, `{"errors":[{"type":"SERVER","code":"INTERNAL","status":"500"}]}`} {
		client, tap := tapped(t, smartcartest.New())
		tap.instead = onlyTo("/v3/", func(sentRequest) *http.Response { return respond(200, body) })
		webhook, err := client.Webhook(t.Context(), "w1")
		require.ErrorIs(t, err, smartcar.ErrUnexpectedAnswer, body)
		require.Nil(t, webhook)
		subscription, err := client.Subscription(t.Context(), "s1")
		require.ErrorIs(t, err, smartcar.ErrUnexpectedAnswer, body)
		require.Nil(t, subscription)
		connection, err := client.Connection(t.Context(), "c1")
		require.ErrorIs(t, err, smartcar.ErrUnexpectedAnswer, body)
		require.Nil(t, connection)
	}
}

// A number without a unit is metric, in whatever units it is asked for.
func TestNumbersWithoutAUnitAreMetric(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		client, tap := tapped(t, sim)
		user := client.User(connect(t, sim, client).UserID)
		signal := func(code, body string) string {
			return fmt.Sprintf(`{"id":%q,"attributes":{"code":%q,"status":{"value":"SUCCESS"},"body":%s}}`, code, code, body)
		}
		tap.instead = onlyTo("/signals", func(sentRequest) *http.Response {
			return respond(200, `{"data":[`+strings.Join([]string{
				signal("odometer-traveleddistance", `{"value":1609.344}`), signal("internalcombustionengine-amountremaining", `{"value":3.785411784}`),
				signal("internalcombustionengine-range", `{"value":1609.344,"unit":null}`), signal("tractionbattery-range", `{"value":1609.344}`),
				signal("wheel-tires", `{"values":[{"row":0,"column":0,"tirePressure":275.79029172673444}]}`),
			}, ",")+`]}`)
		})
		car := user.Vehicle(smartcartest.MachE).With(smartcar.InUnits(smartcar.Imperial))
		snapshot, err := car.Snapshot(t.Context(), smartcar.Odometer, smartcar.Fuel, smartcar.Battery, smartcar.TirePressure)
		require.NoError(t, err)
		odometer, err := snapshot.Odometer()
		require.NoError(t, err)
		fuel, err := snapshot.Fuel()
		require.NoError(t, err)
		battery, err := snapshot.Battery()
		require.NoError(t, err)
		tires, err := snapshot.TirePressure()
		require.NoError(t, err)
		require.InDelta(t, 1000, *battery.Range, 1e-9)
		require.InDelta(t, 40, *tires.FrontLeft, 1e-9)
		require.InDelta(t, 1000, *odometer.Distance, 1e-9)
		require.InDelta(t, 1, *fuel.Amount, 1e-9)
		require.InDelta(t, 1000, *fuel.Range, 1e-9)
	})
}

// A signal whose time no calendar has costs its operation nothing.
func TestSignalWithATimeOutOfTheCalendar(t *testing.T) {
	for _, at := range []string{`999999999999999`, `"9999-12-31T23:59:59-12:00"`, `"0000-01-01T00:00:00+12:00"`, `9223372036854775807`} {
		synctest.Test(t, func(t *testing.T) {
			sim := smartcartest.New()
			client, tap := tapped(t, sim)
			user := client.User(connect(t, sim, client).UserID)
			tap.instead = onlyTo("/signals", func(sentRequest) *http.Response {
				return respond(200, `{"data":[{"attributes":{"code":"odometer-traveleddistance","status":{"value":"SUCCESS"},"body":{"value":5,"unit":"km"}},"meta":{"oemUpdatedAt":`+at+`}}]}`)
			})
			odometer, err := user.Vehicle(smartcartest.MachE).Odometer(t.Context())
			require.NoError(t, err)
			require.InDelta(t, 5, *odometer.Distance, 0)
			require.True(t, odometer.RecordedAt.IsZero(), odometer.RecordedAt)
		})
	}
}

// An error inside a success keeps its type and code, in every envelope.
func TestErrorsInsideASuccessfulRead(t *testing.T) {
	inner := `{"type":"VEHICLE_STATE","code":"ASLEEP","status":"409","title":"Conflict"}`
	for _, body := range []string{`{"errors":[` + inner + `]}`, `{"error":` + inner + `}`, inner, `{"data":null,"errors":[` + inner + `]}`} {
		synctest.Test(t, func(t *testing.T) {
			sim := smartcartest.New()
			client, tap := tapped(t, sim)
			user := client.User(connect(t, sim, client).UserID)
			tap.instead = onlyTo("/signals", func(sentRequest) *http.Response { return respond(200, body) })
			_, err := user.Vehicle(smartcartest.MachE).Odometer(t.Context())
			require.ErrorIs(t, err, smartcar.ErrAsleep, body)
		})
	}
}

// What a command's body says besides its status.
func TestCommandAnswersThatContradictThemselves(t *testing.T) {
	for body, mayHave := range map[string]bool{
		`{"errors":[{"type":"VEHICLE_STATE","code":"IN_MOTION","status":"409"}]}`:               false,
		`{"errors":[{"type":"VEHICLE_STATE","code":"UNKNOWN","status":409}]}`:                   true,
		`{"error":{"type":"UPSTREAM","code":"NO_RESPONSE"}}`:                                    true,
		`{"type":"VALIDATION","code":null}`:                                                     false,
		`{"data":{"attributes":{"status":{"value":"ERROR","error":{"type":"COMPATIBILITY"}}}}}`: false,
		`{"data":{"attributes":{"status":"PENDING"}}}`:                                          true,
		`{"data":null}`: true, ``: true, `<html>`: true, `[]`: true, `{"errors":[null]}`: true,
		`{"errors":[null,"x",{"type":"VEHICLE_STATE","code":"IN_MOTION"}]}`: false,
	} {
		synctest.Test(t, func(t *testing.T) {
			sim := smartcartest.New()
			client, tap := tapped(t, sim)
			user := client.User(connect(t, sim, client).UserID)
			tap.instead = onlyTo("/commands/", func(sentRequest) *http.Response { return respond(202, body) })
			_, err := user.Vehicle(smartcartest.MachE).Lock(t.Context())
			require.Error(t, err, body)
			require.Equal(t, mayHave, smartcar.MayHaveSucceeded(err), body)
			require.False(t, smartcar.Retryable(err), body)
			require.Len(t, tap.to("/commands/"), 1, body)
		})
	}
}

// Whatever the token endpoint answers, the credentials are not repeated.
func TestTokenAnswerRepeatsNoSecret(t *testing.T) {
	sim := smartcartest.New()
	secret := sim.APIClientSecret()
	for _, body := range []string{
		`{"error":"invalid_client","error_description":"` + secret + `"}`,
		`{"error":"the secret ` + secret + ` is wrong"}`,
		`{"error":"invalid_request","detail":[{"field":["client_secret"],"message":"` + secret + `"}]}`,
		`{"error":"x","suggestedUserMessage":"` + secret + `","resolution":{"type":"` + secret + `","url":"` + secret + `"},"docURL":"` + secret + `"}`,
		`{"type":"` + secret + `","code":"` + secret + `","requestId":"` + secret + `"}`,
		secret,
	} {
		client, tap := tapped(t, sim)
		tap.instead = onlyTo("/oauth2/token", func(sentRequest) *http.Response { return respond(400, body) })
		_, err := client.Webhook(t.Context(), "w1")
		require.Error(t, err)
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
			require.NotContains(t, fmt.Sprintf(verb, err), secret, body)
			e := requireError(t, err)
			require.NotContains(t, fmt.Sprintf(verb, *e), secret, body)
		}
	}
}

// However often an owner begins, the cookies stay few: a header of more than
// some kilobytes is refused by proxies, on every page of the site.
func TestFlowsLeaveFewCookies(t *testing.T) {
	for _, api := range []smartcar.API{smartcar.V2, smartcar.V3} {
		sim := smartcartest.New()
		client := apiClient(t, sim, api)
		jar, err := cookiejar.New(nil)
		require.NoError(t, err)
		site := mustParse(t, sim.RedirectURL())
		jar.SetCookies(site, []*http.Cookie{{Name: "smartcar_session", Value: "mine", Path: "/", Secure: true}})
		var links []string
		for range 30 {
			w, r := httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, site.String(), nil)
			for _, c := range jar.Cookies(site) {
				r.AddCookie(c)
			}
			require.NoError(t, client.Connect().Start(w, r, smartcar.ConnectOptions{}))
			jar.SetCookies(site, w.Result().Cookies())
			links = append(links, w.Header().Get("Location"))
		}
		require.Len(t, jar.Cookies(site), 6, "five flows and the cookie of the application")
		for i, link := range links[len(links)-6:] {
			callback, err := sim.Grant(link)
			require.NoError(t, err)
			_, err = finish(client, callback, jar.Cookies(site))
			if i == 0 {
				require.ErrorIs(t, err, smartcar.ErrStateMismatch)
				continue
			}
			require.NoError(t, err)
		}
	}
}

// A car's VIN identifies its owner: no verb prints the one in an error.
func TestConnectErrorPrintsNoVIN(t *testing.T) {
	const number = "5YJSA1E26HF000337"
	callback, err := smartcar.ParseCallback(url.Values{"error": {"vehicle_incompatible"}, "vin": {number}, "state": {"s"}})
	require.NoError(t, err)
	require.Equal(t, number, callback.Err.VIN)
	requireUnprintable(t, "ConnectError", callback.Err, []string{number})
	for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
		require.Equal(t, callback.Err.Error(), fmt.Sprintf(verb, callback.Err))
		require.NotContains(t, fmt.Sprintf(verb, *callback.Err), number)
	}
}

// A page of connections that cannot be used does not end the move.
func TestMoveGoesOnAfterAPageOfNoUse(t *testing.T) {
	client, tap := tapped(t, smartcartest.New())
	tap.instead = onlyTo("/v3/connections", func(r sentRequest) *http.Response {
		if r.query.Get("filter[vehicle.mode]") != "live" {
			return respond(200, `{"data":[]}`)
		}
		switch r.query.Get("page[number]") {
		case "1":
			return respond(200, `{"data":[{"id":"c0"},{"id":"c00","relationships":null}]}`)
		case "2":
			return respond(200, `{"data":[`+connectionOf("c1", "u1", "a", "v1", "live")+`]}`)
		}
		return respond(200, `{"data":[{"id":"c0"}]}`) // for ever
	})
	report, err := client.MoveToV3(t.Context(), smartcar.MoveOptions{})
	require.NoError(t, err)
	require.Len(t, report.Users, 1)
	require.True(t, report.Done)
}

// The list of signals is a store: an error in it that is older than the word
// that the key is paired is no news.
func TestOldKeyErrorBesideANewerPairing(t *testing.T) {
	for name, tt := range map[string]struct {
		failed, paired string
		want           smartcar.KeyState
	}{
		"the error is older":       {`"ingestedAt":"2026-11-24T06:00:00Z"`, `"oemUpdatedAt":"2026-11-24T07:00:00Z"`, smartcar.KeyInstalled},
		"the error is newer":       {`"ingestedAt":"2026-11-24T07:00:00Z"`, `"oemUpdatedAt":"2026-11-24T06:00:00Z"`, smartcar.KeyMissing},
		"at the same time":         {`"ingestedAt":"2026-11-24T07:00:00Z"`, `"oemUpdatedAt":"2026-11-24T07:00:00Z"`, smartcar.KeyMissing},
		"the error is not dated":   {``, `"oemUpdatedAt":"2026-11-24T06:00:00Z"`, smartcar.KeyMissing},
		"the pairing is not dated": {`"ingestedAt":"2026-11-24T07:00:00Z"`, ``, smartcar.KeyMissing},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				time.Sleep(time.Until(time.Date(2026, 11, 24, 8, 0, 0, 0, time.UTC)))
				sim := smartcartest.New()
				client, tap := tapped(t, sim)
				car := client.User(connect(t, sim, client).UserID).Vehicle(smartcartest.ModelY)
				tap.instead = onlyTo("/signals", func(sentRequest) *http.Response {
					return respond(200, `{"data":[
						{"attributes":{"code":"closure-islocked","status":{"value":"ERROR","error":{"type":"CONNECTED_SERVICES_ACCOUNT","code":"VIRTUAL_KEY_REQUIRED"}}},"meta":{`+tt.failed+`}},
						{"attributes":{"code":"connectivitystatus-isdigitalkeypaired","status":{"value":"SUCCESS"},"body":{"value":true}},"meta":{`+tt.paired+`}},
						{"attributes":{"code":"odometer-traveleddistance","status":{"value":"SUCCESS"},"body":{"value":5,"unit":"km"}},"meta":{}}]}`)
				})
				_, err := car.Odometer(t.Context())
				require.NoError(t, err)
				access, err := car.Access(t.Context())
				require.NoError(t, err)
				require.Equal(t, tt.want, access.Key.State)
				if tt.want != smartcar.KeyInstalled {
					return
				}
				_, err = car.LockStatus(t.Context())
				require.ErrorIs(t, err, smartcar.ErrVirtualKeyRequired, "this is what is stored of the locks")
				access, err = car.Access(t.Context())
				require.NoError(t, err)
				require.Equal(t, tt.want, access.Key.State)
				// Where the signal does not count, the error does.
				client, err = smartcar.New(smartcar.Config{
					ApplicationID: sim.ClientID(), APIClientID: sim.APIClientID(), APIClientSecret: sim.APIClientSecret(),
				}, smartcar.WithHTTPClient(&http.Client{Transport: tap}), smartcar.WithAPI(smartcar.V3), smartcar.WithoutKeySignal())
				require.NoError(t, err)
				car = client.User("u1").Vehicle(smartcartest.ModelY)
				_, err = car.Odometer(t.Context())
				require.NoError(t, err)
				access, err = car.Access(t.Context())
				require.NoError(t, err)
				require.Equal(t, smartcar.KeyMissing, access.Key.State)
			})
		})
	}
}

// What the two signals of charging say of different times: the newer one counts.
func TestChargeStateOfDifferentTimes(t *testing.T) {
	for name, tt := range map[string]struct{ detailed, is, want string }{
		"the detail is old": {`"oemUpdatedAt":"2026-11-23T07:00:00Z"`, `"oemUpdatedAt":"2026-11-24T07:00:00Z"`, "NOT_CHARGING"},
		"the detail is new": {`"oemUpdatedAt":"2026-11-24T07:00:00Z"`, `"oemUpdatedAt":"2026-11-23T07:00:00Z"`, "CHARGING"},
		"nobody knows":      {``, ``, "CHARGING"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sim := smartcartest.New()
				client, tap := tapped(t, sim)
				car := client.User(connect(t, sim, client).UserID).Vehicle(smartcartest.MachE)
				tap.instead = onlyTo("/signals", func(sentRequest) *http.Response {
					return respond(200, `{"data":[
						{"attributes":{"code":"charge-detailedchargingstatus","status":{"value":"SUCCESS"},"body":{"value":"CHARGING"}},"meta":{`+tt.detailed+`}},
						{"attributes":{"code":"charge-ischarging","status":{"value":"SUCCESS"},"body":{"value":false}},"meta":{`+tt.is+`}}]}`)
				})
				charge, err := car.Charge(t.Context())
				require.NoError(t, err)
				require.Equal(t, tt.want, charge.State)
			})
		})
	}
}
