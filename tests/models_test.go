package smartcar_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
	"github.com/seed-498a1bc4/smartcar/store"
	"github.com/stretchr/testify/require"
)

// The right signature stood in the error's text.
func TestModels01_NoSignatureInAnError(t *testing.T) {
	receiver, _ := newReceiver(t, smartcar.WebhookOptions{})
	body := []byte(readFixture(t, "webhooks/vehicle-state").Request.Body)
	right := webhookSignature(webhookSecret, body)
	w := httptest.NewRecorder()
	receiver.ServeHTTP(w, webhookRequest(body, strings.Repeat("0", 64)))
	require.Equal(t, 401, w.Code)
	_, _, err := receiver.Receive(t.Context(), nil, body)
	for _, text := range []string{w.Body.String(), fmt.Sprintf("%+v", err), fmt.Sprintf("%#v", err)} {
		require.NotContains(t, text, right)
		require.NotContains(t, text, strings.Repeat("0", 64))
		require.NotContains(t, text, webhookSecret)
	}
}

// An empty secret switched verification off.
func TestModels02_AnEmptySecretIsRefused(t *testing.T) {
	_, err := smartcar.NewWebhookVerifier("")
	require.ErrorIs(t, err, smartcar.ErrInvalidArgument)
	_, err = smartcar.NewWebhookVerifier("amt", "")
	require.ErrorIs(t, err, smartcar.ErrInvalidArgument)
	body := []byte(`{}`)
	var none smartcar.WebhookVerifier
	require.Error(t, none.Verify(body, webhookSignature("", body)))
}

// Signatures of re-serialized JSON, compared as texts.
func TestModels03_SignaturesAreBytes(t *testing.T) {
	v, err := smartcar.NewWebhookVerifier("amt")
	require.NoError(t, err)
	body := []byte(`{"pizza":"pasta"}`)
	right := webhookSignature("amt", body)
	require.NoError(t, v.Verify(body, strings.ToUpper(right)))
	require.Equal(t, smartcar.WebhookMalformedSignature, reasonOf(v.Verify(body, right+" ")))
	require.Equal(t, smartcar.WebhookMalformedSignature, reasonOf(v.Verify(body, right[:10])), "a part of it is none")
}

// Timestamps from the future were accepted. Smartcar signs no time at all:
// what keeps a recording from being played back is the id of the event.
func TestModels04_ARecordedDeliveryIsKnown(t *testing.T) {
	handed := 0
	client := newClient(t, smartcartest.New())
	receiver := hookReceiver(t, client, smartcar.WebhookOptions{}, func(context.Context, *smartcar.WebhookEvent) error { handed++; return nil })
	body := []byte(readFixture(t, "webhooks/vehicle-error.virtual-key-resolved").Request.Body)
	for range 3 {
		require.Equal(t, 200, send(t, receiver, body))
	}
	// An id in the header, or beside the signed bytes, changes nothing.
	require.Equal(t, 401, sendSigned(t, receiver, bytes.Replace(body, []byte("3c37a1d0"), []byte("00000000"), 1), webhookSignature(webhookSecret, body)))
	require.Equal(t, 1, handed)
}

func sendSigned(t testing.TB, receiver *smartcar.WebhookReceiver, body []byte, signature string) int {
	t.Helper()
	w := httptest.NewRecorder()
	receiver.ServeHTTP(w, webhookRequest(body, signature))
	return w.Code
}

// These tests are named after bugs of well-known client libraries, which
// CONTRIBUTING.md lists.

