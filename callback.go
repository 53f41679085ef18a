package smartcar

import (
	"errors"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/seed-498a1bc4/smartcar/internal/connectstate"
	"github.com/seed-498a1bc4/smartcar/internal/echo"
)

// What Connect can report in place of a connection, matched with [errors.Is]
// against a [*ConnectError].
//
// https://smartcar.com/docs/api-reference/api-errors
var (
	// ErrAccessDenied: the owner refused the permissions.
	ErrAccessDenied = errors.New("smartcar: the owner denied access")
	// ErrUserCancelled: the owner left Connect before the end.
	ErrUserCancelled = errors.New("smartcar: the owner left Connect")
	// ErrVehicleIncompatible: Smartcar does not support the vehicle. Until
	// 2026-06-16 also: it lacks a permission marked by [Required].
	ErrVehicleIncompatible = errors.New("smartcar: vehicle is incompatible")
	// ErrInvalidSubscription: the vehicle's connected services are not active.
	ErrInvalidSubscription = errors.New("smartcar: no active connected services subscription")
	// ErrNoVehicles: the owner's account has no vehicles.
	ErrNoVehicles = errors.New("smartcar: the account has no vehicles")
	// ErrConnectConfiguration: the application is not set up as Connect expects.
	ErrConnectConfiguration = errors.New("smartcar: Connect refused the application's configuration")
	// ErrConnectServer: Connect failed by itself.
	ErrConnectServer = errors.New("smartcar: Connect failed")
)

// ErrMalformedCallback matches every [*CallbackError].
var ErrMalformedCallback = errors.New("smartcar: malformed Connect callback")

// A CallbackError says why the parameters of a callback were refused. It never
// repeats their values.
type CallbackError struct {
	Parameter string // the parameter at fault, or empty if it is all of them
	Problem   string
}

func (e *CallbackError) Error() string {
	if e.Parameter == "" {
		return ErrMalformedCallback.Error() + ": " + e.Problem
	}
	return ErrMalformedCallback.Error() + ": " + e.Parameter + " " + e.Problem
}

// Is reports whether target is [ErrMalformedCallback].
func (e *CallbackError) Is(target error) bool { return target == ErrMalformedCallback }

// A ConnectError is what Connect reports when no vehicle was connected. Its
// texts come through the owner's browser: escape them like any other input.
//
// https://smartcar.com/docs/connect/handle-the-response
type ConnectError struct {
	Code        string // access_denied, vehicle_incompatible, ...; new codes stay readable
	Description string // English, for developers

	// The vehicle that is incompatible, if the owner agreed to share it.
	VIN, Make, Model string
	Year             int // 0 if not known

	// The details of a configuration error.
	StatusCode int // 0 if there is none
	Message    string
}

// Error leaves out the vehicle, which identifies the owner, and quotes the
// rest, so that no hostile text gets into a log as it is.
func (e *ConnectError) Error() string {
	text := fmt.Sprintf("smartcar: Connect reported %.50q", e.Code)
	for _, detail := range []string{e.Description, e.Message} {
		if detail != "" {
			text += fmt.Sprintf(": %.200q", detail)
		}
	}
	if e.StatusCode != 0 {
		text += fmt.Sprintf(" (status %d)", e.StatusCode)
	}
	return text
}

// strike takes the state out of the texts, which end in logs. A code never comes with an
// error.
func (e *ConnectError) strike(state string) {
	if e == nil {
		return
	}
	var hidden echo.Echo
	hidden.Add(state)
	e.Code, e.Description, e.Message = hidden.Text(e.Code), hidden.Text(e.Description), hidden.Text(e.Message)
}

// Format keeps the vehicle out of every verb of package fmt.
func (e ConnectError) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, e.Error()) }

