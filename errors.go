package smartcar

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/seed-498a1bc4/smartcar/internal/argument"
	"github.com/seed-498a1bc4/smartcar/internal/contexts"
	"github.com/seed-498a1bc4/smartcar/internal/records"
	"github.com/seed-498a1bc4/smartcar/internal/users"
)

// Sentinels for what programs branch on, matched with [errors.Is] through any
// wrapping. API errors match by type and code, never by their text; the whole
// table stands in the package documentation under "Errors".
var (
	// ErrInvalidArgument matches every [*ArgumentError].
	ErrInvalidArgument = argument.ErrInvalid
	// ErrNotConnected: nothing is stored for this user: send the owner through Connect.
	ErrNotConnected = users.ErrNotConnected
	// ErrNotMoved: a client of API v3 met a user who is known from API v2.0 only.
	// Run [Client.MoveToV3]; if Smartcar has no connection of the user, send the
	// owner through Connect.
	ErrNotMoved = errors.New("smartcar: the user is known from API v2.0 and has no connection on API v3; run MoveToV3, or send the owner through Connect")
	// ErrReconnectRequired: the grant has ended (refresh token expired, revoked,
	// damaged or spent elsewhere) and only a new run of Connect helps.
	ErrReconnectRequired = errors.New("smartcar: the owner must connect again")
	// ErrReauthenticate: Smartcar lost access to the owner's car account; see
	// [Connect.StartReauth], [Connect.ReauthURL] and [Error.Resolution].
	ErrReauthenticate = errors.New("smartcar: the owner must re-authenticate the vehicle")
	// ErrAccount: the owner has to settle something with the car's maker:
	// ACCOUNT_ISSUE, NO_VEHICLES, SUBSCRIPTION or VEHICLE_MISSING.
	ErrAccount = errors.New("smartcar: the owner's car account needs attention")
	// ErrVirtualKeyRequired matches [*VirtualKeyRequiredError] and Smartcar's
	// VIRTUAL_KEY_REQUIRED: the owner has to add the virtual key in the Tesla app.
	ErrVirtualKeyRequired = errors.New("smartcar: virtual key required")
	// ErrRateLimited matches [*RateLimitError] and every RATE_LIMIT answer.
	ErrRateLimited = errors.New("smartcar: rate limited")
	// ErrPermission: the owner did not grant the permission this operation needs.
	ErrPermission = errors.New("smartcar: permission not granted")
	// ErrUnauthorized: the access token was refused, or does not cover this vehicle.
	ErrUnauthorized = errors.New("smartcar: not authorized")
	// ErrVehicleState matches every VEHICLE_STATE answer (asleep, in motion, charging, ...).
	ErrVehicleState = errors.New("smartcar: vehicle state does not allow this")
	// ErrAsleep: the car sleeps and the request was not sent to it.
	ErrAsleep = errors.New("smartcar: vehicle is asleep")
	// ErrNotSupported: this car, make or API version cannot do it; never retry.
	ErrNotSupported = errors.New("smartcar: not supported")
	// ErrBilling: the plan does not allow the request (HTTP 430).
	ErrBilling = errors.New("smartcar: not covered by the plan")
	// ErrNotFound: no such path, version, vehicle or signal.
	ErrNotFound = errors.New("smartcar: not found")
	// ErrVehicleGone: the car is not, or no longer, reached through this user: it was
	// disconnected, here or by its owner. API v3 says RESOURCE_NOT_FOUND and
	// VEHICLE_NOT_FOUND; v2.0 refuses a token that is good for other cars, with 401.
	ErrVehicleGone = errors.New("smartcar: the vehicle is not connected by this user")
	// ErrNothingStored: Smartcar has stored nothing of what was asked for yet. API v3
	// says so with 404 and SIGNAL_NOT_FOUND, or with a list that lacks it; subscribing
	// the car to a webhook helps. API v2.0 asks the car each time, and never says it.
	ErrNothingStored = errors.New("smartcar: nothing is stored of this yet")
	// ErrValidation: Smartcar refused the request's form; see [Error.Detail].
	ErrValidation = errors.New("smartcar: request not valid")
	// ErrUnavailable: Smartcar, the maker's cloud or the network failed; the
	// same request may work later.
	ErrUnavailable = errors.New("smartcar: temporarily unavailable")
	// ErrUnexpectedAnswer: the answer could not be read: cut off, too large,
	// a redirect, or not the documented JSON.
	ErrUnexpectedAnswer = errors.New("smartcar: unexpected answer")
	// ErrStore: the store failed, so the policy or the tokens could not be consulted.
	ErrStore = records.ErrStore
	// ErrNotRequested: the snapshot was not asked for this operation.
	ErrNotRequested = errors.New("smartcar: operation was not part of the snapshot")
)

