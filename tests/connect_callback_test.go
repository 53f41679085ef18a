package smartcar_test

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"unicode"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/stretchr/testify/require"
)

// The longest secrets, and the longest of all other values, that a callback may
// have.
const (
	maxCallbackSecret = 512
	maxCallbackValue  = 4096
)

func callbackQuery(t *testing.T, query string) url.Values {
	t.Helper()
	values, err := url.ParseQuery(query)
	require.NoError(t, err)
	return values
}

// exchangedCode is the code that the client sends for a callback.
func exchangedCode(t *testing.T, callback *smartcar.Callback, state string) string {
	t.Helper()
	transport := newCanned(t).on(tokenPath, jsonReply(200, `{"access_token":"a","token_type":"Bearer","expires_in":7200,"refresh_token":"r"}`))
	_, err := cannedClient(t, transport).Connect().Exchange(t.Context(), callback, smartcar.Expected{State: state})
	require.NoError(t, err)
	form, err := url.ParseQuery(transport.requests(tokenPath)[0].body)
	require.NoError(t, err)
	return form.Get("code")
}

func TestCallbackOfAConnection(t *testing.T) {
	t.Parallel()
	got, err := smartcar.ParseCallback(callbackQuery(t, "code=90abecb6&state=0facda3319&user_id=725146a3&external_id=acct_42"+
		"&virtual_key_url=https%3A%2F%2Fwww.tesla.com%2F_ak%2Fsmartcar.com&something_new=1&something_new=2"))
	require.NoError(t, err)
	require.Equal(t, "725146a3", got.UserID)
	require.Equal(t, "acct_42", got.ExternalID)
	require.Empty(t, got.VehicleID)
	require.Equal(t, "https://www.tesla.com/_ak/smartcar.com", got.VirtualKeyURL.String())
	require.NoError(t, got.VirtualKeyErr)
	require.Nil(t, got.Err)
	require.True(t, got.HasCode())
	require.NoError(t, got.VerifyState("0facda3319"))
	require.Equal(t, "90abecb6", exchangedCode(t, got, "0facda3319"))
}

func TestCallbackNeedsOnlyOneUsefulParameter(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		query string
		check func(*testing.T, *smartcar.Callback)
	}{
		"code alone": {"code=c", func(t *testing.T, c *smartcar.Callback) { require.True(t, c.HasCode()) }},
		"user alone": {"user_id=u", func(t *testing.T, c *smartcar.Callback) {
			require.Equal(t, "u", c.UserID)
			require.False(t, c.HasCode())
		}},
		"user in the other spelling": {"userId=u", func(t *testing.T, c *smartcar.Callback) { require.Equal(t, "u", c.UserID) }},
		"user in both spellings":     {"userId=u&user_id=u", func(t *testing.T, c *smartcar.Callback) { require.Equal(t, "u", c.UserID) }},
		"user in one spelling, the other empty": {"userId=u&user_id=", func(t *testing.T, c *smartcar.Callback) {
			require.Equal(t, "u", c.UserID)
		}},
		"re-authenticated vehicle": {"vehicle_id=v&state=s", func(t *testing.T, c *smartcar.Callback) { require.Equal(t, "v", c.VehicleID) }},
		"error alone": {"error=server_error", func(t *testing.T, c *smartcar.Callback) {
			require.ErrorIs(t, c.Err, smartcar.ErrConnectServer)
		}},
		"virtual key URL without a value": {"code=c&virtual_key_url", func(t *testing.T, c *smartcar.Callback) {
			require.NoError(t, c.VirtualKeyErr)
			require.True(t, c.VirtualKeyURL.IsZero())
		}},
		"virtual key of an allowed domain": {"code=c&virtual_key_url=https://tesla.com/_ak/keys.example.com", func(t *testing.T, c *smartcar.Callback) {
			require.NoError(t, c.VirtualKeyErr)
			require.Equal(t, "keys.example.com", c.VirtualKeyURL.Domain())
		}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := smartcar.ParseCallback(callbackQuery(t, tt.query), "keys.example.com")
			require.NoError(t, err)
			tt.check(t, got)
		})
	}
}

func TestHostileVirtualKeyURLDoesNotCostTheConnection(t *testing.T) {
	t.Parallel()
	for name, link := range map[string]string{
		"foreign domain": "virtual_key_url=https%3A%2F%2Fwww.tesla.com%2F_ak%2Fevil.example",
		"foreign host":   "virtual_key_url=https%3A%2F%2Fevil.example%2F_ak%2Fsmartcar.com",
		"twice":          "virtual_key_url=https%3A%2F%2Fwww.tesla.com%2F_ak%2Fsmartcar.com&virtual_key_url=evil",
		"endless":        "virtual_key_url=" + strings.Repeat("evil", 5000),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := smartcar.ParseCallback(callbackQuery(t, "code=c&state=s&user_id=u&"+link))
			require.NoError(t, err)
			require.True(t, got.VirtualKeyURL.IsZero())
			require.ErrorIs(t, got.VirtualKeyErr, smartcar.ErrUntrustedVirtualKeyURL)
			require.NotContains(t, got.VirtualKeyErr.Error(), "evil")
			require.True(t, got.HasCode())
			require.Equal(t, "u", got.UserID)
		})
	}
}