// Is reports whether target is the sentinel that stands for the code.
func (e *ConnectError) Is(target error) bool {
	switch e.Code {
	case "access_denied":
		return target == ErrAccessDenied
	case "user_manually_returned_to_application", "user_cancelled":
		return target == ErrUserCancelled
	case "vehicle_incompatible":
		return target == ErrVehicleIncompatible
	case "invalid_subscription":
		return target == ErrInvalidSubscription
	case "no_vehicles":
		return target == ErrNoVehicles
	case "configuration_error":
		return target == ErrConnectConfiguration
	case "server_error":
		return target == ErrConnectServer
	}
	return false
}

// A Callback is what came back from Connect through the owner's browser.
// Anybody can make one up: until [Callback.VerifyState] has succeeded, nothing
// in it is true, and even then its ids are claims to check with Smartcar.
//
// https://smartcar.com/docs/connect/handle-the-response
type Callback struct {
	UserID     string // Smartcar's id of the owner
	ExternalID string // yours, as given to Connect
	VehicleID  string // after re-authentication
	// VirtualKeyURL is where the owner adds the key to a Tesla that needs one;
	// see [ParseVirtualKeyURL].
	VirtualKeyURL VirtualKeyURL
	// VirtualKeyErr says why the link was refused. The connection is not
	// affected by it.
	VirtualKeyErr error
	// Err is set when Connect reports an error; there is no code then.
	Err *ConnectError

	// reveal is a function because package fmt prints nothing of what a function
	// holds. A pointer would not do: for verbs that do not fit, such as %s, package
	// fmt follows it.
	reveal func() callbackSecrets
}

type callbackSecrets struct {
	code, state string
}

const (
	maxCallbackValue  = 4096
	maxCallbackSecret = 512
)

// ParseCallback reads the query of a redirect from Connect without believing
// it. Parameters that it does not know are ignored; known ones that are
// ambiguous, too long or missing altogether make an error that matches
// [ErrMalformedCallback]. A virtual key URL that cannot be trusted does not:
// see [Callback.VirtualKeyErr].
//
// https://smartcar.com/docs/connect/handle-the-response
func ParseCallback(values url.Values, allowedKeyDomains ...string) (*Callback, error) {
	if err := checkKeyDomains("allowedKeyDomains", allowedKeyDomains); err != nil {
		return nil, err
	}
	r := callbackReader{values: values}
	secrets := callbackSecrets{
		code:  r.plain("code", maxCallbackSecret),
		state: r.plain("state", maxCallbackSecret),
	}
	c := &Callback{
		UserID:     r.userID(),
		ExternalID: r.plain("external_id", maxCallbackValue),
		VehicleID:  r.plain("vehicle_id", maxCallbackValue),
		Err:        r.connectError(),
		reveal:     func() callbackSecrets { return secrets },
	}
	c.Err.strike(secrets.state)
	switch {
	case c.Err != nil && c.HasCode():
		r.fail("error", "comes together with a code")
	case c.Err == nil && !c.HasCode() && c.UserID == "" && c.VehicleID == "":
		r.fail("", "there is neither code, error, user_id nor vehicle_id")
	}
	if r.err != nil {
		return nil, r.err
	}
	c.VirtualKeyURL, c.VirtualKeyErr = parseKeyParameter(values["virtual_key_url"], allowedKeyDomains)
	return c, nil
}

// HasCode reports whether there is a code to exchange for tokens.
func (c *Callback) HasCode() bool { return c.secrets().code != "" }

// VerifyState reports, as an error that matches [ErrStateMismatch], that the
// callback does not belong to the flow that was started with the expected state.
func (c *Callback) VerifyState(expected string) error {
	return connectstate.Verify(c.secrets().state, expected)
}

func (c *Callback) secrets() callbackSecrets {
	if c.reveal == nil {
		return callbackSecrets{}
	}
	return c.reveal()
}

