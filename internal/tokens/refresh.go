package tokens

import (
	"context"
	"errors"
	"time"

	"github.com/seed-498a1bc4/smartcar/internal/contexts"
	"github.com/seed-498a1bc4/smartcar/internal/randid"
)

// refreshed refreshes a grant unless enough says that the stored pair will do.
// Inside this process one caller does it for all; across processes a lease in
// the store does the same.
func (g *Grants) refreshed(ctx context.Context, id string, enough func(*grantRecord) bool) (*cachedGrant, error) {
	for {
		var mine *cachedGrant
		err := g.refreshing.Do(ctx, id, func() (err error) {
			mine, err = g.refreshForAll(ctx, id, enough)
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
		// Somebody else did it: see whether that is enough.
		r, err := g.load(ctx, id)
		if err != nil {
			return nil, err
		}
		if enough(&r.grantRecord) {
			return r, nil
		}
	}
}

// refreshForAll acquires the lease, or what the process that has it gets.
func (g *Grants) refreshForAll(ctx context.Context, id string, enough func(*grantRecord) bool) (*cachedGrant, error) {
	if pair, ok := g.unstored.pair(id); ok {
		r, err := g.storePair(ctx, id, pair)
		if err != nil || enough(&r.grantRecord) {
			return r, err
		}
	}
	lease := randid.Text()
	for {
		a, err := g.leases.acquire(ctx, grantKey(id), lease, func(r *grantRecord, _ time.Time) bool { return enough(r) })
		switch {
		case err != nil:
			return nil, err
		case !a.mine:
			return g.cache(id, a.record), nil
		}
		r, err := g.refreshLeased(ctx, id, a.record, lease)
		if !errors.Is(err, ErrTaken) {
			return r, err
		}
	}
}

// refreshLeased asks for a new pair. On an unclear answer it tries the same
// refresh token again at once, well inside the grace. ErrTaken is returned when
// another process has the lease by now.
func (g *Grants) refreshLeased(ctx context.Context, id string, r grantRecord, lease string) (*cachedGrant, error) {
	// From here on the caller's cancellation must not lose an answer on its
	// way: it holds the only copy of the next refresh token.
	// Every step is bounded by itself.
	ctx = context.WithoutCancel(ctx)
	var failed error
	unclear := false
	for try := range refreshTries {
		if try > 0 {
			if err := g.clock.Sleep(ctx, g.timing.Pause); err != nil {
				break
			}
			err := g.leases.extend(ctx, grantKey(id), lease)
			if errors.Is(err, ErrTaken) || errors.Is(err, ErrEnded) {
				return nil, err
			}
			// Without the store, going on is what saves the login: nobody else
			// can try this token before the grace is over.
		}
		pair, err := g.exchange(ctx, r.RefreshToken)
		if err == nil {
			return g.storePair(ctx, id, newPair{Pair: pair, used: r.RefreshToken, userID: r.UserID})
		}
		verdict := g.judge(err)
		failed, unclear = err, unclear || verdict.Unclear
		if verdict.Ended {
			return g.refused(ctx, id, r, lease, err)
		}
		if !verdict.Again {
			break
		}
	}
	if unclear {
		g.cached.Delete(id) // others have to see the trace
	}
	g.leases.release(ctx, grantKey(id), lease, unclear, nil)
	return nil, failed
}

// refused goes on after Smartcar called the refresh token void, which is final
// only if there is no spare one, and nobody else has traded the token that was
// sent.
func (g *Grants) refused(ctx context.Context, id string, sent grantRecord, lease string, cause error) (*cachedGrant, error) {
	spare, ok, err := g.useSpare(ctx, id, sent)
	switch {
	case err != nil:
		return nil, err // there may be another refresh token: the end is not certain
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
		return nil, err // whether somebody has traded it cannot be told
	}
	return nil, cause
}
