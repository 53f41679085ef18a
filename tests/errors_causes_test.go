package smartcar_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
	"github.com/stretchr/testify/require"
)

// answering is the simulator with another answer on the paths that end in suffix.
func answering(sim *smartcartest.Server, status int, body, contentType string, suffixes ...string) http.RoundTripper {
	return roundTripFunc(func(r *http.Request) (*http.Response, error) {
		for _, suffix := range suffixes {
			if strings.HasSuffix(r.URL.Path, suffix) {
				return &http.Response{
					StatusCode: status, ContentLength: -1, Header: http.Header{"Content-Type": {contentType}},
					Body: io.NopCloser(strings.NewReader(body)),
				}, nil
			}
		}
		return sim.Transport().RoundTrip(r)
	})
}

// borderVehicle is a Model 3 with its key, over a transport, which begins to answer
// after the owner has connected.
func borderVehicle(t *testing.T, api smartcar.API, status int, body, contentType string, suffixes ...string) *smartcar.Vehicle {
	t.Helper()
	return borderVehicleOf(t, smartcartest.Model3, api, status, body, contentType, suffixes...)
}

func borderVehicleOf(t *testing.T, car string, api smartcar.API, status int, body, contentType string, suffixes ...string) *smartcar.Vehicle {
	t.Helper()
	sim := smartcartest.New()
	transport := sim.Transport()
	through := roundTripFunc(func(r *http.Request) (*http.Response, error) { return transport.RoundTrip(r) })
	client := borderClient(t, sim, api, through, onceOnly())
	grant, err := borderConnect(t, sim, client)
	require.NoError(t, err)
	transport = answering(sim, status, body, contentType, suffixes...)
	return client.User(grant.UserID).Vehicle(car)
}

// The shapes in which an error can be the body of a success, with what it is.
var errorsInside = map[string]struct {
	body   string
	target error
}{
	"flat":             {`{"type":"VEHICLE_STATE","code":"ASLEEP","description":"zzz","statusCode":409,"requestId":"r"}`, smartcar.ErrAsleep},
	"flat, no status":  {`{"type":"VEHICLE_STATE","code":"ASLEEP","description":"zzz"}`, smartcar.ErrAsleep},
	"flat, null code":  {`{"type":"PERMISSION","code":null,"description":"no","statusCode":403}`, smartcar.ErrPermission},
	"flat, new type":   {`{"type":"BRAND_NEW","code":"X","statusCode":409}`, nil},
	"error, an object": {`{"error":{"type":"COMPATIBILITY","code":"VEHICLE_NOT_CAPABLE","detail":"never"}}`, smartcar.ErrNotSupported},
	"error, a text":    {`{"error":"server_error","message":"sorry"}`, nil},
	"errors":           {`{"errors":[{"type":"RATE_LIMIT","code":"VEHICLE","status":"429"}]}`, smartcar.ErrRateLimited},
	"errors and data":  {`{"data":[],"errors":[{"type":"UPSTREAM","code":"NO_RESPONSE"}]}`, smartcar.ErrUnavailable},
	"null data":        {`{"data":null,"errors":[{"type":"CONNECTED_SERVICES_ACCOUNT","code":"VIRTUAL_KEY_REQUIRED"}]}`, smartcar.ErrVirtualKeyRequired},
	"spaces around":    {" \n {\t\"type\" : \"VEHICLE_STATE\" , \"code\":\"ASLEEP\"}\n", smartcar.ErrAsleep},
}

