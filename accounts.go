package smartcar

import (
	"context"
	"errors"
	"time"

	"github.com/seed-498a1bc4/smartcar/internal/lenient"
	"github.com/seed-498a1bc4/smartcar/internal/records"
	"github.com/seed-498a1bc4/smartcar/internal/tokens"
	"github.com/seed-498a1bc4/smartcar/internal/users"
)

// accounts does what concerns users, tokens, answers and cars together: it says
// who is connected, files what a run of Connect brings, and removes what the end of
// a grant or User.Forget ends.
type accounts struct {
	opts   *options
	sender sender
	logins *logins
	cars   *cars
	visits *visits

	// Of logins:
	users   *users.Users
	grants  *tokens.Grants
	answers *answerCache
}

func newAccounts(o *options, s sender, l *logins, cars *cars, visits *visits) *accounts {
	return &accounts{opts: o, sender: s, logins: l, cars: cars, visits: visits, users: l.users, grants: l.grants, answers: l.answers}
}

// stored returns the record of a user. It returns ErrNotConnected if nothing is
// stored, or the user is being forgotten.
func (a *accounts) stored(ctx context.Context, userID string) (*users.Record, error) {
	if err := errors.Join(checkContext(ctx), validateID("user id", userID)); err != nil {
		return nil, err
	}
	return a.users.Connected(ctx, userID)
}

// withGrants is stored for requests that need a grant: if all grants of the user
// have ended, it returns ErrReconnectRequired.
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

// recent is stored without a round trip if the record was loaded in the last minute.
// While the store is away, it takes an older one.
func (a *accounts) recent(ctx context.Context, userID string) (*users.Record, error) {
	recent, fresh := a.users.Recent(userID)
	if fresh {
		return recent, nil
	}
	r, err := a.stored(ctx, userID)
	if recent != nil && errors.Is(err, ErrStore) {
		return recent, nil
	}
	return r, err
}

// carsOf returns the cars of a user; none of one who is not stored or is being
// forgotten. The user's record need not be readable.
func (a *accounts) carsOf(ctx context.Context, userID string) ([]users.Car, error) {
	user, err := a.users.Connected(ctx, userID)
	switch {
	case errors.Is(err, ErrNotConnected):
		return nil, nil
	case err != nil && !errors.Is(err, records.ErrUnreadable):
		return nil, err
	}
	return a.users.Cars(ctx, userID, user)
}

// granted deletes what was kept of a user's cars and is not covered by the last run
// of Connect any more.
func (a *accounts) granted(ctx context.Context, userID string, connections []Connection) {
	user, err := a.recent(ctx, userID)
	if err != nil {
		return // what is kept is compared before it is handed out
	}
	for _, c := range connections {
		if c.VehicleID != "" && len(c.Permissions) > 0 {
			a.answers.restrict(ctx, c.VehicleID, userID, permissionsOf{user.Connect, c.Permissions})
		}
	}
}

// recentWithGrants is withGrants without a round trip if the record was loaded in
// the last minute. While the store is away, it takes an older one.
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

// storeAndLink stores a new pair, then links it to its user.
func (a *accounts) storeAndLink(ctx context.Context, pair tokens.Pair, pending tokens.Pending) (userID string, err error) {
	id, err := a.grants.Add(ctx, pair, pending)
	if err == nil {
		_, userID, err = a.linkPending(ctx, id)
	}
	switch {
	case errors.Is(err, ErrReconnectRequired):
		return "", err // the pair is void, and removed already
	case err != nil:
		return "", &PendingGrantError{GrantID: id, Err: err}
	}
	return userID, nil
}

// linkPending links a grant to its user, if it is not linked yet. It returns what
// Connect brought beside the tokens.
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

// claimed returns what is stored of a run of Connect on API v3 that waits to be
// confirmed.
func (a *accounts) claimed(ctx context.Context, grant string) (tokens.Pending, error) {
	pending, _, err := a.grants.Pending(ctx, grant)
	if errors.Is(err, tokens.ErrEnded) || err == nil && pending.ClaimedUser == "" {
		return tokens.Pending{}, endedError()
	}
	return pending, err
}

