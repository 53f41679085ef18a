package smartcar

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	"github.com/seed-498a1bc4/smartcar/internal/contexts"
	"github.com/seed-498a1bc4/smartcar/internal/lenient"
	"github.com/seed-498a1bc4/smartcar/internal/policy"
	"github.com/seed-498a1bc4/smartcar/internal/roundtrip"
	"github.com/seed-498a1bc4/smartcar/internal/tokens"
	"github.com/seed-498a1bc4/smartcar/internal/underway"
)

// Bodies are bounded: the largest documented answer is a batch of some 30 kB.
const (
	maxBody      = 8 << 20
	maxErrorBody = 1 << 20
)

var errAttemptTime = fmt.Errorf("no complete answer in time: %w", context.DeadlineExceeded)

// transmitting makes the HTTP request and reads the whole answer. It is the only
// place that touches the network, except for the token endpoints.
func transmitting(o *options, own secrets) exchange {
	timeout, ours := o.attemptTimeout(), own.toAPI()
	return func(ctx context.Context, r *request, auth tokens.Authorization, takesTurn bool) (attempt, error) {
		sent := attempt{outcome: policy.OutcomeReleased, began: o.clock.Now(), left: o.clock.Elapsed()}
		if err := ctx.Err(); err != nil {
			return sent, &Error{Operation: r.op, reach: reachedNever, Err: contexts.EndOf(ctx)}
		}
		ctx, cancel := context.WithTimeoutCause(ctx, timeout, errAttemptTime)
		defer cancel()
		target := r.base + r.wire.path
		if len(r.query) > 0 {
			target += "?" + r.query.Encode()
		}
		req, err := roundtrip.New(ctx, r.wire.method, target, r.wire.body, !takesTurn && r.kind != KindCommand)
		if err != nil {
			return sent, &Error{Operation: r.op, reach: reachedNever, Err: err}
		}
		if auth.Header != nil {
			req.Header["Authorization"] = auth.Header
		}
		req.Header["User-Agent"] = o.userAgent
		switch {
		case r.user != "": // v3 names the unit of each number
			req.Header[headerUserID] = []string{r.user}
		case r.units == Metric:
			req.Header[headerUnits] = o.metric
		case r.units == Imperial:
			req.Header[headerUnits] = o.imperial
		}
		if r.wire.body != nil {
			req.Header["Content-Type"] = []string{"application/json"}
		}
		hidden := ours // those of the application; the request's own are added
		for _, value := range auth.Header {
			_, token, _ := strings.Cut(value, " ")
			hidden.Add(token)
		}
		hidden.Add(auth.RefreshToken)
		hidden.Add(auth.Spare)

		resp, err := roundtrip.Send(o.client.Transport, req.Request) //nolint:bodyclose // roundtrip.Body closes it
		if err != nil {
			e := &Error{Operation: r.op, reach: reachedUnsure, Err: hidden.Cause(causeOf(ctx, err))}
			if req.NotSent(err) {
				e.reach = reachedNever
			}
			return sent, e
		}
		resp.Header = hidden.Header(resp.Header)
		body, err := roundtrip.Body(resp, int(cmp.Or(r.maxBody, maxBody)), maxErrorBody)
		if err != nil {
			e := &Error{
				Operation: r.op, StatusCode: resp.StatusCode, Err: hidden.Cause(causeOf(ctx, err)),
				RequestID: resp.Header.Get(headerRequestID), reach: reachedUnsure,
			}
			if errors.Is(err, roundtrip.ErrTooLarge) {
				e.reach = reachedServer // asking again would not make it smaller
			}
			return sent, e
		}
		// A clock that is set back meanwhile must not date the answer before the request.
		sent.back = o.clock.Elapsed()
		at := sent.began.Add(sent.back - sent.left)
		sent.answer = &answer{status: resp.StatusCode, header: resp.Header, body: hidden.JSON(body), at: at}
		return sent, nil
	}
}

// causeOf returns why ctx ended, or err if ctx has not ended.
func causeOf(ctx context.Context, err error) error {
	if ctx.Err() == nil {
		return err
	}
	return contexts.EndOf(ctx)
}

