package smartcar

import (
	"context"
	"errors"
	"time"

	"golang.org/x/oauth2"
)

// newPair is what a refresh token was traded for, not stored yet.
type newPair struct {
	token    *oauth2.Token
	used     string // the refresh token it replaces
	obtained time.Time
}

// storePair stores the new pair before anybody uses it. It exists nowhere else,
// so that a store which is away for a moment is waited for, and after that the
// pair is kept in memory. If another replica stored a pair for the same refresh
// token meanwhile, Smartcar honors the one that it gave last. Which that is no
// clock of ours can tell: both are kept until one of them has worked.
func (k *tokenKeeper) storePair(ctx context.Context, grant string, pair newPair) (*cachedGrant, error) {
	ctx, cancel := detached(ctx)
	defer cancel()
	patience, cancelPatience := context.WithTimeout(ctx, min(k.core.opts.refreshLease(), settleTime/2))
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
		return nil, err
	}
	return k.keep(grant, r), nil
}

func (k *tokenKeeper) putPair(ctx context.Context, grant string, pair newPair) (grantRecord, error) {
	return changeJSON(ctx, k.records, grantKey(grant), refreshTokenLife, func(r *grantRecord, found bool, _ time.Time) error {
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
	ctx, cancel := detached(ctx)
	defer cancel()
	r, err := changeJSON(ctx, k.records, grantKey(grant), refreshTokenLife, func(r *grantRecord, found bool, now time.Time) error {
		if !found || r.RefreshToken != refused.RefreshToken || r.Spare == "" {
			return errUnchanged
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
