package smartcar

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/seed-498a1bc4/smartcar/signals"
)

// A Vehicle is a car as one user's connection reaches it. Every request goes
// through the policy: see the package documentation. A Vehicle is immutable
// and safe for concurrent use; getting one costs nothing.
//
// Reads that the policy refuses return a [*RateLimitError] with the time of
// the next useful request. All other failures are an [*Error] or one of the
// types beside it.
type Vehicle struct{ handle handle }

// handle is a car with the connection that reaches it and the options of calls: what the
// calls of a Vehicle, its visits and its watches go through.
type handle struct {
	core    *core
	car     carRef
	base    string // its URL
	grantID string // the grant that listed it; empty until looked up
	wrong   error  // what is wrong with its id; each call returns it
	opts    callOptions
}

func noVehicle() error {
	return argumentError("Vehicle", "must come from User.Vehicle or User.Vehicles")
}

// calls returns what the calls go through. It is nil for a Vehicle that is nil: each call
// returns an error that says so.
func (v *Vehicle) calls() *handle {
	if v == nil {
		return nil
	}
	return &v.handle
}

// ID is Smartcar's id of the vehicle: opaque, mostly a UUID.
func (v *Vehicle) ID() string {
	if v == nil {
		return ""
	}
	return v.handle.car.id
}

// UserID is the user whose connection reaches the vehicle.
func (v *Vehicle) UserID() string {
	if v == nil {
		return ""
	}
	return v.handle.car.user
}

// With returns the same vehicle with options for the calls made through it:
//
//	v.With(smartcar.AllowStale()).Battery(ctx)
//
// An option that is not valid makes those calls fail.
func (v *Vehicle) With(opts ...CallOption) *Vehicle {
	if v == nil {
		return nil // each call returns an error that says why
	}
	changed := *v
	for _, opt := range opts {
		if opt == nil {
			changed.handle.opts.err = argumentError("CallOption", "is nil; leave it out")
			continue
		}
		opt(&changed.handle.opts)
	}
	return &changed
}

// A CallOption changes the calls of one [Vehicle] handle: see [Vehicle.With].
type CallOption func(*callOptions)

type callOptions struct {
	units       UnitSystem
	allowStale  bool
	withoutTurn bool
	override    bool
	maxAge      time.Duration
	every       time.Duration
	err         error
}

// InUnits overrides the client's unit system.
func InUnits(units UnitSystem) CallOption {
	return func(o *callOptions) {
		if err := validateUnits("InUnits", units); err != nil {
			o.err = err
		}
		o.units = units
	}
}

// IgnorePolicy sends the request whatever the policy, a limit of the application or
// [WithBudget] says. What it costs is counted all the same, and the answer has
// [Meta.PolicyOverridden]. [WithoutTurn] outweighs it.
func IgnorePolicy() CallOption { return func(o *callOptions) { o.override = true } }

// Every sets how far apart [Vehicle.Watch] and [Vehicle.Visit] read a car, at least a
// second. Without it, a streaming Tesla with its key is read every 3 minutes, a car of
// another make every 30. A car with a rule is read by its rule, or by Every where that is
// slower.
func Every(d time.Duration) CallOption {
	return func(o *callOptions) {
		if d < time.Second {
			o.err = argumentError("Every", "must be at least a second; mind the monthly allowance")
		}
		o.every = d
	}
}

// ServiceHistory reads the records from one day to another, both included: the
// dates of from and to in their own time zones. Zero times leave the period to
// Smartcar, which gives the last year on API v2.0 and all it has on v3. A from
// after to is an [*ArgumentError]. Permission read_service_history.
func (v *Vehicle) ServiceHistory(ctx context.Context, from, to time.Time) (*ServiceHistoryReading, error) {
	if !from.IsZero() && !to.IsZero() && from.Format(time.DateOnly) > to.Format(time.DateOnly) {
		return nil, argumentError("ServiceHistory to", "lies before from")
	}
	if v != nil && v.handle.core != nil && v.handle.core.opts.api == V3 { // v3 takes no period: the records are filtered here
		r, err := readingAs[ServiceHistoryReading](v.decoded(ctx, ServiceHistory, nil))
		if err == nil {
			r.Records = slices.DeleteFunc(r.Records, func(s ServiceRecord) bool {
				date := s.Date.Format(time.DateOnly)
				return !from.IsZero() && date < from.Format(time.DateOnly) || !to.IsZero() && date > to.Format(time.DateOnly)
			})
		}
		return r, err
	}
	query := url.Values{}
	if !from.IsZero() {
		query.Set("start_date", from.Format(time.DateOnly))
	}
	if !to.IsZero() {
		query.Set("end_date", to.Format(time.DateOnly))
	}
	return readingAs[ServiceHistoryReading](v.decoded(ctx, ServiceHistory, query))
}