// Printing an error edited the caller's URL.
func TestModels05_PrintingAnErrorChangesNothing(t *testing.T) {
	origin := mustParse(t, "https://api.example/base")
	before := *origin
	var sent []*http.Request
	var addresses []string
	transport := roundTripper(func(req *http.Request) (*http.Response, error) {
		sent, addresses = append(sent, req), append(addresses, req.URL.String())
		if strings.HasSuffix(req.URL.Path, "/odometer") {
			return nil, &url.Error{Op: "Get", URL: req.URL.String(), Err: errors.New("broken")}
		}
		req = req.Clone(req.Context())
		req.URL.Path = strings.TrimPrefix(req.URL.Path, "/base")
		return newCanned(t).RoundTrip(req)
	})
	_, err := cannedVehicle(t, transport, smartcar.WithOrigins(smartcar.Origins{API: origin})).Odometer(t.Context())
	var e *smartcar.Error
	require.ErrorAs(t, err, &e)
	kept, text := *e, err.Error()
	for range 3 {
		require.Equal(t, text, err.Error())
		_ = fmt.Sprintf("%v %+v %#v %s %q", err, err, err, err, err)
	}
	require.Equal(t, kept, *e)
	require.Equal(t, before, *origin)
	for i, req := range sent {
		require.Equal(t, addresses[i], req.URL.String())
	}
}

// Options replaced or edited the caller's http.Client.
func TestModels06_TheCallersHTTPClientIsNotEdited(t *testing.T) {
	transport := newCanned(t).on(odometerPath, readFixture(t, "v2/reads/odometer").reply()).
		on(tokenPath, jsonReply(200, `{"access_token":"renewed","token_type":"Bearer","expires_in":7200,"refresh_token":"next"}`))
	mine := &http.Client{Transport: transport, Timeout: time.Minute, Jar: recordingJar{t}}
	before := *mine
	client := cannedClient(t, nil, smartcar.WithHTTPClient(mine))
	_, err := client.ImportTokens(t.Context(), smartcar.Tokens{RefreshToken: "r"})
	require.NoError(t, err)
	_, err = client.User(fixtureUser).Vehicle(fixtureVehicle).Odometer(t.Context())
	require.NoError(t, err)
	require.Equal(t, before, *mine)

	mine.Transport = roundTripper(func(*http.Request) (*http.Response, error) {
		t.Error("the client was copied: a later change must not reach it")
		return nil, errors.New("no")
	})
	_, err = client.User(fixtureUser).Vehicle(fixtureVehicle).Odometer(t.Context())
	require.NoError(t, err)
	require.NotNil(t, http.DefaultTransport)
}

// recordingJar fails the test when a cookie is kept or sent.
type recordingJar struct{ t *testing.T }

func (j recordingJar) SetCookies(*url.URL, []*http.Cookie) { j.t.Error("a cookie was kept") }

func (j recordingJar) Cookies(*url.URL) []*http.Cookie {
	j.t.Error("cookies were asked for")
	return nil
}

// The pause between two tries did not end with the context.
func TestModels07_CancelEndsThePause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		_, user := connected(t, sim, smartcar.WithRetry(smartcar.RetryPolicy{MaxAttempts: 5, BaseDelay: time.Hour, MaxDelay: time.Hour}))
		sim.Inject(smartcartest.Fault{Path: "/odometer", ErrorType: "UPSTREAM", ErrorCode: "NO_RESPONSE", Times: -1})
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		began := time.Now()
		_, err := user.Vehicle(smartcartest.MachE).Odometer(ctx)
		require.Equal(t, time.Second, time.Since(began))
		require.ErrorIs(t, err, context.Canceled)
		require.ErrorIs(t, err, smartcar.ErrUnavailable, "and why it was pausing")
	})
}

// After the last try nil was returned.
func TestModels08_GivingUpReturnsTheLastError(t *testing.T) {
	transport := newCanned(t).on(odometerPath,
		readFixture(t, "v2/errors/server.internal").reply(), readFixture(t, "v2/errors/html-502").reply(), readFixture(t, "v2/errors/upstream.no-response").reply())
	v := cannedVehicle(t, transport, smartcar.WithRetry(smartcar.RetryPolicy{MaxAttempts: 3, MaxDelay: time.Minute}))
	odometer, err := v.Odometer(t.Context())
	require.Nil(t, odometer)
	var e *smartcar.Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, "NO_RESPONSE", e.Code)
	require.Len(t, transport.requests(odometerPath), 3)

	// A pause that is too long for the policy is not made; the error stays.
	limited := jsonReply(503, `{}`)
	limited.headers["Retry-After"] = "3600"
	transport = newCanned(t).on(odometerPath, limited)
	v = cannedVehicle(t, transport, smartcar.WithRetry(smartcar.RetryPolicy{MaxAttempts: 3, MaxDelay: time.Minute}))
	_, err = v.Odometer(t.Context())
	require.ErrorAs(t, err, &e)
	require.Equal(t, time.Hour, e.RetryAfter)
	require.Len(t, transport.requests(odometerPath), 1)
}

