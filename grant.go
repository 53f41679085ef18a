package smartcar

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/seed-498a1bc4/smartcar/internal/lenient"
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
	text := "smartcar: the grant is stored but not yet linked to its user; call Resume"
	if e.Err == nil {
		return text
	}
	return text + ": " + e.Err.Error()
}

// Unwrap returns why the user could not be asked for.
func (e *PendingGrantError) Unwrap() error { return e.Err }

// admit stores a new pair, then links it to its user.
func (k *tokenKeeper) admit(ctx context.Context, token *oauth2.Token, pending pendingGrant) (userID string, err error) {
	record := grantRecord{Pending: &pending}
	record.setPair(token, k.core.now())
	return k.file(ctx, record)
}

// adopt stores a pair that was obtained elsewhere.
func (k *tokenKeeper) adopt(ctx context.Context, t Tokens) (userID string, err error) {
	issued := t.IssuedAt
	if issued.IsZero() {
		issued = k.core.now()
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
	id := newState()
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
	_, err := changeJSON(ctx, k.records, grantKey(id), refreshTokenLife, func(r *grantRecord, _ bool, _ time.Time) error {
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
	record, err := loadJSON[grantRecord](ctx, k.records, grantKey(grant))
	switch {
	case errors.Is(err, store.ErrNotFound):
		return pendingGrant{}, "", endedError()
	case err != nil:
		return pendingGrant{}, "", err
	case record.Pending == nil:
		return pendingGrant{}, record.UserID, nil
	}
	userID, err := k.link(ctx, grant, *record.Pending)
	return *record.Pending, userID, err
}

// pending returns what a grant of API v3 waits with.
func (k *tokenKeeper) pending(ctx context.Context, grant string) (pendingGrant, error) {
	if unstored, ok := k.unstored.Load(grant); ok {
		if record, isNew := unstored.(grantRecord); isNew && record.Pending != nil {
			return *record.Pending, nil
		}
	}
	record, err := loadJSON[grantRecord](ctx, k.records, grantKey(grant))
	switch {
	case err != nil && !errors.Is(err, store.ErrNotFound):
		return pendingGrant{}, err
	case err != nil || record.Pending == nil || record.Pending.ClaimedUser == "":
		return pendingGrant{}, endedError()
	}
	return *record.Pending, nil
}

// link asks whose the tokens of a pending grant are and files it there.
func (k *tokenKeeper) link(ctx context.Context, grant string, pending pendingGrant) (string, error) {
	user, err := getJSON[struct {
		ID lenient.String `json:"id"`
	}](ctx, k.core, opUser, grantCredential{keeper: k, grant: grant}, "/user", nil)
	if err != nil {
		return "", err
	}
	userID := string(user.ID)
	if err := validateID("user id", userID); err != nil {
		return "", &Error{Operation: opUser, StatusCode: 200, Description: "the answer holds no usable user id"}
	}
	// The user first: a grant that is filed twice is filed once.
	err = k.welcome(ctx, userID, func(u *userRecord) {
		if u.find(grant) == nil {
			u.Grants = append(u.Grants, grantEntry{ID: grant, ConnectedAt: k.core.now()})
		}
		u.note(pending)
	})
	if err != nil {
		return "", err
	}
	_, err = changeJSON(ctx, k.records, grantKey(grant), refreshTokenLife, func(r *grantRecord, found bool, _ time.Time) error {
		if !found {
			return endedError()
		}
		r.UserID, r.Pending = userID, nil
		return nil
	})
	if err == nil {
		k.core.gate.accessChanged(ctx, k.core.user(userID))
	}
	return userID, err
}

// userRecord is what is stored of a user.
type userRecord struct {
	Grants        []grantEntry `json:"grants"` // oldest first
	VirtualKeyURL string       `json:"virtual_key_url,omitempty"`
	ExternalID    string       `json:"external_id,omitempty"`
	// Cars are those the policy has a record of because of this user.
	Cars []string `json:"cars,omitempty"`
	// Forgotten users are being removed; see User.Forget.
	Forgotten bool `json:"forgotten,omitempty"`
}

type grantEntry struct {
	ID          string    `json:"id"`
	ConnectedAt time.Time `json:"connected_at"`
	Vehicles    []string  `json:"vehicles,omitempty"` // as listed last
}

func (r *userRecord) find(grant string) *grantEntry {
	for i := range r.Grants {
		if r.Grants[i].ID == grant {
			return &r.Grants[i]
		}
	}
	return nil
}

// note files what came with a run of Connect.
func (r *userRecord) note(p pendingGrant) {
	if p.VirtualKeyURL != "" {
		r.VirtualKeyURL = p.VirtualKeyURL
	}
	if p.ExternalID != "" {
		r.ExternalID = p.ExternalID
	}
}

// welcome files what a run of Connect brought, never under a user who is being
// forgotten: it would be forgotten with them.
func (k *tokenKeeper) welcome(ctx context.Context, userID string, file func(*userRecord)) error {
	for {
		if err := k.finishForgetting(ctx, userID); err != nil {
			return err
		}
		forgotten := false
		err := k.changeUser(ctx, userID, func(u *userRecord) bool {
			if forgotten = u.Forgotten; !forgotten {
				file(u)
			}
			return !forgotten
		})
		if err != nil || !forgotten {
			return err
		}
	}
}

// finishForgetting ends a Forget that was cut off, before the user is known again.
func (k *tokenKeeper) finishForgetting(ctx context.Context, userID string) error {
	if old, err := k.anyUser(ctx, userID); err == nil && old.Forgotten {
		return k.core.user(userID).Forget(ctx)
	}
	return nil // what else is wrong shows at the next step
}

func (r *userRecord) newestFirst() []grantEntry {
	out := slices.Clone(r.Grants)
	slices.Reverse(out)
	return out
}

func userKey(id string) string { return "user/" + id }

// cachedUser spares the store a load for each request; userCacheTime bounds
// how long a grant added by another replica goes unseen.
type cachedUser struct {
	record *userRecord
	at     time.Time
}

const userCacheTime = time.Minute

// storedUser returns ErrNotConnected for a user nothing is stored about.
func (k *tokenKeeper) storedUser(ctx context.Context, userID string) (*userRecord, error) {
	r, err := k.anyUser(ctx, userID)
	if err == nil && r.Forgotten {
		k.users.Delete(userID)
		return nil, ErrNotConnected
	}
	return r, err
}

// anyUser is storedUser, users who are being forgotten included.
func (k *tokenKeeper) anyUser(ctx context.Context, userID string) (*userRecord, error) {
	if err := errors.Join(checkContext(ctx), validateID("user id", userID)); err != nil {
		return nil, err
	}
	r, err := loadJSON[userRecord](ctx, k.records, userKey(userID))
	if errors.Is(err, store.ErrNotFound) {
		k.users.Delete(userID)
		return nil, ErrNotConnected
	}
	if err != nil {
		return nil, err
	}
	k.users.Put(userID, cachedUser{&r, k.core.now()})
	return &r, nil
}

// loadUser is storedUser for what needs a grant: it returns
// ErrReconnectRequired for a user whose grants have all ended.
func (k *tokenKeeper) loadUser(ctx context.Context, userID string) (*userRecord, error) {
	r, err := k.storedUser(ctx, userID)
	if err == nil && len(r.Grants) == 0 && k.reviveOf(ctx, userID) {
		r, err = k.storedUser(ctx, userID)
	}
	if err == nil && len(r.Grants) == 0 {
		return nil, endedError()
	}
	return r, err
}

// knownUser is loadUser without a round trip for what was loaded recently, or
// while the store is away.
func (k *tokenKeeper) knownUser(ctx context.Context, userID string) (*userRecord, error) {
	c, ok := k.users.Get(userID)
	ok = ok && len(c.record.Grants) > 0 && !c.record.Forgotten
	if ok && k.core.now().Sub(c.at) < userCacheTime {
		return c.record, nil
	}
	r, err := k.loadUser(ctx, userID)
	if ok && errors.Is(err, ErrStore) {
		return c.record, nil
	}
	return r, err
}

// changeUser edits the stored user; change returns false to leave it alone.
func (k *tokenKeeper) changeUser(ctx context.Context, userID string, change func(*userRecord) bool) error {
	r, err := changeJSON(ctx, k.records, userKey(userID), 0, func(r *userRecord, _ bool, _ time.Time) error {
		if !change(r) {
			return errUnchanged
		}
		return nil
	})
	if err == nil {
		k.users.Put(userID, cachedUser{&r, k.core.now()})
	}
	return err
}

// rewriteUser stores what is stored already if the store asks for it; a user who
// is gone stays gone.
func (k *tokenKeeper) rewriteUser(ctx context.Context, userID string) error {
	record, err := k.records.load(ctx, userKey(userID))
	if errors.Is(err, store.ErrNotFound) || err == nil && !record.Outdated {
		return nil
	}
	_, err = changeJSON(ctx, k.records, userKey(userID), 0, func(u *userRecord, found bool, _ time.Time) error {
		if !found || u.Forgotten {
			return errUnchanged
		}
		return nil
	})
	return err
}

// noteVehicles remembers what a grant listed. It only saves work later, so a
// store that fails is no reason to fail.
func (k *tokenKeeper) noteVehicles(ctx context.Context, userID, grant string, vehicles []string) {
	_ = k.changeUser(ctx, userID, func(u *userRecord) bool {
		g := u.find(grant)
		if g == nil || slices.Equal(g.Vehicles, vehicles) {
			return false
		}
		g.Vehicles = vehicles
		return true
	})
}

// noteCar remembers that the policy has a record of a car because of this
// user, so that Forget finds it. It returns false if the user is not known. On
// API v3 nobody needs to be stored to be asked about: there isNew makes the user
// known, unless they are being forgotten.
func (k *tokenKeeper) noteCar(ctx context.Context, userID, vehicleID string, isNew bool) (known bool) {
	if c, ok := k.users.Get(userID); ok && !c.record.Forgotten && k.core.now().Sub(c.at) < userCacheTime && slices.Contains(c.record.Cars, vehicleID) {
		return true
	}
	return k.noteCarNow(ctx, userID, vehicleID, isNew)
}

// noteCarNow is noteCar by what is stored, and not by what was a moment ago.
func (k *tokenKeeper) noteCarNow(ctx context.Context, userID, vehicleID string, isNew bool) (known bool) {
	u, err := changeJSON(ctx, k.records, userKey(userID), 0, func(u *userRecord, found bool, _ time.Time) error {
		known = (found || isNew && k.core.opts.api == V3) && !u.Forgotten
		if !known || slices.Contains(u.Cars, vehicleID) {
			return errUnchanged
		}
		u.Cars = append(u.Cars, vehicleID)
		return nil
	})
	switch {
	case err == nil && known:
		k.users.Put(userID, cachedUser{&u, k.core.now()})
	case err == nil:
		k.users.Delete(userID)
	}
	return known || err != nil
}

// forgetCar undoes noteCar.
func (k *tokenKeeper) forgetCar(ctx context.Context, userID, vehicleID string) error {
	return k.changeUser(ctx, userID, func(u *userRecord) bool {
		if u.Forgotten || !slices.Contains(u.Cars, vehicleID) {
			return false
		}
		u.Cars = slices.DeleteFunc(slices.Clone(u.Cars), func(id string) bool { return id == vehicleID })
		return true
	})
}

func (k *tokenKeeper) forgetVehicle(ctx context.Context, userID, vehicleID string) error {
	return k.changeUser(ctx, userID, func(u *userRecord) bool {
		changed := false
		for i := range u.Grants {
			before := len(u.Grants[i].Vehicles)
			u.Grants[i].Vehicles = slices.DeleteFunc(slices.Clone(u.Grants[i].Vehicles), func(id string) bool { return id == vehicleID })
			changed = changed || len(u.Grants[i].Vehicles) != before
		}
		return changed
	})
}

// end takes a grant that Smartcar no longer honors out of use, with the
// answers it was told. The user stays known, so that the link can be shown.
func (k *tokenKeeper) end(ctx context.Context, grant, userID string) error {
	if userID != "" {
		var reached []string
		err := k.changeUser(ctx, userID, func(u *userRecord) bool {
			g := u.find(grant)
			if g == nil {
				return false
			}
			reached = g.Vehicles
			u.Grants = slices.DeleteFunc(slices.Clone(u.Grants), func(e grantEntry) bool { return e.ID == grant })
			return true
		})
		for _, id := range reached {
			err = errors.Join(err, k.core.answers.dropScope(ctx, id, grant))
		}
		if err != nil {
			return err
		}
	}
	return k.forgetGrant(ctx, grant)
}

// markForgotten returns what is stored about the user, to which nothing is added
// from then on.
func (k *tokenKeeper) markForgotten(ctx context.Context, userID string) (marked userRecord, err error) {
	err = k.changeUser(ctx, userID, func(u *userRecord) bool {
		u.Forgotten = true
		marked = *u
		return true
	})
	return marked, err
}

func (k *tokenKeeper) forgetGrant(ctx context.Context, grant string) error {
	k.unstored.Delete(grant)
	k.cached.Delete(grant)
	return k.records.remove(ctx, grantKey(grant))
}

func (k *tokenKeeper) forgetUser(ctx context.Context, userID string) error {
	for {
		record, err := k.records.load(ctx, userKey(userID))
		k.users.Delete(userID)
		if errors.Is(err, store.ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		if u, err := decodeRecord[userRecord](record.Value); err != nil || !u.Forgotten {
			return err // without one they have come back meanwhile
		}
		if err = k.records.store.Delete(ctx, userKey(userID), record.Revision); !errors.Is(err, store.ErrConflict) {
			return storeError(ctx, err)
		}
	}
}