// Permissions lists what the owner granted to the application for this car.
func (v *Vehicle) Permissions(ctx context.Context) ([]string, error) {
	r, err := v.calls().newRequest(ctx, Permissions)
	if err != nil {
		return nil, err
	}
	return v.handle.core.reach.permissions(ctx, r)
}

// Signals reads everything that Smartcar has stored of the car, in one request
// and one turn. API v3 only. A car that was never subscribed to a webhook may
// have nothing stored: [Access.NothingStored].
//
// https://smartcar.com/docs/api-reference/list-signals
func (v *Vehicle) Signals(ctx context.Context) (*Signals, error) {
	return readingAs[Signals](v.decoded(ctx, AllSignals, nil))
}

// Signal reads one signal, documented or not, as a set that holds just it. It
// takes a turn like [Vehicle.Signals], which brings more for the same. An
// unknown signal, and one that Smartcar has not stored yet, is an error that
// matches [ErrNotFound]. The answer is not kept; what a kept answer to
// [Vehicle.Signals] holds of it is handed out as [AllowStale], [MaxAge] and a car
// that would only repeat it allow. API v3 only.
//
// https://smartcar.com/docs/api-reference/get-signal
func (v *Vehicle) Signal(ctx context.Context, code signals.Code) (*Signals, error) {
	if err := validateID("signal code", string(code)); err != nil {
		return nil, err
	}
	op := lookup(AllSignals)
	if v != nil && v.handle.core != nil && !v.handle.core.wire.supports(&op[0]) {
		return nil, &NotSupportedError{Operation: AllSignals, API: v.handle.core.wire.version()}
	}
	r, err := v.calls().newRequest(ctx, AllSignals)
	if err != nil {
		return nil, err
	}
	r.kind, r.reads, r.alone = KindData, op, true
	r.wire = wireRequest{method: http.MethodGet, path: signalsPath + "/" + url.PathEscape(string(code))}
	h := &v.handle
	p, ok := h.keptSignal(ctx, r, code, nil)
	if !ok && r.kept.repeats() && !r.override { // the list costs the same, and the next signal is in it, too
		if _, err = h.read(ctx, AllSignals, nil, nil); err == nil {
			p, ok = h.keptSignal(ctx, r, code, nil)
		}
	}
	if !ok && err == nil {
		var a attempt
		if a, err = h.core.send(ctx, r, nil); err == nil {
			p, ok = a.answer.parts[0], true
		}
	}
	if !ok {
		p, ok = h.keptSignal(ctx, r, code, err)
	}
	if !ok {
		return nil, err
	}
	return readingAs[Signals](decoded(h.core.wire, p))
}

// Snapshot reads several things in one request, which is one turn of a keyless
// car; each of them still counts against the plan's monthly allowance. It
// returns an error only if the request as a whole failed; what one operation
// met is in the snapshot. Operations named twice are asked for once.
//
// https://smartcar.com/docs/api-reference/batch
func (v *Vehicle) Snapshot(ctx context.Context, want ...Operation) (*Snapshot, error) {
	return v.calls().snapshot(ctx, want)
}

func (h *handle) snapshot(ctx context.Context, want []Operation) (*Snapshot, error) {
	ops, err := readsOf("Snapshot", want)
	if err != nil {
		return nil, err
	}
	parts, err := h.read(ctx, opSnapshot, ops, nil)
	if err != nil {
		return nil, err
	}
	return newSnapshot(h.core.wire, parts), nil
}

