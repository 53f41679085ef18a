package smartcar_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/stretchr/testify/require"
)

func TestErrorFixtures(t *testing.T) {
	for _, name := range fixtureNames(t, "v2/errors") {
		t.Run(name, func(t *testing.T) {
			f := readFixture(t, "v2/errors/"+name)
			require.NotNil(t, f.Want)
			err := failedRead(t, f)
			var e *smartcar.Error
			require.ErrorAs(t, err, &e)
			require.Equal(t, f.Want.Type, e.Type)
			require.Equal(t, f.Want.Code, e.Code)
			require.Equal(t, f.Want.StatusCode, e.StatusCode)
			require.Equal(t, f.Want.RequestID, e.RequestID)
			require.Equal(t, f.Want.ResolutionType, e.Resolution.Type)
			require.Equal(t, f.Want.ResolutionURL, e.Resolution.URL)
			require.Equal(t, f.Want.Retryable, smartcar.Retryable(err), "retryable")
			require.NotEmpty(t, e.Operation)
			var wait time.Duration
			if s := f.Want.RetryAfterSeconds; s != nil {
				wait = time.Duration(*s * float64(time.Second))
			}
			require.Equal(t, wait, e.RetryAfter)
			require.False(t, smartcar.MayHaveSucceeded(err), "a read changes nothing")
			require.Contains(t, e.Error(), f.Want.Code)
		})
	}
}

// What a developer needs to see is kept, and readable.
func TestErrorKeepsEverythingSmartcarSaid(t *testing.T) {
	err := failedRead(t, readFixture(t, "v2/errors/validation.null"))
	var e *smartcar.Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, []smartcar.FieldProblem{{Field: []string{"requests"}, Message: `"requests" is required`}}, e.Detail)
	require.Equal(t, "https://smartcar.com/docs/errors/api-errors/validation-errors#null", e.DocURL)
	require.NotEmpty(t, e.Description)

	err = failedRead(t, readFixture(t, "v2/errors/rate-limit.vehicle"))
	require.ErrorAs(t, err, &e)
	require.Contains(t, e.SuggestedUserMessage, "Example App")
}

func sentinels() map[string]error {
	return map[string]error{
		"InvalidArgument": smartcar.ErrInvalidArgument, "NotConnected": smartcar.ErrNotConnected,
		"ReconnectRequired": smartcar.ErrReconnectRequired, "Reauthenticate": smartcar.ErrReauthenticate,
		"VirtualKeyRequired": smartcar.ErrVirtualKeyRequired, "RateLimited": smartcar.ErrRateLimited,
		"Permission": smartcar.ErrPermission, "Unauthorized": smartcar.ErrUnauthorized, "VehicleState": smartcar.ErrVehicleState,
		"Asleep": smartcar.ErrAsleep, "NotSupported": smartcar.ErrNotSupported, "Billing": smartcar.ErrBilling,
		"NotFound": smartcar.ErrNotFound, "Validation": smartcar.ErrValidation, "Unavailable": smartcar.ErrUnavailable,
		"UnexpectedAnswer": smartcar.ErrUnexpectedAnswer, "Store": smartcar.ErrStore, "NotRequested": smartcar.ErrNotRequested,
	}
}

