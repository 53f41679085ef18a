package smartcar

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"time"

	"github.com/seed-498a1bc4/smartcar/internal/connectstate"
	"github.com/seed-498a1bc4/smartcar/internal/randid"
	"github.com/seed-498a1bc4/smartcar/internal/tokens"
)

// What can be wrong with the state of a Connect flow.
//
// https://smartcar.com/docs/connect/redirect-to-connect
var (
	// ErrStateMismatch: the callback belongs to no flow that this browser
	// started here. It may be an attack; more often cookies are blocked, the link
	// was opened in another browser, or the flow began at another host than that
	// of the redirect URL: localhost and 127.0.0.1 do not share cookies.
	ErrStateMismatch = connectstate.ErrMismatch
	// ErrStateExpired: the owner took too long. Start the flow again.
	ErrStateExpired = connectstate.ErrExpired
	// ErrStateReplayed: the callback was handled before, for instance because
	// the page was loaded again.
	ErrStateReplayed = connectstate.ErrReplayed
)

// validStateKey refuses a key that could be guessed.
func validStateKey(key []byte) error {
	if !connectstate.ValidKey(key) {
		return argumentError("Config.StateKey", "must be at least 32 random bytes, the same in every process that serves the callback")
	}
	return nil
}

// Connect is Smartcar Connect: the owner is redirected to Smartcar, grants
// access there, and comes back to the callback. It is safe for concurrent use.
//
// https://smartcar.com/docs/connect/redirect-to-connect
type Connect struct{ core *core }

// Start redirects the owner to Connect. It sets a cookie that binds the flow
// to this browser for an hour; [Connect.HandleCallback] needs it. The newest
// five flows of a browser are kept. On an error nothing has been written. It
// needs [Config.StateKey].
//
// On API v3 the user that comes back is confirmed by the external id: where
// o has none, a random one is used.
func (c *Connect) Start(w http.ResponseWriter, r *http.Request, o ConnectOptions) error {
	if err := c.core.made(); err != nil {
		return err
	}
	f := connectstate.Flow{
		Purpose: connectstate.Connect, ExternalID: o.ExternalID, RedirectURL: c.redirectURL(o.RedirectURL),
		Mode: string(cmp.Or(o.Mode, c.core.opts.mode)),
	}
	if c.core.opts.api == V3 {
		switch {
		case o.ClearExternalID:
			return argumentError("ConnectOptions.ClearExternalID", "cannot be used here on API v3, where the external id confirms who comes back; use AuthorizeURL")
		case f.RedirectURL == "" || o.Hosted:
			return argumentError("ConnectOptions.RedirectURL", "is empty, so that nobody comes back; use AuthorizeURL for a run that ends on Smartcar's page")
		case o.ExternalID == "":
			f.ProofID = randid.Text()
			o.ExternalID = f.ProofID
		}
	}
	return c.start(w, r, f, func(state string) (string, error) { return c.AuthorizeURL(o, state) })
}

// StartReauth redirects the owner to renew Smartcar's access to one car, after
// [ErrReauthenticate]. The tokens in use stay as they are.
//
// https://smartcar.com/docs/connect/re-auth/redirect-to-connect
func (c *Connect) StartReauth(w http.ResponseWriter, r *http.Request, v *Vehicle, o ReauthOptions) error {
	if err := c.core.made(); err != nil {
		return err
	}
	if v == nil {
		return argumentError("StartReauth vehicle", "is nil")
	}
	if o.Hosted {
		return argumentError("ReauthOptions.Hosted", "means that nobody comes back; use ReauthURL for it")
	}
	o.VehicleID = v.handle.car.id
	f := connectstate.Flow{
		Purpose: connectstate.Reauth, UserID: v.handle.car.user, VehicleID: v.handle.car.id,
		ExternalID: o.ExternalID, RedirectURL: c.redirectURL(o.RedirectURL),
	}
	return c.start(w, r, f, func(state string) (string, error) { return c.ReauthURL(o, state) })
}