// readsOf returns the rows of reads, each once.
func readsOf(argument string, want []Operation) ([]operation, error) {
	if len(want) == 0 {
		return nil, argumentError(argument, "needs at least one operation, such as smartcar.Battery")
	}
	ops := make([]operation, 0, len(want))
	for i, op := range want {
		row := lookup(op)
		if len(row) == 0 || !row[0].isRead() {
			return nil, argumentError(argument, notARead(op))
		}
		if !slices.Contains(want[:i], op) {
			ops = append(ops, row[0])
		}
	}
	return ops, nil
}

// A Request is anything the typed methods do not cover, such as a
// make-specific endpoint: see [Vehicle.Request].
type Request struct {
	// Method defaults to GET.
	Method string
	// Path below the vehicle, such as "tesla/thermometer/exterior". Each segment is
	// escaped; "." and ".." are refused.
	Path  string
	Query url.Values
	// Body is sent as JSON unless nil.
	Body any
	// Kind tells the policy how to treat the request; the default takes a GET
	// for data and everything else for a command.
	Kind Kind
}

// Request sends a request to the vehicle that has no method of its own. It
// goes through the same policy, errors and retries as the typed ones, but its
// answers are not kept. Signals of API v3 tell the policy of the car what they would
// tell it as a read.
func (v *Vehicle) Request(ctx context.Context, r Request) (*Response, error) {
	path, err := requestPath(r.Path)
	if err != nil {
		return nil, err
	}
	req, err := v.calls().newRequest(ctx, opRequest)
	if err != nil {
		return nil, err
	}
	if r.Method == "" {
		r.Method = http.MethodGet
	}
	if strings.ContainsFunc(r.Method, func(c rune) bool { return c < 'A' || c > 'Z' }) {
		return nil, argumentError("Request.Method", "must be an HTTP method in capitals, such as POST")
	}
	switch {
	case r.Kind > KindCommand:
		return nil, argumentError("Request.Kind", "is not one of the package's kinds")
	case r.Kind != KindDefault:
		req.kind = r.Kind
	case r.Method == http.MethodGet:
		req.kind = KindData
	default:
		req.kind = KindCommand
	}
	req.query, req.own = r.Query, anyJSON
	req.wire = wireRequest{method: r.Method, path: path}
	if op := lookup(AllSignals); req.kind == KindData && r.Method == http.MethodGet && len(r.Query) == 0 &&
		v.handle.core.wire.supports(&op[0]) && (path == signalsPath || strings.HasPrefix(path, signalsPath+"/")) {
		req.reads, req.alone = op, true
	}
	if r.Body != nil {
		if req.wire.body, err = json.Marshal(r.Body); err != nil {
			return nil, argumentError("Request.Body", "cannot be written as JSON")
		}
	}
	sent, err := v.handle.core.send(ctx, req, nil)
	if err != nil {
		return nil, err
	}
	a := sent.answer
	meta := metaFrom(a.header, a.at)
	meta.PolicyOverridden = req.override && req.kind != KindMetadata
	return &Response{StatusCode: a.status, Meta: meta, body: func() []byte { return a.body }}, nil
}

// requestPath escapes each segment of a path the caller wrote.
func requestPath(path string) (string, error) {
	segments := strings.Split(strings.Trim(path, "/"), "/")
	for i, s := range segments {
		if s == "" || s == "." || s == ".." {
			return "", argumentError("Request.Path", `must be segments such as "tesla/climate/cabin", none of them empty, "." or ".."`)
		}
		segments[i] = url.PathEscape(s)
	}
	return "/" + strings.Join(segments, "/"), nil
}

// newRequest fills in what every request to the vehicle has.
func (h *handle) newRequest(ctx context.Context, op Operation) (*request, error) {
	r, err := h.unauthorized(ctx, op)
	if err != nil {
		return nil, err
	}
	return r, h.core.reach.authorize(ctx, r, h.grantID)
}