func TestSuccessWhoseBodyIsAnErrorIsOne(t *testing.T) {
	t.Parallel()
	reads := map[string]func(*testing.T, *smartcar.Vehicle) error{
		"battery":    func(t *testing.T, v *smartcar.Vehicle) error { _, err := v.Battery(t.Context()); return err },
		"lock":       func(t *testing.T, v *smartcar.Vehicle) error { _, err := v.LockStatus(t.Context()); return err },
		"attributes": func(t *testing.T, v *smartcar.Vehicle) error { _, err := v.Attributes(t.Context()); return err },
		"vin":        func(t *testing.T, v *smartcar.Vehicle) error { _, err := v.VIN(t.Context()); return err },
		"service": func(t *testing.T, v *smartcar.Vehicle) error {
			_, err := v.ServiceHistory(t.Context(), time.Time{}, time.Time{})
			return err
		},
		"lock it": func(t *testing.T, v *smartcar.Vehicle) error { _, err := v.Lock(t.Context()); return err },
		"limit":   func(t *testing.T, v *smartcar.Vehicle) error { _, err := v.SetChargeLimit(t.Context(), 80); return err },
		"snapshot": func(t *testing.T, v *smartcar.Vehicle) error {
			_, err := v.Snapshot(t.Context(), smartcar.Battery, smartcar.Odometer)
			return err
		},
	}
	suffixes := []string{
		"/battery", "/security", "/vin", "/history", "/charge/limit", "/batch", "/signals", "/lock", "/set-limit", "/" + smartcartest.Model3,
	}
	for _, api := range []smartcar.API{smartcar.V2, smartcar.V3} {
		for shape, tt := range errorsInside {
			for name, read := range reads {
				t.Run(fmt.Sprintf("%s %s %s", api, shape, name), func(t *testing.T) {
					t.Parallel()
					v := borderVehicle(t, api, 200, tt.body, "application/json", suffixes...)
					err := read(t, v)
					require.Error(t, err)
					e := borderError(t, err)
					require.NotEmpty(t, e.Type+e.Code, err)
					require.NotErrorIs(t, err, smartcar.ErrUnexpectedAnswer)
					if tt.target != nil {
						require.ErrorIs(t, err, tt.target)
					}
				})
			}
		}
	}
}

// An item of a batch says of itself that it succeeded, and its body that it did not.
func TestItemWhoseBodyIsAnErrorIsOne(t *testing.T) {
	t.Parallel()
	for shape, tt := range errorsInside {
		body := `{"responses":[{"path":"/battery","code":200,"body":` + tt.body + `},{"path":"/odometer","code":200,"body":{"distance":5}}]}`
		v := borderVehicle(t, smartcar.V2, 200, body, "application/json", "/batch")
		s, err := v.Snapshot(t.Context(), smartcar.Battery, smartcar.Odometer)
		require.NoError(t, err, shape)
		_, err = s.Battery()
		require.Error(t, err, shape)
		if tt.target != nil {
			require.ErrorIs(t, err, tt.target, shape)
		}
		odometer, err := s.Odometer()
		require.NoError(t, err, shape)
		require.InDelta(t, 5, *odometer.Distance, 0)
	}
}

// What only looks a little like an error is an answer.
func TestAnswersThatLookLikeErrorsAreNone(t *testing.T) {
	t.Parallel()
	for body, suffix := range map[string]string{
		`{"percentRemaining":0.5,"error":null}`:                        "/battery",
		`{"percentRemaining":0.5,"errors":[]}`:                         "/battery",
		`{"percentRemaining":0.5,"error":"","type":""}`:                "/battery",
		`{"percentRemaining":0.5,"type":"LITHIUM"}`:                    "/battery",
		`{"percentRemaining":0.5,"code":5,"message":"ok"}`:             "/battery",
		`{"percentRemaining":0.5,"note":"\"type\":\"VEHICLE_STATE\""}`: "/battery",
	} {
		battery, err := borderVehicle(t, smartcar.V2, 200, body, "application/json", suffix).Battery(t.Context())
		require.NoError(t, err, body)
		require.InDelta(t, 50, *battery.Percent, 0)
	}
	const signal = `{"id":"odometer-traveleddistance","attributes":{"code":"odometer-traveleddistance","status":{"value":"SUCCESS"},"body":{"value":5,"unit":"km"}}}`
	for _, body := range []string{
		`{"data":[` + signal + `],"errors":[{"type":"SERVER","code":"INTERNAL"}]}`,
		`{"errors":[{"type":"SERVER","code":"INTERNAL"}],"data":[` + signal + `]}`,
		`{"code":"odometer-traveleddistance","type":"SERVER","status":{"value":"SUCCESS"},"body":{"value":5,"unit":"km"}}`,
	} {
		odometer, err := borderVehicle(t, smartcar.V3, 200, body, "application/json", "/signals").Odometer(t.Context())
		require.NoError(t, err, body)
		require.InDelta(t, 5, *odometer.Distance, 0)
	}
}

