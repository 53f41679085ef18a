package smartcar

import (
	"context"
	"errors"
	"strings"

	"github.com/seed-498a1bc4/smartcar/internal/contexts"
	"github.com/seed-498a1bc4/smartcar/internal/echo"
	"github.com/seed-498a1bc4/smartcar/internal/policy"
	"github.com/seed-498a1bc4/smartcar/internal/tokens"
	"github.com/seed-498a1bc4/smartcar/internal/users"
)

// A credential authorizes requests. It is used concurrently.
type credential interface {
	// ready reports whether header can answer without asking anybody.
	ready() bool
	// header returns the Authorization header, as package http keeps it.
	header(ctx context.Context) ([]string, error)
	// refused is told that Smartcar did not accept header. Without an error there
	// is another header now; renewed says that it is new, and not one which
	// another caller or replica had stored before.
	refused(ctx context.Context, header []string) (renewed bool, err error)
	// renewalHelped is told whether header, a renewed one, was accepted, and says
	// what it may mean if it was not.
	renewalHelped(header []string, helped bool) (hint string)
	// refreshTokens are those that belong to the header, if there are any. An answer
	// must not repeat them either.
	refreshTokens() (current, spare string)
}

// fixedCredential never changes.
type fixedCredential string

func (f fixedCredential) ready() bool                              { return true }
func (f fixedCredential) header(context.Context) ([]string, error) { return []string{string(f)}, nil }
func (f fixedCredential) renewalHelped([]string, bool) string      { return "" }
func (f fixedCredential) refreshTokens() (string, string)          { return "", "" }
func (f fixedCredential) refused(context.Context, []string) (bool, error) {
	return false, tokens.ErrNoOther
}

// An exchange sends one authorized request and returns what came back. Takes
// says that the request has taken the turn of its car.
type exchange func(ctx context.Context, r *request, header []string, takes bool) (attempt, error)

// authorizing adds the token, and tells the turn when the request leaves. A token
// that is refused before its time is replaced and the request sent once more: a
// request that got a 401 was not carried out. The token that another replica has
// stored may have been refused, too: then it is renewed here, and the request
// sent a third time.
func authorizing(next exchange) layer {
	send := func(ctx context.Context, r *request, t *turn) (header []string, a attempt, err error) {
		a.outcome = policy.OutcomeReleased
		if header, err = r.auth.header(ctx); err == nil {
			err = t.leave(ctx)
		}
		if err == nil {
			a, err = next(ctx, r, header, t != nil)
		}
		return header, a, err
	}
	return func(ctx context.Context, r *request, t *turn) (attempt, error) {
		header, a, err := send(ctx, r, t)
		for range 2 {
			if !a.unauthorized(err) || t.alone() {
				break
			}
			t.holdBack(ctx)
			renewed, ended := r.auth.refused(ctx, header)
			if errors.Is(ended, ErrReconnectRequired) {
				return attempt{outcome: policy.OutcomeReleased}, ended // says what helps
			}
			if ended != nil {
				break
			}
			header, a, err = send(ctx, r, t)
			if !renewed {
				continue
			}
			if hint := r.auth.renewalHelped(header, !a.unauthorized(err)); hint != "" {
				a.failure.Description = hint + "; " + a.failure.Description
			}
			break
		}
		return a, err
	}
}

// unauthorized: the request as a whole was refused for its token. A 401 inside
// an answer was asked for, and may have cost the car's turn.
func (a attempt) unauthorized(err error) bool {
	return err != nil && a.failure != nil && a.failure.StatusCode == 401 && !a.failure.inside
}

// grantCredential authorizes with the access token of a grant.
type grantCredential struct {
	logins          *logins
	grant           string
	userID, vehicle string // whose, and for which car; empty where it plays no role
}

var _ credential = (*grantCredential)(nil)

func (g *grantCredential) ready() bool { return g.logins.grants.Ready(g.grant) }

func (g *grantCredential) header(ctx context.Context) ([]string, error) {
	h, err := g.logins.grants.Header(ctx, g.grant)
	if err != nil {
		return nil, g.logins.failed(ctx, g.grant, g.userID, err)
	}
	return h, nil
}

// refused renews a token that Smartcar no longer takes.
func (g *grantCredential) refused(ctx context.Context, header []string) (renewed bool, err error) {
	renewed, err = g.logins.grants.Replace(ctx, g.grant, g.vehicle, header)
	if err != nil {
		return false, g.logins.failed(ctx, g.grant, g.userID, err)
	}
	return renewed, nil
}

// renewalHelped remembers a car that the grant does not cover.
func (g *grantCredential) renewalHelped(_ []string, helped bool) string {
	if helped || g.vehicle == "" {
		return ""
	}
	g.logins.grants.NotCovered(g.grant, g.vehicle)
	return "the user's token is good, but does not reach this vehicle"
}

func (g *grantCredential) refreshTokens() (current, spare string) {
	return g.logins.grants.RefreshTokens(g.grant)
}

// appCredential authorizes with the token of the application.
type appCredential struct{ token *tokens.Application }

var _ credential = appCredential{}

func (a appCredential) refreshTokens() (current, spare string) { return "", "" }

func (a appCredential) ready() bool { return a.token.Ready() }

func (a appCredential) header(ctx context.Context) ([]string, error) {
	h, err := a.token.Header(ctx)
	return h, appTokenError(err)
}

func (a appCredential) refused(ctx context.Context, header []string) (renewed bool, err error) {
	renewed, err = a.token.Replace(ctx, header)
	return renewed, appTokenError(err)
}

func (a appCredential) renewalHelped(header []string, helped bool) string {
	if helped {
		a.token.Accepted(header)
		return ""
	}
	return "a new application token was refused, too: an application from before June 2025 may have to be upgraded to API v3 in the dashboard"
}

// appTokenError keeps an error of the token endpoint as it is.
func appTokenError(err error) error {
	if errors.Is(err, tokens.ErrNoOther) {
		return &Error{Operation: opAppToken, Err: err, reach: reachedNever}
	}
	return err
}

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

// end takes a grant that Smartcar no longer honors out of use, with the answers
// about the cars that no other grant of the user reaches. The user stays known, so that the link can be shown.
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
			if len(user.Grants) == 1 || car.Grant == grant { // else another grant reaches it
				err = errors.Join(err, l.answers.dropScope(ctx, car.ID, userID))
			}
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

// sentWith are the secrets of a request to the API: the application's, the token
// in its header, and those that belong to that token.
func (own secrets) sentWith(header []string, auth credential) (e echo.Echo) {
	e.Add(own.clientSecret)
	e.Add(own.apiClientSecret)
	e.Add(own.managementToken)
	for _, value := range header {
		_, token, _ := strings.Cut(value, " ")
		e.Add(token)
	}
	current, spare := auth.refreshTokens()
	e.Add(current)
	e.Add(spare)
	return e
}
