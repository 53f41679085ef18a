package smartcar_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/internal/connectstate"
	"github.com/stretchr/testify/require"
)

const connectTestState = "STATE234567"

// connectApp is an application as the links to Connect know it.
type connectApp struct {
	api         smartcar.API // which calls it client_id on v2.0 and application_id on v3
	redirectURL string
	origin      string // of Connect; Smartcar's if it is empty
}

const connectBack = "https://app.example/callback?tab=1"

var (
	connectTestApp  = connectApp{api: smartcar.V2, redirectURL: connectBack}
	connectTestV3   = connectApp{api: smartcar.V3, redirectURL: connectBack}
	connectNoReturn = connectApp{api: smartcar.V3}
)

func (a connectApp) connect(t *testing.T) *smartcar.Connect {
	t.Helper()
	config := smartcar.Config{ClientID: "client-1", ClientSecret: someLegacy, RedirectURL: a.redirectURL, StateKey: stateKey}
	if a.api == smartcar.V3 {
		config = smartcar.Config{
			ApplicationID: "application-1", APIClientID: someAPIClient, APIClientSecret: someAPISecret,
			RedirectURL: a.redirectURL, StateKey: stateKey,
		}
	}
	var opts []smartcar.Option
	if a.origin != "" {
		opts = append(opts, smartcar.WithOrigins(smartcar.Origins{Connect: mustParse(t, a.origin)}))
	}
	client, err := smartcar.New(config, opts...)
	require.NoError(t, err)
	return client.Connect()
}

func TestAuthorizeURL(t *testing.T) {
	t.Parallel()
	const start = "https://connect.smartcar.com/oauth/authorize?"
	const back = "redirect_uri=https%3A%2F%2Fapp.example%2Fcallback%3Ftab%3D1"
	tests := map[string]struct {
		app     connectApp
		options smartcar.ConnectOptions
		want    string
	}{
		"nothing but the application": {
			app:  connectTestApp,
			want: start + "client_id=client-1&" + back + "&response_type=code&state=STATE234567",
		},
		"every option": {
			app: connectTestApp,
			options: smartcar.ConnectOptions{
				Scope:           []string{"read_battery", smartcar.Required("read_odometer")},
				Mode:            smartcar.ModeSimulated,
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
		"a code on API v3": {
			app:     connectTestV3,
			options: smartcar.ConnectOptions{RequestCode: true},
			want:    start + "application_id=application-1&" + back + "&response_type=code&state=STATE234567",
		},
		"no authorization code": {
			app:  connectTestV3,
			want: start + "application_id=application-1&" + back + "&response_type=none&state=STATE234567",
		},
		"a VIN implies the choice of one vehicle": {
			app:     connectTestApp,
			options: smartcar.ConnectOptions{SingleSelectVIN: " " + strings.ToLower(streamingVIN)},
			want:    start + "client_id=client-1&" + back + "&response_type=code&single_select=true&single_select_vin=" + streamingVIN + "&state=STATE234567",
		},
		"one vehicle": {
			app:     connectTestApp,
			options: smartcar.ConnectOptions{SingleSelect: true},
			want:    start + "client_id=client-1&" + back + "&response_type=code&single_select=true&state=STATE234567",
		},
		"the external id is removed": {
			app:     connectTestApp,
			options: smartcar.ConnectOptions{ClearExternalID: true},
			want:    start + "client_id=client-1&external_id=null&" + back + "&response_type=code&state=STATE234567",
		},
		"flags without a country": {
			app:     connectTestApp,
			options: smartcar.ConnectOptions{Flags: map[string]string{"b": "2", "a": "1"}},
			want:    start + "client_id=client-1&flags=a%3A1+b%3A2&" + back + "&response_type=code&state=STATE234567",
		},
		"a country without flags": {
			app:     connectTestApp,
			options: smartcar.ConnectOptions{Country: "GB"},
			want:    start + "client_id=client-1&flags=country%3AGB&" + back + "&response_type=code&state=STATE234567",
		},
		"a mobile application": {
			app:     connectTestApp,
			options: smartcar.ConnectOptions{RedirectURL: "sc8229df9f-91a0-4ff0-a1ae-a1f38ee24d07://exchange"},
			want:    start + "client_id=client-1&redirect_uri=sc8229df9f-91a0-4ff0-a1ae-a1f38ee24d07%3A%2F%2Fexchange&response_type=code&state=STATE234567",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := tt.app.connect(t).AuthorizeURL(tt.options, connectTestState)
			require.NoError(t, err)
			require.Equal(t, tt.want, got)
		})
	}
}

func TestAuthorizeURLWithoutReturnNeedsNoState(t *testing.T) {
	t.Parallel()
	got, err := connectNoReturn.connect(t).AuthorizeURL(smartcar.ConnectOptions{}, "")
	require.NoError(t, err)
	require.Equal(t, "https://connect.smartcar.com/oauth/authorize?application_id=application-1&response_type=none", got)
}

func TestConnectURLsStayBelowTheBasePathOfTheOrigin(t *testing.T) {
	t.Parallel()
	origin := "http://127.0.0.1:8080/base/path/"
	below := connectApp{api: smartcar.V2, redirectURL: "https://app.example/cb", origin: origin}.connect(t)

	authorize, err := below.AuthorizeURL(smartcar.ConnectOptions{}, connectTestState)
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(authorize, origin+"oauth/authorize?"), authorize)

	reauth, err := below.ReauthURL(smartcar.ReauthOptions{VehicleID: "v"}, connectTestState)
	require.NoError(t, err)
	completed, err := below.CompleteURL(reauth, connectTestState)
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(completed, origin+"oauth/reauthenticate?"), completed)
}

