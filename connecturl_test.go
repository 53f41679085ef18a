package smartcar

import (
	"maps"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/seed-498a1bc4/smartcar/internal/connectstate"
	"github.com/stretchr/testify/require"
)

const (
	connectTestState = "STATE234567"
	streamingVIN     = "5YJ3E1EA7KF000001" // Model 3
)

var connectTestApp = appIdentity{clientID: "client-1", redirectURL: "https://app.example/callback?tab=1"}

func connectTestOrigin(t *testing.T) *url.URL {
	t.Helper()
	origin, err := url.Parse("https://connect.smartcar.com")
	require.NoError(t, err)
	return origin
}

func TestAuthorizeURL(t *testing.T) {
	t.Parallel()
	const start = "https://connect.smartcar.com/oauth/authorize?"
	const back = "redirect_uri=https%3A%2F%2Fapp.example%2Fcallback%3Ftab%3D1"
	tests := map[string]struct {
		app     appIdentity
		options ConnectOptions
		want    string
	}{
		"nothing but the application": {
			app:  connectTestApp,
			want: start + "client_id=client-1&" + back + "&response_type=code&state=STATE234567",
		},
		"every option": {
			app: connectTestApp,
			options: ConnectOptions{
				Scope:           []string{"read_battery", Required("read_odometer")},
				Mode:            ModeSimulated,
				ForceApproval:   true,
				Make:            "tesla",
				SingleSelect:    true,
				SingleSelectVIN: streamingVIN,
				Country:         "za",
				Flags:           map[string]string{"color": "00819D", "zoo": "true"},
				User:            "user 1",
				ExternalID:      "acct_42&x",
				RedirectURL:     "https://app.example/other",
			},
			want: start + "approval_prompt=force&client_id=client-1&external_id=acct_42%26x&flags=color%3A00819D+country%3AZA+zoo%3Atrue" +
				"&make=TESLA&mode=simulated&redirect_uri=https%3A%2F%2Fapp.example%2Fother&response_type=code" +
				"&scope=read_battery+required%3Aread_odometer&single_select=true&single_select_vin=" + streamingVIN + "&state=STATE234567&user=user+1",
		},
		"the application id goes before the client id": {
			app:  appIdentity{clientID: "client-1", applicationID: "application-1", redirectURL: connectTestApp.redirectURL},
			want: start + "application_id=application-1&" + back + "&response_type=code&state=STATE234567",
		},
		"no authorization code": {
			app:  appIdentity{applicationID: "application-1", redirectURL: connectTestApp.redirectURL, responseType: responseNone},
			want: start + "application_id=application-1&" + back + "&response_type=none&state=STATE234567",
		},
		"a VIN implies the choice of one vehicle": {
			app:     connectTestApp,
			options: ConnectOptions{SingleSelectVIN: " " + strings.ToLower(streamingVIN)},
			want:    start + "client_id=client-1&" + back + "&response_type=code&single_select=true&single_select_vin=" + streamingVIN + "&state=STATE234567",
		},
		"one vehicle": {
			app:     connectTestApp,
			options: ConnectOptions{SingleSelect: true},
			want:    start + "client_id=client-1&" + back + "&response_type=code&single_select=true&state=STATE234567",
		},
		"the external id is removed": {
			app:     connectTestApp,
			options: ConnectOptions{ClearExternalID: true},
			want:    start + "client_id=client-1&external_id=null&" + back + "&response_type=code&state=STATE234567",
		},
		"flags without a country": {
			app:     connectTestApp,
			options: ConnectOptions{Flags: map[string]string{"b": "2", "a": "1"}},
			want:    start + "client_id=client-1&flags=a%3A1+b%3A2&" + back + "&response_type=code&state=STATE234567",
		},
		"a country without flags": {
			app:     connectTestApp,
			options: ConnectOptions{Country: "GB"},
			want:    start + "client_id=client-1&flags=country%3AGB&" + back + "&response_type=code&state=STATE234567",
		},
		"a mobile application": {
			app:     connectTestApp,
			options: ConnectOptions{RedirectURL: "sc8229df9f-91a0-4ff0-a1ae-a1f38ee24d07://exchange"},
			want:    start + "client_id=client-1&redirect_uri=sc8229df9f-91a0-4ff0-a1ae-a1f38ee24d07%3A%2F%2Fexchange&response_type=code&state=STATE234567",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := authorizeURL(connectTestOrigin(t), tt.app, tt.options, connectTestState)
			require.NoError(t, err)
			require.Equal(t, tt.want, got)
		})
	}
}

