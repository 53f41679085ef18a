package tokens

import (
	"context"
	"errors"
	"time"

	"github.com/seed-498a1bc4/smartcar/internal/lru"
	"github.com/seed-498a1bc4/smartcar/internal/records"
	"github.com/seed-498a1bc4/smartcar/internal/users"
	"github.com/seed-498a1bc4/smartcar/store"
)

const (
	// refreshLife is how long a refresh token lives. It is documented; the answer
	// does not say it.
	refreshLife = 60 * 24 * time.Hour
	// grantTTL keeps a grant until it has ended: a store's clock that is months
	// ahead for a minute must not end a login. Smartcar says when it has.
	grantTTL = 0
	// pendingTTL drops a grant that nobody has confirmed.
	pendingTTL = refreshLife
	// clocksApart is how far the clocks of two processes may be apart. A pair that was
	// obtained later than that, in the future, was dated by a clock that was wrong: how
	// old it is cannot be told.
	clocksApart = time.Hour
	// refreshTries is how often one refresh token is tried on unclear answers.
	refreshTries = 3
	// notCoveredTime is how long a car is remembered that the grant does not reach.
	notCoveredTime = time.Hour

	recentGrants    = 10_000
	recentUncovered = 1000
)

// grantRecord is what is stored of a grant. It never leaves this package.
type grantRecord struct {
	UserID       string    `json:"user_id,omitempty"`
	AccessToken  string    `json:"access_token"`
	RefreshToken string    `json:"refresh_token"`
	Expires      time.Time `json:"expires"`
	ObtainedAt   time.Time `json:"obtained_at"`
	Spare        string    `json:"spare,omitempty"` // a second refresh token: one of the two works, see step 7 of lease
	lease
	// What Connect brought, until the grant is linked to its user.
	Pending *Pending `json:"pending,omitempty"`
}

func (r *grantRecord) fresh(now time.Time) bool {
	return r.AccessToken != "" && now.Before(r.Expires.Add(-skew)) && r.ObtainedAt.Sub(now) <= clocksApart
}

// setPair puts a new pair in and takes the lease out: the renewal is over.
func (r *grantRecord) setPair(p Pair) {
	r.AccessToken, r.RefreshToken, r.Spare = p.AccessToken, p.RefreshToken, ""
	r.ObtainedAt, r.Expires = p.Obtained, p.Expires
	r.lease.clear()
}

func grantKey(id string) string { return "grant/" + id }

// Timing holds the durations of this package. They follow from options of the client.
type Timing struct {
	Grace time.Duration // how long Smartcar honors a used refresh token
	Lease time.Duration // how long one process may keep the others from refreshing
	Poll  time.Duration // how often a process that waits looks into the store
	Pause time.Duration // between two tries of one refresh token
	// A new grant that the store does not take is tried again after StorePause,
	// twice that and so on, up to StorePauseMax.
	StorePause, StorePauseMax time.Duration
}

// Grants owns the tokens of all grants: it stores a new pair before using it,
// refreshes once for all callers, and never drops a pair before the new one is
// safe. It is safe for concurrent use.
type Grants struct {
	records  records.Records
	clock    records.Clock
	steady   records.Clock // for what is remembered in this process
	users    *users.Users
	exchange Exchange
	judge    Judge
	timing   Timing
	leases   leases[grantRecord, *grantRecord]
	// cached are records with an access token, so that not every request loads one.
	cached     *lru.Cache[string, *cachedGrant]
	refreshing records.Flights
	unstored   unstored
	// void is the refresh token that Smartcar has called void, by grant: see End.
	void *lru.Cache[string, string]
	// notCovered is when a renewed token was refused for a car, by grant/vehicle.
	notCovered *lru.Cache[string, time.Time]
}

// cachedGrant is a record with the header that its access token makes.
type cachedGrant struct {
	*grantRecord // held.Value
	held         heldGrant
	header       []string
}

// heldGrant is a stored grant as this process has read or written it last.
type heldGrant = records.Held[grantRecord]

// NewGrants returns the grants in a store. This process remembers so many of them, if
// they are more than recentGrants.
func NewGrants(r records.Records, clock, steady records.Clock, u *users.Users, exchange Exchange, judge Judge, timing Timing, grants int) *Grants {
	return &Grants{
		records: r, clock: clock, steady: steady, users: u, exchange: exchange, judge: judge, timing: timing,
		leases: leases[grantRecord, *grantRecord]{
			records: r, clock: clock, ttl: grantTTL, length: timing.Lease, poll: timing.Poll,
			patience: refreshTries * timing.Lease, grace: timing.Grace, absent: ErrEnded,
		},
		cached:     lru.New[string, *cachedGrant](max(grants, recentGrants)),
		void:       lru.New[string, string](recentGrants),
		notCovered: lru.New[string, time.Time](recentUncovered),
	}
}

// An Authorization is the header that authorizes a request, with the secrets behind
// it. Its zero value has no header.
type Authorization struct {
	Header []string // Authorization, as package http keeps it
	// RefreshToken and Spare belong to the header. An answer must repeat neither.
	RefreshToken, Spare string
}

// Ready reports whether Authorization answers without asking anybody.
func (g *Grants) Ready(id string) bool {
	r, ok := g.cached.Get(id)
	return ok && r.fresh(g.clock.Now())
}

