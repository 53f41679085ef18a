package smartcar

import (
	"cmp"
	"context"
	"errors"
	"iter"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/seed-498a1bc4/smartcar/internal/tokens"
)

// appReach is the reach of API v3.
type appReach struct {
	opts     *options
	sender   sender
	accounts *accounts
	links    *keyLinks
	token    appCredential
}

var _ reach = appReach{}

func (a appReach) authorize(_ context.Context, r *request, _ string) error {
	r.scope, r.user, r.auth = r.car.user, r.car.user, a.token
	return validateID("user id", r.car.user)
}

// connected refuses only users who are being forgotten: on v3 a user may be connected
// without being stored here.
func (a appReach) connected(ctx context.Context, userID string) error {
	u, err := a.accounts.users.Stored(ctx, userID)
	switch {
	case errors.Is(err, ErrNotConnected):
		return nil
	case err == nil && u.Forgotten:
		return ErrNotConnected
	}
	return err
}

// modes are where the connections of a user are looked for: Smartcar hides
// simulated cars unless asked for.
func (a appReach) modes(chosen ConnectMode) []ConnectMode {
	switch mode := cmp.Or(chosen, a.opts.mode); mode {
	case ModeLive, ModeSimulated:
		return []ConnectMode{mode}
	case modeTest: // API v3 knows no such filter
		return []ConnectMode{ModeSimulated, ModeLive}
	}
	return []ConnectMode{ModeLive, ModeSimulated}
}

// search tries the modes one after the other, and yields the matching connections of the
// first mode that has any. It applies the filter itself as well, since Smartcar may
// ignore a parameter.
func (a appReach) search(ctx context.Context, filter ConnectionFilter) iter.Seq2[Connection, error] {
	return func(yield func(Connection, error) bool) {
		for _, mode := range a.modes(filter.Mode) {
			filter.Mode = mode
			found := false
			for connection, err := range a.connections(ctx, filter) {
				if err == nil && !filter.matches(connection) {
					continue
				}
				found = true
				if !yield(connection, err) || err != nil {
					return
				}
			}
			if found {
				return
			}
		}
	}
}

func (a appReach) vehicles(ctx context.Context, userID string) iter.Seq2[listedCar, error] {
	return func(yield func(listedCar, error) bool) {
		seen := make(map[string]bool)
		for connection, err := range a.search(ctx, ConnectionFilter{UserID: userID}) {
			switch {
			case err != nil:
				yield(listedCar{}, err)
				return
			case connection.VehicleID == "" || seen[connection.VehicleID]:
				continue
			}
			seen[connection.VehicleID] = true
			if !yield(listedCar{id: connection.VehicleID}, nil) {
				return
			}
		}
		if len(seen) == 0 {
			yield(listedCar{}, a.notConnected(ctx, userID))
			return
		}
		if _, err := a.accounts.recent(ctx, userID); err == nil { // who is not stored stays so
			_ = a.accounts.users.AddCars(ctx, userID, slices.Collect(maps.Keys(seen))) // for Client.Vehicles
		}
	}
}

// notConnected is the error for a user of whom v3 shows no connection: whether
// MoveToV3 or Connect helps depends on what is known from v2.0.
func (a appReach) notConnected(ctx context.Context, userID string) error {
	if user, err := a.accounts.stored(ctx, userID); err == nil && len(user.Grants) > 0 && !user.Moved {
		return ErrNotMoved
	}
	return ErrNotConnected
}

// connection finds the one connection of a user and a vehicle. If there is none, the
// vehicle is gone, as after the same call on API v2.0.
func (a appReach) connection(ctx context.Context, r *request) (Connection, error) {
	for connection, err := range a.search(ctx, ConnectionFilter{UserID: r.car.user, VehicleID: r.car.id}) {
		return connection, err
	}
	return Connection{}, &Error{
		Operation: r.op, StatusCode: http.StatusOK, Type: typeNotFound, Code: codeVehicleNotFound,
		Description: "the user has no connection with this vehicle", Err: a.notConnected(ctx, r.car.user), read: true,
	}
}

func (a appReach) permissions(ctx context.Context, r *request) ([]string, error) {
	connection, err := a.connection(ctx, r)
	return connection.Permissions, err
}

func (a appReach) disconnect(ctx context.Context, r *request) error {
	connection, err := a.connection(ctx, r)
	if err != nil {
		return err
	}
	if err := a.deleteOne(ctx, connection.ID); err != nil {
		return err
	}
	err = a.accounts.answers.dropScope(ctx, r.car.id, r.scope)
	a.accounts.answers.discard(ctx, r.car.id, a.opts.now()) // a late event must not bring them back
	return err
}

// renew has nothing to do: no token of the user's expires.
func (a appReach) renew(ctx context.Context, userID string, _ time.Duration) error {
	return a.connected(ctx, userID)
}

// Connections may lag behind Connect a little.
const (
	confirmTries = 3
	confirmPause = time.Second
)