func TestAuthorizeURLWithoutReturnNeedsNoState(t *testing.T) {
	t.Parallel()
	app := appIdentity{applicationID: "application-1", responseType: responseNone}
	got, err := authorizeURL(connectTestOrigin(t), app, ConnectOptions{}, "")
	require.NoError(t, err)
	require.Equal(t, "https://connect.smartcar.com/oauth/authorize?application_id=application-1&response_type=none", got)
}

func TestConnectURLsStayBelowTheBasePathOfTheOrigin(t *testing.T) {
	t.Parallel()
	origin, err := url.Parse("http://127.0.0.1:8080/base/path/")
	require.NoError(t, err)

	authorize, err := authorizeURL(origin, connectTestApp, ConnectOptions{}, connectTestState)
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(authorize, "http://127.0.0.1:8080/base/path/oauth/authorize?"), authorize)

	reauth, err := reauthenticateURL(origin, connectTestApp, ReauthOptions{VehicleID: "v"}, connectTestState)
	require.NoError(t, err)
	completed, err := completeURL(origin, reauth, "https://app.example/cb", connectTestState)
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(completed, "http://127.0.0.1:8080/base/path/oauth/reauthenticate?"), completed)

	require.Equal(t, "http://127.0.0.1:8080/base/path/", origin.String(), "the origin keeps its value")
}

func TestConnectOptionsThatMakeNoSenseAreRefused(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		options  ConnectOptions
		argument string
	}{
		"unknown mode":                    {ConnectOptions{Mode: "secret"}, "ConnectOptions.Mode"},
		"empty scope entry":               {ConnectOptions{Scope: []string{"read_vin", ""}}, "ConnectOptions.Scope"},
		"scope entry with a space":        {ConnectOptions{Scope: []string{"read_vin secret"}}, "ConnectOptions.Scope"},
		"scope entry with a delete":       {ConnectOptions{Scope: []string{"read_vin\x7f"}}, "ConnectOptions.Scope"},
		"nothing required":                {ConnectOptions{Scope: []string{Required("")}}, "ConnectOptions.Scope"},
		"make with a space":               {ConnectOptions{Make: "LAND secret"}, "ConnectOptions.Make"},
		"short VIN":                       {ConnectOptions{SingleSelectVIN: "secret"}, "ConnectOptions.SingleSelectVIN"},
		"VIN with the letter O":           {ConnectOptions{SingleSelectVIN: "5YJ3E1EA7KFO00001"}, "ConnectOptions.SingleSelectVIN"},
		"country of three letters":        {ConnectOptions{Country: "DEU"}, "ConnectOptions.Country"},
		"country of digits":               {ConnectOptions{Country: "49"}, "ConnectOptions.Country"},
		"country of one letter":           {ConnectOptions{Country: "ä"}, "ConnectOptions.Country"},
		"country twice":                   {ConnectOptions{Country: "DE", Flags: map[string]string{"country": "FR"}}, "ConnectOptions.Country"},
		"flag without a name":             {ConnectOptions{Flags: map[string]string{"": "x"}}, "ConnectOptions.Flags"},
		"flag without a value":            {ConnectOptions{Flags: map[string]string{"x": ""}}, "ConnectOptions.Flags"},
		"flag that smuggles another":      {ConnectOptions{Flags: map[string]string{"x": "1 country:FR"}}, "ConnectOptions.Flags"},
		"flag name with a colon":          {ConnectOptions{Flags: map[string]string{"country:FR": "1"}}, "ConnectOptions.Flags"},
		"external id set and cleared":     {ConnectOptions{ExternalID: "secret", ClearExternalID: true}, "ConnectOptions.ClearExternalID"},
		"external id that would clear":    {ConnectOptions{ExternalID: "null"}, "ConnectOptions.ExternalID"},
		"external id that is too long":    {ConnectOptions{ExternalID: strings.Repeat("x", connectstate.MaxOwnerID+1)}, "ConnectOptions.ExternalID"},
		"external id with a line feed":    {ConnectOptions{ExternalID: "secret\n"}, "ConnectOptions.ExternalID"},
		"external id that is not UTF-8":   {ConnectOptions{ExternalID: "secret\xff"}, "ConnectOptions.ExternalID"},
		"user that is too long":           {ConnectOptions{User: strings.Repeat("x", connectstate.MaxOwnerID+1)}, "ConnectOptions.User"},
		"relative redirect":               {ConnectOptions{RedirectURL: "/secret"}, "ConnectOptions.RedirectURL"},
		"redirect to a script":            {ConnectOptions{RedirectURL: "javascript:secret()"}, "ConnectOptions.RedirectURL"},
		"redirect with a fragment":        {ConnectOptions{RedirectURL: "https://app.example/#secret"}, "ConnectOptions.RedirectURL"},
		"redirect with an empty fragment": {ConnectOptions{RedirectURL: "https://app.example/#"}, "ConnectOptions.RedirectURL"},
		"redirect with a password":        {ConnectOptions{RedirectURL: "https://u:secret@app.example/"}, "ConnectOptions.RedirectURL"},
		"redirect that is no URL":         {ConnectOptions{RedirectURL: "https://secret\n"}, "ConnectOptions.RedirectURL"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := authorizeURL(connectTestOrigin(t), connectTestApp, tt.options, connectTestState)
			require.Empty(t, got)
			requireArgument(t, err, tt.argument)
			require.NotContains(t, err.Error(), "secret")
			require.NotContains(t, err.Error(), connectTestState)
		})
	}
}