// linkToOwner asks Smartcar which user the tokens of a pending grant belong to, and
// files the grant under that user.
func (a *accounts) linkToOwner(ctx context.Context, grant string, pending tokens.Pending) (string, error) {
	user, err := getJSON[struct {
		ID lenient.String `json:"id"`
	}](ctx, a.sender, opUser, grantCredential{logins: a.logins, grant: grant}, "/user", nil, "id")
	if err != nil {
		return "", err
	}
	userID := string(user.ID)
	if err := validateID("user id", userID); err != nil {
		return "", &Error{Operation: opUser, StatusCode: 200, Description: "the answer holds no usable user id"}
	}
	// The user's record goes first. If the process dies in between, the grant is still
	// pending and will be linked again, which adds nothing twice.
	arrival := users.Arrival{
		Grant: grant, ConnectedAt: a.opts.now(), VirtualKeyURL: pending.VirtualKeyURL, ExternalID: pending.ExternalID,
	}
	if err := a.arrive(ctx, userID, arrival); err != nil {
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
	err := a.arrive(ctx, pending.ClaimedUser, users.Arrival{VirtualKeyURL: pending.VirtualKeyURL, ExternalID: pending.ExternalID})
	if err == nil {
		a.accessChanged(ctx, pending.ClaimedUser)
	}
	return err
}

// arrive files what a run of Connect brought. If a Forget of this user is not
// finished, because its process died or is still at work, arrive finishes it first:
// else it could remove the new connection with the old ones.
func (a *accounts) arrive(ctx context.Context, userID string, arrival users.Arrival) error {
	for {
		// An error here is not lost: Arrive will return it, or repair the record.
		if old, err := a.users.Stored(ctx, userID); err == nil && old.Forgotten {
			if err := a.forget(ctx, userID); err != nil {
				return err
			}
		}
		if filed, err := a.users.Arrive(ctx, userID, arrival); filed || err != nil {
			return err
		}
	}
}

// forget removes everything kept about a user; see [User.Forget]. The user is
// marked first, so that requests in flight write nothing new, and removed last: if
// the process dies in between, forget can be called again.
//
// The record of the user need not be readable: the cars and the grants are found without
// it. Whose answers are kept of the cars is then not known, so all of them go.
func (a *accounts) forget(ctx context.Context, userID string) error {
	user, err := a.users.MarkForgotten(ctx, userID)
	if err != nil {
		return err
	}
	cars, err := a.users.Cars(ctx, userID, &user)
	if err != nil {
		return err
	}
	grants, err := a.users.GrantsOf(ctx, userID, &user)
	if err != nil {
		return err
	}
	scopes := []string{userID} // the others are grants of v2.0, under which an earlier version kept answers
	seen := make(map[string]bool)
	addGrant := func(id string) {
		if id != "" && !seen[id] {
			seen[id] = true
			scopes = append(scopes, id)
		}
	}
	for _, grant := range grants {
		addGrant(grant)
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

// forgetCar removes what is kept of one car of a user who is being forgotten. With
// lost, the user's record could not be read.
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
	ref := newCarRef(userID, car)
	if err := a.visits.forget(ctx, ref); err != nil {
		return err
	}
	return a.cars.forget(ctx, ref)
}

// renew refreshes a grant whose refresh token has less than within to live.
func (a *accounts) renew(ctx context.Context, userID, grant string, within time.Duration) error {
	ctx, gathered := a.opts.emitter.gather(ctx, About{Operation: opRefresh, UserID: userID})
	defer gathered.tell()
	if err := a.grants.Renew(ctx, grant, within); err != nil {
		return a.logins.afterFailure(ctx, grant, userID, err)
	}
	return nil
}

// disconnected deletes the answers about a car that a grant no longer reaches. The
// car stays filed with the user, so that Forget finds the policy's record of it.
func (a *accounts) disconnected(ctx context.Context, car carRef) error {
	return errors.Join(
		a.answers.dropScope(ctx, car.id, car.user),
		a.users.Unlist(ctx, car.user, car.id),
	)
}

// move compares the connections that API v3 shows of a user with what is stored.
// With apply, it files the user and the cars.
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

// accessChanged lets the class and the key of a user's cars be asked for again at
// once if they could not be read before: the new grant may have the permission. It
// only saves time, so errors are dropped.
func (a *accounts) accessChanged(ctx context.Context, userID string) {
	user, err := a.users.Connected(ctx, userID)
	if err != nil {
		return
	}
	cars, _ := a.users.Cars(ctx, userID, user)
	for _, filed := range cars {
		ref := newCarRef(userID, filed.ID)
		ref.registered = true // whoever is forgotten from here on is not made known again
		_, _ = a.cars.apply(ctx, ref, nil, evidenceOfConnect()...)
	}
}
