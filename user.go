package smartcar

import (
	"context"
	"errors"
	"iter"
	"net/url"
	"slices"
	"time"

	"github.com/seed-498a1bc4/smartcar/internal/policy"
	"github.com/seed-498a1bc4/smartcar/internal/randid"
	"github.com/seed-498a1bc4/smartcar/store"
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
		return &Vehicle{id: id} // its calls say what is wrong
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
		core: u.core, userID: u.id, id: id, grantID: grant, policyKey: "car/" + id,
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
	return u.core.reach.vehicles(ctx, u)
}

// VirtualKeyURL is the link that came back from the user's last run of
// Connect, to be shown again; zero when none of the cars needed the key.
func (u *User) VirtualKeyURL(ctx context.Context) (VirtualKeyURL, error) {
	if err := u.ready(ctx); err != nil {
		return VirtualKeyURL{}, err
	}
	record, err := u.core.tokens.storedUser(ctx, u.id)
	if err != nil {
		return VirtualKeyURL{}, err
	}
	return u.core.parseKeyURL(record.VirtualKeyURL), nil
}

// parseKeyURL returns the zero value for a link that is not trusted (any more).
func (c *core) parseKeyURL(raw string) VirtualKeyURL {
	parsed, err := ParseVirtualKeyURL(raw, c.opts.keyDomains...)
	if err != nil {
		return VirtualKeyURL{}
	}
	return parsed
}

// keyURL is the link to show for a car: the server's word, then what Connect
// brought, then the configured domain.
func (c *core) keyURL(ctx context.Context, userID, fromError string) VirtualKeyURL {
	if parsed := c.parseKeyURL(fromError); !parsed.IsZero() {
		return parsed
	}
	if record, err := c.tokens.storedUser(ctx, userID); err == nil {
		if parsed := c.parseKeyURL(record.VirtualKeyURL); !parsed.IsZero() {
			parsed.vin = "" // of whichever car it came with
			return parsed
		}
	}
	return virtualKeyURLFor(c.opts.keyDomain)
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
	return errors.Join(u.core.reach.renew(ctx, u, within), u.core.tokens.rewriteUser(ctx, u.id))
}

// Forget removes everything kept about the user: tokens, key link, answers and
// what is known of the cars. Only an open window of a keyless car stays until
// it closes by itself: it protects the car, not the user. Smartcar is not
// told: call [Vehicle.Disconnect] first to revoke the access.
func (u *User) Forget(ctx context.Context) error {
	if err := u.ready(ctx); err != nil {
		return err
	}
	_, err := u.core.tokens.anyUser(ctx, u.id)
	if errors.Is(err, ErrNotConnected) {
		return nil
	}
	if err != nil {
		return err
	}
	// The user is marked first, so that what is in flight writes nothing new,
	// and removed last: cut off in between, Forget can be called again.
	record, err := u.core.tokens.markForgotten(ctx, u.id)
	if err != nil {
		return err
	}
	cars := slices.Clone(record.Cars)
	for _, g := range record.Grants {
		cars = append(cars, g.Vehicles...)
		if err := u.core.tokens.forgetGrant(ctx, g.ID); err != nil {
			return err
		}
	}
	scopes := []string{u.id} // of API v3
	for _, g := range record.Grants {
		scopes = append(scopes, g.ID)
	}
	for _, id := range cars {
		for _, scope := range scopes {
			if err := u.core.answers.dropScope(ctx, id, scope); err != nil {
				return err
			}
		}
		if err := u.core.gate.forget(ctx, u.vehicle(id, "")); err != nil {
			return err
		}
	}
	return u.core.tokens.forgetUser(ctx, u.id)
}

// forget removes what is known of a car, but for a window that is still open.
func (g *gate) forget(ctx context.Context, v *Vehicle) error {
	for {
		c, err := g.load(ctx, v)
		if err != nil || c.revision == "" {
			return err
		}
		if c.unreadable {
			c.state = policy.State{}
		}
		g.known.Delete(v.policyKey)
		now := c.now() // the earliest it can be: the record must not go before its window closes
		rest := c.state.NextData(now, g.opts.policyRules()).Next.Sub(now)
		if rest <= 0 {
			err = g.records.Delete(ctx, v.policyKey, c.revision)
		} else {
			_, err = g.records.Swap(ctx, v.policyKey, c.revision, policy.Encode(c.state.OpenWindow(), randid.New()), rest)
		}
		if !errors.Is(err, store.ErrConflict) {
			return err
		}
	}
}