// An ArgumentError says which argument was refused before anything was sent,
// and what to pass instead. It never repeats the value: it may be a secret.
type ArgumentError struct {
	Argument string // the parameter, field or option, as the caller wrote it: "Config.ClientID"
	Problem  string // what is wrong and what to do
}

func (e *ArgumentError) Error() string {
	return "smartcar: " + e.Argument + ": " + e.Problem
}

// Is reports whether target is [ErrInvalidArgument].
func (e *ArgumentError) Is(target error) bool { return target == ErrInvalidArgument }

func argumentError(argument, problem string) error {
	return &ArgumentError{Argument: argument, Problem: problem}
}

// Resolution is Smartcar's advice. Type is an open string (RETRY_LATER,
// REAUTHENTICATE, CONTACT_SUPPORT, ACTION_REQUIRED, ...): branch on
// [Error.Type] and [Error.Code] instead. URL may be partial: see [Connect.CompleteURL].
type Resolution struct {
	Type string
	URL  string
}

// A FieldProblem is one entry of a VALIDATION error.
type FieldProblem struct {
	Field   []string
	Message string
}

// An Error is a request that reached Smartcar, or tried to, and failed. It
// reads every shape the API answers with: v2.0, v3, OAuth, batch items and
// bodies that are no JSON at all. Type and Code are open strings; unknown ones
// stay readable.
//
// https://smartcar.com/docs/errors/api-errors
type Error struct {
	Operation   Operation // what was asked
	StatusCode  int       // HTTP status, that of the item inside a batch; 0 when no answer came
	Type        string    // VEHICLE_STATE, RATE_LIMIT, ...; an OAuth error's code stands in Code
	Code        string    // ASLEEP, VEHICLE, ...; empty where Smartcar sends null
	Description string    // English, for developers
	DocURL      string
	RequestID   string
	Resolution  Resolution
	Detail      []FieldProblem
	// SuggestedUserMessage is Smartcar's text for the car owner, with
	// "<app name>" where the application's name belongs.
	SuggestedUserMessage string
	// RetryAfter is the server's own word; zero when it said nothing.
	RetryAfter time.Duration
	// NextAllowed is set when a retry was refused by the policy: the earliest
	// useful time to ask again.
	NextAllowed time.Time
	// Err is the cause when no usable answer came: a network error, a cut body.
	Err error

	command bool    // may have changed the vehicle
	read    bool    // changes nothing, however often it is sent
	inside  bool    // stood in the body of a success: the request itself was accepted
	void    bool    // the refresh token that was sent has not the form of one: it will never be taken
	gone    bool    // the token is good, and refused for this car
	partial bool    // what is missing was not looked for in all that is stored
	reach   reached // how far the request is known to have come
}

// reached says how far a failed request came, as far as we can be certain.
type reached uint8

const (
	reachedServer reached = iota // an answer came
	reachedUnsure                // no answer, or not all of it: it may have arrived
	reachedNever                 // not one byte left
)