// errNotConfirmed: Smartcar does not say that the user whom the browser named
// is the one who ran this flow.
var errNotConfirmed = &CallbackError{Parameter: "user_id", Problem: "is not confirmed: Smartcar shows no connection of this user with the external id of this run"}

// finish believes the user whom the browser names once Smartcar shows the
// external id of this run with one of their connections.
func (a appReach) finish(ctx context.Context, callback *Callback, run connectRun) (*Grant, error) {
	switch {
	case callback.UserID == "":
		return nil, &CallbackError{Parameter: "user_id", Problem: "is missing; is the application set up for API v3?"}
	case run.proofID == "":
		return nil, argumentError("Expected.ExternalID", "is empty: on API v3 it is what confirms the user; give one to AuthorizeURL and here")
	}
	if err := validateID("user id", callback.UserID); err != nil {
		return nil, &CallbackError{Parameter: "user_id", Problem: "is not an id"}
	}
	pending := tokens.Pending{
		ExternalID: run.externalID, VirtualKeyURL: callback.VirtualKeyURL.String(),
		ClaimedUser: callback.UserID, ProofID: run.proofID, Mode: string(run.mode),
	}
	err := a.confirm(ctx, pending)
	if err == nil {
		return a.links.newGrant(pending.ClaimedUser, pending), nil
	}
	// The run cannot be repeated without the owner: keep it for Resume.
	id, storeErr := a.accounts.grants.AddPending(ctx, pending)
	if storeErr != nil {
		err = errors.Join(err, storeErr)
	}
	return nil, &PendingGrantError{GrantID: id, Err: err}
}

func (a appReach) resume(ctx context.Context, grantID string) (*Grant, error) {
	pending, err := a.accounts.claimed(ctx, grantID)
	if err == nil {
		err = a.confirm(ctx, pending)
	}
	if err != nil {
		return nil, err
	}
	if err := a.accounts.grants.Forget(ctx, grantID); err != nil {
		return nil, err // asked again, it is confirmed again
	}
	return a.links.newGrant(pending.ClaimedUser, pending), nil
}

func (a appReach) confirm(ctx context.Context, p tokens.Pending) error {
	for try := 1; ; try++ {
		err := a.confirmNow(ctx, p)
		if !errors.Is(err, ErrMalformedCallback) || try == confirmTries {
			return err
		}
		if ended := a.opts.clock.Sleep(ctx, confirmPause*time.Duration(try)); ended != nil {
			return err
		}
	}
}

func (a appReach) confirmNow(ctx context.Context, p tokens.Pending) error {
	filter := ConnectionFilter{UserID: p.ClaimedUser, ExternalID: p.ProofID, Mode: ConnectMode(p.Mode)}
	var found []Connection
	for connection, err := range a.search(ctx, filter) {
		if err != nil && len(found) == 0 {
			return err
		}
		// Whatever the filter let through: both have to be what was asked for.
		if err == nil && connection.UserID == p.ClaimedUser && connection.ExternalID == p.ProofID {
			found = append(found, connection)
		}
	}
	if len(found) == 0 {
		return errNotConfirmed
	}
	err := a.accounts.confirmed(ctx, p)
	if err == nil {
		a.accounts.granted(ctx, p.ClaimedUser, found)
	}
	return err
}

// deleteConnections looks in every mode that the filter and WithMode allow: a user who is
// removed as a live one must not stay as a simulated one.
func (a appReach) deleteConnections(ctx context.Context, filter ConnectionFilter) ([]Connection, error) {
	var found, removed []Connection
	seen := make(map[string]bool)
	for _, mode := range a.modes(filter.Mode) {
		inMode := filter
		inMode.Mode = mode
		for connection, err := range a.connections(ctx, inMode) {
			if err != nil {
				return nil, err
			}
			// Whatever Smartcar let through.
			if filter.matches(connection) && filter.Mode.covers(connection.Mode) && !seen[connection.ID] {
				seen[connection.ID] = true
				found = append(found, connection)
			}
		}
	}
	for _, connection := range found {
		if err := a.deleteOne(ctx, connection.ID); err != nil {
			return removed, err
		}
		removed = append(removed, connection)
	}
	return slices.Clip(removed), nil
}

func (a appReach) deleteOne(ctx context.Context, connectionID string) error {
	path, err := onePath("connection id", "/connections/", connectionID)
	if err != nil {
		return err
	}
	return a.remove(ctx, a.request(opDeleteConns, http.MethodDelete, path))
}

// covers reports whether a connection in mode, empty if it does not say, may be
// removed when m is asked for.
func (m ConnectMode) covers(mode string) bool {
	if m == modeTest {
		return !strings.EqualFold(mode, string(ModeLive))
	}
	return m == "" || mode == "" || strings.EqualFold(mode, string(m))
}

// matches reports whether a connection is one of those the filter names, in
// whatever mode.
func (f ConnectionFilter) matches(c Connection) bool {
	return (f.UserID == "" || f.UserID == c.UserID) && (f.VehicleID == "" || f.VehicleID == c.VehicleID) &&
		(f.ExternalID == "" || f.ExternalID == c.ExternalID)
}