func (c *Connect) start(w http.ResponseWriter, r *http.Request, f connectstate.Flow, link func(state string) (string, error)) error {
	if w == nil || r == nil {
		return argumentError("Start", "needs the response writer and the request of the handler it is called from")
	}
	f.State, f.Expires = randid.Text(), c.core.opts.now().Add(connectstate.Life)
	target, err := link(f.State)
	if err != nil {
		return err
	}
	key := c.core.secrets().stateKey
	if err := errors.Join(validStateKey(key), checkOwnerID("ExternalID", f.ExternalID)); err != nil {
		return err
	}
	err = connectstate.Remember(w, r, key, f)
	if errors.Is(err, connectstate.ErrTooLong) {
		return argumentError("RedirectURL", "is too long to be kept in a cookie")
	}
	if err != nil {
		return err
	}
	protectCallback(w)
	// See Other turns a posted form into the GET that Connect expects.
	http.Redirect(w, r, target, http.StatusSeeOther)
	return nil
}

// protectCallback keeps the code in the address from caches and other sites.
func protectCallback(w http.ResponseWriter) {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Referrer-Policy", "no-referrer")
}

func (c *Connect) redirectURL(override string) string {
	return cmp.Or(override, c.core.redirectURL)
}

func (c *Connect) identity() appIdentity {
	if c.core.opts.api == V3 {
		return appIdentity{applicationID: c.core.appID, redirectURL: c.core.redirectURL, responseType: responseNone}
	}
	return appIdentity{clientID: c.core.appID, redirectURL: c.core.redirectURL, responseType: responseCode}
}

// AuthorizeURL returns the address of Connect, for applications that keep the
// state in a session of their own: a random text that cannot be guessed, used
// once. Give it to [Connect.Exchange] when the owner comes back.
func (c *Connect) AuthorizeURL(o ConnectOptions, state string) (string, error) {
	if err := c.core.made(); err != nil {
		return "", err
	}
	o.Mode = cmp.Or(o.Mode, c.core.opts.mode)
	app := c.identity()
	if app.responseType != responseNone && (o.Hosted || o.RequestCode) {
		return "", &NotSupportedError{Operation: opConnect, API: string(c.core.opts.api), Detail: "ConnectOptions.Hosted and RequestCode"}
	}
	if o.RequestCode {
		app.responseType = responseCode
	}
	if o.Hosted {
		app.redirectURL, o.RedirectURL = "", ""
	}
	return authorizeURL(c.core.opts.origins.Connect, app, o, state)
}

// ReauthURL is AuthorizeURL for a re-authentication; see [Connect.StartReauth].
func (c *Connect) ReauthURL(o ReauthOptions, state string) (string, error) {
	if err := c.core.made(); err != nil {
		return "", err
	}
	return reauthenticateURL(c.core.opts.origins.Connect, c.identity(), o, state)
}

// CompleteURL completes a partial link as Smartcar sends it in
// [Error.Resolution] and [NominalCapacityReading.SelectURL]: it adds the
// redirect URL and the state. A link to anywhere but Connect is refused.
func (c *Connect) CompleteURL(partial, state string) (string, error) {
	if err := c.core.made(); err != nil {
		return "", err
	}
	return completeURL(c.core.opts.origins.Connect, partial, c.core.redirectURL, state)
}