func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("smartcar: ")
	if e.Operation != "" {
		b.WriteString(string(e.Operation))
		b.WriteString(": ")
	}
	if e.StatusCode != 0 {
		b.WriteString(strconv.Itoa(e.StatusCode))
		b.WriteByte(' ')
	}
	b.WriteString(e.label())
	if e.Description != "" {
		b.WriteString(": ")
		b.WriteString(printable(e.Description, 300))
	}
	if e.Err != nil {
		b.WriteString(": ")
		b.WriteString(e.Err.Error())
	}
	if e.RequestID != "" {
		b.WriteString(" (request ")
		b.WriteString(printable(e.RequestID, 64))
		b.WriteByte(')')
	}
	if !e.NextAllowed.IsZero() {
		b.WriteString("; next request allowed at ")
		b.WriteString(e.NextAllowed.Format(time.RFC3339))
	}
	return b.String()
}

func (e *Error) label() string {
	switch {
	case e.Type != "" && e.Code != "":
		return printable(e.Type+":"+e.Code, 100)
	case e.Type != "" || e.Code != "":
		return printable(e.Type+e.Code, 100)
	case e.StatusCode == 0 && e.reach == reachedNever:
		return "not sent"
	case e.StatusCode == 0:
		return "no answer"
	case e.StatusCode >= 500:
		return "unavailable"
	default:
		return "unexpected answer"
	}
}

// Unwrap returns the cause, if any.
func (e *Error) Unwrap() error { return e.Err }

// Is matches the package's sentinels by type and code.
func (e *Error) Is(target error) bool {
	switch target {
	case ErrVirtualKeyRequired:
		return e.isKeyRequired()
	case ErrReconnectRequired:
		return e.void || e.Type == "" && e.Code == "invalid_grant" && (e.Operation == opRefresh || e.Operation == opExchange)
	case ErrReauthenticate:
		return e.Type == typeAccount && (e.Code == "AUTHENTICATION_FAILED" || e.Code == "PERMISSION") ||
			e.Type == typeCompatibility && e.Code == "PLATFORM_NOT_CAPABLE"
	case ErrAccount:
		return e.Type == typeAccount && (e.Code == "ACCOUNT_ISSUE" || e.Code == "NO_VEHICLES" || e.Code == "SUBSCRIPTION" || e.Code == "VEHICLE_MISSING")
	case ErrRateLimited:
		return e.Type == typeRateLimit || e.Code == "RATE_LIMIT" || e.Type == "" && e.StatusCode == 429
	case ErrPermission:
		return e.Type == typePermission
	case ErrUnauthorized:
		return e.Type == "AUTHENTICATION" || e.Type == "" && (e.StatusCode == 401 || e.Code == "invalid_client" || e.Code == codeNotEnabled)
	case ErrVehicleState:
		return e.Type == typeVehicleState
	case ErrAsleep:
		return e.Type == typeVehicleState && e.Code == "ASLEEP"
	case ErrNotSupported:
		return e.Type == typeCompatibility
	case ErrBilling:
		return e.Type == typeBilling || e.StatusCode == 430
	case ErrNotFound:
		return e.Type == typeNotFound || e.Type == "" && e.StatusCode == 404
	case ErrVehicleGone:
		return e.gone || e.Type == typeNotFound && e.Code == codeVehicleNotFound
	case ErrNothingStored:
		return e.Type == typeNotFound && e.Code == "SIGNAL_NOT_FOUND" && !e.partial
	case ErrValidation:
		return e.Type == "VALIDATION"
	case ErrUnavailable:
		return e.unavailable()
	case ErrUnexpectedAnswer:
		return e.Type == "" && e.Code == "" && e.StatusCode != 0
	}
	return false
}

const (
	typeRateLimit     = "RATE_LIMIT"
	typeNotFound      = "RESOURCE_NOT_FOUND"
	typeBilling       = "BILLING"
	typeAccount       = "CONNECTED_SERVICES_ACCOUNT"
	typePermission    = "PERMISSION"
	typeVehicleState  = "VEHICLE_STATE"
	typeCompatibility = "COMPATIBILITY"
	typeServer        = "SERVER"
	typeUpstream      = "UPSTREAM"
	codeKeyRequired   = "VIRTUAL_KEY_REQUIRED"

	codeVehicleNotFound = "VEHICLE_NOT_FOUND"

	// codeNotEnabled: the exchange of a code was refused, since the application is
	// not enabled for the make of the car.
	codeNotEnabled = "unauthorized_client"
)