func TestMalformedCallbackIsRefusedAndNotRepeated(t *testing.T) {
	t.Parallel()
	tests := map[string]struct{ query, parameter string }{
		"nothing":                  {"", ""},
		"state alone":              {"state=secret", ""},
		"external id alone":        {"external_id=secret", ""},
		"empty values":             {"code=&error=&user_id=&vehicle_id=", ""},
		"two codes":                {"code=secret&code=c", "code"},
		"the same code twice":      {"code=secret&code=secret", "code"},
		"two states":               {"code=c&state=secret&state=s", "state"},
		"two errors":               {"error=secret&error=access_denied", "error"},
		"two descriptions":         {"error=e&error_description=secret&error_description=d", "error_description"},
		"two years":                {"error=e&year=2020&year=2021", "year"},
		"two users":                {"user_id=secret&user_id=u", "user_id"},
		"two users in two ways":    {"user_id=secret&userId=u", "user_id"},
		"two vehicles":             {"vehicle_id=secret&vehicle_id=v", "vehicle_id"},
		"two external ids":         {"code=c&external_id=secret&external_id=x", "external_id"},
		"code and error":           {"code=secret&error=access_denied", "error"},
		"endless code":             {"code=secret" + strings.Repeat("x", maxCallbackSecret), "code"},
		"endless state":            {"code=c&state=secret" + strings.Repeat("x", maxCallbackSecret), "state"},
		"endless user":             {"user_id=secret" + strings.Repeat("x", maxCallbackValue), "user_id"},
		"endless description":      {"error=e&error_description=secret" + strings.Repeat("x", maxCallbackValue), "error_description"},
		"control character in id":  {"user_id=secret%0a", "user_id"},
		"code that is not UTF-8":   {"code=secret%ff", "code"},
		"state with a zero byte":   {"code=c&state=secret%00", "state"},
		"vehicle with a line feed": {"vehicle_id=secret%0d%0a", "vehicle_id"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := smartcar.ParseCallback(callbackQuery(t, tt.query))
			require.Nil(t, got)
			require.ErrorIs(t, err, smartcar.ErrMalformedCallback)
			var problem *smartcar.CallbackError
			require.ErrorAs(t, err, &problem)
			require.Equal(t, tt.parameter, problem.Parameter)
			require.NotEmpty(t, problem.Problem)
			require.NotContains(t, fmt.Sprintf("%v %+v %#v", err, err, err), "secret")
		})
	}
}

func TestCallbackOfTheGreatestLengthIsAccepted(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", maxCallbackSecret)
	got, err := smartcar.ParseCallback(url.Values{"code": {long}, "state": {long}, "user_id": {strings.Repeat("x", maxCallbackValue)}})
	require.NoError(t, err)
	require.NoError(t, got.VerifyState(long))
}

func TestMalformedCallbackErrorSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	_, err := smartcar.ParseCallback(nil)
	require.EqualError(t, err, "smartcar: malformed Connect callback: there is neither code, error, user_id nor vehicle_id")
	_, err = smartcar.ParseCallback(url.Values{"code": {"c", "c"}})
	require.EqualError(t, err, "smartcar: malformed Connect callback: code comes more than once")
}

func TestCallbackWithAWrongAllowListIsTheProgrammersMistake(t *testing.T) {
	t.Parallel()
	got, err := smartcar.ParseCallback(url.Values{"code": {"c"}}, "https://keys.example.com")
	require.Nil(t, got)
	requireArgumentError(t, err, "allowedKeyDomains")
	require.NotErrorIs(t, err, smartcar.ErrMalformedCallback)
}

func TestConnectErrorsMatchTheirSentinel(t *testing.T) {
	t.Parallel()
	sentinels := []error{
		smartcar.ErrAccessDenied, smartcar.ErrUserCancelled, smartcar.ErrVehicleIncompatible, smartcar.ErrInvalidSubscription,
		smartcar.ErrNoVehicles, smartcar.ErrConnectConfiguration, smartcar.ErrConnectServer,
	}
	for code, want := range map[string]error{
		"access_denied":                         smartcar.ErrAccessDenied,
		"user_manually_returned_to_application": smartcar.ErrUserCancelled,
		"user_cancelled":                        smartcar.ErrUserCancelled,
		"vehicle_incompatible":                  smartcar.ErrVehicleIncompatible,
		"invalid_subscription":                  smartcar.ErrInvalidSubscription,
		"no_vehicles":                           smartcar.ErrNoVehicles,
		"configuration_error":                   smartcar.ErrConnectConfiguration,
		"server_error":                          smartcar.ErrConnectServer,
		"something_new":                         nil,
	} {
		t.Run(code, func(t *testing.T) {
			t.Parallel()
			got, err := smartcar.ParseCallback(url.Values{"error": {code}, "state": {"s"}})
			require.NoError(t, err)
			require.NoError(t, got.VerifyState("s"))
			wrapped := fmt.Errorf("wrapped: %w", got.Err)
			for _, sentinel := range sentinels {
				require.Equal(t, errors.Is(sentinel, want), errors.Is(wrapped, sentinel), "%v", sentinel)
			}
			require.ErrorContains(t, got.Err, code)
		})
	}
}