// A deadline was reported as a cancellation.
func TestModels09_DeadlinesAreDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		_, user := connected(t, sim)
		sim.Inject(smartcartest.Fault{Path: "/odometer", Latency: time.Hour, Times: -1})
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_, err := user.Vehicle(smartcartest.MachE).Odometer(ctx)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.NotErrorIs(t, err, context.Canceled)
	})
}

// One more %w hid whether a command may have run.
func TestModels10_WrappingHidesNothing(t *testing.T) {
	_, err := cannedVehicle(t, newCanned(t).on(lockPath, reply{status: 504})).Lock(t.Context())
	for range 3 {
		err = fmt.Errorf("again: %w", err)
	}
	require.True(t, smartcar.MayHaveSucceeded(err))
	_, err = cannedVehicle(t, newCanned(t).on(odometerPath, reply{status: 504})).Odometer(t.Context())
	require.True(t, smartcar.Retryable(fmt.Errorf("again: %w", err)))
	_, err = cannedVehicle(t, newCanned(t).on(odometerPath, readFixture(t, "v2/errors/rate-limit.vehicle").reply())).Odometer(t.Context())
	at, ok := smartcar.NextAllowed(fmt.Errorf("again: %w", err))
	require.True(t, ok)
	require.Equal(t, fixtureTime.Add(10*time.Minute), at.UTC())
}

// Retry-After that is no number of seconds: the whole table is TestRetryAfter.
func TestModels11_RetryAfterIsClamped(t *testing.T) {
	for value, want := range map[string]time.Duration{"NaN": time.Minute, "-1": time.Minute, "31536000": 7 * 24 * time.Hour, "0.5": 500 * time.Millisecond} {
		r := readFixture(t, "v2/errors/rate-limit.vehicle").reply()
		r.headers = map[string]string{"Retry-After": value}
		_, err := cannedVehicle(t, newCanned(t).on(odometerPath, r)).Odometer(t.Context())
		at, ok := smartcar.NextAllowed(err)
		require.True(t, ok)
		require.Equal(t, want, at.Sub(fixtureTime), value)
	}
}

// An HTML page with status 4xx became a syntax error of JSON.
func TestModels12_StatusSurvivesABodyThatIsNoJSON(t *testing.T) {
	for _, status := range []int{400, 401, 403, 404, 429, 430, 500, 502, 503} {
		for _, body := range []string{"<html>Forbidden</html>", "Forbidden", "", `{"type":"PERM`} {
			for _, cut := range []int64{0, 1000} {
				r := reply{status: status, body: body, length: cut, headers: map[string]string{"Content-Type": "text/html", "SC-Request-Id": "the-request"}}
				_, err := cannedVehicle(t, newCanned(t).on(odometerPath, r)).Odometer(t.Context())
				var e *smartcar.Error
				require.ErrorAs(t, err, &e)
				require.Equal(t, status, e.StatusCode, "cut: %t", cut > 0)
				require.Equal(t, "the-request", e.RequestID)
				require.NotContains(t, err.Error(), "invalid character")
				require.NotContains(t, err.Error(), "Forbidden")
			}
		}
	}
}