// unauthorized makes a request without a credential.
func (h *handle) unauthorized(ctx context.Context, op Operation) (*request, error) {
	switch {
	case h == nil || h.core == nil:
		return nil, noVehicle()
	case ctx == nil:
		return nil, checkContext(ctx)
	case h.opts.err != nil:
		return nil, h.opts.err
	case h.wrong != nil:
		return nil, h.wrong
	}
	kept, ok := h.core.answers.vehicles.Get(h.car.id)
	if !ok {
		kept = h.core.answers.of(h.car.id)
	}
	units := cmp.Or(h.opts.units, h.core.opts.units)
	return &request{
		op: op, kind: KindMetadata, car: h.car, base: h.base, units: units,
		override: h.opts.override && !h.opts.withoutTurn, withoutTurn: h.opts.withoutTurn,
		kept: kept,
	}, nil
}

// decoded reads one operation and returns the answer with its typed result.
func (v *Vehicle) decoded(ctx context.Context, op Operation, query url.Values) (part, error) {
	if v == nil {
		return part{}, noVehicle()
	}
	h := &v.handle
	if h.core != nil && ctx != nil && query == nil {
		if k, ok := h.core.answers.vehicles.Get(h.car.id); ok && (h.opts.maxAge > 0 || !k.plain.Load()) {
			if p, ok := h.keptReading(k, op); ok {
				if seen := h.core.opts.emitter; seen != nil {
					tellKept(ctx, seen, h.car, []part{p})
				}
				return p, nil
			}
		}
	}
	parts, err := h.read(ctx, op, nil, query)
	if err != nil {
		return part{}, err
	}
	return decoded(h.core.wire, parts[0])
}

// decoded returns a part with its typed result. A kept part is decoded anew each
// time: callers must not see each other's changes.
func decoded(w wire, p part) (part, error) {
	if p.callerErr != nil {
		return part{}, p.callerErr
	}
	if p.pushed {
		w = wireV3{} // webhooks carry signals, whatever the API
	}
	if p.value == nil {
		var err error
		if p.value, err = p.decode(w); err != nil {
			return part{}, &Error{Operation: p.op.name, StatusCode: http.StatusOK, RequestID: p.meta.RequestID, Err: err}
		}
		p.value.setMeta(p.meta)
	}
	return p, nil
}

// readingAs returns the typed result of a decoded part.
func readingAs[T any, P readingOf[T]](p part, err error) (*T, error) {
	if err != nil {
		return nil, err
	}
	typed, ok := p.value.(P)
	if !ok {
		return nil, fmt.Errorf("%w: %s", ErrNotSupported, p.op.name)
	}
	return typed, nil
}

// read asks for all ops, or for op itself if ops is empty, in one request and returns a
// part for each, in order. If Smartcar would only repeat a kept answer, read takes that
// one and does not ask.
func (h *handle) read(ctx context.Context, op Operation, ops []operation, query url.Values) ([]part, error) {
	r, err := h.unauthorized(ctx, op)
	if err == nil {
		err = h.core.reach.authorize(ctx, r, h.grantID)
	}
	if err != nil {
		return nil, err
	}
	if ops == nil {
		ops = h.core.rows[op]
	}
	r.query = query
	repeated, missing := []part(nil), ops
	if r.kept != nil && (!r.kept.plain.Load() || h.opts.maxAge > 0) {
		if repeated, missing = h.current(ctx, r, ops); len(missing) == 0 {
			if seen := h.core.opts.emitter; seen != nil {
				tellKept(ctx, seen, h.car, repeated)
			}
			return repeated, nil
		}
	}
	r.reads = missing
	if r.wire, r.kind, err = h.core.wire.read(missing); err != nil {
		return nil, err
	}
	var fetched []part
	a, err := h.core.send(ctx, r, nil)
	if err == nil {
		fetched = a.answer.parts
		if h.opts.allowStale {
			fetched = h.insteadOfParts(ctx, r, fetched)
		}
	} else if fetched, err = h.instead(ctx, r, err); err != nil {
		return nil, err
	}
	if seen := h.core.opts.emitter; seen != nil {
		tellKept(ctx, seen, h.car, repeated)
		tellKept(ctx, seen, h.car, fetched)
	}
	if len(repeated) == 0 {
		return fetched, nil
	}
	return inOrder(ops, repeated, fetched), nil
}
