package tokens

import (
	"context"
	"errors"
	"time"

	"github.com/seed-498a1bc4/smartcar/internal/randid"
	"github.com/seed-498a1bc4/smartcar/internal/records"
	"github.com/seed-498a1bc4/smartcar/store"
)

// Pending is what Connect brought beside the tokens. It is stored with a grant until
// the grant is linked to its user.
type Pending struct {
	ExternalID    string `json:"external_id,omitempty"`
	VirtualKeyURL string `json:"virtual_key_url,omitempty"`
	// Of API v3: the user whom the browser named, and the external id that confirms it.
	ClaimedUser string `json:"claimed_user,omitempty"`
	ProofID     string `json:"proof_id,omitempty"`
	Mode        string `json:"mode,omitempty"`
}

// minPause is the first pause of a client that has none configured: doubling zero
// would never end.
const minPause = 10 * time.Millisecond

// Add stores a new grant before anything is done with it. The code that it came for
// is spent, so Add waits for a store that is away for a moment. If the store is away
// for longer, the grant is kept in memory and Add returns the store's error. Either
// way the grant has the id.
func (g *Grants) Add(ctx context.Context, pair Pair, pending Pending) (id string, err error) {
	record := grantRecord{Pending: &pending}
	record.setPair(pair)
	id = randid.Text()
	for pause := max(g.timing.StorePause, minPause); ; pause *= 2 {
		err = g.storeGrant(ctx, id, record)
		if !errors.Is(err, records.ErrStore) || pause > g.timing.StorePauseMax || g.clock.Sleep(ctx, pause) != nil {
			return id, err
		}
	}
}

// AddPending is Add for a run of Connect on API v3, which brings no tokens. It
// does not wait for the store.
func (g *Grants) AddPending(ctx context.Context, pending Pending) (id string, err error) {
	id = randid.Text()
	return id, g.storeGrant(ctx, id, grantRecord{Pending: &pending})
}

// storeGrant keeps a new grant in memory while the store will not take it.
func (g *Grants) storeGrant(ctx context.Context, id string, record grantRecord) error {
	if _, err := g.putGrant(ctx, id, record); err != nil {
		g.unstored.putGrant(id, record)
		return err
	}
	g.unstored.drop(id)
	return nil
}

func (g *Grants) putGrant(ctx context.Context, id string, record grantRecord) (heldGrant, error) {
	ttl := time.Duration(grantTTL)
	if record.Pending != nil {
		ttl = pendingTTL
	}
	return records.ChangeHeld(ctx, g.records, grantKey(id), ttl, nil, func(r *grantRecord, _ bool, _ time.Time) error {
		*r = record
		return nil
	})
}

// Store stores a grant that Add could only keep in memory.
func (g *Grants) Store(ctx context.Context, id string) error {
	if record, ok := g.unstored.grant(id); ok {
		return g.storeGrant(ctx, id, record)
	}
	return nil
}

// Pending returns what is stored with a grant that is not linked yet, or the user of
// one that is. If there is no such grant, it returns [ErrEnded].
func (g *Grants) Pending(ctx context.Context, id string) (p Pending, userID string, err error) {
	record, ok := g.unstored.grant(id)
	if !ok {
		record, err = records.Read[grantRecord](ctx, g.records, grantKey(id))
	}
	switch {
	case errors.Is(err, store.ErrNotFound):
		return Pending{}, "", ErrEnded
	case err != nil:
		return Pending{}, "", err
	case record.Pending == nil:
		return Pending{}, record.UserID, nil
	}
	return *record.Pending, "", nil
}

// Link stores the user of a pending grant.
func (g *Grants) Link(ctx context.Context, id, userID string) error {
	_, err := records.Change(ctx, g.records, grantKey(id), grantTTL, func(r *grantRecord, found bool, _ time.Time) error {
		if !found {
			return ErrEnded
		}
		r.UserID, r.Pending = userID, nil
		return nil
	})
	return err
}