// A one-time code was sent twice, to find out how to authenticate.
func TestModels13_ACodeIsSentOnce(t *testing.T) {
	for name, fault := range map[string]smartcartest.Fault{
		"all is well":   {Path: "/nowhere"},
		"refused":       {Path: "/oauth/token", ErrorType: "invalid_client", Status: 401},
		"server error":  {Path: "/oauth/token", ErrorType: "server_error", AfterProcessing: true},
		"lost answer":   {Path: "/oauth/token", DropAfter: true},
		"cut answer":    {Path: "/oauth/token", Malformed: true},
		"proxy's page":  {Path: "/oauth/token", Status: 502, AfterProcessing: true},
		"redirect":      {Path: "/oauth/token", Status: 302, Header: http.Header{"Location": {"https://auth.smartcar.com/oauth/token"}}, AfterProcessing: true},
		"not in JSON":   {Path: "/oauth/token", Status: 200, Body: "<html>", AfterProcessing: true},
		"empty success": {Path: "/oauth/token", Status: 200, Body: "{}", AfterProcessing: true},
	} {
		t.Run(name, func(t *testing.T) {
			sim := smartcartest.New()
			codes := 0
			transport := roundTripper(func(req *http.Request) (*http.Response, error) {
				if req.URL.Path == "/oauth/token" {
					codes++
				}
				return sim.Transport().RoundTrip(req)
			})
			client := newClientOver(t, sim, transport)
			authorizeURL, cookies := begin(t, client, smartcar.ConnectOptions{})
			callback, err := sim.Grant(authorizeURL)
			require.NoError(t, err)
			sim.Inject(fault)
			grant, err := finish(client, callback, cookies)
			if name == "all is well" {
				require.NoError(t, err)
			} else {
				require.Nil(t, grant)
				var e *smartcar.Error
				require.ErrorAs(t, err, &e)
				require.NotContains(t, err.Error(), mustParse(t, callback).Query().Get("code"))
			}
			require.Equal(t, 1, codes)
			require.Zero(t, sim.CodeReuse())
		})
	}
}

// Two processes spent one refresh token.
func TestModels14_OneRefreshForTwoProcesses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New(smartcartest.WithRefreshGrace(0))
		db := store.NewMemory()
		var users []*smartcar.User
		for range 2 {
			users = append(users, newClient(t, sim, smartcar.WithStore(db)).User(sim.UserID()))
		}
		connect(t, sim, newClient(t, sim, smartcar.WithStore(db)))
		for range 3 {
			time.Sleep(3 * time.Hour)
			before := sim.TokenRequests()
			sim.Inject(smartcartest.Fault{Path: "/oauth/token", LatencyAfter: time.Second})
			results := make(chan error)
			for i := range 20 {
				go func() {
					_, err := users[i%2].Vehicle(smartcartest.MachE).Odometer(t.Context())
					results <- err
				}()
			}
			for range 20 {
				require.NoError(t, <-results)
			}
			require.Equal(t, before+1, sim.TokenRequests())
		}
	})
}

// The skew of an access token had the wrong sign: the same table as Go 10,
// second by second.
func TestModels15_TokenSkew(t *testing.T) {
	var around []time.Duration
	for s := -11; s <= 11; s++ {
		around = append(around, time.Duration(s)*time.Second)
	}
	requireFreshTokens(t, around, true)
}

