package smartcar

import (
	"context"
	"errors"
	"time"

	"github.com/seed-498a1bc4/smartcar/internal/lenient"
	"github.com/seed-498a1bc4/smartcar/internal/tokens"
	"github.com/seed-498a1bc4/smartcar/internal/users"
)

// accounts is what spans users, their tokens, their answers and their cars: who
// is connected, what a run of Connect brings, what the end of a grant and
// User.Forget take along.
type accounts struct {
	opts   *options
	sender sender
	logins *logins
	cars   *cars

	// Of logins:
	users   *users.Users
	grants  *tokens.Grants
	answers *answerCache
}

func newAccounts(o *options, s sender, l *logins, cars *cars) *accounts {
	return &accounts{opts: o, sender: s, logins: l, cars: cars, users: l.users, grants: l.grants, answers: l.answers}
}

// stored returns ErrNotConnected for a user nothing is stored about, and for one
// who is being forgotten.
func (a *accounts) stored(ctx context.Context, userID string) (*users.Record, error) {
	if err := errors.Join(checkContext(ctx), validateID("user id", userID)); err != nil {
		return nil, err
	}
	return a.users.Connected(ctx, userID)
}

// withGrants is stored for what needs a grant: it returns ErrReconnectRequired
// for a user whose grants have all ended.
func (a *accounts) withGrants(ctx context.Context, userID string) (*users.Record, error) {
	r, err := a.stored(ctx, userID)
	if err == nil && len(r.Grants) == 0 && a.grants.Revive(ctx, userID) {
		r, err = a.stored(ctx, userID)
	}
	if err == nil && len(r.Grants) == 0 {
		return nil, endedError()
	}
	return r, err
}

// recentWithGrants is withGrants without a round trip for what was loaded
// recently, or while the store is away.
func (a *accounts) recentWithGrants(ctx context.Context, userID string) (*users.Record, error) {
	recent, fresh := a.users.Recent(userID)
	usable := recent != nil && len(recent.Grants) > 0
	if usable && fresh {
		return recent, nil
	}
	r, err := a.withGrants(ctx, userID)
	if usable && errors.Is(err, ErrStore) {
		return recent, nil
	}
	return r, err
}

// file stores a new pair, then links it to its user.
func (a *accounts) file(ctx context.Context, pair tokens.Pair, pending tokens.Pending) (userID string, err error) {
	id, err := a.grants.Add(ctx, pair, pending)
	if err == nil {
		_, userID, err = a.linkPending(ctx, id)
	}
	switch {
	case errors.Is(err, ErrReconnectRequired):
		return "", err // worth nothing, and gone already
	case err != nil:
		return "", &PendingGrantError{GrantID: id, Err: err}
	}
	return userID, nil
}

// linkPending links a grant to its user, if it is not linked yet, and returns what
// it waited with.
func (a *accounts) linkPending(ctx context.Context, grant string) (tokens.Pending, string, error) {
	if err := a.grants.Store(ctx, grant); err != nil {
		return tokens.Pending{}, "", err
	}
	pending, userID, err := a.grants.Pending(ctx, grant)
	switch {
	case errors.Is(err, tokens.ErrEnded):
		return tokens.Pending{}, "", endedError()
	case err != nil || userID != "":
		return tokens.Pending{}, userID, err
	}
	userID, err = a.linkToOwner(ctx, grant, pending)
	return pending, userID, err
}

// claimed returns what a run of Connect on API v3 waits with.
func (a *accounts) claimed(ctx context.Context, grant string) (tokens.Pending, error) {
	pending, _, err := a.grants.Pending(ctx, grant)
	if errors.Is(err, tokens.ErrEnded) || err == nil && pending.ClaimedUser == "" {
		return tokens.Pending{}, endedError()
	}
	return pending, err
}

// linkToOwner asks whose the tokens of a pending grant are and files it there.
func (a *accounts) linkToOwner(ctx context.Context, grant string, pending tokens.Pending) (string, error) {
	user, err := getJSON[struct {
		ID lenient.String `json:"id"`
	}](ctx, a.sender, opUser, grantCredential{logins: a.logins, grant: grant}, "/user", nil)
	if err != nil {
		return "", err
	}
	userID := string(user.ID)
	if err := validateID("user id", userID); err != nil {
		return "", &Error{Operation: opUser, StatusCode: 200, Description: "the answer holds no usable user id"}
	}
	// The user first: a grant that is filed twice is filed once.
	arrival := users.Arrival{
		Grant: grant, ConnectedAt: a.opts.now(), VirtualKeyURL: pending.VirtualKeyURL, ExternalID: pending.ExternalID,
	}
	if err := a.welcome(ctx, userID, arrival); err != nil {
		return "", err
	}
	err = a.grants.Link(ctx, grant, userID)
	switch {
	case errors.Is(err, tokens.ErrEnded):
		return "", endedError()
	case err != nil:
		return "", err
	}
	a.accessChanged(ctx, userID)
	return userID, nil
}

