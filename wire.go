package smartcar

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"iter"
	"net/http"
	"net/url"
	"time"

	"github.com/seed-498a1bc4/smartcar/internal/lenient"
)

// A wire is one version of Smartcar's API. It takes a set of operations, makes
// one HTTP request of it and returns a result for each: a v3 battery is two
// signals, and a keyless car's single turn must carry everything wanted.
type wire interface {
	// version is how errors and logs name the API.
	version() string
	// base is the URL that the paths of requests are relative to.
	base(origins Origins) *url.URL
	// supports reports whether the API has the operation at all.
	supports(op *operation) bool
	// kind is what the operation counts as: a VIN is metadata on v2.0 and one
	// signal among the car's data on v3.
	kind(op *operation) Kind
	// read makes one request for all ops, of which there is at least one.
	read(ops []operation) wireRequest
	// split takes the answer to read apart: one part for each of ops, in
	// their order. An error concerns the answer as a whole. What the answer
	// shows beside is noted in a.observed.
	split(ops []operation, a *answer) ([]part, error)
	// decode turns the body of a part into the typed result of op, in units.
	decode(op *operation, body json.RawMessage, units UnitSystem) (reading, error)
	// command makes the request for a command with its arguments.
	command(op *operation, args any) (wireRequest, error)
	// commandResult reads the answer to a command. The body decides, not the status.
	commandResult(op *operation, a *answer) (*CommandResult, error)
}

// wireRequest is one HTTP request. Path is relative to the vehicle it is for,
// else to the API's base URL, and already escaped, segment by segment.
type wireRequest struct {
	method string
	path   string
	body   []byte
}

// answer is a complete HTTP answer.
type answer struct {
	status int
	header http.Header
	body   []byte
	at     time.Time      // when it had arrived
	parts  []part         // of a read, in the order of its operations
	result *CommandResult // of a typed command

	observed observation // what a read showed beside what it was for
}

// part is what an answer holds for one operation: a body or an error.
type part struct {
	op      *operation
	body    json.RawMessage
	value   reading // body decoded, with meta; nil for a kept part, which is decoded anew
	meta    Meta
	err     *Error
	refused error // err as the caller will see it, or why nobody was asked

	// came is when this client had the answer, by the time that has passed in this
	// process: how old a kept one is.
	came     time.Duration
	pushed   bool  // it came with a webhook event
	sequence int64 // of that event, if it has one
}

// UnitSystem of distances, volumes, pressures and temperatures.
type UnitSystem string

// The unit systems Smartcar knows. Energy (kWh), current, voltage, power and
// degrees are the same in both.
const (
	Metric   UnitSystem = "metric"   // km, liters, kPa, degrees Celsius
	Imperial UnitSystem = "imperial" // miles, US gallons, psi, degrees Fahrenheit
)

// Source says where an answer was taken from.
type Source string

// The sources of an answer.
const (
	SourceLive  Source = "live"  // Smartcar was asked
	SourceCache Source = "cache" // the last answer, kept by this client
)

// Meta stands beside every result. Its zero times mean "not known".
//
// https://smartcar.com/docs/api-reference/headers
type Meta struct {
	RequestID string
	// RecordedAt is when the vehicle recorded the data (SC-Data-Age). Judge
	// freshness by it, not by when you asked.
	RecordedAt time.Time
	// FetchedAt is when Smartcar fetched the data from the car's maker.
	FetchedAt time.Time
	// ReceivedAt is when this client had the answer, by its own clock.
	ReceivedAt time.Time
	UnitSystem UnitSystem
	Source     Source
	// Stale marks a cached answer handed out because the policy did not allow
	// a request; see [AllowStale]. A cached answer that is not stale is what
	// Smartcar would have said.
	Stale bool
	// PolicyOverridden marks an answer asked for with [IgnorePolicy].
	PolicyOverridden bool
}

// The documented headers, in the case in which net/http keeps them.
const (
	headerRequestID = "Sc-Request-Id"
	headerDataAge   = "Sc-Data-Age"
	headerFetchedAt = "Sc-Fetched-At"
	headerUnits     = "Sc-Unit-System"
	headerUserID    = "Sc-User-Id"
)

