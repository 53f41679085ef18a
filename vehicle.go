package smartcar

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
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
type Vehicle struct {
	core    *core
	car     carRef
	base    string // its URL
	grantID string // the grant that listed it; empty until looked up
	opts    callOptions
}

// ID is Smartcar's id of the vehicle: opaque, mostly a UUID.
func (v *Vehicle) ID() string { return v.car.id }

// UserID is the user whose connection reaches the vehicle.
func (v *Vehicle) UserID() string { return v.car.user }

// With returns the same vehicle with options for the calls made through it:
//
//	v.With(smartcar.AllowStale()).Battery(ctx)
//
// An option that is not valid makes those calls fail.
func (v *Vehicle) With(opts ...CallOption) *Vehicle {
	if v == nil {
		return nil // its calls say what is wrong
	}
	changed := *v
	for _, opt := range opts {
		if opt == nil {
			changed.opts.err = argumentError("CallOption", "is nil; leave it out")
			continue
		}
		opt(&changed.opts)
	}
	return &changed
}

// A CallOption changes the calls of one [Vehicle] handle: see [Vehicle.With].
type CallOption func(*callOptions)

type callOptions struct {
	units      UnitSystem
	allowStale bool
	override   bool
	share      bool
	every      time.Duration
	err        error
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

// AllowStale hands out the last answer, marked [Meta.Stale], where the policy
// or Smartcar's limit would refuse a read.
func AllowStale() CallOption { return func(o *callOptions) { o.allowStale = true } }

// ShareInFlight makes a read wait for another one of this process that holds a
// keyless car's turn, and take its answer, instead of being refused.
func ShareInFlight() CallOption { return func(o *callOptions) { o.share = true } }

// IgnorePolicy sends the request whatever the policy says. The answer says so
// in [Meta.PolicyOverridden], and what it cost is booked all the same.
func IgnorePolicy() CallOption { return func(o *callOptions) { o.override = true } }

// Every sets the pace of [Vehicle.Watch] for cars without a rule of their own:
// paired streaming Teslas (default 3 minutes) and other makes (default 30).
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
	if !from.IsZero() && !to.IsZero() && to.Before(from) {
		return nil, argumentError("ServiceHistory to", "lies before from")
	}
	if v != nil && v.core != nil && v.core.opts.api == V3 { // which takes no period: it is cut out here
		r, err := readingAs[ServiceHistoryReading](v.readOne(ctx, ServiceHistory, nil))
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
	return readingAs[ServiceHistoryReading](v.readOne(ctx, ServiceHistory, query))
}

// Permissions lists what the owner granted to the application for this car.
func (v *Vehicle) Permissions(ctx context.Context) ([]string, error) {
	r, err := v.newRequest(ctx, Permissions)
	if err != nil {
		return nil, err
	}
	return v.core.reach.permissions(ctx, r)
}

// Signals reads everything that Smartcar has stored of the car, in one request
// and one turn. API v3 only. A car that was never subscribed to a webhook may
// have nothing stored: [Access.NothingStored].
//
// https://smartcar.com/docs/api-reference/list-signals
func (v *Vehicle) Signals(ctx context.Context) (*Signals, error) {
	return readingAs[Signals](v.readOne(ctx, AllSignals, nil))
}

// Signal reads one signal, documented or not, as a set that holds just it. It
// takes a turn like [Vehicle.Signals], which brings more for the same. An
// unknown signal, and one that Smartcar has not stored yet, is an error that
// matches [ErrNotFound]. The answer is not kept. API v3 only.
//
// https://smartcar.com/docs/api-reference/get-signal
func (v *Vehicle) Signal(ctx context.Context, code signals.Code) (*Signals, error) {
	if err := validateID("signal code", string(code)); err != nil {
		return nil, err
	}
	op := lookup(AllSignals)
	if v != nil && v.core != nil && !v.core.wire.supports(&op[0]) {
		return nil, &NotSupportedError{Operation: AllSignals, API: v.core.wire.version()}
	}
	r, err := v.newRequest(ctx, AllSignals)
	if err != nil {
		return nil, err
	}
	r.kind, r.reads, r.alone = KindData, op, true
	r.wire = wireRequest{method: http.MethodGet, path: signalsPath + "/" + url.PathEscape(string(code))}
	a, err := v.core.send(ctx, r, nil)
	if err != nil {
		return nil, err
	}
	return readingAs[Signals](decoded(v.core.wire, a.answer.parts[0]))
}

// Snapshot reads several things in one request, which is one turn of a keyless
// car; each of them still counts against the plan's monthly allowance. It
// returns an error only if the request as a whole failed; what one operation
// met is in the snapshot. Operations named twice are asked for once.
//
// https://smartcar.com/docs/api-reference/batch
func (v *Vehicle) Snapshot(ctx context.Context, want ...Operation) (*Snapshot, error) {
	if len(want) == 0 {
		return nil, argumentError("Snapshot", "needs at least one operation, such as smartcar.Battery")
	}
	ops := make([]operation, 0, len(want))
	for i, op := range want {
		row := lookup(op)
		if len(row) == 0 || !row[0].isRead() {
			return nil, argumentError("Snapshot", notARead(op))
		}
		if !slices.Contains(want[:i], op) {
			ops = append(ops, row[0])
		}
	}
	parts, err := v.read(ctx, opSnapshot, ops, nil)
	if err != nil {
		return nil, err
	}
	return &Snapshot{wire: v.core.wire, parts: func() []part { return parts }}, nil
}

// A Request is anything the typed methods do not cover, such as a
// make-specific endpoint: see [Vehicle.Request].
type Request struct {
	// Method defaults to GET.
	Method string
	// Path below the vehicle, such as "tesla/climate/cabin". Each segment is
	// escaped; "." and ".." are refused.
	Path  string
	Query url.Values
	// Body is sent as JSON unless nil.
	Body any
	// Kind tells the policy how to treat the request; the default takes a GET
	// for data and everything else for a command.
	Kind Kind
}

// A Response is the answer to a [Request]. It does not print its body, which
// may tell where the car is.
type Response struct {
	StatusCode int
	Meta
	body func() []byte
}

// Bytes returns a copy of the body.
func (r *Response) Bytes() []byte {
	if r.body == nil {
		return nil
	}
	return slices.Clone(r.body())
}

// Decode reads the JSON body into v, as [json.Unmarshal] does.
func (r *Response) Decode(v any) error { return json.Unmarshal(r.Bytes(), v) }

// Request sends a request to the vehicle that has no method of its own. It
// goes through the same policy, errors and retries as the typed ones, but its
// answers are not kept.
func (v *Vehicle) Request(ctx context.Context, r Request) (*Response, error) {
	path, err := requestPath(r.Path)
	if err != nil {
		return nil, err
	}
	req, err := v.newRequest(ctx, opRequest)
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
	req.query = r.Query
	req.wire = wireRequest{method: r.Method, path: path}
	if r.Body != nil {
		if req.wire.body, err = json.Marshal(r.Body); err != nil {
			return nil, argumentError("Request.Body", "cannot be written as JSON")
		}
	}
	sent, err := v.core.send(ctx, req, nil)
	if err != nil {
		return nil, err
	}
	a := sent.answer
	meta := metaFrom(a.header, a.at)
	meta.PolicyOverridden = v.opts.override && req.kind != KindMetadata
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
func (v *Vehicle) newRequest(ctx context.Context, op Operation) (*request, error) {
	r, err := v.unauthorized(ctx, op)
	if err != nil {
		return nil, err
	}
	return r, v.core.reach.authorize(ctx, r, v.grantID)
}

// unauthorized is newRequest without a credential.
func (v *Vehicle) unauthorized(ctx context.Context, op Operation) (*request, error) {
	if err := v.ready(ctx); err != nil {
		return nil, err
	}
	return &request{
		op: op, kind: KindMetadata, car: v.car, base: v.base, units: cmp.Or(v.opts.units, v.core.opts.units),
		override: v.opts.override, kept: v.core.answers.of(v.car.id),
	}, nil
}

// ready reports what is wrong with the handle itself.
func (v *Vehicle) ready(ctx context.Context) error {
	if v == nil || v.core == nil {
		return argumentError("Vehicle", "must come from User.Vehicle or User.Vehicles")
	}
	if err := checkContext(ctx); err != nil {
		return err
	}
	if v.opts.err != nil {
		return v.opts.err
	}
	return validateID("vehicle id", v.car.id)
}

// readOne reads a single operation.
func (v *Vehicle) readOne(ctx context.Context, op Operation, query url.Values) (part, error) {
	parts, err := v.read(ctx, op, lookup(op), query)
	if err != nil {
		return part{}, err
	}
	return decoded(v.core.wire, parts[0])
}

// decoded returns a part with its typed result. A kept part is decoded anew each
// time: callers must not see each other's changes.
func decoded(w wire, p part) (part, error) {
	if p.refused != nil {
		return part{}, p.refused
	}
	if p.value == nil {
		var err error
		if p.value, err = w.decode(p.op, p.body, p.meta.UnitSystem); err != nil {
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

// read asks for all ops in one request and returns a part for each, in order.
// Answers that Smartcar would only repeat are taken from what is kept.
func (v *Vehicle) read(ctx context.Context, op Operation, ops []operation, query url.Values) ([]part, error) {
	r, err := v.newRequest(ctx, op)
	if err != nil {
		return nil, err
	}
	for i := range ops {
		if !v.core.wire.supports(&ops[i]) {
			return nil, &NotSupportedError{Operation: ops[i].name, API: v.core.wire.version()}
		}
		if v.core.wire.kind(&ops[i]) == KindData {
			r.kind = KindData
		}
	}
	r.query = query
	known, missing := v.current(ctx, r, ops)
	if len(missing) == 0 {
		return known, nil
	}
	r.reads, r.wire = missing, v.core.wire.read(missing)
	asked := v.core.opts.now()
	var fetched []part
	a, err := v.core.send(ctx, r, nil)
	if err == nil {
		fetched = a.answer.parts
	} else if fetched, err = v.instead(ctx, r, asked, err); err != nil {
		return nil, err
	}
	if len(known) == 0 {
		return fetched, nil
	}
	return inOrder(ops, known, fetched), nil
}

// current returns the kept answers that Smartcar would only repeat, and what
// is left to be asked for.
func (v *Vehicle) current(ctx context.Context, r *request, ops []operation) (known []part, missing []operation) {
	if r.override || r.query != nil {
		return nil, ops
	}
	answers := v.core.answers
	if answers.stored != nil && r.kept.unclassified() { // another replica may know the car
		if c, _, err := v.core.cars.lookUp(ctx, r.car); err == nil {
			r.kept.classify(c.state)
		}
	}
	if !r.kept.repeats() {
		return nil, ops
	}
	ref := r.answerRef()
	answers.stored.sync(ctx, ref)
	for _, op := range ops {
		p, ok := r.kept.current(ref.key(op.name), v.core.opts.clock.Elapsed(), v.core.opts.policyRules())
		if !ok || op.kind != KindData {
			missing = append(missing, op)
			continue
		}
		p.meta.Source = SourceCache
		known = append(known, p)
	}
	return known, missing
}

// inOrder puts the parts of two sources back into the order of ops.
func inOrder(ops []operation, known, fetched []part) []part {
	parts := make([]part, 0, len(ops))
	for i := range ops {
		if len(known) > 0 && known[0].op.name == ops[i].name {
			parts, known = append(parts, known[0]), known[1:]
			continue
		}
		parts, fetched = append(parts, fetched[0]), fetched[1:]
	}
	return parts
}

// instead answers a refused read by other means, if the caller allowed any.
func (v *Vehicle) instead(ctx context.Context, r *request, asked time.Time, refused error) ([]part, error) {
	limit, ok := errors.AsType[*RateLimitError](refused)
	if !ok || r.query != nil {
		return nil, refused
	}
	if v.opts.share && limit.InFlight {
		if err := v.core.gate.turns.Wait(ctx, r.car.key); err != nil {
			return nil, err
		}
		if parts := lastAnswers(r, limit, asked); parts != nil {
			return parts, nil
		}
	}
	if v.opts.allowStale {
		v.core.answers.stored.sync(ctx, r.answerRef())
		if parts := lastAnswers(r, limit, time.Time{}); parts != nil {
			return parts, nil
		}
	}
	return nil, refused
}

// lastAnswers returns the kept answers that were received at since or later;
// without a since they are stale. An operation without one fails by itself; if
// none has one, lastAnswers returns nil.
func lastAnswers(r *request, limit *RateLimitError, since time.Time) []part {
	parts := make([]part, len(r.reads))
	found := false
	for i := range r.reads {
		p, ok := r.kept.get(r.answerRef().key(r.reads[i].name))
		if !ok || p.meta.ReceivedAt.Before(since) {
			refused := *limit
			refused.Operation = r.reads[i].name
			parts[i] = part{op: &r.reads[i], refused: &refused}
			continue
		}
		found = true
		p.meta.Source, p.meta.Stale = SourceCache, since.IsZero()
		parts[i] = p
	}
	if !found {
		return nil
	}
	return parts
}