func requireArgument(t *testing.T, err error, argument string) {
	t.Helper()
	require.ErrorIs(t, err, ErrInvalidArgument)
	var problem *ArgumentError
	require.ErrorAs(t, err, &problem)
	require.Equal(t, argument, problem.Argument)
}

func TestEveryWrongOptionIsReportedAtOnce(t *testing.T) {
	t.Parallel()
	_, err := authorizeURL(connectTestOrigin(t), connectTestApp, ConnectOptions{Mode: "x", Country: "x", Make: "!"}, "")
	for _, argument := range []string{"ConnectOptions.Mode", "ConnectOptions.Country", "ConnectOptions.Make", "state"} {
		require.ErrorContains(t, err, argument)
	}
}

func TestLinksThatComeBackNeedAState(t *testing.T) {
	t.Parallel()
	origin := connectTestOrigin(t)
	_, err := authorizeURL(origin, connectTestApp, ConnectOptions{}, "")
	requireArgument(t, err, "state")
	_, err = authorizeURL(origin, appIdentity{clientID: "client-1"}, ConnectOptions{}, "")
	requireArgument(t, err, "state")
	_, err = reauthenticateURL(origin, connectTestApp, ReauthOptions{VehicleID: "v"}, "")
	requireArgument(t, err, "state")
	_, err = completeURL(origin, "https://connect.smartcar.com/oauth/reauthenticate?vehicle_id=v", "https://app.example", "")
	requireArgument(t, err, "state")
}

func TestOptionsOfTheCallerAreNeverChanged(t *testing.T) {
	t.Parallel()
	options := ConnectOptions{Scope: []string{"b", "a"}, Flags: map[string]string{"x": "1"}, Country: "de"}
	scope, flags := slices.Clone(options.Scope), maps.Clone(options.Flags)
	_, err := authorizeURL(connectTestOrigin(t), connectTestApp, options, connectTestState)
	require.NoError(t, err)
	require.Equal(t, scope, options.Scope)
	require.Equal(t, flags, options.Flags)
}

func TestRequiredMarksAPermissionOnce(t *testing.T) {
	t.Parallel()
	require.Equal(t, "required:read_vin", Required("read_vin"))
	require.Equal(t, "required:read_vin", Required(Required("read_vin")))
}