func TestTheCallersOriginKeepsItsValue(t *testing.T) {
	t.Parallel()
	origin := mustParse(t, "http://127.0.0.1:8080/base/path/")
	client, err := smartcar.New(bothConfig(), smartcar.WithAPI(smartcar.V2), smartcar.WithOrigins(smartcar.Origins{Connect: origin}))
	require.NoError(t, err)
	_, err = client.Connect().AuthorizeURL(smartcar.ConnectOptions{}, connectTestState)
	require.NoError(t, err)
	require.Equal(t, "http://127.0.0.1:8080/base/path/", origin.String())
}

func TestConnectOptionsThatMakeNoSenseAreRefused(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		options  smartcar.ConnectOptions
		argument string
	}{
		"unknown mode":                    {smartcar.ConnectOptions{Mode: "secret"}, "ConnectOptions.Mode"},
		"empty scope entry":               {smartcar.ConnectOptions{Scope: []string{"read_vin", ""}}, "ConnectOptions.Scope"},
		"scope entry with a space":        {smartcar.ConnectOptions{Scope: []string{"read_vin secret"}}, "ConnectOptions.Scope"},
		"scope entry with a delete":       {smartcar.ConnectOptions{Scope: []string{"read_vin\x7f"}}, "ConnectOptions.Scope"},
		"nothing required":                {smartcar.ConnectOptions{Scope: []string{smartcar.Required("")}}, "ConnectOptions.Scope"},
		"make with a space":               {smartcar.ConnectOptions{Make: "LAND secret"}, "ConnectOptions.Make"},
		"short VIN":                       {smartcar.ConnectOptions{SingleSelectVIN: "secret"}, "ConnectOptions.SingleSelectVIN"},
		"VIN with the letter O":           {smartcar.ConnectOptions{SingleSelectVIN: "5YJ3E1EA7KFO00001"}, "ConnectOptions.SingleSelectVIN"},
		"country of three letters":        {smartcar.ConnectOptions{Country: "DEU"}, "ConnectOptions.Country"},
		"country of digits":               {smartcar.ConnectOptions{Country: "49"}, "ConnectOptions.Country"},
		"country of one letter":           {smartcar.ConnectOptions{Country: "ä"}, "ConnectOptions.Country"},
		"country twice":                   {smartcar.ConnectOptions{Country: "DE", Flags: map[string]string{"country": "FR"}}, "ConnectOptions.Country"},
		"flag without a name":             {smartcar.ConnectOptions{Flags: map[string]string{"": "x"}}, "ConnectOptions.Flags"},
		"flag without a value":            {smartcar.ConnectOptions{Flags: map[string]string{"x": ""}}, "ConnectOptions.Flags"},
		"flag that smuggles another":      {smartcar.ConnectOptions{Flags: map[string]string{"x": "1 country:FR"}}, "ConnectOptions.Flags"},
		"flag name with a colon":          {smartcar.ConnectOptions{Flags: map[string]string{"country:FR": "1"}}, "ConnectOptions.Flags"},
		"external id set and cleared":     {smartcar.ConnectOptions{ExternalID: "secret", ClearExternalID: true}, "ConnectOptions.ClearExternalID"},
		"external id that would clear":    {smartcar.ConnectOptions{ExternalID: "null"}, "ConnectOptions.ExternalID"},
		"external id that is too long":    {smartcar.ConnectOptions{ExternalID: strings.Repeat("x", connectstate.MaxOwnerID+1)}, "ConnectOptions.ExternalID"},
		"external id with a line feed":    {smartcar.ConnectOptions{ExternalID: "secret\n"}, "ConnectOptions.ExternalID"},
		"external id that is not UTF-8":   {smartcar.ConnectOptions{ExternalID: "secret\xff"}, "ConnectOptions.ExternalID"},
		"user that is too long":           {smartcar.ConnectOptions{User: strings.Repeat("x", connectstate.MaxOwnerID+1)}, "ConnectOptions.User"},
		"relative redirect":               {smartcar.ConnectOptions{RedirectURL: "/secret"}, "ConnectOptions.RedirectURL"},
		"redirect to a script":            {smartcar.ConnectOptions{RedirectURL: "javascript:secret()"}, "ConnectOptions.RedirectURL"},
		"redirect with a fragment":        {smartcar.ConnectOptions{RedirectURL: "https://app.example/#secret"}, "ConnectOptions.RedirectURL"},
		"redirect with an empty fragment": {smartcar.ConnectOptions{RedirectURL: "https://app.example/#"}, "ConnectOptions.RedirectURL"},
		"redirect with a password":        {smartcar.ConnectOptions{RedirectURL: "https://u:secret@app.example/"}, "ConnectOptions.RedirectURL"},
		"redirect that is no URL":         {smartcar.ConnectOptions{RedirectURL: "https://secret\n"}, "ConnectOptions.RedirectURL"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := connectTestApp.connect(t).AuthorizeURL(tt.options, connectTestState)
			require.Empty(t, got)
			requireArgumentError(t, err, tt.argument)
			require.NotContains(t, err.Error(), "secret")
			require.NotContains(t, err.Error(), connectTestState)
		})
	}
}

