package tokens

import (
	"context"
	"errors"
	"time"

	"github.com/seed-498a1bc4/smartcar/internal/contexts"
	"github.com/seed-498a1bc4/smartcar/internal/randid"
)

// refreshed refreshes a grant unless enough says that the stored pair will do.
// Inside this process one caller refreshes for all; across processes a lease in
// the store sees to it that one process does. Known, which may be nil, is the grant as it
// is known here: it spares a load.
func (g *Grants) refreshed(ctx context.Context, id string, known *cachedGrant, enough func(*grantRecord) bool) (*cachedGrant, error) {
	for {
		var mine *cachedGrant
		err := g.refreshing.Do(ctx, id, func() (err error) {
			mine, err = g.refreshForAll(ctx, id, known, enough)
			return err
		})
		switch {
		case err != nil:
			return nil, err
		case ctx.Err() != nil:
			return nil, contexts.EndOf(ctx)
		case mine != nil:
			return mine, nil
		}
		// Another caller has refreshed: its pair may be enough.
		r, err := g.load(ctx, id)
		if err != nil {
			return nil, err
		}
		if enough(r.grantRecord) {
			return r, nil
		}
		known = r
	}
}

// refreshForAll refreshes under the lease, or returns the pair that another
// process has stored meanwhile.
func (g *Grants) refreshForAll(ctx context.Context, id string, known *cachedGrant, enough func(*grantRecord) bool) (*cachedGrant, error) {
	if pair, ok := g.unstored.pair(id); ok {
		r, err := g.storePair(ctx, id, pair, nil)
		if err != nil || enough(r.grantRecord) {
			return r, err
		}
		known = r
	}
	var held *heldGrant
	if known != nil && known.LeaseID == "" {
		held = &known.held
	}
	lease := randid.Text()
	for {
		a, err := g.leases.acquire(ctx, grantKey(id), lease, held, func(r *grantRecord, _ time.Time) bool { return enough(r) })
		switch {
		case err != nil:
			return nil, err
		case !a.mine:
			return g.cache(id, a.held), nil
		}
		r, err := g.refreshLeased(ctx, id, a.held, lease)
		if !errors.Is(err, ErrTaken) {
			return r, err
		}
		held = nil
	}
}

// refreshLeased asks for a new pair while this process has the lease. After an
// unclear answer it sends the same refresh token again at once, well inside the
// grace. It returns ErrTaken if another process has taken the lease over.
func (g *Grants) refreshLeased(ctx context.Context, id string, held heldGrant, lease string) (*cachedGrant, error) {
	r := held.Value
	// From here on the caller's cancellation does not count: the answer to the
	// request holds the only copy of the next refresh token. Every step has a
	// timeout of its own.
	ctx = context.WithoutCancel(ctx)
	var failed error
	unclear := false
	for try := range refreshTries {
		if try > 0 {
			if err := g.clock.Sleep(ctx, g.timing.Pause); err != nil {
				break
			}
			err := g.leases.extend(ctx, grantKey(id), lease, &held)
			if errors.Is(err, ErrTaken) || errors.Is(err, ErrEnded) {
				return nil, err
			}
			// While the store is away, no other process can try this refresh token
			// before the grace is over: going on here saves the login.
		}
		pair, err := g.exchange(ctx, r.RefreshToken)
		if err == nil {
			return g.storePair(ctx, id, newPair{Pair: pair, used: r.RefreshToken, lease: lease, userID: r.UserID}, &held)
		}
		verdict := g.judge(err)
		failed, unclear = err, unclear || verdict.Unclear
		if verdict.Ended {
			return g.afterVoid(ctx, id, r, lease, err)
		}
		if !verdict.Again {
			break
		}
	}
	if unclear {
		g.cached.Delete(id) // the next caller has to see the trace in the store
	}
	_, _ = g.leases.release(ctx, grantKey(id), lease, &held, unclear, nil)
	return nil, failed
}

// afterVoid goes on after Smartcar has called a refresh token void. The grant has
// ended only if there is no spare refresh token and no other process has traded
// the one that was sent: else the pair that came for it is in the store.
func (g *Grants) afterVoid(ctx context.Context, id string, sent grantRecord, lease string, cause error) (*cachedGrant, error) {
	spare, ok, err := g.useSpare(ctx, id, sent)
	switch {
	case err != nil:
		return nil, err // there may be a spare refresh token: the end is not certain
	case ok:
		return g.refreshLeased(ctx, id, spare, lease) // with tries of its own
	}
	ctx, cancel := contexts.Detached(ctx)
	defer cancel()
	r, err := g.load(ctx, id)
	switch {
	case err == nil && r.RefreshToken != sent.RefreshToken:
		return r, nil
	case err != nil && !errors.Is(err, ErrEnded):
		return nil, err // another process may have traded it
	}
	g.void.Put(id, sent.RefreshToken)
	return nil, cause
}