// Which sentinels match what: all that are named, and no other.
func TestSentinelsMatchByTypeAndCode(t *testing.T) {
	for name, want := range map[string][]string{
		"authentication.null":                                           {"Unauthorized"},
		"billing.account-suspended":                                     {"Billing"},
		"billing.vehicle-request-limit":                                 {"Billing", "RateLimited"},
		"status-430-empty":                                              {"Billing", "UnexpectedAnswer"},
		"compatibility.make-not-compatible":                             {"NotSupported"},
		"compatibility.platform-not-capable":                            {"NotSupported", "Reauthenticate"},
		"compatibility.smartcar-not-capable":                            {"NotSupported"},
		"compatibility.vehicle-not-capable":                             {"NotSupported"},
		"connected-services-account.account-issue":                      {},
		"connected-services-account.authentication-failed":              {"Reauthenticate"},
		"connected-services-account.no-vehicles":                        {},
		"connected-services-account.permission":                         {"Reauthenticate"},
		"connected-services-account.subscription":                       {},
		"connected-services-account.vehicle-missing":                    {},
		"connected-services-account.virtual-key-required":               {"VirtualKeyRequired"},
		"connected-services-account.virtual-key-required.custom-domain": {"VirtualKeyRequired"},
		"permission.null":                                               {"Permission"},
		"code-missing":                                                  {"Permission"},
		"resolution-string":                                             {"Permission"},
		"rate-limit.smartcar-api":                                       {"RateLimited"},
		"rate-limit.vehicle":                                            {"RateLimited"},
		"upstream.rate-limit":                                           {"RateLimited", "Unavailable"},
		"upstream.rate-limit.status-429":                                {"RateLimited", "Unavailable"},
		"resource-not-found.path":                                       {"NotFound"},
		"resource-not-found.version":                                    {"NotFound"},
		"server.internal":                                               {"Unavailable"},
		"server.record-not-found":                                       {},
		"server.multiple-records-found":                                 {},
		"upstream.no-response":                                          {"Unavailable"},
		"upstream.invalid-data":                                         {"Unavailable"},
		"unknown-code":                                                  {"Unavailable"},
		"unknown-type":                                                  {},
		"validation.null":                                               {"Validation"},
		"validation.parameter":                                          {"Validation"},
		"vehicle-state.asleep":                                          {"VehicleState", "Asleep"},
		"vehicle-state.in-motion":                                       {"VehicleState"},
		"vehicle-state.unreachable":                                     {"VehicleState"},
		"html-403":                                                      {"UnexpectedAnswer"},
		"html-502":                                                      {"UnexpectedAnswer", "Unavailable"},
		"truncated":                                                     {"UnexpectedAnswer", "Unavailable"},
		"empty-body-500":                                                {"UnexpectedAnswer", "Unavailable"},
		"body-array-502":                                                {"UnexpectedAnswer", "Unavailable"},
		"oauth-invalid-grant":                                           {"ReconnectRequired"},
		"oauth-no-description":                                          {"ReconnectRequired"},
		"oauth-invalid-client":                                          {"Unauthorized"},
		"oauth-invalid-request":                                         {},
		"connected-services-account.vehicle-missing.not-owner":          {},
	} {
		t.Run(name, func(t *testing.T) {
			err := fmt.Errorf("job 7: %w", failedRead(t, readFixture(t, "v2/errors/"+name)))
			got := []string{}
			for sentinel, target := range sentinels() {
				if errors.Is(err, target) {
					got = append(got, sentinel)
				}
			}
			require.ElementsMatch(t, want, got)
		})
	}
}

// The types that say what to do come with the answer they stand for.
func TestErrorsThatNameTheRemedy(t *testing.T) {
	err := failedRead(t, readFixture(t, "v2/errors/rate-limit.vehicle"))
	var limited *smartcar.RateLimitError
	require.ErrorAs(t, err, &limited)
	require.False(t, limited.Local)
	require.Equal(t, smartcar.RuleServer, limited.Rule)
	require.Equal(t, fixtureTime.Add(10*time.Minute), limited.NextAllowed.UTC())

	err = failedRead(t, readFixture(t, "v2/errors/rate-limit.smartcar-api"))
	require.ErrorAs(t, err, &limited)
	require.Equal(t, smartcar.RuleApplication, limited.Rule)
	require.Empty(t, limited.VehicleID)
	require.True(t, limited.NextAllowed.After(fixtureTime))

	err = failedRead(t, readFixture(t, "v2/errors/connected-services-account.virtual-key-required.custom-domain"))
	var key *smartcar.VirtualKeyRequiredError
	require.ErrorAs(t, err, &key)
	require.Equal(t, "https://www.tesla.com/_ak/example.app.car", key.URL.String())
	require.Equal(t, fixtureVehicle, key.VehicleID)
}

// The status of the HTTP answer cannot be hidden by a number in its body that
// is no error status.
func TestErrorStatusIsThatOfTheAnswer(t *testing.T) {
	for _, body := range []string{`{"status":1,"message":"Bad Gateway"}`, `{"statusCode":200}`, `{"status":0}`, `{"status":"error"}`, `{"statusCode":-5}`} {
		_, err := cannedVehicle(t, newCanned(t).on(odometerPath, jsonReply(502, body))).Odometer(t.Context())
		var e *smartcar.Error
		require.ErrorAs(t, err, &e)
		require.Equal(t, 502, e.StatusCode, body)
		require.ErrorIs(t, err, smartcar.ErrUnavailable, body)
		require.True(t, smartcar.Retryable(err), body)
	}
}

// Whatever the other side writes, an error is one line that a terminal can bear.
func TestErrorTextIsPrintable(t *testing.T) {
	hostile := "a\r\nb\x1b[31m\u009b31m\u2028c\x00" + strings.Repeat("long ", 10_000)
	body, err := json.Marshal(map[string]string{"type": hostile, "code": hostile, "description": hostile, "requestId": hostile})
	require.NoError(t, err)
	for _, status := range []int{302, 400, 409, 429, 500} {
		_, err = cannedVehicle(t, newCanned(t).on(odometerPath, jsonReply(status, string(body)))).Odometer(t.Context())
		require.Error(t, err)
		require.Less(t, len(err.Error()), 2000)
		for _, r := range err.Error() {
			require.False(t, unicode.IsControl(r) || r == '\u2028', "%q", r)
		}
	}
}