func TestReauthenticateURL(t *testing.T) {
	t.Parallel()
	const start = "https://connect.smartcar.com/oauth/reauthenticate?"
	const back = "redirect_uri=https%3A%2F%2Fapp.example%2Fcallback%3Ftab%3D1"
	withoutReturn := appIdentity{applicationID: "application-1"}
	tests := map[string]struct {
		app     appIdentity
		options ReauthOptions
		want    string
	}{
		"a vehicle": {
			connectTestApp, ReauthOptions{VehicleID: "a/b"},
			start + "client_id=client-1&" + back + "&response_type=vehicle_id&state=STATE234567&vehicle_id=a%2Fb",
		},
		"a vehicle with the owner's id": {
			connectTestApp, ReauthOptions{VehicleID: "v", ExternalID: "acct_42", User: "u", RedirectURL: "https://app.example/re"},
			start + "client_id=client-1&external_id=acct_42&redirect_uri=https%3A%2F%2Fapp.example%2Fre&response_type=vehicle_id&state=STATE234567&user=u&vehicle_id=v",
		},
		"the owner's id is removed": {
			connectTestApp, ReauthOptions{VehicleID: "v", ClearExternalID: true},
			start + "client_id=client-1&external_id=null&" + back + "&response_type=vehicle_id&state=STATE234567&vehicle_id=v",
		},
		"ending on Smartcar's page": {
			withoutReturn, ReauthOptions{VehicleID: "v"},
			start + "application_id=application-1&response_type=none&state=STATE234567&vehicle_id=v",
		},
		"more permissions, which never comes back": {
			connectTestApp, ReauthOptions{Make: "tesla", Scope: []string{Required("read_location")}},
			start + "client_id=client-1&make=TESLA&response_type=vehicle_id&scope=required%3Aread_location",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := reauthenticateURL(connectTestOrigin(t), tt.app, tt.options, connectTestState)
			require.NoError(t, err)
			require.Equal(t, tt.want, got)
		})
	}
}

func TestReauthOptionsThatMakeNoSenseAreRefused(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		options  ReauthOptions
		argument string
	}{
		"nothing":                      {ReauthOptions{}, "ReauthOptions.VehicleID"},
		"a make without permissions":   {ReauthOptions{Make: "TESLA"}, "ReauthOptions.VehicleID"},
		"permissions without a make":   {ReauthOptions{Scope: []string{"read_vin"}}, "ReauthOptions.VehicleID"},
		"a return that never comes":    {ReauthOptions{Make: "TESLA", Scope: []string{"read_vin"}, RedirectURL: "https://app.example"}, "ReauthOptions.VehicleID"},
		"empty scope entry":            {ReauthOptions{VehicleID: "v", Scope: []string{""}}, "ReauthOptions.Scope"},
		"make with a slash":            {ReauthOptions{VehicleID: "v", Make: "a/b"}, "ReauthOptions.Make"},
		"external id set and cleared":  {ReauthOptions{VehicleID: "v", ExternalID: "x", ClearExternalID: true}, "ReauthOptions.ClearExternalID"},
		"external id that would clear": {ReauthOptions{VehicleID: "v", ExternalID: "null"}, "ReauthOptions.ExternalID"},
		"user with a control":          {ReauthOptions{VehicleID: "v", User: "\x00"}, "ReauthOptions.User"},
		"relative redirect":            {ReauthOptions{VehicleID: "v", RedirectURL: "cb"}, "ReauthOptions.RedirectURL"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := reauthenticateURL(connectTestOrigin(t), connectTestApp, tt.options, connectTestState)
			require.Empty(t, got)
			requireArgument(t, err, tt.argument)
		})
	}
}

