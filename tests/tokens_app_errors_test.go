package smartcar_test

import (
	"fmt"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jarcoal/httpmock"
	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
	"github.com/stretchr/testify/require"
)

// tokenAnswers is a client whose token endpoint answers what answer says, the
// last of it again and again, before a car that answers.
func tokenAnswers(t *testing.T, answers ...func() *http.Response) (*smartcar.Client, *wireTap) {
	t.Helper()
	asked := 0
	tap := &wireTap{instead: func(r sentRequest) *http.Response {
		if strings.HasSuffix(r.path, "/oauth2/token") {
			answer := answers[min(asked, len(answers)-1)]
			asked++
			return answer()
		}
		return respond(200, `{"data":{"id":"car","attributes":{"make":"FORD"}}}`)
	}}
	return apiClient(t, smartcartest.New(), smartcar.V3, smartcar.WithHTTPClient(&http.Client{Transport: tap})), tap
}

func tokenAnswer(status int, body string) func() *http.Response {
	return func() *http.Response { return respond(status, body) }
}

const goodToken = `{"access_token":"s3cr3t-token","token_type":"Bearer","expires_in":3600}`

func TestErrorsOfTheTokenEndpoint(t *testing.T) {
	for name, tt := range map[string]struct {
		status    int
		body      string
		is        []error
		code      string
		asked     int // how often, by one call
		retryable bool
	}{
		"invalid client":          {401, `{"error":"invalid_client","error_description":"client_01 with s3cr3t is unknown"}`, []error{smartcar.ErrUnauthorized}, "invalid_client", 1, false},
		"invalid client as 400":   {400, `{"error":"invalid_client"}`, []error{smartcar.ErrUnauthorized}, "invalid_client", 1, false},
		"invalid request":         {400, `{"error":"invalid_request","error_description":"s3cr3t"}`, nil, "invalid_request", 1, false},
		"invalid grant":           {400, `{"error":"invalid_grant"}`, nil, "invalid_grant", 1, false},
		"unauthorized, no body":   {401, ``, []error{smartcar.ErrUnauthorized}, "", 1, false},
		"server":                  {500, `{"error":"server_error"}`, []error{smartcar.ErrUnavailable}, "server_error", 3, true},
		"bad gateway":             {502, `<html>s3cr3t</html>`, []error{smartcar.ErrUnavailable, smartcar.ErrUnexpectedAnswer}, "", 3, true},
		"v3 envelope":             {500, `{"errors":[{"status":"500","type":"SERVER","code":"INTERNAL","detail":"s3cr3t"}]}`, []error{smartcar.ErrUnavailable}, "INTERNAL", 3, true},
		"no token":                {200, `{"token_type":"Bearer","expires_in":3600}`, []error{smartcar.ErrUnexpectedAnswer}, "", 1, false},
		"a token that is no text": {200, `{"access_token":{"s3cr3t":1}}`, []error{smartcar.ErrUnexpectedAnswer}, "", 1, false},
		"no JSON":                 {200, `s3cr3t`, []error{smartcar.ErrUnexpectedAnswer}, "", 1, false},
		"empty":                   {200, ``, []error{smartcar.ErrUnexpectedAnswer}, "", 1, false},
		"redirect":                {302, ``, []error{smartcar.ErrUnexpectedAnswer}, "", 1, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, tap := tokenAnswers(t, tokenAnswer(tt.status, tt.body))
				v := client.User("user").Vehicle("car")
				for _, call := range []func() error{
					func() error { _, err := v.Odometer(t.Context()); return err },
					func() error { _, err := v.Lock(t.Context()); return err },
				} {
					before := len(tap.to("/oauth2/token"))
					err := call()
					e := requireError(t, err)
					require.Equal(t, smartcar.Operation("application-token"), e.Operation)
					require.Equal(t, tt.status, e.StatusCode)
					require.Equal(t, tt.code, e.Code)
					for _, target := range tt.is {
						require.ErrorIs(t, err, target)
					}
					require.NotErrorIs(t, err, smartcar.ErrReconnectRequired, "no owner can help")
					require.False(t, smartcar.MayHaveSucceeded(err))
					require.Equal(t, tt.retryable, smartcar.Retryable(err))
					require.GreaterOrEqual(t, len(tap.to("/oauth2/token"))-before, tt.asked)
					requireUnprintableError(t, name, err, []string{"s3cr3t"})
				}
				require.Empty(t, tap.to("/signals"))
				require.Empty(t, tap.to("/commands"))
			})
		})
	}
}

