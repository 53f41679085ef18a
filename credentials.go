package smartcar

import (
	"context"
	"errors"

	"github.com/seed-498a1bc4/smartcar/internal/tokens"
)

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
