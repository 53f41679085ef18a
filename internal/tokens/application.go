package tokens

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"sync/atomic"
	"time"

	"github.com/seed-498a1bc4/smartcar/internal/randid"
	"github.com/seed-498a1bc4/smartcar/internal/records"
)

const (
	// appLife is how long an application's token lives. It is documented; the
	// record outlives it.
	appLife = time.Hour
	// appLease is how long one process may keep the others from asking for one.
	appLease = 15 * time.Second
	// replacedTime is how long a token that replaced a refused one is not replaced
	// again, unless Smartcar has accepted it once.
	replacedTime = time.Minute
	// appTries is how often a caller asks again for a token that has expired, or was
	// refused, before the caller could use it.
	appTries = 3
)

// appRecord is what is stored of the application's token: all processes use one.
type appRecord struct {
	AccessToken string    `json:"access_token"`
	Expires     time.Time `json:"expires"` // when it is renewed, by the store's clock
	lease
}

// appToken is the token in use. It is never changed but replaced by another appToken,
// so that a reader sees all fields as they were at one moment. It is never printed.
type appToken struct {
	header  []string
	expires time.Time // when it is renewed, which is before its end
	minted  bool      // by this process, and not taken from what another one has stored
	// replaced is when the token was minted in the place of a refused one. It is zero
	// for every other token, and once Smartcar has accepted this one.
	replaced time.Time
}

func (t *appToken) fresh(now time.Time) bool { return t != nil && now.Before(t.expires) }

// is reports whether the token makes this header.
func (t *appToken) is(header []string) bool {
	return t != nil && len(header) > 0 && t.header[0] == header[0]
}

// Application owns the token of the application, which is minted once for all
// callers of all processes, and again if Smartcar refuses it. It is safe for
// concurrent use.
type Application struct {
	steady   records.Clock // for what is remembered in this process
	exchange Exchange
	key      string
	leases   leases[appRecord, *appRecord]
	minting  records.Flights
	current  atomic.Pointer[appToken]
	// stored is the record as this process has read or written it last, and when: only the
	// leader of minting uses it.
	stored   *records.Held[appRecord]
	storedAt time.Time
}

// NewApplication returns the token of the application with that client id; poll
// is how often a process that waits for another one looks into the store.
func NewApplication(r records.Records, steady records.Clock, clientID string, exchange Exchange, poll time.Duration) *Application {
	sum := sha256.Sum256([]byte(clientID))
	return &Application{
		steady: steady, exchange: exchange,
		key:    "application/" + hex.EncodeToString(sum[:16]),
		leases: leases[appRecord, *appRecord]{records: r, clock: steady, ttl: 2 * appLife, length: appLease, poll: poll},
	}
}

// Ready reports whether Header answers without asking anybody.
func (a *Application) Ready() bool { return a.current.Load().fresh(a.steady.Now()) }

// Header returns the Authorization header with a token that can be used now.
// Errors: [ErrNoOther], and those of the Exchange.
func (a *Application) Header(ctx context.Context) ([]string, error) {
	t := a.current.Load()
	if !t.fresh(a.steady.Now()) {
		var err error
		if t, err = a.renewed(ctx, nil); err != nil {
			return nil, err
		}
	}
	return t.header, nil
}

// Replace gets another token than the one that Smartcar refused. It returns true if
// it has minted the other token, and false if that one was there already, and may be
// refused as well. [ErrNoOther] says that the credentials are at fault and not the
// token: the refused token replaced another one less than a minute ago, and Smartcar
// has never accepted it.
//
// All of this is decided by one look at the token in use. When many callers are
// refused at once, the first one replaces the token, and the others must not mistake
// the new token for the one that they were refused with:
//
//  1. A and B send a request with token 1. Both are refused.
//  2. A sees token 1 in use, and mints token 2 in its place.
//  3. B sees token 2 in use. B did not send it, so B uses it.
//  4. C sends a request with token 2 and is refused. C sees the token that it sent, and
//     that it has just replaced another one: C gets ErrNoOther.
func (a *Application) Replace(ctx context.Context, refused []string) (minted bool, err error) {
	t := a.current.Load()
	switch {
	case t != nil && !t.is(refused):
		return false, nil
	case t != nil && !t.replaced.IsZero() && a.steady.Now().Sub(t.replaced) < replacedTime:
		return false, ErrNoOther
	}
	if t, err = a.renewed(ctx, refused); err != nil {
		return false, err
	}
	return t.minted, nil
}