// classifying turns what came back into results or typed errors, and says what
// it means for the vehicle's turn.
func classifying(o *options, w wire, next exchange) exchange {
	return func(ctx context.Context, r *request, auth tokens.Authorization, takesTurn bool) (attempt, error) {
		a, err := next(ctx, r, auth, takesTurn)
		if err == nil {
			err = interpret(a.answer, r, w)
		}
		if err == nil {
			a.outcome = policy.OutcomeOK
			if parts := a.answer.parts; len(parts) > 1 || len(parts) == 1 && parts[0].err != nil || a.answer.observed.wasChecked {
				a.outcome, a.failure = bookedAs(a.answer, r.kind, w, o.ignoreKeySignal)
			}
			return a, nil
		}
		a.answer = nil
		if e, ok := errors.AsType[*Error](err); ok {
			e.command = r.kind == KindCommand
			e.read = r.reads != nil || r.wire.method == http.MethodGet && !e.command
			a.outcome, a.failure = outcomeOf(e), e
			return a, e
		}
		return a, err
	}
}

// interpret fills in what the answer holds for the request: the parts of a read, the
// result of a command.
func interpret(a *answer, r *request, w wire) error {
	if a.status < 200 || a.status > 299 {
		e := decodeError(r.op, a.status, a.header, a.body, a.at)
		if a.status >= 300 && a.status < 400 {
			e.Description = "Smartcar answered with a redirect, which is never followed"
		}
		return e
	}
	if e := errorInside(r.op, a.status, a.header, a.body, a.at); e != nil {
		return e
	}
	var err error
	switch {
	case r.command != nil:
		a.result, err = w.commandResult(r.command, a)
	case r.reads != nil:
		a.parts, err = w.split(r.reads, a)
	case !r.isAnswered(a):
		err = errForeign
	}
	if err != nil {
		e, ok := errors.AsType[*Error](err)
		if !ok {
			e = notAnswer(r.op, a, a.body, err)
		}
		e.inside = true
		return e
	}
	for i := range a.parts {
		decodePart(&a.parts[i], r, w, a)
	}
	return nil
}

// decodePart turns the body of a part into its typed result, or into an error of
// that part: what cannot be read must not be kept as what the car said.
func decodePart(p *part, r *request, w wire, a *answer) {
	if p.err != nil {
		p.err.read = true
		return
	}
	if p.meta.UnitSystem == "" {
		p.meta.UnitSystem = r.units
	}
	p.meta.PolicyOverridden = r.override && r.kind == KindData
	var value reading
	var err error
	if p.list == nil {
		value, err = w.decode(p.op, p.body, p.meta.UnitSystem)
	} else {
		value, err = p.decode(w)
	}
	if err != nil {
		p.err = notAnswer(p.op.name, a, p.body, err)
		p.err.read, p.err.inside = true, true
		return
	}
	value.setMeta(p.meta)
	p.value = value
}

// isAnswered reports whether an answer can be the one to a request that is neither a
// read nor a typed command. For a request that only the caller knows
// (Vehicle.Request), any JSON will do that is not one of Smartcar's errors.
func (r *request) isAnswered(a *answer) bool {
	if r.own == anyJSON {
		return len(bytes.TrimSpace(a.body)) == 0 || json.Valid(a.body)
	}
	return lenient.HasShape(a.body, r.own)
}

// notAnswer is the error for the body of a success that is not what was asked for.
// Nothing that the body says is believed; a message in it may help those who look for
// the cause.
func notAnswer(op Operation, a *answer, body json.RawMessage, cause error) *Error {
	said := decodeError(op, a.status, a.header, body, a.at)
	return &Error{Operation: op, StatusCode: a.status, RequestID: said.RequestID, Description: said.Description, Err: cause}
}

// bookedAs says what an answer means for the vehicle's turn. If one of its parts failed
// in a way that the policy learns from, failure is that error.
func bookedAs(a *answer, kind Kind, w wire, ignoreKeySignal bool) (policy.Outcome, *Error) {
	outcome, failure := strongest(kind, w, a.parts)
	if !a.observed.wasChecked {
		return outcome, failure
	}
	if failure != nil && failure.isKeyRequired() {
		failure = nil // observed has it, and whether it is outdated
	}
	return a.observed.outcome(outcome), cmp.Or(failure, a.observed.needsKey(ignoreKeySignal))
}

