package smartcar

import (
	"context"
	"errors"
	"slices"

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
	// shared reports whether all requests of the application have the same header.
	shared() bool
	// authorization returns the Authorization header, with what an answer must not repeat.
	authorization(ctx context.Context) (tokens.Authorization, error)
	// replace gets another header than one that Smartcar has refused. It returns
	// renewed as true if the other header is new, and as false if another caller or
	// replica had stored it before.
	replace(ctx context.Context, refused []string) (renewed bool, err error)
	// afterReplace is called once Smartcar has accepted or refused a header that
	// replace has renewed.
	afterReplace(header []string, accepted bool)
	// whyRefused says what it may mean that Smartcar refuses each header; empty if
	// nothing more is known than Smartcar says.
	whyRefused() string
}

// fixedCredential never changes.
type fixedCredential string

func (f fixedCredential) ready() bool  { return true }
func (f fixedCredential) shared() bool { return true }
func (f fixedCredential) authorization(context.Context) (tokens.Authorization, error) {
	return tokens.Authorization{Header: []string{string(f)}}, nil
}
func (f fixedCredential) afterReplace([]string, bool) {}
func (f fixedCredential) whyRefused() string          { return "" }
func (f fixedCredential) replace(context.Context, []string) (bool, error) {
	return false, tokens.ErrNoOther
}

// An exchange sends one authorized request and returns what came back. With
// takesTurn, the request has taken the turn of its car.
type exchange func(ctx context.Context, r *request, auth tokens.Authorization, takesTurn bool) (attempt, error)

// authorizing adds the token, and tells the turn that the request leaves. If
// Smartcar refuses the token before its time, the token is replaced and the
// request sent once more: a request that got a 401 was not carried out. If the
// other token is one that another replica has stored, Smartcar may have refused
// it, too. Then it is renewed here, and the request is sent a third time.
func authorizing(seen *emitter, next exchange) layer {
	send := func(ctx context.Context, r *request, t *turn) (header []string, a attempt, err error) {
		a.outcome = policy.OutcomeReleased
		auth, err := r.auth.authorization(ctx)
		if err != nil {
			return auth.Header, a, err
		}
		var observed *observedAttempt
		if seen != nil { // before the turn counts: an observer may be slow
			ctx, observed = begin(ctx, seen, r, t != nil)
		}
		if t != nil {
			err = t.leave(ctx)
		}
		if err == nil {
			a, err = next(ctx, r, auth, t != nil)
		}
		if observed != nil {
			observed.end(ctx, seen, r, a, err)
		}
		return auth.Header, a, err
	}
	return func(ctx context.Context, r *request, t *turn) (attempt, error) {
		header, a, err := send(ctx, r, t)
		for range 2 {
			if err == nil || !a.unauthorized(err) || t.callerLeft() {
				break
			}
			t.reserveAgain(ctx)
			renewed, ended := r.auth.replace(ctx, header)
			if errors.Is(ended, tokens.ErrNoOther) {
				a.explainRefusal(r)
				break
			}
			if ended != nil { // why there is no other token says more than the 401
				return attempt{outcome: policy.OutcomeReleased}, ended
			}
			header, a, err = send(ctx, r, t)
			if !renewed {
				continue
			}
			refused := a.unauthorized(err)
			if err == nil || a.failure != nil && a.failure.StatusCode != 0 {
				r.auth.afterReplace(header, !refused)
			}
			if refused {
				a.explainRefusal(r)
			}
			break
		}
		return a, err
	}
}

// explainRefusal replaces Smartcar's text, that the header is malformed or expired,
// where the header is known to be neither.
func (a attempt) explainRefusal(r *request) {
	a.failure.gone = a.failure.Type != "" && r.refusalMeansNoAccess()
	if why := r.auth.whyRefused(); why != "" {
		a.failure.Description = why
	}
}

// refusalMeansNoAccess reports whether a 401 for a fresh token means that the token does
// not reach the car. A token of API v2.0 belongs to one owner; the token of v3 belongs to
// the application.
func (r *request) refusalMeansNoAccess() bool {
	grant, ofOwner := r.auth.(*grantCredential)
	return r.car.id != "" && ofOwner && grant.vehicle != ""
}

// unauthorized reports whether the request as a whole was refused for its token.
// A 401 for one item of a batch is another thing: the batch was carried out, and
// may have cost the car's turn.
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

func (g *grantCredential) ready() bool  { return g.logins.grants.Ready(g.grant) }
func (g *grantCredential) shared() bool { return false }

func (g *grantCredential) authorization(ctx context.Context) (tokens.Authorization, error) {
	a, err := g.logins.grants.Authorization(ctx, g.grant)
	if err != nil {
		return tokens.Authorization{}, g.logins.afterFailure(ctx, g.grant, g.userID, err)
	}
	return a, nil
}