// isKeyRequired compares without case: older pages write virtual_key_required.
func (e *Error) isKeyRequired() bool { return strings.EqualFold(e.Code, codeKeyRequired) }

func (e *Error) isVehicleLimit() bool {
	return e.Type == typeRateLimit && e.Code != "SMARTCAR_API"
}

func (e *Error) isApplicationLimit() bool {
	return e.Type == typeRateLimit && e.Code == "SMARTCAR_API" || e.Type == "" && e.StatusCode == 429
}

// unavailable: the other side failed in a way that may pass.
func (e *Error) unavailable() bool {
	switch {
	case contexts.IsEnd(e.Err) && !errors.Is(e.Err, errAttemptTime):
		return false // the caller's patience ended, not the other side's strength
	case e.StatusCode == 0 || e.reach == reachedUnsure:
		return e.Type == "" && e.Code == ""
	case e.Type == typeServer:
		return e.Code == "" || e.Code == "INTERNAL"
	case e.Type == typeUpstream:
		return true
	case e.Type == "":
		return e.StatusCode >= 500
	}
	return false
}

// MayHaveSucceeded implements the question of the function of the same name.
func (e *Error) MayHaveSucceeded() bool {
	unsure := e.Type == typeVehicleState && (e.Code == "UNKNOWN" || e.Code == "UNREACHABLE")
	switch {
	case !e.command || e.reach == reachedNever:
		return false
	case e.StatusCode == 0 || e.StatusCode >= 500 && e.StatusCode != 501:
		return true
	case e.StatusCode < 400: // an error in the body of a success, without a status of its own
		return unsure || !e.notCarriedOut()
	}
	return unsure
}

// notCarriedOut reports whether the type alone says that nothing was carried out.
func (e *Error) notCarriedOut() bool {
	switch e.Type {
	case "VALIDATION", "AUTHENTICATION", typeBilling, typeNotFound,
		typePermission, typeCompatibility, typeRateLimit, typeAccount, typeVehicleState:
		return true
	}
	return false
}

// retryable reports whether sending the request again at once does no harm and may work.
func (e *Error) retryable() bool {
	if e.reach == reachedNever && e.StatusCode == 0 && !e.void {
		return !contexts.IsEnd(e.Err)
	}
	if !e.read || e.void || contexts.IsEnd(e.Err) || e.Code == "RATE_LIMIT" {
		return false
	}
	return e.unavailable() || e.isApplicationLimit()
}

// anyOf looks for an error with the property in everything that err wraps or joins.
func anyOf(err error, property func(error) bool) bool {
	if err == nil || property(err) {
		return err != nil
	}
	switch wrapped := err.(type) { //nolint:errorlint // this is what walks the tree
	case interface{ Unwrap() error }:
		return anyOf(wrapped.Unwrap(), property)
	case interface{ Unwrap() []error }:
		return slices.ContainsFunc(wrapped.Unwrap(), func(e error) bool { return anyOf(e, property) })
	}
	return false
}

// LogValue is an allow-list: never a URL, a body or the owner's message.
func (e *Error) LogValue() slog.Value {
	return slog.GroupValue(
		slog.String("operation", string(e.Operation)),
		slog.Int("status", e.StatusCode),
		slog.String("type", e.Type),
		slog.String("code", e.Code),
		slog.String("request_id", e.RequestID),
	)
}

// A VirtualKeyRequiredError says that the car needs the owner's virtual key
// for this request. Show URL to the owner: it opens the Tesla app.
type VirtualKeyRequiredError struct {
	Operation Operation
	VehicleID string
	URL       VirtualKeyURL // where the owner adds the key; never a link Smartcar or the application did not vouch for
	Local     bool          // decided here on fresh evidence, without asking Smartcar
	Err       error         // Smartcar's own answer, if it was asked
}

