package smartcar

import (
	"context"
	"errors"
	"iter"
	"net/url"
	"time"
)

// A User is a person who connected cars through Connect, possibly several
// times: each run is a grant of its own, and the handle knows them all. It is
// safe for concurrent use.
type User struct {
	core *core
	id   string
}

// ID is Smartcar's id of the user.
func (u *User) ID() string {
	if u == nil {
		return ""
	}
	return u.id
}

// Vehicle returns the handle of one of the user's cars. It makes no request:
// an id that is not valid, or not the user's, shows at the first call.
func (u *User) Vehicle(id string) *Vehicle {
	if u == nil || u.core == nil {
		return &Vehicle{car: carRef{id: id}} // its calls say what is wrong
	}
	return u.vehicle(id, "")
}

// ready reports what is wrong with the handle itself.
func (u *User) ready(ctx context.Context) error {
	if u == nil || u.core == nil {
		return argumentError("User", "must come from Client.User")
	}
	return errors.Join(checkContext(ctx), validateID("user id", u.id))
}

func (u *User) vehicle(id, grant string) *Vehicle {
	return &Vehicle{
		core: u.core, car: newCarRef(u.id, id), grantID: grant,
		// Escaped, whatever the id holds stays one segment.
		base: u.core.api + "/vehicles/" + url.PathEscape(id),
	}
}

// Vehicles yields the user's cars, each once, asking for page after page as the
// loop goes on. After an error it stops. On API v2.0 these are the cars of all
// the user's grants, and a grant that has ended is passed over as long as
// another one works; on v3 those of the user's connections, live ones unless
// there are none or [WithMode] says otherwise.
//
// https://smartcar.com/docs/api-reference/all-vehicles
func (u *User) Vehicles(ctx context.Context) iter.Seq2[*Vehicle, error] {
	if err := u.ready(ctx); err != nil {
		return func(yield func(*Vehicle, error) bool) { yield(nil, err) }
	}
	return func(yield func(*Vehicle, error) bool) {
		for found, err := range u.core.reach.vehicles(ctx, u.id) {
			if err != nil {
				yield(nil, err)
				return
			}
			if !yield(u.vehicle(found.id, found.grant), nil) {
				return
			}
		}
	}
}

// VirtualKeyURL is the link that came back from the user's last run of
// Connect, to be shown again; zero when none of the cars needed the key.
func (u *User) VirtualKeyURL(ctx context.Context) (VirtualKeyURL, error) {
	if err := u.ready(ctx); err != nil {
		return VirtualKeyURL{}, err
	}
	record, err := u.core.accounts.stored(ctx, u.id)
	if err != nil {
		return VirtualKeyURL{}, err
	}
	return u.core.links.parse(record.VirtualKeyURL), nil
}

// Renew refreshes every grant of the user whose refresh token would expire
// within the given time, so that an idle user need not connect again, and
// writes what is stored about the user anew if an older key of a [store.Sealed] store
// has sealed it. Refresh tokens live 60 days; calling it once a day with a week
// is plenty. Call it when a program starts, too: it finishes a refresh that a
// process which was killed has left, before the used refresh token is void.
// Where nothing is due it costs a few reads of the store.
func (u *User) Renew(ctx context.Context, within time.Duration) error {
	if within <= 0 {
		return argumentError("Renew within", "must be above zero, such as 7*24*time.Hour")
	}
	if err := u.ready(ctx); err != nil {
		return err
	}
	return errors.Join(u.core.reach.renew(ctx, u.id, within), u.core.users.Rewrite(ctx, u.id))
}

// Forget removes everything kept about the user: tokens, key link, answers and
// what is known of the cars. Only an open window of a keyless car stays until
// it closes by itself: it protects the car, not the user. It works also where
// what is stored of the user cannot be read: then tokens of API v2.0 that nothing
// leads to any more are left to expire, within 60 days. Smartcar is not
// told: call [Vehicle.Disconnect] first to revoke the access.
func (u *User) Forget(ctx context.Context) error {
	if err := u.ready(ctx); err != nil {
		return err
	}
	return u.core.accounts.forget(ctx, u.id)
}