// confirmed files a run of Connect on API v3 under its user.
func (a *accounts) confirmed(ctx context.Context, pending tokens.Pending) error {
	err := a.welcome(ctx, pending.ClaimedUser, users.Arrival{VirtualKeyURL: pending.VirtualKeyURL, ExternalID: pending.ExternalID})
	if err == nil {
		a.accessChanged(ctx, pending.ClaimedUser)
	}
	return err
}

// welcome files what a run of Connect brought. A Forget of the user that was cut
// off, or is at work elsewhere, is finished first: what it finds is of the time
// before.
func (a *accounts) welcome(ctx context.Context, userID string, arrival users.Arrival) error {
	for {
		// What else is wrong with the user shows at the next step.
		if old, err := a.users.Stored(ctx, userID); err == nil && old.Forgotten {
			if err := a.forget(ctx, userID); err != nil {
				return err
			}
		}
		if welcome, err := a.users.Welcome(ctx, userID, arrival); welcome || err != nil {
			return err
		}
	}
}

// forget removes everything kept about a user; see [User.Forget]. The user is
// marked first, so that what is in flight writes nothing new, and removed
// last: cut off in between, it can be called again.
//
// A user's record that cannot be read is no obstacle. The cars are found without
// it, and all of their answers go, because which of them the user was told is not
// known. Neither is which grants there were, except for those that listed a car:
// the tokens of the others expire by themselves, 60 days after they were renewed
// last.
func (a *accounts) forget(ctx context.Context, userID string) error {
	user, err := a.users.MarkForgotten(ctx, userID)
	if err != nil {
		return err
	}
	cars, err := a.users.Cars(ctx, userID, &user)
	if err != nil {
		return err
	}
	scopes := []string{userID} // the others are grants, to which an earlier version kept answers
	seen := make(map[string]bool)
	addGrant := func(id string) {
		if id != "" && !seen[id] {
			seen[id] = true
			scopes = append(scopes, id)
		}
	}
	for _, g := range user.Grants {
		addGrant(g.ID)
	}
	for _, car := range cars {
		addGrant(car.Grant)
	}
	for _, grant := range scopes[1:] {
		if err := a.grants.Forget(ctx, grant); err != nil {
			return err
		}
	}
	for _, car := range cars {
		if err := a.forgetCar(ctx, userID, car.ID, scopes, user.Lost); err != nil {
			return err
		}
	}
	return a.users.Delete(ctx, userID)
}

// forgetCar removes what is kept of one car of a user who is being forgotten.
func (a *accounts) forgetCar(ctx context.Context, userID, car string, scopes []string, lost bool) error {
	for _, scope := range scopes {
		if err := a.answers.dropScope(ctx, car, scope); err != nil {
			return err
		}
	}
	if lost {
		a.answers.discard(ctx, car, a.opts.now())
		if err := a.answers.stored.discard(ctx, car); err != nil {
			return err
		}
	}
	return a.cars.forget(ctx, newCarRef(userID, car))
}

// renew refreshes a grant whose refresh token has less than within to live.
func (a *accounts) renew(ctx context.Context, userID, grant string, within time.Duration) error {
	if err := a.grants.Renew(ctx, grant, within); err != nil {
		return a.logins.failed(ctx, grant, userID, err)
	}
	return nil
}

// disconnected forgets the answers about a car that a grant no longer reaches.
// The car stays filed with the user: the policy may have a record of it.
func (a *accounts) disconnected(ctx context.Context, car carRef) error {
	return errors.Join(
		a.answers.dropScope(ctx, car.id, car.user),
		a.users.Unlist(ctx, car.user, car.id),
	)
}

// move compares a user whom API v3 shows with what is stored, and files them if
// asked to.
func (a *accounts) move(ctx context.Context, u *MovedUser, apply bool) error {
	user, err := a.users.Stored(ctx, u.UserID)
	if err != nil && !errors.Is(err, ErrNotConnected) {
		return err
	}
	var cars []users.Car
	if user != nil {
		if cars, err = a.users.Cars(ctx, u.UserID, user); err != nil {
			return err
		}
	}
	u.compare(user, cars)
	if !apply || u.Filed || user != nil && user.Forgotten {
		return nil
	}
	ids := make([]string, len(u.Vehicles))
	for i, v := range u.Vehicles {
		ids[i] = v.VehicleID
	}
	moved, err := a.users.Move(ctx, u.UserID, u.ExternalID)
	if moved {
		err = a.users.AddCars(ctx, u.UserID, ids)
	}
	if errors.Is(err, ErrNotConnected) {
		return nil // forgotten meanwhile
	}
	u.Filed = moved && err == nil
	return err
}

// accessChanged makes what could not be known about a user's cars be asked for
// again: the new grant may have the permission. It only saves time, so that a
// failure is none.
func (a *accounts) accessChanged(ctx context.Context, userID string) {
	user, err := a.users.Connected(ctx, userID)
	if err != nil {
		return
	}
	cars, _ := a.users.Cars(ctx, userID, user)
	for _, filed := range cars {
		_, _ = a.cars.apply(ctx, newCarRef(userID, filed.ID), car{}, evidenceOfConnect()...)
	}
}
