package smartcar

import (
	"context"
	"github.com/seed-498a1bc4/smartcar/signals"
	"net/http"
	"net/url"
)

// Signals reads everything that Smartcar has stored of the car, in one request
// and one turn. API v3 only. A car that was never subscribed to a webhook may
// have nothing stored: [Access.NothingStored].
//
// https://smartcar.com/docs/api-reference/list-signals
func (v *Vehicle) Signals(ctx context.Context) (*Signals, error) {
	return readOne[Signals](ctx, v, AllSignals)
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
	return result[Signals](v.core.wire, &a.answer.parts[0])
}

// Signals returns what [Vehicle.Signals] would.
func (s *Snapshot) Signals() (*Signals, error) { return fromSnapshot[Signals](s, AllSignals) }