// HandleCallback ends what [Connect.Start] or [Connect.StartReauth] began:
// call it from the handler of the redirect URL. It verifies that this browser
// began the flow and that it is handled for the first time. On API v2.0 it then
// exchanges the code once, asks Smartcar who the user is and stores the tokens;
// on v3 it asks Smartcar whether the user that the browser names is the one who
// has just connected. It sets headers that protect the address, and writes
// nothing else.
//
// Errors match [ErrStateMismatch], [ErrStateExpired], [ErrStateReplayed] and
// [ErrMalformedCallback] when the callback cannot be trusted, a
// [*ConnectError] when Connect reports why no car was connected, a
// [*PendingGrantError] when only the user's id could not be had, and an [*Error] when
// the code could not be exchanged.
//
// https://smartcar.com/docs/connect/handle-the-response
func (c *Connect) HandleCallback(w http.ResponseWriter, r *http.Request) (*Grant, error) {
	if err := c.core.made(); err != nil {
		return nil, err
	}
	if w == nil || r == nil || r.URL == nil {
		return nil, argumentError("HandleCallback", "needs the response writer and the request of the handler it is called from")
	}
	if err := validStateKey(c.core.secrets().stateKey); err != nil {
		return nil, err
	}
	protectCallback(w)
	callback, err := c.parse(r)
	if err != nil {
		return nil, err
	}
	f, err := connectstate.Recall(r, c.core.secrets().stateKey, callback.secrets().state, c.core.opts.now())
	if err == nil {
		err = connectstate.UseUp(r.Context(), c.core.cars.records, f.State)
	}
	if err != nil {
		return nil, err
	}
	if f.Purpose == connectstate.Reauth {
		return finishReauth(callback, f)
	}
	return c.finish(r.Context(), callback, connectRun{
		redirectURL: f.RedirectURL, externalID: f.ExternalID, proofID: cmp.Or(f.ProofID, f.ExternalID), mode: ConnectMode(f.Mode),
	})
}

func (c *Connect) parse(r *http.Request) (*Callback, error) {
	if r.Method != http.MethodGet {
		return nil, &CallbackError{Problem: "the request is not a GET"}
	}
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, &CallbackError{Problem: "the query cannot be read"}
	}
	return ParseCallback(query, c.core.opts.keyDomains...)
}

func finishReauth(callback *Callback, f connectstate.Flow) (*Grant, error) {
	switch {
	case callback.Err != nil:
		return nil, callback.Err
	case callback.VehicleID != f.VehicleID:
		return nil, &CallbackError{Parameter: "vehicle_id", Problem: "is not the vehicle the flow was begun for"}
	}
	return &Grant{UserID: f.UserID, ExternalID: f.ExternalID, VehicleID: f.VehicleID}, nil
}

// Expected is what an application remembered in its own session when it called
// [Connect.AuthorizeURL].
type Expected struct {
	State       string // required
	RedirectURL string // if it was not the client's
	// ExternalID that was given: filed with the user. On API v3 it is required,
	// because the user is confirmed by it.
	ExternalID string
	Mode       ConnectMode // if it was not the client's
}

// Format keeps the state out of every verb of package fmt.
func (e Expected) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "smartcar.Expected{RedirectURL:%q}", e.RedirectURL)
}

// MarshalJSON keeps the state out of logs that write JSON.
func (e Expected) MarshalJSON() ([]byte, error) {
	return json.Marshal(map[string]any{"RedirectURL": e.RedirectURL})
}

// LogValue keeps the state out of structured logs.
func (e Expected) LogValue() slog.Value {
	return slog.GroupValue(slog.String("redirect_url", e.RedirectURL))
}

// Exchange is [Connect.HandleCallback] for applications that keep the state
// themselves: get the callback from [ParseCallback]. The state is verified
// before anything else; using it once is up to the application, and Smartcar
// takes a code only once in any case.
func (c *Connect) Exchange(ctx context.Context, callback *Callback, expected Expected) (*Grant, error) {
	if err := errors.Join(c.core.made(), checkContext(ctx)); err != nil {
		return nil, err
	}
	if callback == nil {
		return nil, argumentError("Exchange callback", "is nil; get one from ParseCallback")
	}
	if err := callback.VerifyState(expected.State); err != nil {
		return nil, err
	}
	return c.finish(ctx, callback, connectRun{
		redirectURL: c.redirectURL(expected.RedirectURL), externalID: expected.ExternalID, proofID: expected.ExternalID,
		mode: cmp.Or(expected.Mode, c.core.opts.mode),
	})
}

