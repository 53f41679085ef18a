package smartcar

import (
	"cmp"
	"errors"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/seed-498a1bc4/smartcar/internal/connectstate"
	"github.com/seed-498a1bc4/smartcar/internal/vin"
)

// A ConnectMode chooses the vehicles a user can connect.
type ConnectMode string

// The modes of Connect. An empty mode is [ModeLive].
const (
	ModeLive      ConnectMode = "live"
	ModeSimulated ConnectMode = "simulated"
)

// modeTest is the old name of [ModeSimulated]. Connections, events and programs
// may still have it.
const modeTest ConnectMode = "test"

// ConnectOptions shape one run of Connect. The zero value asks for what the
// dashboard is set to.
//
// https://smartcar.com/docs/connect/redirect-to-connect
type ConnectOptions struct {
	// Scope lists the permissions to ask for and replaces the dashboard's list. The
	// owner may untick those that are not marked by [Required], and a car may be
	// unable to grant even those: [Vehicle.Permissions] has what was granted. Ask for
	// read_vehicle_info: see "Permissions" in the package documentation.
	Scope []string
	Mode  ConnectMode
	// ForceApproval asks for consent even if the owner gave it before.
	ForceApproval bool
	// Make skips the choice of the brand: "TESLA".
	Make string
	// SingleSelect lets the owner connect one vehicle only.
	SingleSelect bool
	// SingleSelectVIN lets the owner connect this vehicle only. It implies
	// SingleSelect and outweighs Make.
	SingleSelectVIN string
	// Country, as two letters, replaces the location of the device: "DE".
	Country string
	// Flags are further flags of Connect by name.
	Flags map[string]string
	// User is your own id of the owner, used for analytics only. Prefer ExternalID.
	User string
	// ExternalID is your own id of the owner. Smartcar keeps it with the
	// connection and repeats it in the callback and in webhooks.
	ExternalID string
	// ClearExternalID removes the id that Smartcar keeps.
	ClearExternalID bool
	// RedirectURL replaces the client's for this run. It must be registered in the dashboard.
	RedirectURL string

	// Of API v3 only:

	// Hosted ends the run on a page of Smartcar's instead of coming back; for
	// [Connect.AuthorizeURL]. [Client.Connections] finds the user by ExternalID.
	Hosted bool
	// RequestCode makes a code of API v2.0 come back, too (response_type=code),
	// for a program that has other code exchange it while it moves to v3. This
	// package does not use the code.
	RequestCode bool
}

// ReauthOptions say which access to renew. Existing tokens stay in use.
//
// With a VehicleID the owner logs in to the car's account again. Without one,
// Make and Scope ask for more permissions on the maker's side; that flow ends
// at Smartcar and never comes back.
//
// https://smartcar.com/docs/connect/re-auth/redirect-to-connect
type ReauthOptions struct {
	VehicleID string
	Make      string
	Scope     []string
	// User, ExternalID, ClearExternalID and RedirectURL are those of [ConnectOptions].
	User            string
	ExternalID      string
	ClearExternalID bool
	RedirectURL     string
	// Hosted ends the flow of a VehicleID on a page of Smartcar's instead of coming
	// back; for [Connect.ReauthURL], with an empty state. Whether it worked shows in
	// the next read, or in a webhook event.
	Hosted bool
}

// Required marks a permission as one that the owner cannot untick in Connect. Since
// 2026-06-16 it does nothing else: cars that cannot grant it are connected all the
// same. Look at [Vehicle.Permissions] after Connect, and keep cars out beforehand
// with [Client.Compatibility] or the dashboard's connection filters.
//
// https://smartcar.com/docs/connect/redirect-to-connect
func Required(permission string) string {
	return requiredPrefix + strings.TrimPrefix(permission, requiredPrefix)
}

const (
	requiredPrefix = "required:"
	countryFlag    = "country"
	capitals       = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	// clearedID is what Smartcar reads as "forget the id".
	clearedID = "null"

	authorizePath       = "oauth/authorize"
	reauthenticatePath  = "oauth/reauthenticate"
	batteryCapacityPath = "battery-capacity"

	responseCode      = "code"
	responseNone      = "none"
	responseVehicleID = "vehicle_id"
)

// appIdentity is what every link to Connect says about the application.
type appIdentity struct {
	clientID, applicationID string // the application id is the newer name and goes first
	redirectURL             string
	responseType            string // responseCode, also if empty, or responseNone
}

// query starts the parameters of a link.
func (a appIdentity) query() url.Values {
	if a.applicationID != "" {
		return url.Values{"application_id": {a.applicationID}}
	}
	return url.Values{"client_id": {a.clientID}}
}