func TestInvalidClientSaysWhereToLook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		config := smartcar.Config{
			ClientID: sim.ClientID(), APIClientID: sim.APIClientID(), APIClientSecret: "s3cr3t-wrong", StateKey: stateKey, RedirectURL: sim.RedirectURL(),
		}
		client, err := smartcar.New(config, smartcar.WithAPI(smartcar.V3), smartcar.WithHTTPClient(&http.Client{Transport: sim.Transport()}))
		require.NoError(t, err)
		err = attributesRead(t.Context(), client, "user")
		require.ErrorIs(t, err, smartcar.ErrUnauthorized)
		require.ErrorContains(t, err, "Config.APIClientSecret")
		require.ErrorContains(t, err, "legacy credentials")
		requireUnprintableError(t, "invalid client", err, []string{"s3cr3t-wrong"})
		require.Equal(t, 1, sim.AppTokenRequests())
	})
}

// A failure that passes is waited out within one call.
func TestTheTokenEndpointRecovers(t *testing.T) {
	for name, first := range map[string]func() *http.Response{
		"gateway":    tokenAnswer(502, ``),
		"overloaded": tokenAnswer(503, `overloaded`),
		"limited": func() *http.Response {
			r := respond(429, ``)
			r.Header.Set("Retry-After", "5")
			return r
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, tap := tokenAnswers(t, first, tokenAnswer(200, goodToken))
				_, err := client.User("user").Vehicle("car").Lock(t.Context())
				require.Error(t, err, "the car here answers no command")
				require.Len(t, tap.to("/oauth2/token"), 2)
				require.Len(t, tap.to("/commands"), 1)
			})
		})
	}
}

// The endpoint's 429 is the application's: nobody asks again before its time.
func TestTheTokenEndpointIsLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limited := func() *http.Response {
			r := respond(429, `{"error":"too_many_requests","error_description":"s3cr3t"}`)
			r.Header.Set("Retry-After", "45")
			return r
		}
		client, tap := tokenAnswers(t, limited, tokenAnswer(200, goodToken))
		began := time.Now()
		for range 20 {
			err := attributesRead(t.Context(), client, "user")
			var limit *smartcar.RateLimitError
			require.ErrorAs(t, err, &limit)
			require.Equal(t, smartcar.RuleApplication, limit.Rule)
			require.True(t, limit.NextAllowed.Equal(began.Add(45*time.Second)))
			requireUnprintableError(t, "limit", err, []string{"s3cr3t"})
			time.Sleep(2 * time.Second)
		}
		require.Len(t, tap.to("/oauth2/token"), 1)
		time.Sleep(6 * time.Second)
		require.NoError(t, attributesRead(t.Context(), client, "user"))
	})
}

// A token endpoint that does not answer is not waited for as long as a car.
func TestTheTokenEndpointHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		client := apiClient(t, sim, smartcar.V3, smartcar.WithRetry(smartcar.RetryPolicy{MaxAttempts: 1}))
		sim.Inject(smartcartest.Fault{Path: "/oauth2/token", Latency: time.Hour, Times: -1})
		began := time.Now()
		err := attributesRead(t.Context(), client, "user")
		require.ErrorIs(t, err, smartcar.ErrUnavailable)
		require.Equal(t, 10*time.Second, time.Since(began))
		require.False(t, smartcar.MayHaveSucceeded(err))
		sim.ClearFaults()
		require.ErrorIs(t, attributesRead(t.Context(), client, "user"), smartcar.ErrNotFound, "and the lease was given back")
		require.Equal(t, 10*time.Second, time.Since(began))
	})
}

// A car's turn is not spent on a token that cannot be had.
func TestATurnOutlivesTheTokenEndpoint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		v := onV3(t, sim).Vehicle(smartcartest.ModelY)
		sim.ExpireAppTokens()
		time.Sleep(2 * time.Hour)
		sim.Inject(smartcartest.Fault{Path: "/oauth2/token", ErrorType: "invalid_client", Status: 401, Times: -1})
		_, err := v.Battery(t.Context())
		require.ErrorIs(t, err, smartcar.ErrUnauthorized)
		sim.ClearFaults()
		_, err = v.Battery(t.Context())
		require.NoError(t, err)
		_, err = v.Battery(t.Context())
		require.ErrorIs(t, err, smartcar.ErrRateLimited)
		require.Empty(t, sim.BrokenWindows(smartcartest.ModelY))
	})
}

