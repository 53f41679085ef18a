package tokens

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/seed-498a1bc4/smartcar/internal/contexts"
	"github.com/seed-498a1bc4/smartcar/internal/records"
	"github.com/seed-498a1bc4/smartcar/internal/users"
)

// newPair is a pair that came for a refresh token, and is not stored yet.
type newPair struct {
	Pair
	used   string // the refresh token it replaces
	lease  string // the id of the lease it was asked for under
	userID string // whose; empty until the grant is linked
	filing bool   // it was revived, and may have to be filed with the user still
}

// unstored are the pairs and grants that the store would not take yet, by the id of
// the grant. This process has the only copy.
type unstored struct {
	mu     sync.Mutex
	pairs  map[string]newPair
	grants map[string]grantRecord // new ones
}

func (u *unstored) putPair(id string, p newPair) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.pairs == nil {
		u.pairs = make(map[string]newPair)
	}
	u.pairs[id] = p
}

func (u *unstored) putGrant(id string, r grantRecord) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.grants == nil {
		u.grants = make(map[string]grantRecord)
	}
	u.grants[id] = r
}

func (u *unstored) pair(id string) (newPair, bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	p, ok := u.pairs[id]
	return p, ok
}

func (u *unstored) grant(id string) (grantRecord, bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	r, ok := u.grants[id]
	return r, ok
}

func (u *unstored) pairsOf(userID string) map[string]newPair {
	u.mu.Lock()
	defer u.mu.Unlock()
	found := make(map[string]newPair)
	for id, p := range u.pairs {
		if p.userID == userID {
			found[id] = p
		}
	}
	return found
}

func (u *unstored) drop(id string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.pairs, id)
	delete(u.grants, id)
}

// storePair stores the new pair before anybody uses it. This process has the only
// copy: if the store is away for a moment, storePair waits; if it is away for
// longer, the pair is kept in memory. Held, which may be nil, is the grant as it is known
// here.
func (g *Grants) storePair(ctx context.Context, id string, pair newPair, held *heldGrant) (*cachedGrant, error) {
	ctx, cancel := contexts.Detached(ctx)
	defer cancel()
	patience, cancelPatience := context.WithTimeout(ctx, min(g.timing.Lease, contexts.DetachedTime/2))
	defer cancelPatience()
	r, err := g.putPair(ctx, id, pair, held)
	for errors.Is(err, records.ErrStore) && g.clock.Sleep(patience, g.timing.Poll) == nil {
		r, err = g.putPair(ctx, id, pair, nil)
	}
	switch {
	case errors.Is(err, ErrEnded):
		pair.filing = true
		r, err = g.revive(ctx, id, pair)
	case err == nil && pair.filing:
		err = g.file(ctx, id, pair)
	}
	switch {
	case err != nil && !errors.Is(err, ErrEnded):
		g.unstored.putPair(id, pair)
		return nil, err
	case err != nil:
		g.unstored.drop(id)
		return nil, err
	}
	g.unstored.drop(id)
	return g.cache(id, r), nil
}

// putPair replaces the refresh token that was traded. If another process has
// replaced it meanwhile, there are two pairs, and only the one that Smartcar gave
// last works. Nobody can tell which one that is, so the second refresh token is kept
// as the spare one until one of the two has worked.
//
// If another process has taken the lease over and not stored a pair yet, it may have
// sent the same refresh token: see step 10 of lease.
//
// A server may answer with a new access token and leave the refresh token as it is
// (RFC 6749, section 6): such a pair replaces the one of the same refresh token.
func (g *Grants) putPair(ctx context.Context, id string, pair newPair, held *heldGrant) (heldGrant, error) {
	return records.ChangeHeld(ctx, g.records, grantKey(id), grantTTL, held, func(r *grantRecord, found bool, _ time.Time) error {
		switch {
		case !found:
			return ErrEnded // forgotten meanwhile: nothing may be kept
		case r.RefreshToken == pair.RefreshToken && pair.RefreshToken != pair.used:
			return records.ErrUnchanged // revived before
		case r.RefreshToken != pair.used:
			r.Spare = pair.RefreshToken
			return nil
		}
		in := r.lease
		r.setPair(pair.Pair)
		if in.LeaseID != "" && in.LeaseID != pair.lease {
			r.lease, r.Spare = in, pair.used
		}
		return nil
	})
}

// revive files a pair whose grant is gone from the store:
//
//  1. This process trades the refresh token, and cannot store the new pair.
//  2. Another process sends the same refresh token after the grace. Smartcar calls it
//     void, and that process ends the grant.
//  3. This process can store again, and has the pair that works.
//
// If the user is gone, too, Forget has removed the grant, and nothing may be kept.
func (g *Grants) revive(ctx context.Context, id string, pair newPair) (heldGrant, error) {
	if _, err := g.users.Connected(ctx, pair.userID); errors.Is(err, users.ErrNotConnected) {
		return heldGrant{}, ErrEnded
	} else if err != nil {
		return heldGrant{}, err
	}
	record := grantRecord{UserID: pair.userID}
	record.setPair(pair.Pair)
	held, err := g.putGrant(ctx, id, record)
	if err != nil {
		return heldGrant{}, err
	}
	return held, g.file(ctx, id, pair)
}

// file files the grant of a revived pair with its user again.
func (g *Grants) file(ctx context.Context, id string, pair newPair) error {
	err := g.users.AddGrant(ctx, pair.userID, id, pair.Obtained)
	if errors.Is(err, users.ErrNotConnected) { // forgotten meanwhile
		return errors.Join(ErrEnded, g.records.Remove(ctx, grantKey(id)))
	}
	return err
}

// Revive stores the pairs of a user that could not be stored before, and reports
// whether it has stored any.
func (g *Grants) Revive(ctx context.Context, userID string) (revived bool) {
	for id, pair := range g.unstored.pairsOf(userID) {
		_, err := g.storePair(ctx, id, pair, nil)
		revived = revived || err == nil
	}
	return revived
}

// useSpare puts the spare refresh token in the place of one that was refused.
func (g *Grants) useSpare(ctx context.Context, id string, refused grantRecord) (spare heldGrant, ok bool, err error) {
	ctx, cancel := contexts.Detached(ctx)
	defer cancel()
	held, err := records.ChangeHeld(ctx, g.records, grantKey(id), grantTTL, nil, func(r *grantRecord, found bool, now time.Time) error {
		if !found || r.RefreshToken != refused.RefreshToken || r.Spare == "" {
			return records.ErrUnchanged
		}
		r.RefreshToken, r.Spare, r.LeaseUntil = r.Spare, "", now.Add(g.timing.Lease)
		return nil
	})
	r := &held.Value
	return held, err == nil && r.RefreshToken != refused.RefreshToken && r.LeaseID == refused.LeaseID, err
}
