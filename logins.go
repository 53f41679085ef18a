package smartcar

import (
	"context"
	"errors"

	"github.com/seed-498a1bc4/smartcar/internal/contexts"
	"github.com/seed-498a1bc4/smartcar/internal/tokens"
	"github.com/seed-498a1bc4/smartcar/internal/users"
)

// logins are the grants of users, with what ends together with a grant.
type logins struct {
	grants  *tokens.Grants
	users   *users.Users
	answers *answerCache
}

func endedError() error {
	return &Error{Operation: opRefresh, Code: "invalid_grant", Description: "the grant has ended; send the owner through Connect again"}
}

// failed turns an error of a grant's tokens into one of ours, and takes a grant
// that has ended out of use, so that the next request uses another one.
func (l *logins) failed(ctx context.Context, grant, userID string, err error) error {
	switch {
	case errors.Is(err, tokens.ErrTaken):
		return &Error{Operation: opRefresh, reach: reachedNever, Err: err}
	case err == tokens.ErrEnded: //nolint:errorlint // joined with another error, that one is shown, too
		err = endedError()
	case errors.Is(err, tokens.ErrEnded):
		err = errors.Join(endedError(), err)
	}
	if !errors.Is(err, ErrReconnectRequired) {
		return err
	}
	detached, cancel := contexts.Detached(ctx)
	defer cancel()
	return errors.Join(err, l.end(detached, grant, userID))
}

// end takes a grant that Smartcar no longer honors out of use, with the
// answers it was told. The user stays known, so that the link can be shown.
// The answers go first: cut off in between, the grant is still there to be
// ended again.
func (l *logins) end(ctx context.Context, grant, userID string) error {
	if userID == "" {
		return l.grants.Forget(ctx, grant)
	}
	user, err := l.users.Stored(ctx, userID)
	if err == nil && user.Has(grant) {
		cars, carsErr := l.users.Cars(ctx, userID, user)
		err = carsErr
		for _, car := range cars {
			err = errors.Join(err, l.answers.dropScope(ctx, car.ID, grant))
		}
		if err == nil {
			err = l.users.RemoveGrant(ctx, userID, grant)
		}
	}
	if err != nil && !errors.Is(err, ErrNotConnected) {
		return err
	}
	return l.grants.Forget(ctx, grant)
}
