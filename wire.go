package smartcar

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"iter"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"
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
	// read makes one request for all ops, of which there is at least one, and says
	// what it counts as. It fails for what the API does not have.
	read(ops []operation) (wireRequest, Kind, error)
	// split takes the answer to read apart: one part for each of ops, in
	// their order. An error concerns the answer as a whole. What the answer shows of
	// the car beside is put into a.observed.
	split(ops []operation, a *answer) ([]part, error)
	// brought are the parts of all the car's data that an answer to a read
	// holds, whatever was asked for: what is kept of it.
	brought(a *answer) []part
	// within takes ops out of an answer to somebody else's read. It reports
	// false if that cannot have them all.
	within(ops []operation, a *answer) ([]part, bool)
	// holds reports whether the answer to a read of asked has ops, too.
	holds(ops, asked []operation) bool
	// keptIn are the units under which answers are kept that were asked for in
	// units: empty where a body names its own and is read in any.
	keptIn(units UnitSystem) UnitSystem
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
	at     time.Time      // when all of it had arrived
	parts  []part         // of a read, in the order of its operations
	result *CommandResult // of a typed command

	observed observation     // what a read showed beside what it was for
	list     *signalSet      // of v3: the whole list of signals, nil if it is none
	vehicle  json.RawMessage // of v3: the vehicle that the list includes, nil if none
}

// isNoContent reports that the answer is complete without a body.
func (a *answer) isNoContent() bool {
	return a.status == http.StatusNoContent && len(bytes.TrimSpace(a.body)) == 0
}

// part is what an answer holds for one operation: a body or an error.
type part struct {
	op   *operation
	body json.RawMessage
	list *signalSet // of v3, in place of body: the signals that it is made of are in it
	// value is decoded, with meta. That of a kept part is nil or an original that nobody
	// else gets: callers get copies, see ownReading, or what is decoded anew.
	value     reading
	meta      Meta
	err       *Error
	callerErr error // what the caller gets: err explained, or why no request was sent

	// came is when this client had the answer, by the time that has passed in this
	// process: how old a kept one is.
	came     time.Duration
	pushed   bool  // it came with a webhook event
	sequence int64 // of that event, if it has one

	connect uint64     // of a kept part: see answerRef
	valueIn UnitSystem // of a kept part: the units of its value
	packed  []byte     // of a kept part that is large: its body, see part.pack
}

// decode turns the part into its typed result.
func (p *part) decode(w wire) (reading, error) {
	if p.list != nil {
		return p.op.decodeV3(nil, p.list, p.meta.UnitSystem)
	}
	return w.decode(p.op, p.body, p.meta.UnitSystem)
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
	// SourceWebhook: a webhook has brought it, see [Client.WebhookReceiver].
	SourceWebhook Source = "webhook"
)