// A 401 in the middle of a keyless car's turn is sent once more, within it.
func TestARefusedTokenWithinATurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		v := onV3(t, sim).Vehicle(smartcartest.ModelY)
		_, err := v.Attributes(t.Context())
		require.NoError(t, err)
		sim.ExpireAppTokens()
		_, err = v.Battery(t.Context())
		require.NoError(t, err)
		_, err = v.Battery(t.Context())
		require.ErrorIs(t, err, smartcar.ErrRateLimited)
		require.Empty(t, sim.BrokenWindows(smartcartest.ModelY))
	})
}

// What says 401 inside an answer was asked for: it is not asked for again.
func TestA401InsideAnAnswerIsNoRefusedToken(t *testing.T) {
	const inside = `{"data":[{"id":"odometer-traveleddistance","attributes":{"status":{"value":"ERROR",
		"error":{"status":"401","type":"AUTHENTICATION","code":"UNAUTHORIZED"}}}},
		{"id":"connectivitystatus-isdigitalkeypaired","attributes":{"status":{"value":"SUCCESS"},"body":{"value":false}}}]}`
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		client, tap := tapped(t, sim)
		v := client.User(connect(t, sim, client).UserID).Vehicle(smartcartest.ModelY)
		tap.instead = func(r sentRequest) *http.Response {
			switch {
			case strings.Contains(r.path, "/signals"):
				return respond(200, inside)
			case strings.Contains(r.path, "/commands"):
				return respond(202, `{"errors":[{"status":"401","type":"AUTHENTICATION","code":"UNAUTHORIZED"}]}`)
			}
			return nil
		}
		_, err := v.Odometer(t.Context())
		require.ErrorIs(t, err, smartcar.ErrUnauthorized)
		require.Len(t, tap.to("/signals"), 1)
		_, err = v.Odometer(t.Context())
		require.ErrorIs(t, err, smartcar.ErrRateLimited, "the list was read, and with it the turn of a car without the key")
		_, err = v.Lock(t.Context())
		require.ErrorIs(t, err, smartcar.ErrUnauthorized)
		require.Len(t, tap.to("/commands"), 1)
		require.Equal(t, 1, sim.AppTokenRequests())
		require.NotErrorIs(t, err, smartcar.ErrReconnectRequired)
	})
}

// Nor does an item of a batch on v2.0, which was one turn of the car.
func TestA401InsideABatchIsNoRefusedToken(t *testing.T) {
	transport := newCanned(t).on(batchPath, jsonReply(200, `{"responses":[
		{"path":"/odometer","code":401,"body":{"type":"AUTHENTICATION","code":null,"statusCode":401}},
		{"path":"/battery","code":200,"body":{"percentRemaining":0.5}}]}`))
	snapshot, err := cannedVehicle(t, transport).Snapshot(t.Context(), smartcar.Odometer, smartcar.Battery)
	require.NoError(t, err)
	_, err = snapshot.Odometer()
	require.ErrorIs(t, err, smartcar.ErrUnauthorized)
	_, err = snapshot.Battery()
	require.NoError(t, err)
	require.Len(t, transport.requests(batchPath), 1)
	require.Empty(t, transport.requests(tokenPath))
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

// A new token was accepted only if Smartcar has answered a request with it. If the answer
// was lost, and the token is refused next, the credentials are at fault: no third token is
// asked for.
func TestALostAnswerAcceptsNoToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		minted, sent := 0, 0
		mock := httpmock.NewMockTransport()
		mock.RegisterResponder(http.MethodPost, "=~/oauth2/token$", func(*http.Request) (*http.Response, error) {
			minted++
			return httpmock.NewStringResponse(http.StatusOK, fmt.Sprintf(`{"access_token":"token-%d","token_type":"Bearer","expires_in":3600}`, minted)), nil
		})
		mock.RegisterNoResponder(func(*http.Request) (*http.Response, error) {
			if sent++; sent == 2 {
				return nil, syscall.ECONNRESET
			}
			return httpmock.NewStringResponse(http.StatusUnauthorized, `{}`), nil
		})
		client := apiClient(t, smartcartest.New(), smartcar.V3, smartcar.WithHTTPClient(&http.Client{Transport: mock}))
		_, err := client.User("user").Vehicle("car").Attributes(t.Context())
		require.ErrorIs(t, err, smartcar.ErrUnauthorized)
		require.GreaterOrEqual(t, sent, 3, "it was sent again after the lost answer")
		require.Equal(t, 2, minted)
	})
}