// strongest is the outcome of an answer with parts: of a batch the strongest
// item counts, where it concerns the car.
func strongest(kind Kind, w wire, parts []part) (policy.Outcome, *Error) {
	if len(parts) == 0 {
		return policy.OutcomeOK, nil
	}
	best, failure := policy.OutcomeNone, (*Error)(nil)
	for i := range parts {
		if kind == KindData && w.kind(parts[i].op) != KindData {
			continue
		}
		outcome := policy.OutcomeOK
		if e := parts[i].err; e != nil {
			outcome = outcomeOf(e)
			if failure == nil || e.isKeyRequired() || e.isVehicleLimit() && !failure.isKeyRequired() {
				failure = e
			}
		}
		if outcome.Stronger(best) {
			best = outcome
		}
	}
	return best, failure
}

// outcomeOf says what a failed request means for the vehicle's turn.
func outcomeOf(e *Error) policy.Outcome {
	switch {
	case e.reach == reachedNever:
		return policy.OutcomeReleased
	case e.StatusCode == 0:
		return policy.OutcomeUnclear
	case errors.Is(e, ErrAsleep):
		return policy.OutcomeAsleep
	case e.isVehicleLimit():
		return policy.OutcomeLimited
	case e.isApplicationLimit():
		return policy.OutcomeReleased
	case e.StatusCode == 401:
		return policy.OutcomeReleased
	case e.Type == "" && e.Code == "": // a page of a proxy, which may have passed the request on
		return policy.OutcomeAnswered
	case e.StatusCode == 400 && e.Type != typeAccount,
		e.StatusCode == 403, e.StatusCode == 404, e.StatusCode == 430, e.StatusCode == 501:
		return policy.OutcomeReleased
	default:
		return policy.OutcomeAnswered
	}
}

// maxDetached limits how many reads may be under way whose callers have left.
const maxDetached = 1000

// lingerBelow is the time of an answer below which its flight lingers. No answer of
// Smartcar's is that quick; those of a mock are.
const lingerBelow = time.Millisecond

// A flight is a request that holds the turn of a car, as those see it who may
// share its answer.
type flight = underway.Flight[shared]

type shared struct {
	car          carRef
	scope, grant string // whose answer it will be
	connect      uint64
	units        UnitSystem
	reads        []operation // what it asks for; nil for what nobody can share

	// Set before the flight ends:
	attempt  attempt
	err      error
	panicked any  // what a panic of the transport was called with
	died     bool // the goroutine ended in the middle of it
}

// shares reports whether a read may take an answer that somebody else asked for,
// and give others its own.
func (r *request) shares() bool { return r.reads != nil && r.query == nil && !r.alone && !r.override }

// newFlight describes the request to those who may share it.
func newFlight(r *request, ref carRef) *flight {
	v := shared{car: ref, scope: r.scope, grant: r.grant.grant, connect: r.connect, units: r.keptIn}
	if r.shares() {
		v.reads = r.reads
	}
	return underway.NewFlight(ref.key, v)
}

// flightFor returns the flight of the car if r may share its answer. Past is the flight
// that had ended when r came: it is never shared.
func (g *gate) flightFor(r *request, past *flight) *flight {
	if !r.shares() {
		return nil
	}
	return g.underway.Shared(r.car.key, past, func(v *shared, ended bool) bool {
		return !(ended && v.attempt.answer == nil) && v.reads != nil && v.scope == r.scope && v.connect == r.connect &&
			v.grant == r.grant.grant && v.units == r.keptIn && g.probe.wire.holds(r.reads, v.reads)
	})
}

// fly sends a request that has taken its car's turn. If the caller's context can
// end, the request is sent by a goroutine of its own: once it is on the wire it goes
// on when its caller leaves, so that neither the turn nor the answer is lost. A
// caller who leaves before that takes the turn back.
//
//  1. the caller's context ends
//  2. not sent: the goroutine is canceled, the turn is given back, the caller
//     returns when that is stored
//     sent: the caller returns at once; the goroutine waits for the answer, within
//     the time of one attempt, sends nothing more, books the turn and keeps what
//     the answer brought
//
// A panic of the transport is logged with its stack, and raised again in the
// caller. If the caller has left, the process goes on. Nothing is booked, so that
// the turn counts as used when its lease ends.
func (g *gate) fly(ctx context.Context, r *request, f *flight, t *turn, next layer) (attempt, error) {
	if g.opts.neverDetached || ctx.Done() == nil {
		defer g.underway.End(f)
		f.Value.attempt, f.Value.err = g.carryOut(ctx, r, f.Value.car, t, next)
		g.linger(f)
		return f.Value.attempt, f.Value.err
	}
	flying, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	go func() {
		defer cancel(nil)
		f.Value.died = true
		defer g.land(flying, f)
		f.Value.attempt, f.Value.err = g.carryOut(flying, r, f.Value.car, t, next)
		f.Value.died = false
	}()
	select {
	case <-f.Done:
	case <-ctx.Done():
		ended := &Error{Operation: r.op, reach: reachedUnsure, Err: contexts.EndOf(ctx)}
		if !t.abandon(func() { cancel(ended.Err) }) {
			<-f.Done
			ended.reach = reachedNever
			return attempt{}, ended
		}
		if g.underway.Leave(f) {
			return attempt{}, ended
		}
	}
	switch {
	case f.Value.panicked != nil:
		panic(f.Value.panicked)
	case f.Value.died:
		runtime.Goexit()
	}
	return f.Value.attempt, f.Value.err
}

