package smartcar

import (
	"context"
	"iter"
	"time"
)

// reach is how an API version gets at users and their cars: v2.0 with the
// tokens of the grants they gave, v3 with the application's own token, in
// their name.
type reach interface {
	// authorize says in whose name a call to a vehicle is made.
	authorize(ctx context.Context, v *Vehicle, c *call) error
	// connected returns an error if the user is known to have no access (any more).
	connected(ctx context.Context, userID string) error
	// vehicles yields the user's cars; see [User.Vehicles].
	vehicles(ctx context.Context, u *User) iter.Seq2[*Vehicle, error]
	// permissions are what the owner granted for the car.
	permissions(ctx context.Context, v *Vehicle) ([]string, error)
	// disconnect revokes the access to one car of one user.
	disconnect(ctx context.Context, v *Vehicle) error
	// renew keeps what expires of the user's access from expiring.
	renew(ctx context.Context, u *User, within time.Duration) error
	// finish turns a callback whose state is verified into a grant.
	finish(ctx context.Context, callback *Callback, run connectRun) (*Grant, error)
	// resume finishes what a [PendingGrantError] left open.
	resume(ctx context.Context, grantID string) (*Grant, error)
	// connections yields what the application is connected to.
	connections(ctx context.Context, filter ConnectionFilter) iter.Seq2[Connection, error]
	// deleteConnections removes the connections of a user, a vehicle, or a pair.
	deleteConnections(ctx context.Context, filter ConnectionFilter) ([]Connection, error)
	// subscribe and unsubscribe begin and end that a webhook tells of a car.
	subscribe(ctx context.Context, v *Vehicle, webhookID string) error
	unsubscribe(ctx context.Context, v *Vehicle, webhookID string) error
}

// connectRun is what the application remembers of a run of Connect.
type connectRun struct {
	redirectURL string
	externalID  string // the application's id of the owner, if it gave one
	proofID     string // what Connect was given as the external id; v3 confirms the user by it
	mode        ConnectMode
}

// callJSON makes a call that concerns no vehicle and decodes its answer.
func callJSON[T any](ctx context.Context, c *core, call *call) (*T, error) {
	call.kind = KindMetadata
	a, err := c.send(ctx, call)
	if err != nil {
		return nil, err
	}
	v, err := decodeObject[T](a.body)
	if err != nil {
		return nil, unreadable(call.op, a, err)
	}
	return v, nil
}