// authorizeURL builds the link that starts Connect.
func authorizeURL(origin *url.URL, app appIdentity, o ConnectOptions, state string) (string, error) {
	responseType := cmp.Or(app.responseType, responseCode)
	redirect, redirectErr := redirectParameter("ConnectOptions.RedirectURL", cmp.Or(o.RedirectURL, app.redirectURL))
	comesBack := responseType == responseCode || redirect != ""
	mode, modeErr := modeParameter(o.Mode)
	scope, scopeErr := scopeParameter("ConnectOptions.Scope", o.Scope)
	brand, brandErr := makeParameter("ConnectOptions.Make", o.Make)
	number, numberErr := singleSelectVIN(o.SingleSelectVIN)
	flags, flagsErr := flagsParameter(o.Country, o.Flags)
	owner, ownerErr := externalIDParameter("ConnectOptions", o.ExternalID, o.ClearExternalID)
	err := errors.Join(redirectErr, modeErr, scopeErr, brandErr, numberErr, flagsErr, ownerErr,
		checkOwnerID("ConnectOptions.User", o.User), checkState(state, comesBack))
	if err != nil {
		return "", err
	}
	query := app.query()
	setPresent(query, map[string]string{
		"response_type":     responseType,
		"redirect_uri":      redirect,
		"state":             state,
		"mode":              mode,
		"scope":             scope,
		"approval_prompt":   textIf(o.ForceApproval, "force"),
		"make":              brand,
		"single_select":     textIf(o.SingleSelect || number != "", "true"),
		"single_select_vin": number,
		"flags":             flags,
		"user":              o.User,
		"external_id":       owner,
	})
	return connectURL(origin, authorizePath, query), nil
}

// reauthenticateURL builds the link that renews the access to a vehicle.
func reauthenticateURL(origin *url.URL, app appIdentity, o ReauthOptions, state string) (string, error) {
	standalone := o.VehicleID == ""
	if standalone && (o.Make == "" || len(o.Scope) == 0 || o.RedirectURL != "") {
		return "", argumentError("ReauthOptions.VehicleID", "must not be empty, except to ask for more permissions with Make and Scope, without RedirectURL")
	}
	responseType := responseVehicleID
	redirect, redirectErr := redirectParameter("ReauthOptions.RedirectURL", cmp.Or(o.RedirectURL, app.redirectURL))
	switch {
	case standalone:
		redirect, state = "", "" // as documented: this flow never comes back
	case o.Hosted && o.RedirectURL != "":
		return "", argumentError("ReauthOptions.Hosted", "is set together with RedirectURL: set one of them")
	case o.Hosted:
		redirect, state, responseType = "", "", responseNone
	case redirect == "":
		responseType = responseNone // ends on a page of Smartcar's
	}
	scope, scopeErr := scopeParameter("ReauthOptions.Scope", o.Scope)
	brand, brandErr := makeParameter("ReauthOptions.Make", o.Make)
	owner, ownerErr := externalIDParameter("ReauthOptions", o.ExternalID, o.ClearExternalID)
	err := errors.Join(redirectErr, scopeErr, brandErr, ownerErr,
		checkOwnerID("ReauthOptions.User", o.User), checkState(state, redirect != ""))
	if err != nil {
		return "", err
	}
	query := app.query()
	setPresent(query, map[string]string{
		"response_type": responseType,
		"vehicle_id":    o.VehicleID,
		"redirect_uri":  redirect,
		"state":         state,
		"make":          brand,
		"scope":         scope,
		"user":          o.User,
		"external_id":   owner,
	})
	return connectURL(origin, reauthenticatePath, query), nil
}

// completeURL adds what Smartcar leaves out of the links in its answers: where
// to come back to and the state. The link is built anew below the origin of
// Connect, because it is where an owner types a password.
func completeURL(origin *url.URL, partial, redirectURL, state string) (string, error) {
	path, query, ok := parseConnectAction(origin, partial)
	if !ok {
		return "", argumentError("partialURL", "must be a link to re-authenticate or to choose a battery capacity, as Smartcar sent it")
	}
	redirect, redirectErr := redirectParameter("redirectURL", cmp.Or(redirectURL, query.Get("redirect_uri")))
	if redirect == "" && query.Get("response_type") != responseNone {
		redirectErr = cmp.Or(redirectErr, argumentError("redirectURL", "must not be empty: the link has to come back"))
	}
	if err := errors.Join(redirectErr, checkState(state, redirect != "")); err != nil {
		return "", err
	}
	setPresent(query, map[string]string{"redirect_uri": redirect, "state": state})
	return connectURL(origin, path, query), nil
}