// land ends a flight, and catches a panic of the transport.
func (g *gate) land(ctx context.Context, f *flight) {
	if f.Value.died {
		f.Value.panicked = recover() // nil where the transport has ended the goroutine
	}
	if f.Value.panicked != nil {
		g.opts.logger.LogAttrs(ctx, slog.LevelError, "smartcar: the transport has panicked; the vehicle's turn counts as used",
			slog.String("vehicle", f.Value.car.id), slog.String("stack", string(debug.Stack())))
	}
	g.linger(f)
	g.underway.EndThen(f, func() { g.opts.emitter.tellRest(ctx) })
}

// linger keeps a flight open for a moment if its answer came at once, as from a mock:
// callers who came at the same time can then still share it.
func (g *gate) linger(f *flight) {
	if a := f.Value.attempt.answer; a != nil && a.at.Sub(f.Value.attempt.began) < lingerBelow {
		g.underway.Linger(f)
	}
}

// carryOut sends a request that has a turn, books what came back, keeps what it
// brought, and makes of it what the caller gets.
func (g *gate) carryOut(ctx context.Context, r *request, ref carRef, t *turn, next layer) (attempt, error) {
	a, err := next(ctx, r, t)
	g.settle(ctx, r, ref, &t.record, t, a)
	return g.conclude(ctx, r, ref, nil, a, err)
}

// share waits for the answer of somebody else's request. It reports false if that
// has brought none, and its turn may have been given back.
func (g *gate) share(ctx context.Context, r *request, ref carRef, f *flight) (attempt, bool, error) {
	select {
	case <-f.Done:
	case <-ctx.Done():
		return attempt{}, false, &Error{Operation: r.op, reach: reachedNever, Err: contexts.EndOf(ctx)}
	}
	if f.Value.attempt.answer == nil {
		return attempt{}, false, nil
	}
	theirs := *f.Value.attempt.answer
	parts, ok := g.probe.wire.within(r.reads, &theirs)
	if !ok {
		return attempt{}, false, nil
	}
	for i := range parts {
		parts[i].value = nil // each caller has its own
		parts[i] = parts[i].handedOut(r.units, false)
	}
	theirs.parts = parts
	a := f.Value.attempt
	a.answer, a.failure = &theirs, nil
	a, err := g.conclude(ctx, r, ref, nil, a, nil)
	return a, true, err
}

// Drain waits for the reads whose callers have left: a read that has taken the
// turn of a car and was sent goes on without its caller, see "When a caller
// leaves" in the package documentation. Then it gives the calls that this process has
// reserved from [WithBudget], and not used, back to the store. Call it when a program
// ends, after its last call, and at the end of tests. What the log has counted and not
// said is written then, too. Errors: that of ctx when it ends
// first, and [ErrStore].
func (c *Client) Drain(ctx context.Context) error {
	if c == nil || c.core == nil {
		return argumentError("Client", "must come from New")
	}
	if err := checkContext(ctx); err != nil {
		return err
	}
	err := errors.Join(c.core.gate.underway.Drain(ctx), c.core.gate.budgets.giveBack(ctx))
	if seen := c.core.opts.emitter; seen != nil {
		seen.log.rest(ctx)
	}
	return err
}

// WithoutDetachedReads is for programs that cannot have a goroutine which goes on
// after a call, such as those that are frozen between two requests. A read then
// ends with its caller, and where it had been sent, the turn of the car is spent
// and its answer lost.
func WithoutDetachedReads() Option {
	return func(o *options) error { o.neverDetached = true; return nil }
}
