package smartcar

import (
	"cmp"
	"context"
	"errors"
	"iter"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/seed-498a1bc4/smartcar/internal/tokens"
)

// appReach is the reach of API v3.
type appReach struct {
	*core
	token appCredential
}

var _ reach = appReach{}

func newAppReach(c *core) appReach { return appReach{c, newAppCredential(c)} }

func (a appReach) authorize(_ context.Context, v *Vehicle, c *call) error {
	c.scope, c.user, c.auth = v.userID, v.userID, a.token
	return validateID("user id", v.userID)
}

// connected knows of users who are being forgotten only: anybody may be connected
// who is not stored.
func (a appReach) connected(ctx context.Context, userID string) error {
	u, err := a.users.Stored(ctx, userID)
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
	case ModeTest: // API v3 knows no such filter
		return []ConnectMode{ModeSimulated, ModeLive}
	}
	return []ConnectMode{ModeLive, ModeSimulated}
}

// search yields what matches in the first of the modes where anything does,
// whatever else Smartcar lets through.
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

func (a appReach) vehicles(ctx context.Context, u *User) iter.Seq2[*Vehicle, error] {
	return func(yield func(*Vehicle, error) bool) {
		seen := make(map[string]bool)
		for connection, err := range a.search(ctx, ConnectionFilter{UserID: u.id}) {
			switch {
			case err != nil:
				yield(nil, err)
				return
			case connection.VehicleID == "" || seen[connection.VehicleID]:
				continue
			}
			seen[connection.VehicleID] = true
			if !yield(u.vehicle(connection.VehicleID, ""), nil) {
				return
			}
		}
		if len(seen) == 0 {
			yield(nil, ErrNotConnected)
		}
	}
}

// connection finds the one connection of a user and a vehicle.
func (a appReach) connection(ctx context.Context, v *Vehicle) (Connection, error) {
	for connection, err := range a.search(ctx, ConnectionFilter{UserID: v.userID, VehicleID: v.id}) {
		return connection, err
	}
	return Connection{}, ErrNotConnected
}

func (a appReach) permissions(ctx context.Context, v *Vehicle) ([]string, error) {
	connection, err := a.connection(ctx, v)
	return connection.Permissions, err
}

func (a appReach) disconnect(ctx context.Context, v *Vehicle) error {
	connection, err := a.connection(ctx, v)
	if err != nil {
		return err
	}
	if err := a.deleteOne(ctx, connection.ID); err != nil {
		return err
	}
	err = a.answers.dropScope(ctx, v.id, v.userID)
	a.answers.discard(ctx, v.id, a.now()) // a late event must not bring them back
	return err
}

// renew has nothing to do: no token of the user's expires.
func (a appReach) renew(ctx context.Context, u *User, _ time.Duration) error {
	return a.connected(ctx, u.id)
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
		return a.newGrant(pending.ClaimedUser, pending), nil
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
	return a.newGrant(pending.ClaimedUser, pending), a.accounts.grants.Forget(ctx, grantID)
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
	for connection, err := range a.search(ctx, filter) {
		if err != nil {
			return err
		}
		// Whatever the filter let through: both have to be what was asked for.
		if connection.UserID == p.ClaimedUser && connection.ExternalID == p.ProofID {
			return a.accounts.confirmed(ctx, p)
		}
	}
	return errNotConfirmed
}

// deleteConnections looks in all modes: who is removed must not live on as a
// simulated user.
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
	if _, err = a.send(ctx, a.applicationCall(opDeleteConns, http.MethodDelete, path)); isGone(err) {
		return nil
	}
	return err
}

// covers reports whether a connection in mode, empty if it does not say, may be
// removed when m is asked for.
func (m ConnectMode) covers(mode string) bool {
	if m == ModeTest {
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
