package smartcar

import (
	"context"
	"net/url"
	"time"

	"github.com/seed-498a1bc4/smartcar/internal/policy"
)

// A request is one HTTP request as its maker describes it. The layers of the
// pipeline read it and change nothing in it; what they find they return as an
// attempt.
type request struct {
	op      Operation
	kind    Kind
	car     carRef      // zero for a request that concerns no vehicle
	reads   []operation // what a read carries; nil for everything else
	command *operation  // a typed command; nil for everything else
	base    string      // the URL that wire.path is relative to
	wire    wireRequest
	query   url.Values
	auth    credential
	grant   grantCredential // of v2.0: auth points to it, to save an allocation
	user    string          // in whose name the application asks; API v3
	units   UnitSystem

	kept     *vehicleKept // where the answers are kept; nil keeps none
	alone    bool         // the answer is for this request alone, and is not kept
	scope    string       // whose answers these are: the grant on v2.0, the user on v3
	override bool         // the caller asked to ignore the policy
}

// An attempt is what one layer of the pipeline found out about a request.
type attempt struct {
	answer  *answer        // nil unless a whole answer came that is no error
	outcome policy.Outcome // what the request means for the turn of its car
	failure *Error         // what the policy learns from; it may stand beside an answer, as one item of a batch
	began   time.Time      // when the request left
}

// A layer is one step of the pipeline: it sends the request through the layers
// below it, zero or more times. T is the turn of the car that the request has
// taken, nil if it has taken none.
type layer func(ctx context.Context, r *request, t *turn) (attempt, error)

// newPipeline puts the layers into the order in which every request passes them
// on its way down:
//
//	retry      repeats what is safe to repeat. It is above the gate, because each
//	           repetition costs and has to be allowed.
//	gate       refuses what the policy does not allow now, takes the turn of a
//	           keyless car, books what came back and keeps the answers.
//	authorize  adds the token. It is below the gate, because a refused request
//	           must not spend a token refresh; a token that is refused is
//	           replaced and the request sent once more.
//	classify   turns what came back into results or typed errors, so that the
//	           layers above see types and not statuses.
//	transmit   makes the HTTP request and reads the whole answer.
//
// The gate asks its probe what a car is. The requests of the probe take no turn
// and pass the same layers without the gate, but for the pause of the whole
// application.
func newPipeline(g *gate, w wire, own func() secrets) layer {
	sending := authorizing(classifying(g.opts, w, transmitting(g.opts, own)))
	g.probe = &probe{opts: g.opts, wire: w, send: retrying(g.opts, g.pause.pausing(sending))}
	return retrying(g.opts, g.guarding(sending))
}