func metaFrom(h http.Header, at time.Time) Meta {
	return Meta{
		RequestID:  h.Get(headerRequestID),
		RecordedAt: lenient.ParseTime(h.Get(headerDataAge)),
		FetchedAt:  lenient.ParseTime(h.Get(headerFetchedAt)),
		ReceivedAt: at,
		UnitSystem: UnitSystem(h.Get(headerUnits)),
		Source:     SourceLive,
	}
}

// setMeta reaches the Meta that every result embeds.
func (m *Meta) setMeta(v Meta) { *m = v }

// The two ways in which the body of a success is not Smartcar's answer. Their
// texts quote nothing of it.
var (
	errNotObject = errors.New("the body is not a JSON object")
	errForeign   = errors.New("the body has not one field of this answer")
)

// decodeObject reads a JSON object into a T, leniently where T is lenient.
func decodeObject[T any](body json.RawMessage) (*T, error) {
	v := new(T)
	if body = bytes.TrimSpace(body); !isObject(body) || json.Unmarshal(body, v) != nil {
		return nil, errNotObject // encoding/json's own text could quote the body
	}
	return v, nil
}

func isList(body json.RawMessage) bool {
	body = bytes.TrimSpace(body)
	return len(body) > 0 && body[0] == '['
}

// reach is how an API version gets at users and their cars: v2.0 with the
// tokens of the grants they gave, v3 with the application's own token, in
// their name. Methods that concern a car take a request for it which authorize
// has completed, as a pattern for those they send.
type reach interface {
	// authorize completes a request for a car: in whose name it is made, and whose
	// its answers are. Grant is the one that has listed the car, if it is known.
	authorize(ctx context.Context, r *request, grant string) error
	// connected returns an error if the user is known to have no access (any more).
	connected(ctx context.Context, userID string) error
	// vehicles yields the user's cars; see [User.Vehicles].
	vehicles(ctx context.Context, userID string) iter.Seq2[listedCar, error]
	// permissions are what the owner granted for the car.
	permissions(ctx context.Context, r *request) ([]string, error)
	// disconnect revokes the access to one car of one user.
	disconnect(ctx context.Context, r *request) error
	// renew keeps what expires of the user's access from expiring.
	renew(ctx context.Context, userID string, within time.Duration) error
	// finish turns a callback whose state is verified into a grant.
	finish(ctx context.Context, callback *Callback, run connectRun) (*Grant, error)
	// resume finishes what a [PendingGrantError] left open.
	resume(ctx context.Context, grantID string) (*Grant, error)
	// connections yields what the application is connected to.
	connections(ctx context.Context, filter ConnectionFilter) iter.Seq2[Connection, error]
	// deleteConnections removes the connections of a user, a vehicle, or a pair.
	deleteConnections(ctx context.Context, filter ConnectionFilter) ([]Connection, error)
	// subscribe and unsubscribe begin and end that a webhook tells of a car.
	// Unsubscribe takes a request that authorize has not completed.
	subscribe(ctx context.Context, r *request, webhookID string) error
	unsubscribe(ctx context.Context, r *request, webhookID string) error
}

// A listedCar is one of a user's cars, with the grant that listed it on v2.0.
type listedCar struct{ id, grant string }

// connectRun is what the application remembers of a run of Connect.
type connectRun struct {
	redirectURL string
	externalID  string // the application's id of the owner, if it gave one
	proofID     string // what Connect was given as the external id; v3 confirms the user by it
	mode        ConnectMode
}

// A sender sends requests that concern no vehicle.
type sender struct {
	send layer
	base string // URL of the API version in use
}

// sendJSON sends a request that concerns no vehicle and decodes its answer.
func sendJSON[T any](ctx context.Context, s sender, r *request) (*T, error) {
	r.kind = KindMetadata
	a, err := s.send(ctx, r, nil)
	if err != nil {
		return nil, err
	}
	v, err := decodeObject[T](a.answer.body)
	if err != nil {
		return nil, unreadable(r.op, a.answer, err)
	}
	return v, nil
}