// finish ends a run whose state is verified and used up. It goes on if the owner
// leaves the page: otherwise the code would be spent and the tokens lost.
func (c *Connect) finish(ctx context.Context, callback *Callback, run connectRun) (*Grant, error) {
	if callback.Err != nil {
		return nil, callback.Err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.core.opts.timeout)
	defer cancel()
	grant, err := c.core.reach.finish(ctx, callback, run)
	if err != nil {
		return nil, err
	}
	grant.VirtualKeyErr = callback.VirtualKeyErr
	return grant, nil
}

// Resume finishes the grant of a [*PendingGrantError]. It can be called again until
// it succeeds, for 60 days, by any process that shares the store. Errors:
// [ErrReconnectRequired] if nothing is stored under grantID; otherwise the reason why
// the user is still not known.
func (c *Connect) Resume(ctx context.Context, grantID string) (*Grant, error) {
	if err := errors.Join(c.core.made(), checkContext(ctx), validateID("grant id", grantID)); err != nil {
		return nil, err
	}
	return c.core.reach.resume(ctx, grantID)
}

// CallbackHandler is a ready handler for the redirect URL: it calls
// [Connect.HandleCallback] and hands the result to done, which answers the owner.
func (c *Connect) CallbackHandler(done func(http.ResponseWriter, *http.Request, *Grant, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		grant, err := c.HandleCallback(w, r)
		done(w, r, grant, err)
	})
}

// Tokens are an existing pair to import; see [Client.ImportTokens]. They do not print.
type Tokens struct {
	AccessToken  string    // may be empty or expired
	RefreshToken string    // required
	Expires      time.Time // of the access token; zero makes it be renewed at once
	IssuedAt     time.Time // of the refresh token; zero means now
}

// Format keeps the tokens out of every verb of package fmt.
func (t Tokens) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "smartcar.Tokens{Expires:%v}", t.Expires)
}

// MarshalJSON keeps the tokens out of logs that write JSON.
func (t Tokens) MarshalJSON() ([]byte, error) {
	return json.Marshal(map[string]any{"Expires": t.Expires})
}

// LogValue keeps the tokens out of structured logs.
func (t Tokens) LogValue() slog.Value { return slog.GroupValue(slog.Time("expires", t.Expires)) }

// ImportTokens takes over a pair that another library has obtained. From then
// on it belongs to this client: a refresh elsewhere would end it. The client asks
// Smartcar which user the pair belongs to. API v2.0 only: v3 needs no tokens of an owner, see
// [Client.MoveToV3].
//
// Errors: an [*ArgumentError] without a refresh token; [ErrReconnectRequired] if
// the pair has ended; a [*PendingGrantError] when it is stored and its user is
// not known yet; otherwise an [*Error].
func (c *Client) ImportTokens(ctx context.Context, t Tokens) (*Grant, error) {
	if err := errors.Join(c.core.made(), checkContext(ctx)); err != nil {
		return nil, err
	}
	if t.RefreshToken == "" {
		return nil, argumentError("Tokens.RefreshToken", "is empty; without it the login would end within two hours")
	}
	if c.core.opts.api == V3 {
		return nil, &NotSupportedError{Operation: opExchange, API: string(V3), Detail: "the tokens of an owner; see MoveToV3"}
	}
	issued := t.IssuedAt
	if issued.IsZero() {
		issued = c.core.opts.now()
	}
	pair := tokens.Pair{AccessToken: t.AccessToken, RefreshToken: t.RefreshToken, Obtained: issued, Expires: t.Expires}
	userID, err := c.core.accounts.storeAndLink(ctx, pair, tokens.Pending{})
	if err != nil {
		return nil, err
	}
	return &Grant{UserID: userID}, nil
}