// replace renews the tokens of the grant, or takes those that another caller or
// replica has stored.
func (g *grantCredential) replace(ctx context.Context, refused []string) (renewed bool, err error) {
	renewed, err = g.logins.grants.Replace(ctx, g.grant, g.vehicle, refused)
	if err != nil {
		return false, g.logins.afterFailure(ctx, g.grant, g.userID, err)
	}
	return renewed, nil
}

// afterReplace remembers a car that the grant does not reach: a new token was
// refused, too.
func (g *grantCredential) afterReplace(_ []string, accepted bool) {
	if !accepted && g.vehicle != "" {
		g.logins.grants.NotCovered(g.grant, g.vehicle)
	}
}

func (g *grantCredential) whyRefused() string {
	if g.vehicle == "" {
		return ""
	}
	return "the user's token is good, but does not reach this vehicle"
}

// appCredential authorizes with the token of the application.
type appCredential struct{ token *tokens.Application }

var _ credential = appCredential{}

func (a appCredential) ready() bool  { return a.token.Ready() }
func (a appCredential) shared() bool { return true }

func (a appCredential) authorization(ctx context.Context) (tokens.Authorization, error) {
	h, err := a.token.Header(ctx)
	return tokens.Authorization{Header: h}, appTokenError(err)
}

func (a appCredential) replace(ctx context.Context, refused []string) (renewed bool, err error) {
	renewed, err = a.token.Replace(ctx, refused)
	return renewed, appTokenError(err)
}

func (a appCredential) afterReplace(header []string, accepted bool) {
	if accepted {
		a.token.Accepted(header)
	}
}

func (a appCredential) whyRefused() string {
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

// afterFailure turns an error of package tokens into one of ours. A grant that has
// ended is taken out of use, so that the next request uses another grant.
func (l *logins) afterFailure(ctx context.Context, grant, userID string, err error) error {
	switch {
	case errors.Is(err, tokens.ErrTaken):
		return takenError(err)
	case err == tokens.ErrEnded: //nolint:errorlint // joined with another error, that one is shown, too
		err = endedError()
	case errors.Is(err, tokens.ErrEnded):
		err = errors.Join(endedError(), err)
	}
	if !errors.Is(err, ErrReconnectRequired) {
		return err
	}
	ended, endErr := l.end(ctx, grant, userID)
	if !ended && endErr == nil {
		return takenError(tokens.ErrTaken)
	}
	return errors.Join(err, endErr)
}

// takenError says that another process has seen to the tokens: a caller who tries again
// gets them.
func takenError(err error) error { return &Error{Operation: opRefresh, reach: reachedNever, Err: err} }

// end takes a grant that Smartcar no longer honors out of use, and deletes the
// answers about the cars that no other grant of the user reaches. The user stays
// stored, so that the link to add the key can be shown. The answers go first: if the
// process dies in between, the grant is still there, and the next request that fails
// with it ends it again. end returns false if another process has stored tokens
// meanwhile that may work.
//
// The user's record is read before the tokens go, and changed after that. If another
// process files the grant again in between, the entry in the user's record differs from
// the one that was read, and stays.
//
// The work goes on when the caller has left. Each step has its own time limit,
// since a user may have thousands of cars.
func (l *logins) end(ctx context.Context, grant, userID string) (ended bool, err error) {
	var cars []users.Car
	seen := users.Grant{ID: grant}
	if userID != "" {
		err = detached(ctx, func(ctx context.Context) error {
			user, err := l.users.Stored(ctx, userID)
			if err == nil && user.Has(grant) {
				seen = user.Grant(grant)
				cars, err = l.users.Cars(ctx, userID, user)
				cars = slices.DeleteFunc(cars, func(c users.Car) bool { // another grant may reach it
					return len(user.Grants) > 1 && c.Grant != grant
				})
			}
			return err
		})
	}
	for i := 0; err == nil && i < len(cars); i++ {
		err = detached(ctx, func(ctx context.Context) error { return l.answers.dropScope(ctx, cars[i].ID, userID) })
	}
	if err != nil && !errors.Is(err, ErrNotConnected) {
		return false, err
	}
	err = detached(ctx, func(ctx context.Context) (err error) {
		if ended, err = l.grants.End(ctx, grant); ended && userID != "" {
			err = l.users.RemoveGrant(ctx, userID, seen)
		}
		return err
	})
	return ended, err
}

// detached does one step that the caller's cancellation must not reach.
func detached(ctx context.Context, step func(context.Context) error) error {
	ctx, cancel := contexts.Detached(ctx)
	defer cancel()
	return step(ctx)
}

// toAPI are the secrets of the application that no answer of the API may repeat.
func (own secrets) toAPI() (e echo.Echo) {
	e.Add(own.clientSecret)
	e.Add(own.apiClientSecret)
	e.Add(own.managementToken)
	return e
}