// Meta stands beside every result. Its zero times mean "not known", and are not
// written to JSON.
//
// https://smartcar.com/docs/api-reference/headers
type Meta struct {
	RequestID string
	// RecordedAt is when the vehicle recorded the data (SC-Data-Age). Judge
	// freshness by it, not by when you asked.
	RecordedAt time.Time `json:",omitzero"`
	// FetchedAt is when Smartcar fetched the data from the car's maker.
	FetchedAt time.Time `json:",omitzero"`
	// ReceivedAt is when this client had the answer, by its own clock.
	ReceivedAt time.Time `json:",omitzero"`
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

// The ways in which the body of a success is not Smartcar's answer. Their
// texts quote nothing of it.
var (
	errNotObject = errors.New("the body is not a JSON object")
	errForeign   = errors.New("the body is not the answer to this request")
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

// sendJSON sends a request that concerns no vehicle and decodes its answer, which has
// one of the shapes.
func sendJSON[T any](ctx context.Context, s sender, r *request, own string) (*T, error) {
	r.kind, r.own = KindMetadata, own
	a, err := s.send(ctx, r, nil)
	if err != nil {
		return nil, err
	}
	v, err := decodeObject[T](a.answer.body)
	if err != nil {
		return nil, notAnswer(r.op, a.answer, a.answer.body, err)
	}
	return v, nil
}

// maxRetryAfter bounds what a server may make us believe: a week.
const maxRetryAfter = 7 * 24 * time.Hour

// errorBody is the union of every error shape: v2.0 flat, v1, OAuth, v3
// errors[] entries, and per-signal errors.
type errorBody struct {
	kind, code, description, title, message, docURL, requestID, userMessage, links lenient.Value
	statusCode, status, resolution                                                 lenient.Value
	detail                                                                         lenient.Value // v2.0: a list of fields; v3: a text

	problem      lenient.Value // OAuth and v1: a text; v3: an object
	ofOAuth      lenient.Value // the description of an OAuth error
	problemsOfV3 lenient.Value
}

func readError(v lenient.Value) (b errorBody) {
	v.Read(
		lenient.Field{Name: "type", To: &b.kind}, lenient.Field{Name: "code", To: &b.code}, lenient.Field{Name: "description", To: &b.description},
		lenient.Field{Name: "title", To: &b.title}, lenient.Field{Name: "message", To: &b.message}, lenient.Field{Name: "docURL", To: &b.docURL},
		lenient.Field{Name: "statusCode", To: &b.statusCode}, lenient.Field{Name: "status", To: &b.status}, lenient.Field{Name: "requestId", To: &b.requestID},
		lenient.Field{Name: "resolution", To: &b.resolution}, lenient.Field{Name: "suggestedUserMessage", To: &b.userMessage},
		lenient.Field{Name: "detail", To: &b.detail}, lenient.Field{Name: "links", To: &b.links}, lenient.Field{Name: "error", To: &b.problem},
		lenient.Field{Name: "error_description", To: &b.ofOAuth}, lenient.Field{Name: "errors", To: &b.problemsOfV3},
	)
	return b
}

// decodeError reads an error answer of any shape. It always returns an error
// with the status, even when the body says nothing.
func decodeError(op Operation, status int, header http.Header, body []byte, now time.Time) *Error {
	var e *Error
	if v, ok := lenient.Parse(body); ok && (v.IsObject() || v.IsNull()) {
		b := readError(v)
		e = b.innermost().toError()
	} else {
		e = &Error{Description: "the body is not JSON (" + mediaType(header) + ", " + strconv.Itoa(len(body)) + " bytes)"}
	}
	e.Operation = op
	// Only a success status may be contradicted by its body (v3's streamed answers).
	if status >= 400 || e.StatusCode < 400 || e.StatusCode > 599 {
		e.StatusCode = status
	}
	if e.RequestID == "" {
		e.RequestID = header.Get(headerRequestID)
	}
	e.RetryAfter = parseRetryAfter(header.Get("Retry-After"), now)
	return e
}

// errorInside returns the error that is the whole body of a success, or nil. The
// body of an answer that is none, which is nearly every one, is not even parsed.
func errorInside(op Operation, status int, header http.Header, body []byte, now time.Time) *Error {
	body = bytes.TrimSpace(body)
	switch {
	case !isObject(body), bytes.HasPrefix(body, []byte(`{"data":[{`)), bytes.HasPrefix(body, []byte(`{"data":{"`)):
		return nil
	case !bytes.Contains(body, []byte(`"type"`)) && !bytes.Contains(body, []byte(`"error`)):
		return nil
	}
	v, _ := lenient.Parse(body)
	// Attributes and body are those of a signal that stands alone.
	var data, responses, attributes, content, problem, problems lenient.Value
	v.Read(
		lenient.Field{Name: "data", To: &data}, lenient.Field{Name: "responses", To: &responses}, lenient.Field{Name: "attributes", To: &attributes},
		lenient.Field{Name: "body", To: &content}, lenient.Field{Name: "error", To: &problem}, lenient.Field{Name: "errors", To: &problems},
	)
	if v == nil || data.Len() > 0 || responses.Len() > 0 || attributes.IsObject() || content.IsObject() {
		return nil
	}
	e := decodeError(op, status, header, body, now)
	e.inside = true
	said := e.Type != "" || e.Code != "" || e.Description != ""
	listed := firstObject(problems) != nil
	typed := e.StatusCode >= 400 || e.notCarriedOut() || e.Type == typeServer || e.Type == typeUpstream
	if said && (listed || problem.IsObject()) || e.Type != "" && typed || e.Type == "" && e.Code != "" && !problem.IsNull() {
		return e
	}
	return nil
}

// firstObject is the first element of a list that is an object.
func firstObject(list lenient.Value) lenient.Value {
	for element := range list.Elements() {
		if element.IsObject() {
			return element
		}
	}
	return nil
}

// innermost steps into v3's {"errors":[...]} or {"error":{...}}, once: no
// documented answer nests deeper.
func (b *errorBody) innermost() *errorBody {
	inner := b.problem
	if first := firstObject(b.problemsOfV3); first != nil {
		inner = first
	}
	if inner.IsObject() {
		nested := readError(inner)
		return &nested
	}
	return b
}

func (b *errorBody) toError() *Error {
	e := &Error{
		StatusCode:           cmp.Or(b.statusCode.Int(), b.status.Int()),
		Type:                 b.kind.Text(),
		Code:                 b.code.Text(),
		DocURL:               firstOf(b.docURL, b.links.Get("about")),
		RequestID:            b.requestID.Text(),
		SuggestedUserMessage: b.userMessage.Text(),
		Resolution:           decodeResolution(b.resolution),
		Detail:               decodeDetail(b.detail),
	}
	switch e.Description = b.description.Text(); {
	case strings.Contains(strings.ToLower(e.Description), "deprecated"): // most likely the field itself
		e.Description = firstOf(b.detail, b.ofOAuth, b.message, b.title, b.description)
	case e.Description == "" || b.detail.HasText():
		e.Description = firstOf(b.detail, b.description, b.ofOAuth, b.message, b.title)
	}
	if e.Type == "" && b.problem.HasText() {
		e.Code = b.problem.Text() // OAuth and v1 name the problem here
	}
	return e
}

// decodeResolution takes an object, a bare text or null.
func decodeResolution(v lenient.Value) Resolution {
	if !v.IsObject() {
		return Resolution{Type: v.Text()}
	}
	return Resolution{Type: v.Get("type").Text(), URL: v.Get("url").Text()}
}

func decodeDetail(v lenient.Value) []FieldProblem {
	if !v.IsList() {
		return nil
	}
	problems := make([]FieldProblem, 0, v.Len())
	for d := range v.Elements() {
		if !d.IsObject() && !d.IsNull() {
			continue
		}
		p := FieldProblem{Message: d.Get("message").Text()}
		for f := range d.Get("field").Elements() {
			p.Field = append(p.Field, f.Text())
		}
		problems = append(problems, p)
	}
	return problems
}

func isObject(raw json.RawMessage) bool {
	return len(raw) > 0 && raw[0] == '{'
}

func mediaType(h http.Header) string {
	t, _, _ := strings.Cut(h.Get("Content-Type"), ";")
	if t = strings.TrimSpace(t); t == "" {
		return "no content type"
	}
	return printable(t, 60)
}

// parseRetryAfter reads seconds, a fraction of seconds, a date, or seconds or
// milliseconds since 1970 (Smartcar's SDKs disagree), clamped to a week. What
// makes no sense is zero.
func parseRetryAfter(s string, now time.Time) time.Duration {
	s = strings.TrimSpace(s)
	if s == "" {
		return 0
	}
	if s[0] > '9' { // a date begins with a weekday; parsing what is none would cost errors
		if at, err := http.ParseTime(s); err == nil {
			return clampRetryAfter(at.Sub(now))
		}
	}
	if len(s) > 4 && s[4] == '-' {
		if at, err := time.Parse(time.RFC3339, s); err == nil {
			return clampRetryAfter(at.Sub(now))
		}
	}
	n, err := strconv.ParseFloat(s, 64)
	if err != nil || math.IsNaN(n) || math.IsInf(n, 0) || n <= 0 {
		return 0
	}
	switch {
	case n > 1e11 && n < 1e15:
		return clampRetryAfter(time.UnixMilli(int64(n)).Sub(now))
	case n > 1e9 && n <= 1e11:
		return clampRetryAfter(time.Unix(int64(n), 0).Sub(now))
	}
	return clampRetryAfter(time.Duration(min(n, maxRetryAfter.Seconds()) * float64(time.Second)))
}

func clampRetryAfter(d time.Duration) time.Duration {
	return min(max(d, 0), maxRetryAfter)
}