// A command of API v2.0 that was accepted and did not work, as case 1 has it.
func TestCommandThatDidNotSucceedIsAnError(t *testing.T) {
	t.Parallel()
	for status, works := range map[string]bool{
		"success": true, "SUCCESS": true, "Success": true, "failure": false, "error": false, "pending": false, "welcome": false,
	} {
		v := borderVehicle(t, smartcar.V2, 200, `{"status":"`+status+`","message":"Vehicle did not respond"}`, "application/json", "/security")
		_, err := v.Lock(t.Context())
		if works {
			require.NoError(t, err)
			continue
		}
		require.Error(t, err, status)
		require.True(t, smartcar.MayHaveSucceeded(err), status)
		require.False(t, smartcar.Retryable(err), status)
		require.ErrorContains(t, err, "Vehicle did not respond")
	}
}

// Case 16: the text that is meant is shown.
func TestDescriptionThatIsDeprecatedIsNotShown(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]string{
		`{"detail":"The car is not charging.","description":"Deprecated. Use detail"}`:      "The car is not charging.",
		`{"detail":"The car is not charging.","description":"DEPRECATED: use 'detail'"}`:    "The car is not charging.",
		`{"description":"This field is deprecated","title":"Not Charging"}`:                 "Not Charging",
		`{"description":"Deprecated. Use detail","detail":null,"message":"Not charging"}`:   "Not charging",
		`{"description":"This version is deprecated"}`:                                      "This version is deprecated",
		`{"description":"Deprecated. Use detail","detail":[{"field":["a"],"message":"b"}]}`: "Deprecated. Use detail",
		`{"detail":"The car is not charging.","description":"An older text"}`:               "The car is not charging.",
		`{"description":"The text of a webhook"}`:                                           "The text of a webhook",
	} {
		v := borderVehicle(t, smartcar.V2, 409, body, "application/json", "/battery")
		_, err := v.Battery(t.Context())
		require.Equal(t, want, borderError(t, err).Description, body)
		v = borderVehicle(t, smartcar.V3, 200, `{"data":[{"id":"odometer-traveleddistance","attributes":{"code":"odometer-traveleddistance",`+
			`"status":{"value":"ERROR","error":`+body+`}}}]}`, "application/json", "/signals")
		_, err = v.Odometer(t.Context())
		require.Equal(t, want, borderError(t, err).Description, body)
	}
}

