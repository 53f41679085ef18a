package smartcar

import (
	"context"
	"errors"

	"github.com/seed-498a1bc4/smartcar/internal/policy"
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
	// renewalHelped is told whether a renewed header was accepted, and says what
	// it may mean if it was not.
	renewalHelped(helped bool) (hint string)
	// refreshTokens are those that belong to the header, if there are any. An answer
	// must not repeat them either.
	refreshTokens() (current, spare string)
}

var errNoOtherToken = errors.New("there is no other token to try")

// fixedCredential never changes.
type fixedCredential string

func (f fixedCredential) ready() bool                              { return true }
func (f fixedCredential) header(context.Context) ([]string, error) { return []string{string(f)}, nil }
func (f fixedCredential) renewalHelped(bool) string                { return "" }
func (f fixedCredential) refreshTokens() (string, string)          { return "", "" }
func (f fixedCredential) refused(context.Context, []string) (bool, error) {
	return false, errNoOtherToken
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
			if !a.unauthorized(err) {
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
			if hint := r.auth.renewalHelped(!a.unauthorized(err)); hint != "" {
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