// Errors of the package begin with its name, once.
func TestErrorTextNamesThePackageOnce(t *testing.T) {
	for _, name := range fixtureNames(t, "v2/errors") {
		text := failedRead(t, readFixture(t, "v2/errors/"+name)).Error()
		require.True(t, strings.HasPrefix(text, "smartcar: "), text)
		require.LessOrEqual(t, strings.Count(text, "smartcar: "), 2, text) // PendingGrantError quotes one
	}
}

func TestRetryAfter(t *testing.T) {
	const week = 7 * 24 * time.Hour
	for value, want := range map[string]time.Duration{
		"":                               0,
		"0":                              0,
		"120":                            2 * time.Minute,
		" 120 ":                          2 * time.Minute,
		"0.5":                            500 * time.Millisecond,
		"1e2":                            100 * time.Second,
		"NaN":                            0,
		"nan":                            0,
		"-1":                             0,
		"-Inf":                           0,
		"Infinity":                       0,
		"inf":                            0,
		"2026-11-23T09:25:04Z":           10 * time.Minute,
		"2026-11-23T10:25:04.000+01:00":  10 * time.Minute,
		"soon":                           0,
		"12 seconds":                     0,
		"60497":                          60497 * time.Second,
		"604800":                         week,
		"31536000":                       week, // a year
		"999999999999999999999":          week,
		"Mon, 23 Nov 2026 09:25:04 GMT":  10 * time.Minute,
		"Monday, 23-Nov-26 09:25:04 GMT": 10 * time.Minute,
		"Mon, 23 Nov 2026 09:05:04 GMT":  0,    // in the past
		"Thu, 23 Nov 2028 09:05:04 GMT":  week, // in two years
		"1795425904":                     10 * time.Minute,
		"1795425904000":                  10 * time.Minute,
		"1795424904":                     0, // in the past
	} {
		t.Run(value, func(t *testing.T) {
			r := jsonReply(503, `{}`)
			if value != "" {
				r.headers["Retry-After"] = value
			}
			_, err := cannedVehicle(t, newCanned(t).on(odometerPath, r)).Odometer(t.Context())
			var e *smartcar.Error
			require.ErrorAs(t, err, &e)
			require.Equal(t, want, e.RetryAfter)
		})
	}
}

// waiting is a transport that answers nothing until the request ends.
type waiting struct {
	*canned
	path string
}

func (w waiting) RoundTrip(req *http.Request) (*http.Response, error) {
	if !strings.HasSuffix(req.URL.Path, w.path) {
		return w.canned.RoundTrip(req)
	}
	<-req.Context().Done()
	return nil, req.Context().Err()
}

// However a context ends, and whatever cause it names, errors.Is knows why.
func TestContextErrorsAreRecognized(t *testing.T) {
	mine := errors.New("the user closed the page")
	for name, tt := range map[string]struct {
		end  func(context.Context) context.Context // after a second
		want []error
	}{
		"canceled": {func(ctx context.Context) context.Context {
			ctx, cancel := context.WithCancel(ctx)
			time.AfterFunc(time.Second, cancel)
			return ctx
		}, []error{context.Canceled}},
		"deadline": {func(ctx context.Context) context.Context {
			ctx, cancel := context.WithTimeout(ctx, time.Second)
			context.AfterFunc(ctx, cancel)
			return ctx
		}, []error{context.DeadlineExceeded}},
		"canceled with a cause": {func(ctx context.Context) context.Context {
			ctx, cancel := context.WithCancelCause(ctx)
			time.AfterFunc(time.Second, func() { cancel(mine) })
			return ctx
		}, []error{context.Canceled, mine}},
		"deadline with a cause": {func(ctx context.Context) context.Context {
			ctx, cancel := context.WithTimeoutCause(ctx, time.Second, mine)
			context.AfterFunc(ctx, cancel)
			return ctx
		}, []error{context.DeadlineExceeded, mine}},
	} {
		for _, sent := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, sent: %t", name, sent), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					v := cannedVehicle(t, waiting{newCanned(t), "/security"})
					ctx := tt.end(t.Context())
					if !sent {
						<-ctx.Done()
					}
					_, err := v.Lock(ctx)
					for _, want := range tt.want {
						require.ErrorIs(t, err, want)
					}
					for _, other := range []error{context.Canceled, context.DeadlineExceeded} {
						if !errors.Is(ctx.Err(), other) {
							require.NotErrorIs(t, err, other)
						}
					}
					require.False(t, smartcar.Retryable(err))
					require.Equal(t, sent, smartcar.MayHaveSucceeded(err))
				})
			})
		}
	}
}

// The client's own time limit is a deadline too, and a command may have run.
func TestTimeoutOfARequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := cannedVehicle(t, waiting{newCanned(t), "/security"}, smartcar.WithTimeout(time.Minute))
		began := time.Now()
		_, err := v.Lock(t.Context())
		require.Equal(t, time.Minute, time.Since(began))
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.NotErrorIs(t, err, context.Canceled)
		require.True(t, smartcar.MayHaveSucceeded(err))
	})
}