func TestEveryWrongOptionIsReportedAtOnce(t *testing.T) {
	t.Parallel()
	_, err := connectTestApp.connect(t).AuthorizeURL(smartcar.ConnectOptions{Mode: "x", Country: "x", Make: "!"}, "")
	for _, argument := range []string{"ConnectOptions.Mode", "ConnectOptions.Country", "ConnectOptions.Make", "state"} {
		require.ErrorContains(t, err, argument)
	}
}

func TestLinksThatComeBackNeedAState(t *testing.T) {
	t.Parallel()
	_, err := connectTestApp.connect(t).AuthorizeURL(smartcar.ConnectOptions{}, "")
	requireArgumentError(t, err, "state")
	_, err = connectNoReturn.connect(t).AuthorizeURL(smartcar.ConnectOptions{RequestCode: true}, "")
	requireArgumentError(t, err, "state")
	_, err = connectTestApp.connect(t).ReauthURL(smartcar.ReauthOptions{VehicleID: "v"}, "")
	requireArgumentError(t, err, "state")
	_, err = connectTestApp.connect(t).CompleteURL("https://connect.smartcar.com/oauth/reauthenticate?vehicle_id=v", "")
	requireArgumentError(t, err, "state")
}

func TestOptionsOfTheCallerAreNeverChanged(t *testing.T) {
	t.Parallel()
	options := smartcar.ConnectOptions{Scope: []string{"b", "a"}, Flags: map[string]string{"x": "1"}, Country: "de"}
	scope, flags := slices.Clone(options.Scope), maps.Clone(options.Flags)
	_, err := connectTestApp.connect(t).AuthorizeURL(options, connectTestState)
	require.NoError(t, err)
	require.Equal(t, scope, options.Scope)
	require.Equal(t, flags, options.Flags)
}

func TestRequiredMarksAPermissionOnce(t *testing.T) {
	t.Parallel()
	require.Equal(t, "required:read_vin", smartcar.Required("read_vin"))
	require.Equal(t, "required:read_vin", smartcar.Required(smartcar.Required("read_vin")))
}

