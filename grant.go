package smartcar

import (
	"context"
	"errors"
	"time"

	"github.com/seed-498a1bc4/smartcar/internal/randid"
	"github.com/seed-498a1bc4/smartcar/internal/records"
	"github.com/seed-498a1bc4/smartcar/internal/users"
	"github.com/seed-498a1bc4/smartcar/store"
	"golang.org/x/oauth2"
)

// A Grant is the result of one run of Connect. Its tokens are in the store and
// nowhere else.
type Grant struct {
	// UserID is the owner's id as Smartcar's API confirmed it, not as the
	// browser claimed it. Keep it: [Client.User] takes it.
	UserID string
	// ExternalID is your own id for the owner, from [ConnectOptions]: taken
	// from the signed cookie, not from the browser's address bar.
	ExternalID string
	// VehicleID is set after a re-authentication, which brings no new tokens.
	VehicleID string
	// VirtualKeyURL is where the owner adds the virtual key, if one of the
	// cars needs it. Show it as a link on a phone or a QR code elsewhere.
	VirtualKeyURL VirtualKeyURL
	// VirtualKeyErr is why a link that came along was refused: a hostile link
	// never costs the grant.
	VirtualKeyErr error
}

// pendingGrant is what a grant waits with for its user.
type pendingGrant struct {
	ExternalID    string `json:"external_id,omitempty"`
	VirtualKeyURL string `json:"virtual_key_url,omitempty"`
	// Of API v3: whom the browser named, and what confirms it.
	ClaimedUser string      `json:"claimed_user,omitempty"`
	ProofID     string      `json:"proof_id,omitempty"`
	Mode        ConnectMode `json:"mode,omitempty"`
}

// A PendingGrantError says that Connect succeeded, but whose run it was is not
// known yet: Smartcar could not be asked, or, on API v3, does not confirm the
// user whom the browser named. The tokens of v2.0 are kept, in this process's
// memory if the store would not take them yet. Nothing is lost: call
// [Connect.Resume] with GrantID later.
type PendingGrantError struct {
	GrantID string
	Err     error
}

func (e *PendingGrantError) Error() string {
	return "smartcar: the grant is stored but not yet linked to its user; call Resume: " + e.Err.Error()
}

// Unwrap returns why the user could not be asked for.
func (e *PendingGrantError) Unwrap() error { return e.Err }

func (p pendingGrant) arrival() users.Arrival {
	return users.Arrival{VirtualKeyURL: p.VirtualKeyURL, ExternalID: p.ExternalID}
}

// admit stores a new pair, then links it to its user.
func (k *tokenKeeper) admit(ctx context.Context, token *oauth2.Token, pending pendingGrant) (userID string, err error) {
	record := grantRecord{Pending: &pending}
	record.setPair(token, k.core.opts.now())
	return k.file(ctx, record)
}

// adopt stores a pair that was obtained elsewhere.
func (k *tokenKeeper) adopt(ctx context.Context, t Tokens) (userID string, err error) {
	issued := t.IssuedAt
	if issued.IsZero() {
		issued = k.core.opts.now()
	}
	return k.file(ctx, grantRecord{
		AccessToken: t.AccessToken, RefreshToken: t.RefreshToken,
		Expires: t.Expires, ObtainedAt: issued, Pending: &pendingGrant{},
	})
}

// minPause lets the doubling pauses end of a [RetryPolicy] that has none.
const minPause = 10 * time.Millisecond

// file stores the record of a new grant before anything is done with it. A
// store that is away for a moment must not cost a code that is spent.
func (k *tokenKeeper) file(ctx context.Context, record grantRecord) (userID string, err error) {
	id := randid.Text()
	for pause := max(k.core.opts.retry.BaseDelay, minPause); ; pause *= 2 {
		err = k.storeGrant(ctx, id, record)
		if !errors.Is(err, ErrStore) || pause > k.core.opts.retry.MaxDelay || k.core.opts.clock.Sleep(ctx, pause) != nil {
			break
		}
	}
	if err == nil {
		_, userID, err = k.resume(ctx, id)
	}
	switch {
	case errors.Is(err, ErrReconnectRequired):
		return "", err // worth nothing, and gone already
	case err != nil:
		return "", &PendingGrantError{GrantID: id, Err: err}
	}
	return userID, nil
}

// storeGrant keeps a new grant in memory while the store will not take it.
func (k *tokenKeeper) storeGrant(ctx context.Context, id string, record grantRecord) error {
	_, err := records.Change(ctx, k.records, grantKey(id), refreshTokenLife, func(r *grantRecord, _ bool, _ time.Time) error {
		*r = record
		return nil
	})
	if err != nil {
		k.unstored.Store(id, record)
		return err
	}
	k.unstored.Delete(id)
	return nil
}

// resume links a pending grant to its user; one that is linked stays so.
func (k *tokenKeeper) resume(ctx context.Context, grant string) (pendingGrant, string, error) {
	if unstored, ok := k.unstored.Load(grant); ok {
		if record, isNew := unstored.(grantRecord); isNew {
			if err := k.storeGrant(ctx, grant, record); err != nil {
				return pendingGrant{}, "", err
			}
		}
	}
	record, err := records.Read[grantRecord](ctx, k.records, grantKey(grant))
	switch {
	case errors.Is(err, store.ErrNotFound):
		return pendingGrant{}, "", endedError()
	case err != nil:
		return pendingGrant{}, "", err
	case record.Pending == nil:
		return pendingGrant{}, record.UserID, nil
	}
	userID, err := k.core.accounts.link(ctx, grant, *record.Pending)
	return *record.Pending, userID, err
}

// pending returns what a grant of API v3 waits with.
func (k *tokenKeeper) pending(ctx context.Context, grant string) (pendingGrant, error) {
	if unstored, ok := k.unstored.Load(grant); ok {
		if record, isNew := unstored.(grantRecord); isNew && record.Pending != nil {
			return *record.Pending, nil
		}
	}
	record, err := records.Read[grantRecord](ctx, k.records, grantKey(grant))
	switch {
	case err != nil && !errors.Is(err, store.ErrNotFound):
		return pendingGrant{}, err
	case err != nil || record.Pending == nil || record.Pending.ClaimedUser == "":
		return pendingGrant{}, endedError()
	}
	return *record.Pending, nil
}

// linked notes whose a grant is.
func (k *tokenKeeper) linked(ctx context.Context, grant, userID string) error {
	_, err := records.Change(ctx, k.records, grantKey(grant), refreshTokenLife, func(r *grantRecord, found bool, _ time.Time) error {
		if !found {
			return endedError()
		}
		r.UserID, r.Pending = userID, nil
		return nil
	})
	return err
}

func (k *tokenKeeper) forgetGrant(ctx context.Context, grant string) error {
	k.unstored.Delete(grant)
	k.cached.Delete(grant)
	return k.records.Remove(ctx, grantKey(grant))
}
