package smartcar

import (
	"context"
	"iter"
	"time"
)

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
