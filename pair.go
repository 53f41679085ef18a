package smartcar

import (
	"context"
	"errors"
	"time"

	"github.com/seed-498a1bc4/smartcar/internal/contexts"
	"github.com/seed-498a1bc4/smartcar/internal/records"
	"golang.org/x/oauth2"
)

// newPair is what a refresh token was traded for, not stored yet.
type newPair struct {
	token    *oauth2.Token
	used     string // the refresh token it replaces
	userID   string // whose; empty until the grant is linked
	obtained time.Time
}

// storePair stores the new pair before anybody uses it. It exists nowhere else,
// so that a store which is away for a moment is waited for, and after that the
// pair is kept in memory. If another replica stored a pair for the same refresh
// token meanwhile, Smartcar honors the one that it gave last. Which that is no
// clock of ours can tell: both are kept until one of them has worked.
func (k *tokenKeeper) storePair(ctx context.Context, grant string, pair newPair) (*cachedGrant, error) {
	ctx, cancel := contexts.Detached(ctx)
	defer cancel()
	patience, cancelPatience := context.WithTimeout(ctx, min(k.core.opts.refreshLease(), contexts.DetachedTime/2))
	defer cancelPatience()
	r, err := k.putPair(ctx, grant, pair)
	for errors.Is(err, ErrStore) && k.core.opts.clock.Sleep(patience, k.core.opts.refreshPoll()) == nil {
		r, err = k.putPair(ctx, grant, pair)
	}
	if err != nil && !errors.Is(err, ErrReconnectRequired) {
		k.unstored.Store(grant, pair)
		return nil, err
	}
	k.unstored.Delete(grant)
	if err != nil {
		r, err = k.revive(ctx, grant, pair)
	}
	if err != nil {
		return nil, err
	}
	return k.keep(grant, r), nil
}

// revive files a pair whose grant is gone. Another replica, which was told that
// the used refresh token is void before it could see this pair, has ended it;
// only if the user is gone, too, nothing may be kept.
func (k *tokenKeeper) revive(ctx context.Context, grant string, pair newPair) (grantRecord, error) {
	if _, err := k.core.accounts.stored(ctx, pair.userID); err != nil {
		return grantRecord{}, endedError()
	}
	record := grantRecord{UserID: pair.userID}
	record.setPair(pair.token, pair.obtained)
	if err := k.storeGrant(ctx, grant, record); err != nil {
		return grantRecord{}, err
	}
	err := k.core.users.AddGrant(ctx, pair.userID, grant, pair.obtained)
	if errors.Is(err, ErrNotConnected) { // forgotten meanwhile
		return grantRecord{}, errors.Join(endedError(), k.forgetGrant(ctx, grant))
	}
	return record, err
}

// reviveOf stores the pairs of a user's grants that could not be stored before.
func (k *tokenKeeper) reviveOf(ctx context.Context, userID string) (revived bool) {
	k.unstored.Range(func(grant, unstored any) bool {
		if pair, ok := unstored.(newPair); ok && pair.userID == userID {
			_, err := k.storePair(ctx, grant.(string), pair)
			revived = revived || err == nil
		}
		return true
	})
	return revived
}

func (k *tokenKeeper) putPair(ctx context.Context, grant string, pair newPair) (grantRecord, error) {
	return records.Change(ctx, k.records, grantKey(grant), refreshTokenLife, func(r *grantRecord, found bool, _ time.Time) error {
		switch {
		case !found:
			return endedError() // forgotten meanwhile: nothing may be kept
		case r.RefreshToken != pair.used:
			r.Spare = pair.token.RefreshToken
			return nil
		}
		r.setPair(pair.token, pair.obtained)
		return nil
	})
}

// useSpare puts the spare refresh token in the place of one that was refused.
func (k *tokenKeeper) useSpare(ctx context.Context, grant string, refused grantRecord) (spare grantRecord, ok bool, err error) {
	ctx, cancel := contexts.Detached(ctx)
	defer cancel()
	r, err := records.Change(ctx, k.records, grantKey(grant), refreshTokenLife, func(r *grantRecord, found bool, now time.Time) error {
		if !found || r.RefreshToken != refused.RefreshToken || r.Spare == "" {
			return records.ErrUnchanged
		}
		r.RefreshToken, r.Spare, r.LeaseUntil = r.Spare, "", now.Add(k.core.opts.refreshLease())
		return nil
	})
	return r, err == nil && r.RefreshToken != refused.RefreshToken && r.LeaseID == refused.LeaseID, err
}

func (r *grantRecord) setPair(token *oauth2.Token, now time.Time) {
	r.AccessToken, r.RefreshToken = token.AccessToken, token.RefreshToken
	r.ObtainedAt, r.Expires = now, now.Add(accessTokenLife(token))
	r.LeaseID, r.LeaseUntil, r.Spare = "", time.Time{}, ""
}

// accessTokenLife uses the number of seconds that was sent, not x/oauth2's
// reading of the computer's clock.
func accessTokenLife(token *oauth2.Token) time.Duration {
	if token.ExpiresIn > 0 && token.ExpiresIn < 1<<31 {
		return time.Duration(token.ExpiresIn) * time.Second
	}
	return 2 * time.Hour
}