func TestCompleteURLFillsInTheWayBack(t *testing.T) {
	t.Parallel()
	const ours = "https://app.example/cb"
	tests := map[string]struct{ partial, redirect, want string }{
		"re-authentication": {
			"https://connect.smartcar.com/oauth/reauthenticate?response_type=vehicle_id&client_id=c&vehicle_id=v", ours,
			"https://connect.smartcar.com/oauth/reauthenticate?client_id=c&redirect_uri=https%3A%2F%2Fapp.example%2Fcb&response_type=vehicle_id&state=STATE234567&vehicle_id=v",
		},
		"battery capacity": {
			"https://connect.smartcar.com/battery-capacity?vehicle_id=v&client_id=c&token=t&response_type=vehicle_id&redirect_uri=", ours,
			"https://connect.smartcar.com/battery-capacity?client_id=c&redirect_uri=https%3A%2F%2Fapp.example%2Fcb&response_type=vehicle_id&state=STATE234567&token=t&vehicle_id=v",
		},
		"our way back and state replace others": {
			"https://CONNECT.smartcar.com/oauth/reauthenticate?redirect_uri=https%3A%2F%2Fother.example&state=old", ours,
			"https://connect.smartcar.com/oauth/reauthenticate?redirect_uri=https%3A%2F%2Fapp.example%2Fcb&state=STATE234567",
		},
		"a way back that is there is kept": {
			"https://connect.smartcar.com/oauth/reauthenticate?redirect_uri=https%3A%2F%2Fother.example", "",
			"https://connect.smartcar.com/oauth/reauthenticate?redirect_uri=https%3A%2F%2Fother.example&state=STATE234567",
		},
		"ending on Smartcar's page": {
			"https://connect.smartcar.com/oauth/reauthenticate?response_type=none&vehicle_id=v", "",
			"https://connect.smartcar.com/oauth/reauthenticate?response_type=none&state=STATE234567&vehicle_id=v",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := completeURL(connectTestOrigin(t), tt.partial, tt.redirect, connectTestState)
			require.NoError(t, err)
			require.Equal(t, tt.want, got)
		})
	}
}

func TestCompleteURLRefusesLinksThatDoNotLeadToConnect(t *testing.T) {
	t.Parallel()
	for name, partial := range map[string]string{
		"empty":              "",
		"other host":         "https://evil.example/oauth/reauthenticate?token=secret",
		"host as a prefix":   "https://connect.smartcar.com.evil.example/oauth/reauthenticate?token=secret",
		"host as user name":  "https://connect.smartcar.com@evil.example/oauth/reauthenticate?token=secret",
		"user name":          "https://evil@connect.smartcar.com/oauth/reauthenticate?token=secret",
		"port":               "https://connect.smartcar.com:8443/oauth/reauthenticate?token=secret",
		"not https":          "http://connect.smartcar.com/oauth/reauthenticate?token=secret",
		"no scheme":          "//connect.smartcar.com/oauth/reauthenticate?token=secret",
		"other action":       "https://connect.smartcar.com/oauth/authorize?token=secret",
		"below the action":   "https://connect.smartcar.com/oauth/reauthenticate/x?token=secret",
		"action further on":  "https://connect.smartcar.com/x/oauth/reauthenticate?token=secret",
		"dot segments":       "https://connect.smartcar.com/x/../oauth/reauthenticate?token=secret",
		"escaped slash":      "https://connect.smartcar.com/oauth%2freauthenticate?token=secret",
		"fragment":           "https://connect.smartcar.com/oauth/reauthenticate?token=secret#evil",
		"two ways back":      "https://connect.smartcar.com/oauth/reauthenticate?redirect_uri=a&redirect_uri=secret",
		"query out of shape": "https://connect.smartcar.com/oauth/reauthenticate?a;token=secret",
		"not a URL":          "https://connect.smartcar.com/%zz?token=secret",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := completeURL(connectTestOrigin(t), partial, "https://app.example/cb", connectTestState)
			require.Empty(t, got)
			requireArgument(t, err, "partialURL")
			require.NotContains(t, err.Error(), "secret")
			require.NotContains(t, err.Error(), "evil")
		})
	}
}

func TestCompleteURLNeedsAWayBack(t *testing.T) {
	t.Parallel()
	const partial = "https://connect.smartcar.com/battery-capacity?response_type=vehicle_id&token=secret&redirect_uri="
	for _, redirect := range []string{"", "/relative"} {
		_, err := completeURL(connectTestOrigin(t), partial, redirect, connectTestState)
		requireArgument(t, err, "redirectURL")
		require.NotContains(t, err.Error(), "secret")
	}
}