func parseKeyParameter(links, allowedDomains []string) (VirtualKeyURL, error) {
	switch len(links) {
	case 0:
		return VirtualKeyURL{}, nil
	case 1:
		return ParseVirtualKeyURL(links[0], allowedDomains...)
	}
	return VirtualKeyURL{}, untrustedKeyURL("it came more than once")
}

// callbackReader reads parameters and keeps the first problem.
type callbackReader struct {
	values url.Values
	err    error
}

func (r *callbackReader) fail(parameter, problem string) {
	if r.err == nil {
		r.err = &CallbackError{Parameter: parameter, Problem: problem}
	}
}

// text returns the only value of a parameter, or "".
func (r *callbackReader) text(parameter string, limit int) string {
	values := r.values[parameter]
	switch {
	case len(values) == 0:
		return ""
	case len(values) > 1:
		r.fail(parameter, "comes more than once")
	case len(values[0]) > limit:
		r.fail(parameter, "is too long")
	}
	return values[0]
}

// plain returns a value that can safely become part of a request or a key.
func (r *callbackReader) plain(parameter string, limit int) string {
	value := r.text(parameter, limit)
	if !utf8.ValidString(value) || strings.ContainsFunc(value, unicode.IsControl) {
		r.fail(parameter, "has characters that cannot be printed")
	}
	return value
}

// userID accepts both spellings that Smartcar's pages use.
func (r *callbackReader) userID() string {
	id, other := r.plain("user_id", maxCallbackValue), r.plain("userId", maxCallbackValue)
	switch {
	case id == "":
		return other
	case other != "" && other != id:
		r.fail("user_id", "is not the same as userId")
	}
	return id
}

func (r *callbackReader) connectError() *ConnectError {
	code := r.text("error", maxCallbackValue)
	if code == "" {
		return nil
	}
	return &ConnectError{
		Code:        code,
		Description: r.text("error_description", maxCallbackValue),
		VIN:         r.text("vin", maxCallbackValue),
		Make:        r.text("make", maxCallbackValue),
		Model:       r.text("model", maxCallbackValue),
		Year:        r.number("year"),
		StatusCode:  r.number("status_code"),
		Message:     r.text("error_message", maxCallbackValue),
	}
}

// number returns 0 for a text that is no number: a detail of an error must not hide
// the error.
func (r *callbackReader) number(parameter string) int {
	n, err := strconv.Atoi(r.text(parameter, maxCallbackValue))
	if err != nil {
		return 0
	}
	return n
}

// A Grant is the result of one run of Connect. Its tokens are in the store and
// nowhere else.
type Grant struct {
	// UserID is the owner's id as Smartcar's API confirmed it, not as the
	// browser claimed it. Keep it: [Client.User] takes it.
	UserID string
	// ExternalID is your own id for the owner, from [ConnectOptions]: taken
	// from the signed cookie, not from the browser's address bar.
	ExternalID string
	// VehicleID is set after a re-authentication, which brings no new tokens.
	VehicleID string
	// VirtualKeyURL is where the owner adds the virtual key, if one of the
	// cars needs it. Show it as a link on a phone or a QR code elsewhere.
	VirtualKeyURL VirtualKeyURL
	// VirtualKeyErr is why a link that came along was refused: a hostile link
	// never costs the grant.
	VirtualKeyErr error
}

// A PendingGrantError says that Connect succeeded, but that its user is not known
// yet: Smartcar could not be asked, or, on API v3, does not confirm the user whom the
// browser named. The tokens of v2.0 are kept, in this process's memory if the store
// would not take them yet. Nothing is lost: call [Connect.Resume] with GrantID later.
type PendingGrantError struct {
	GrantID string
	Err     error
}

func (e *PendingGrantError) Error() string {
	text := "smartcar: the grant is stored but not yet linked to its user; call Resume"
	if e.Err == nil {
		return text
	}
	return text + ": " + e.Err.Error()
}

// Unwrap returns why the user could not be asked for.
func (e *PendingGrantError) Unwrap() error { return e.Err }