// A slice or a map of the caller's was sorted, filled or kept.
func TestModels16_TheCallersValuesStayTheirs(t *testing.T) {
	transport := newCanned(t).on(batchPath, readFixture(t, "v2/batch/reordered-and-missing").reply()).
		on("GET /v2.0/vehicles/{id}/tesla/x", jsonReply(200, `{"a":1}`)).
		on("POST /v2.0/vehicles/{id}/tesla/x", jsonReply(200, `{"a":1}`))
	v := cannedVehicle(t, transport)

	want := []smartcar.Operation{smartcar.Odometer, smartcar.Battery, smartcar.Odometer, smartcar.Location}
	given := slices.Clone(want)
	_, err := v.Snapshot(t.Context(), given...)
	require.NoError(t, err)
	require.Equal(t, want, given)

	query := url.Values{"b": {"2", "1"}, "a": {"0"}}
	response, err := v.Request(t.Context(), smartcar.Request{Path: "tesla/x", Query: query})
	require.NoError(t, err)
	require.Equal(t, url.Values{"b": {"2", "1"}, "a": {"0"}}, query)
	body := map[string]any{"z": 1}
	_, err = v.Request(t.Context(), smartcar.Request{Method: "POST", Path: "tesla/x", Body: body, Kind: smartcar.KindMetadata})
	require.NoError(t, err)
	require.Equal(t, map[string]any{"z": 1}, body)
	copied := response.Bytes()
	copied[0] = 'X'
	require.JSONEq(t, `{"a":1}`, string(response.Bytes()), "a copy is handed out")

	// What is changed after New does not reach the client.
	key := []byte(strings.Repeat("k", 32))
	api := &url.URL{Scheme: "https", Host: "api.example"}
	transport = newCanned(t).on(odometerPath, readFixture(t, "v2/reads/odometer").reply())
	client, err := smartcar.New(smartcar.Config{ClientID: "i", ClientSecret: "s", RedirectURL: "https://example.com/callback", StateKey: key},
		smartcar.WithHTTPClient(&http.Client{Transport: transport}), smartcar.WithOrigins(smartcar.Origins{API: api}))
	require.NoError(t, err)
	api.Host = "evil.example"
	w := httptest.NewRecorder()
	require.NoError(t, client.Connect().Start(w, httptest.NewRequest(http.MethodGet, "/", nil), smartcar.ConnectOptions{}))
	clear(key)
	r := httptest.NewRequest(http.MethodGet, "/callback?user_id=u&state="+mustParse(t, w.Header().Get("Location")).Query().Get("state"), nil)
	for _, cookie := range w.Result().Cookies() {
		r.AddCookie(cookie)
	}
	_, err = client.Connect().HandleCallback(httptest.NewRecorder(), r)
	require.ErrorIs(t, err, smartcar.ErrMalformedCallback, "the state is right, only the code is missing")
	_, err = client.ImportTokens(t.Context(), smartcar.Tokens{AccessToken: "a", RefreshToken: "r", Expires: time.Now().Add(time.Hour)})
	require.NoError(t, err)
	require.Equal(t, "api.example", transport.requests("GET /v2.0/user")[0].host)
}

// A redirect to another host took the token along.
func TestModels17_NoRedirectIsFollowed(t *testing.T) {
	for _, status := range []int{301, 302, 303, 307, 308} {
		for _, location := range []string{"https://evil.example/steal", "//evil.example/steal", "/v2.0/user", "http://api.smartcar.com/v2.0/user"} {
			for _, path := range []string{"/odometer", "/security", "/oauth/token", "/user", "/connections"} {
				redirected := false
				transport := roundTripper(func(req *http.Request) (*http.Response, error) {
					if redirected {
						t.Errorf("%s %d: a second request, to %s", path, status, req.URL)
					}
					if !strings.HasSuffix(req.URL.Path, path) {
						return newCanned(t).RoundTrip(req)
					}
					redirected = true
					return reply{status: status, headers: map[string]string{"Location": location}}.response(req)
				})
				client := cannedClient(t, transport)
				tokens := smartcar.Tokens{AccessToken: "access-token", RefreshToken: "refresh-token", Expires: fixtureTime.Add(time.Hour)}
				if path == "/oauth/token" {
					tokens.Expires = time.Time{}
				}
				_, err := client.ImportTokens(t.Context(), tokens)
				v := client.User(fixtureUser).Vehicle(fixtureVehicle)
				switch path {
				case "/odometer":
					_, err = v.Odometer(t.Context())
				case "/security":
					_, err = v.Lock(t.Context())
				case "/connections":
					_, err = collectConnections(t.Context(), client, smartcar.ConnectionFilter{})
				}
				require.True(t, redirected)
				require.ErrorIs(t, err, smartcar.ErrUnexpectedAnswer, "%s %d", path, status)
				require.NotContains(t, err.Error(), "evil.example")
			}
		}
	}
}

// A path was put together from texts.
func TestModels18_AnIDIsOneSegment(t *testing.T) {
	transport := &anyPath{canned: newCanned(t)}
	_, err := cannedUser(t, transport).Vehicle("a/../b?x").Lock(t.Context())
	require.NoError(t, err)
	require.Equal(t, []string{"/v2.0/vehicles/a%2F..%2Fb%3Fx/security"}, transport.paths)
}