func TestConnectErrorKeepsTheDetails(t *testing.T) {
	t.Parallel()
	got, err := smartcar.ParseCallback(callbackQuery(t, "error=vehicle_incompatible&error_description=The+user's+vehicle+is+not+compatible."+
		"&vin="+legacyVIN+"&make=TESLA&model=Model+X&year=2021"))
	require.NoError(t, err)
	require.Equal(t, &smartcar.ConnectError{
		Code: "vehicle_incompatible", Description: "The user's vehicle is not compatible.",
		VIN: legacyVIN, Make: "TESLA", Model: "Model X", Year: 2021,
	}, got.Err)
	require.EqualError(t, got.Err, `smartcar: Connect reported "vehicle_incompatible": "The user's vehicle is not compatible."`)

	got, err = smartcar.ParseCallback(callbackQuery(t, "error=configuration_error&status_code=400&error_message=bad+scope"))
	require.NoError(t, err)
	require.Equal(t, &smartcar.ConnectError{Code: "configuration_error", StatusCode: 400, Message: "bad scope"}, got.Err)
	require.EqualError(t, got.Err, `smartcar: Connect reported "configuration_error": "bad scope" (status 400)`)
}

func TestConnectErrorIgnoresNumbersThatAreNone(t *testing.T) {
	t.Parallel()
	for _, number := range []string{"", "soon", "2021.5", "99999999999999999999"} {
		got, err := smartcar.ParseCallback(url.Values{"error": {"e"}, "year": {number}, "status_code": {number}})
		require.NoError(t, err)
		require.Equal(t, &smartcar.ConnectError{Code: "e"}, got.Err, number)
	}
}

func TestConnectErrorTextIsSafeToLog(t *testing.T) {
	t.Parallel()
	hostile := "\x1b[31m\r\nlevel=ERROR forged\u202e\u0085\x00\xff" + strings.Repeat("ä", 3000)
	text := (&smartcar.ConnectError{Code: hostile, Description: hostile, Message: hostile, VIN: legacyVIN}).Error()
	require.NotContains(t, text, legacyVIN)
	require.Less(t, len(text), 2000)
	require.Equal(t, -1, strings.IndexFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }))
}

func TestOnlyTheExpectedStateIsVerified(t *testing.T) {
	t.Parallel()
	with, err := smartcar.ParseCallback(url.Values{"code": {"c"}, "state": {"expected"}})
	require.NoError(t, err)
	require.NoError(t, with.VerifyState("expected"))
	for _, expected := range []string{"", "other", "expecte", "expected2", "Expected"} {
		require.ErrorIs(t, with.VerifyState(expected), smartcar.ErrStateMismatch, expected)
	}

	without, err := smartcar.ParseCallback(url.Values{"code": {"c"}})
	require.NoError(t, err)
	require.ErrorIs(t, without.VerifyState("expected"), smartcar.ErrStateMismatch)
	require.ErrorIs(t, without.VerifyState(""), smartcar.ErrStateMismatch)

	var made smartcar.Callback
	require.ErrorIs(t, made.VerifyState(""), smartcar.ErrStateMismatch)
	require.False(t, made.HasCode())
}

func TestPrintingACallbackRevealsNoSecret(t *testing.T) {
	t.Parallel()
	callback, err := smartcar.ParseCallback(url.Values{"code": {"hush-code"}, "state": {"hush-state"}, "user_id": {"u"}})
	require.NoError(t, err)
	type nested struct {
		Exported   *smartcar.Callback
		unexported smartcar.Callback
		any        any
	}
	for _, value := range []any{
		callback, *callback, []*smartcar.Callback{callback}, []smartcar.Callback{*callback}, map[string]smartcar.Callback{"x": *callback},
		nested{callback, *callback, callback}, &nested{callback, *callback, *callback},
		fmt.Errorf("wrapped: %w", callback.VerifyState("other")),
	} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d", "%x"} {
			text := fmt.Sprintf(verb, value)
			require.NotContains(t, text, "hush", verb)
			require.NotContains(t, text, fmt.Sprintf("%x", "hush"), verb)
		}
	}
}