// Authorization returns a header with an access token that can be used now. Errors:
// [ErrEnded], [ErrTaken], records.ErrStore, and those of the Exchange. After ErrEnded,
// and after an error that the Judge takes for the end, the caller takes the grant out
// of use: see End.
func (g *Grants) Authorization(ctx context.Context, id string) (Authorization, error) {
	r, err := g.valid(ctx, id)
	if err != nil {
		return Authorization{}, err
	}
	return Authorization{r.header, r.RefreshToken, r.Spare}, nil
}

// Replace renews a token that Smartcar refused for a car. It returns false without an
// error if another process has renewed the token already. It returns [ErrNoOther] if
// a new token has not helped this car within the last hour: then the grant does not
// reach the car. Other errors are those of Authorization.
func (g *Grants) Replace(ctx context.Context, id, car string, refused []string) (renewed bool, err error) {
	r, err := g.load(ctx, id)
	switch {
	case err != nil:
		return false, err
	case r.header[0] != refused[0]:
		return false, nil
	}
	if at, ok := g.notCovered.Get(id + "/" + car); ok && g.steady.Now().Sub(at) < notCoveredTime {
		return false, ErrNoOther
	}
	_, err = g.refreshed(ctx, id, r, func(now *grantRecord) bool { return now.AccessToken != r.AccessToken })
	return err == nil, err
}

// NotCovered remembers a car for which a new token was refused, too, so that not
// every request for this car renews the tokens.
func (g *Grants) NotCovered(id, car string) { g.notCovered.Put(id+"/"+car, g.steady.Now()) }

// Renew refreshes a grant whose refresh token has less than within to live, and a
// grant whose last refresh was begun and never finished.
func (g *Grants) Renew(ctx context.Context, id string, within time.Duration) error {
	_, err := g.refreshed(ctx, id, nil, func(r *grantRecord) bool { // another process may have left a trace
		now := g.clock.Now()
		return r.LeaseID == "" && r.ObtainedAt.Add(refreshLife).Sub(now) >= within && r.ObtainedAt.Sub(now) <= clocksApart
	})
	return err
}

// Forget removes the tokens of a grant.
func (g *Grants) Forget(ctx context.Context, id string) error {
	g.unstored.drop(id)
	g.cached.Delete(id)
	return g.records.Remove(ctx, grantKey(id))
}

// End removes the tokens of a grant that has ended. It returns false if the stored
// refresh token is not the one that Smartcar has called void: then the login lives.
//
//  1. A trades the refresh token, and stands still for longer than the grace.
//  2. B sends the same refresh token. Smartcar calls it void, and the store holds no
//     other one: B is to end the grant.
//  3. A goes on and stores the new pair, which B must not remove.
func (g *Grants) End(ctx context.Context, id string) (ended bool, err error) {
	void, _ := g.void.Get(id)
	for {
		record, err := g.records.Load(ctx, grantKey(id))
		if errors.Is(err, store.ErrNotFound) {
			break
		}
		if err != nil {
			return false, err
		}
		r, err := records.Decode[grantRecord](record.Value)
		if err != nil || r.RefreshToken != void || r.Spare != "" {
			return false, err
		}
		if err = g.records.Delete(ctx, grantKey(id), record.Revision); err == nil {
			break
		}
		if !errors.Is(err, store.ErrConflict) {
			return false, err
		}
	}
	g.void.Delete(id)
	g.cached.Delete(id)
	return true, nil
}

// ended reports whether an error means that the grant has ended.
func (g *Grants) ended(err error) bool {
	return errors.Is(err, ErrEnded) || err != nil && g.judge(err).Ended
}

// cache remembers a record that is stored. A grant under refresh is not
// remembered: if the process that refreshes it crashes, others have to see its
// lease in the store.
func (g *Grants) cache(id string, held heldGrant) *cachedGrant {
	c := &cachedGrant{held: held, header: header(held.Value.AccessToken)}
	c.grantRecord = &c.held.Value
	if c.LeaseID == "" {
		g.cached.Put(id, c)
	} else {
		g.cached.Delete(id)
	}
	return c
}

// Unreadable reports whether what is stored of a grant cannot be read. Only another run
// of Connect restores its tokens.
func (g *Grants) Unreadable(ctx context.Context, id string) bool {
	if g.Ready(id) {
		return false
	}
	_, err := records.Read[grantRecord](ctx, g.records, grantKey(id))
	return errors.Is(err, records.ErrUnreadable)
}

func (g *Grants) load(ctx context.Context, id string) (*cachedGrant, error) {
	held, err := records.Hold[grantRecord](ctx, g.records, grantKey(id))
	switch {
	case errors.Is(err, store.ErrNotFound):
		return nil, ErrEnded
	case err != nil:
		return nil, err
	}
	return g.cache(id, held), nil
}

// valid returns a record whose access token can be used now.
func (g *Grants) valid(ctx context.Context, id string) (*cachedGrant, error) {
	known, ok := g.cached.Get(id)
	if ok && known.fresh(g.clock.Now()) {
		return known, nil
	}
	r, err := g.refreshed(ctx, id, known, func(r *grantRecord) bool { return r.fresh(g.clock.Now()) })
	if err == nil {
		return r, nil
	}
	// While the token endpoint is down, the old access token is used until its end.
	if g.ended(err) {
		return nil, err
	}
	old, ok := g.cached.Get(id)
	if !ok {
		var loadErr error
		if old, loadErr = g.load(ctx, id); loadErr != nil {
			return nil, err
		}
	}
	if old.AccessToken == "" || !g.clock.Now().Before(old.Expires) {
		return nil, err
	}
	return old, nil
}