// parseConnectAction returns which action of Connect a link asks for.
func parseConnectAction(origin *url.URL, link string) (path string, query url.Values, ok bool) {
	u, err := url.Parse(link)
	if err != nil || u.Scheme != origin.Scheme || !strings.EqualFold(u.Host, origin.Host) || u.User != nil || u.Fragment != "" {
		return "", nil, false
	}
	query, err = url.ParseQuery(u.RawQuery)
	if err != nil {
		return "", nil, false
	}
	for _, values := range query {
		if len(values) > 1 {
			return "", nil, false // Connect could read either of two values
		}
	}
	base := strings.TrimSuffix(origin.EscapedPath(), "/") + "/"
	for _, action := range []string{reauthenticatePath, batteryCapacityPath} {
		if u.EscapedPath() == base+action {
			return action, query, true
		}
	}
	return "", nil, false
}

func connectURL(origin *url.URL, path string, query url.Values) string {
	u := origin.JoinPath(path)
	u.RawQuery = query.Encode()
	return u.String()
}

// setPresent leaves out what is empty, so that the dashboard's setting stays in force.
func setPresent(query url.Values, parameters map[string]string) {
	for name, value := range parameters {
		if value != "" {
			query.Set(name, value)
		}
	}
}

func textIf(condition bool, text string) string {
	if condition {
		return text
	}
	return ""
}

func modeParameter(mode ConnectMode) (string, error) {
	return string(mode), mode.validate("ConnectOptions.Mode")
}

func (m ConnectMode) validate(argument string) error {
	switch m {
	case "", ModeLive, ModeSimulated, modeTest:
		return nil
	}
	return argumentError(argument, "must be ModeLive or ModeSimulated")
}

func scopeParameter(argument string, scope []string) (string, error) {
	for _, permission := range scope {
		if !isPlainToken(strings.TrimPrefix(permission, requiredPrefix)) {
			return "", argumentError(argument, "must hold one permission per entry, without spaces")
		}
	}
	return strings.Join(scope, " "), nil
}

func makeParameter(argument, brand string) (string, error) {
	brand = strings.ToUpper(brand)
	if strings.Trim(brand, capitals+"0123456789_-") != "" {
		return "", argumentError(argument, `must be a make as Smartcar spells it, such as "TESLA" or "LAND_ROVER"`)
	}
	return brand, nil
}

func singleSelectVIN(number string) (string, error) {
	if number == "" {
		return "", nil
	}
	number, err := vin.Normalize(number)
	if err != nil {
		return "", argumentError("ConnectOptions.SingleSelectVIN", err.Error())
	}
	return number, nil
}

func flagsParameter(country string, flags map[string]string) (string, error) {
	flags = maps.Clone(flags)
	if country != "" {
		country = strings.ToUpper(country)
		if len(country) != 2 || strings.Trim(country, capitals) != "" {
			return "", argumentError("ConnectOptions.Country", `must be two letters, such as "DE"`)
		}
		if _, twice := flags[countryFlag]; twice {
			return "", argumentError("ConnectOptions.Country", "is in Flags too: set one of them")
		}
		if flags == nil {
			flags = map[string]string{}
		}
		flags[countryFlag] = country
	}
	var pairs []string
	for _, name := range slices.Sorted(maps.Keys(flags)) {
		if !isPlainToken(name) || strings.Contains(name, ":") || !isPlainToken(flags[name]) {
			return "", argumentError("ConnectOptions.Flags", "must hold names and values without spaces, and no name with a colon")
		}
		pairs = append(pairs, name+":"+flags[name])
	}
	return strings.Join(pairs, " "), nil
}

func externalIDParameter(options, id string, forget bool) (string, error) {
	argument := options + ".ExternalID"
	switch {
	case forget && id != "":
		return "", argumentError(options+".ClearExternalID", "is set together with ExternalID: set one of them")
	case forget:
		return clearedID, nil
	case id == clearedID:
		return "", argumentError(argument, `must not be "null", which Smartcar takes for no id: use ClearExternalID to remove the id`)
	}
	return id, checkOwnerID(argument, id)
}

// checkOwnerID refuses an id that would not come back from Smartcar as it was sent.
func checkOwnerID(argument, id string) error {
	if !connectstate.ValidOwnerID(id) {
		return argumentError(argument, "must be at most 256 bytes of UTF-8 without control characters")
	}
	return nil
}

// redirectParameter accepts an app's own scheme too: sc<application id>://host.
func redirectParameter(argument, redirect string) (string, error) {
	if redirect == "" {
		return "", nil
	}
	u, err := url.Parse(redirect)
	if err != nil || u.Scheme == "" || u.Host == "" || u.User != nil || strings.Contains(redirect, "#") {
		return "", argumentError(argument, "must be an absolute URL without user name and fragment")
	}
	return redirect, nil
}

// checkState insists on a state wherever a browser comes back: without one,
// anybody could complete the flow in somebody else's browser.
func checkState(state string, comesBack bool) error {
	if comesBack && state == "" {
		return argumentError("state", "must not be empty: it ties the callback to the browser")
	}
	return nil
}

func isPlainToken(s string) bool {
	return s != "" && !strings.ContainsFunc(s, isNotVisibleASCII)
}