// Accepted is called when Smartcar accepts a token that replaced a refused one. If
// Smartcar refuses it later, it is replaced like any other.
func (a *Application) Accepted(header []string) {
	t := a.current.Load()
	if !t.is(header) || t.replaced.IsZero() {
		return
	}
	accepted := *t
	accepted.replaced = time.Time{}
	a.current.CompareAndSwap(t, &accepted) // else there is another token by now
}

// renewed returns another token than the refused one. Another caller or process may
// have put it into use, or it is new.
func (a *Application) renewed(ctx context.Context, refused []string) (*appToken, error) {
	for range appTries {
		err := a.minting.Do(ctx, "", func() error { return a.renew(ctx, refused) })
		if err != nil {
			return nil, err
		}
		if t := a.current.Load(); a.willDo(t, refused) {
			return t, nil
		}
	}
	return nil, ErrNoOther
}

func (a *Application) willDo(t *appToken, refused []string) bool {
	return t.fresh(a.steady.Now()) && !t.is(refused)
}

// renew takes the token that another process has stored, or mints one under a lease.
// Minting can be repeated without harm, unlike trading a refresh token. So if the
// store is away, each process mints a token of its own.
func (a *Application) renew(ctx context.Context, refused []string) error {
	if a.willDo(a.current.Load(), refused) {
		return nil // another caller was faster
	}
	id := randid.Text()
	held := a.stored
	if held != nil && a.steady.Now().Sub(a.storedAt) > a.leases.ttl {
		held = new(records.Held[appRecord]) // it has expired
	}
	a.stored = nil // until it is known again
	stored, err := a.leases.acquire(ctx, a.key, id, held, func(r *appRecord, now time.Time) bool {
		t := appToken{header: header(r.AccessToken)}
		return r.AccessToken != "" && now.Before(r.Expires) && !t.is(refused)
	})
	switch {
	case errors.Is(err, records.ErrStore):
		_, _, err = a.mint(ctx, refused)
		return err
	case err != nil:
		return err
	case !stored.mine:
		a.keep(&stored.held)
		a.current.Store(&appToken{
			header:  header(stored.held.Value.AccessToken),
			expires: a.steady.Now().Add(stored.held.Value.Expires.Sub(stored.now)),
		})
		return nil
	}
	token, life, err := a.mint(ctx, refused)
	is, failed := a.leases.release(ctx, a.key, id, &stored.held, false, func(r *appRecord, now time.Time) {
		if err == nil {
			r.AccessToken, r.Expires = token, now.Add(life)
		}
	})
	if failed == nil {
		a.keep(&is)
	}
	return err
}

func (a *Application) keep(held *records.Held[appRecord]) {
	a.stored, a.storedAt = held, a.steady.Now()
}

// mint puts a new token into use, in the place of a refused one if there is one.
func (a *Application) mint(ctx context.Context, refused []string) (token string, life time.Duration, err error) {
	pair, err := a.exchange(ctx, "")
	if err != nil {
		return "", 0, err
	}
	// A token that lives for less than two minutes is used for half of its life.
	life = pair.Expires.Sub(pair.Obtained)
	life -= min(skew, life/2)
	now := a.steady.Now()
	t := &appToken{header: header(pair.AccessToken), expires: now.Add(life), minted: true}
	if len(refused) > 0 {
		t.replaced = now
	}
	a.current.Store(t)
	return pair.AccessToken, life, nil
}