func TestReauthenticateURL(t *testing.T) {
	t.Parallel()
	const start = "https://connect.smartcar.com/oauth/reauthenticate?"
	const back = "redirect_uri=https%3A%2F%2Fapp.example%2Fcallback%3Ftab%3D1"
	tests := map[string]struct {
		app     connectApp
		options smartcar.ReauthOptions
		want    string
	}{
		"a vehicle": {
			connectTestApp, smartcar.ReauthOptions{VehicleID: "a/b"},
			start + "client_id=client-1&" + back + "&response_type=vehicle_id&state=STATE234567&vehicle_id=a%2Fb",
		},
		"a vehicle with the owner's id": {
			connectTestApp, smartcar.ReauthOptions{VehicleID: "v", ExternalID: "acct_42", User: "u", RedirectURL: "https://app.example/re"},
			start + "client_id=client-1&external_id=acct_42&redirect_uri=https%3A%2F%2Fapp.example%2Fre&response_type=vehicle_id&state=STATE234567&user=u&vehicle_id=v",
		},
		"the owner's id is removed": {
			connectTestApp, smartcar.ReauthOptions{VehicleID: "v", ClearExternalID: true},
			start + "client_id=client-1&external_id=null&" + back + "&response_type=vehicle_id&state=STATE234567&vehicle_id=v",
		},
		"ending on Smartcar's page": {
			connectNoReturn, smartcar.ReauthOptions{VehicleID: "v"},
			start + "application_id=application-1&response_type=none&state=STATE234567&vehicle_id=v",
		},
		"more permissions, which never comes back": {
			connectTestApp, smartcar.ReauthOptions{Make: "tesla", Scope: []string{smartcar.Required("read_location")}},
			start + "client_id=client-1&make=TESLA&response_type=vehicle_id&scope=required%3Aread_location",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := tt.app.connect(t).ReauthURL(tt.options, connectTestState)
			require.NoError(t, err)
			require.Equal(t, tt.want, got)
		})
	}
}

func TestReauthOptionsThatMakeNoSenseAreRefused(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		options  smartcar.ReauthOptions
		argument string
	}{
		"nothing":                      {smartcar.ReauthOptions{}, "ReauthOptions.VehicleID"},
		"a make without permissions":   {smartcar.ReauthOptions{Make: "TESLA"}, "ReauthOptions.VehicleID"},
		"permissions without a make":   {smartcar.ReauthOptions{Scope: []string{"read_vin"}}, "ReauthOptions.VehicleID"},
		"a return that never comes":    {smartcar.ReauthOptions{Make: "TESLA", Scope: []string{"read_vin"}, RedirectURL: "https://app.example"}, "ReauthOptions.VehicleID"},
		"empty scope entry":            {smartcar.ReauthOptions{VehicleID: "v", Scope: []string{""}}, "ReauthOptions.Scope"},
		"make with a slash":            {smartcar.ReauthOptions{VehicleID: "v", Make: "a/b"}, "ReauthOptions.Make"},
		"external id set and cleared":  {smartcar.ReauthOptions{VehicleID: "v", ExternalID: "x", ClearExternalID: true}, "ReauthOptions.ClearExternalID"},
		"external id that would clear": {smartcar.ReauthOptions{VehicleID: "v", ExternalID: "null"}, "ReauthOptions.ExternalID"},
		"user with a control":          {smartcar.ReauthOptions{VehicleID: "v", User: "\x00"}, "ReauthOptions.User"},
		"relative redirect":            {smartcar.ReauthOptions{VehicleID: "v", RedirectURL: "cb"}, "ReauthOptions.RedirectURL"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := connectTestApp.connect(t).ReauthURL(tt.options, connectTestState)
			require.Empty(t, got)
			requireArgumentError(t, err, tt.argument)
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
			got, err := connectApp{api: smartcar.V3, redirectURL: tt.redirect}.connect(t).CompleteURL(tt.partial, connectTestState)
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
			got, err := connectTestApp.connect(t).CompleteURL(partial, connectTestState)
			require.Empty(t, got)
			requireArgumentError(t, err, "partialURL")
			require.NotContains(t, err.Error(), "secret")
			require.NotContains(t, err.Error(), "evil")
		})
	}
}

func TestCompleteURLNeedsAWayBack(t *testing.T) {
	t.Parallel()
	const partial = "https://connect.smartcar.com/battery-capacity?response_type=vehicle_id&token=secret&redirect_uri="
	_, err := connectNoReturn.connect(t).CompleteURL(partial, connectTestState)
	requireArgumentError(t, err, "redirectURL")
	require.NotContains(t, err.Error(), "secret")
}