func (e *VirtualKeyRequiredError) Error() string {
	link := e.URL
	link.vin = "" // whose car it is does not belong into a log
	return fmt.Sprintf("smartcar: %s: the car needs the virtual key: ask the owner to open %s on the phone with the Tesla app", e.Operation, link)
}

// Unwrap returns Smartcar's own error, or nil for a local decision.
func (e *VirtualKeyRequiredError) Unwrap() error { return e.Err }

// Is reports whether target is [ErrVirtualKeyRequired].
func (e *VirtualKeyRequiredError) Is(target error) bool { return target == ErrVirtualKeyRequired }

// A NotSupportedError says that an operation does not exist in the API version
// the client speaks. Nothing was sent.
type NotSupportedError struct {
	Operation Operation
	API       string // "v2.0" or "v3"
	Detail    string // what of the operation, if not all of it
}

func (e *NotSupportedError) Error() string {
	text := "smartcar: " + string(e.Operation) + ": Smartcar API " + e.API + " cannot do this"
	if e.Detail != "" {
		text += ": " + e.Detail
	}
	return text
}

// Is reports whether target is [ErrNotSupported].
func (e *NotSupportedError) Is(target error) bool { return target == ErrNotSupported }

// MayHaveSucceeded reports whether the command that failed with err may have
// been carried out all the same: look at the car before sending it again. It
// sees through any wrapping and is false for reads and for nil.
func MayHaveSucceeded(err error) bool {
	return anyOf(err, func(e error) bool {
		m, ok := e.(interface{ MayHaveSucceeded() bool })
		return ok && m.MayHaveSucceeded()
	})
}

// Retryable reports whether the same request may be sent again without harm
// and with a chance of success. It is never true for a command that may have
// run, nor for a vehicle's rate limit: wait for [NextAllowed] there.
func Retryable(err error) bool {
	if e, ok := errors.AsType[*RateLimitError](err); ok && e.Rule != RuleApplication {
		return false
	}
	e, ok := errors.AsType[*Error](err)
	return ok && e.retryable()
}

// NextAllowed returns the earliest time at which asking again is useful, as
// far as the policy or Smartcar said one.
func NextAllowed(err error) (time.Time, bool) {
	if e, ok := errors.AsType[*RateLimitError](err); ok && !e.NextAllowed.IsZero() {
		return e.NextAllowed, true
	}
	if e, ok := errors.AsType[*Error](err); ok && !e.NextAllowed.IsZero() {
		return e.NextAllowed, true
	}
	return time.Time{}, false
}

// isGone: Smartcar itself says that what was asked for is not there.
func isGone(err error) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && e.Type == typeNotFound && e.StatusCode == 404 && !strings.Contains(e.Code, "PATH") && e.Code != "VERSION"
}

// printable keeps hostile or endless text from reaching a terminal or a log.
func printable(s string, limit int) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, s)
	if runes := []rune(s); len(runes) > limit {
		return string(runes[:limit]) + "..."
	}
	return s
}

func itoa(n int) string { return strconv.Itoa(n) }

func checkContext(ctx context.Context) error {
	if ctx == nil {
		return argumentError("ctx", "is nil; use context.Background()")
	}
	return nil
}

// validateID refuses what could leave its segment of a path or a store's key.
func validateID(argument, id string) error {
	switch {
	case id == "":
		return argumentError(argument, "is empty")
	case id == "." || id == "..":
		return argumentError(argument, "is not an id")
	case len(id) > 200:
		return argumentError(argument, "is longer than 200 bytes")
	case strings.ContainsFunc(id, func(r rune) bool { return r < ' ' || r == 0x7f || r == '\uFFFD' }):
		return argumentError(argument, "has control characters or is not UTF-8")
	}
	return nil
}