// The texts of errors name the cause.
func TestTextsOfErrorsNameTheCause(t *testing.T) {
	t.Parallel()
	for _, api := range []smartcar.API{smartcar.V2, smartcar.V3} {
		for _, status := range []int{500, 502, 503, 504, 520} {
			v := borderVehicle(t, api, status, "<html>bad gateway</html>", "text/html", "/battery", "/signals")
			_, err := v.Battery(t.Context())
			require.ErrorIs(t, err, smartcar.ErrUnavailable)
			require.ErrorContains(t, err, fmt.Sprintf("%d unavailable", status))
			require.NotContains(t, err.Error(), "unexpected")
		}
		v := borderVehicle(t, api, 429, "slow down", "text/plain", "/battery", "/signals")
		_, err := v.Battery(t.Context())
		require.ErrorContains(t, err, "or so it seems: a 429 came that does not say what it limits")
		typed := borderVehicle(t, api, 429, `{"type":"RATE_LIMIT","code":"SMARTCAR_API"}`, "application/json", "/battery", "/signals")
		_, err = typed.Battery(t.Context())
		require.NotContains(t, err.Error(), "seems")
	}
	v := borderVehicle(t, smartcar.V2, 200, "{}", "application/json")
	_, err := v.SetChargeLimit(t.Context(), 0.8)
	require.ErrorContains(t, err, "50 to 100 percent, such as 80, not a fraction")
	for op, want := range map[smartcar.Operation]string{
		smartcar.Lock: "lock is a command", smartcar.SetChargeLimit: "set-charge-limit is a command", "nonsense": "one of the operations is unknown",
	} {
		_, err = v.Snapshot(t.Context(), smartcar.Battery, op)
		require.ErrorIs(t, err, smartcar.ErrInvalidArgument)
		require.ErrorContains(t, err, want)
		for _, err := range v.Watch(t.Context(), op) {
			require.ErrorContains(t, err, want)
			break
		}
	}
	_, err = smartcar.NewWebhookVerifier("good", "")
	require.ErrorContains(t, err, "webhook secrets: have an empty one among them")
	away := &smartcar.RateLimitError{Operation: smartcar.Battery, Rule: smartcar.RuleStore, Err: errors.New("smartcar: store failed: connection refused")}
	require.ErrorContains(t, away, "store failed: connection refused")
}

// Whatever the client had to ask first, an error names what the caller asked for,
// and does not blame a token that is known to be good.
func TestErrorsNameTheOperationThatWasAskedFor(t *testing.T) {
	t.Parallel()
	for _, api := range []smartcar.API{smartcar.V2, smartcar.V3} {
		sim := smartcartest.New()
		client := borderClient(t, sim, api, sim.Transport(), onceOnly())
		grant, err := borderConnect(t, sim, client)
		require.NoError(t, err)
		v := client.User(grant.UserID).Vehicle("11111111-2222-4333-8444-555555555555")
		ask := map[string]func() error{
			"battery":    func() error { _, err := v.Battery(t.Context()); return err },
			"snapshot":   func() error { _, err := v.Snapshot(t.Context(), smartcar.Fuel); return err },
			"lock":       func() error { _, err := v.Lock(t.Context()); return err },
			"access":     func() error { _, err := v.Access(t.Context()); return err },
			"key-status": func() error { _, err := v.KeyStatus(t.Context()); return err },
		}
		for range 2 { // the second time, no token is renewed
			for name, call := range ask {
				err := call()
				require.ErrorContains(t, err, "smartcar: "+name+": ", api)
				require.EqualValues(t, name, borderError(t, err).Operation)
				require.NotContains(t, err.Error(), "malformed")
				if api == smartcar.V2 {
					require.ErrorIs(t, err, smartcar.ErrUnauthorized)
					require.ErrorContains(t, err, "does not reach this vehicle")
				}
			}
		}
	}
}

// The owner's car is of a make that the application is not enabled for: neither the
// owner nor another run of Connect can help, so the text says which make it is.
func TestApplicationThatIsNotEnabledForAMake(t *testing.T) {
	t.Parallel()
	for _, status := range []int{400, 401, 403} {
		sim := smartcartest.New()
		const body = `{"error":"unauthorized_client","error_description":"Application not authorized to requested make(s): SEAT"}`
		client := borderClient(t, sim, smartcar.V2, answering(sim, status, body, "application/json", "/oauth/token"))
		_, err := borderConnect(t, sim, client)
		require.ErrorIs(t, err, smartcar.ErrUnauthorized)
		require.NotErrorIs(t, err, smartcar.ErrReconnectRequired)
		require.NotErrorIs(t, err, smartcar.ErrUnavailable)
		require.False(t, smartcar.Retryable(err))
		require.Equal(t, "unauthorized_client", borderError(t, err).Code)
		require.ErrorContains(t, err, "SEAT")
	}
}
