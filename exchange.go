package smartcar

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/seed-498a1bc4/smartcar/internal/lenient"
	"github.com/seed-498a1bc4/smartcar/internal/tokens"
	"golang.org/x/oauth2"
)

// What is asked of the token endpoints: a pair for a code, a pair for a refresh
// token, and the token of the application.

const (
	// exchangeTimeout bounds one exchange of a code, mintTimeout one request for
	// the application's token.
	exchangeTimeout = 30 * time.Second
	mintTimeout     = 10 * time.Second
	// codeTries is how often a code is sent that certainly did not leave.
	codeTries = 3
	// accessTokenLife and appTokenLife are documented, in case an answer does not
	// say it.
	accessTokenLife = 2 * time.Hour
	appTokenLife    = time.Hour
)

const opAppToken Operation = "application-token"

// exchangeCode trades the one-time code for the first pair. Only what was
// certainly not sent is sent again.
func (c *core) exchangeCode(ctx context.Context, code, redirectURL string) (tokens.Pair, error) {
	for try := 1; ; try++ {
		attempt, cancel := context.WithTimeoutCause(ctx, min(exchangeTimeout, c.opts.attemptTimeout()), errAttemptTime)
		attempt = context.WithValue(attempt, oauth2.HTTPClient, c.http)
		token, err := c.oauth().Exchange(attempt, code, oauth2.SetAuthURLParam("redirect_uri", redirectURL))
		cancel()
		if err == nil {
			return c.pairOf(token), nil
		}
		e := tokenError(opExchange, err, c.now())
		if failed, ok := errors.AsType[*Error](e); !ok || failed.reach != reachedNever || try >= codeTries || ctx.Err() != nil {
			return tokens.Pair{}, e
		}
		if c.opts.clock.Sleep(ctx, c.opts.retry.BaseDelay) != nil {
			return tokens.Pair{}, e
		}
	}
}

// exchangeRefresh is the tokens.Exchange of grants.
func (c *core) exchangeRefresh(ctx context.Context, refreshToken string) (tokens.Pair, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, c.opts.refreshTimeout(), errAttemptTime)
	defer cancel()
	ctx = context.WithValue(ctx, oauth2.HTTPClient, c.http)
	token, err := c.oauth().TokenSource(ctx, &oauth2.Token{RefreshToken: refreshToken}).Token()
	if err != nil {
		return tokens.Pair{}, tokenError(opRefresh, err, c.now())
	}
	return c.pairOf(token), nil
}

// pairOf uses the number of seconds that was sent, not x/oauth2's reading of the
// computer's clock.
func (c *core) pairOf(token *oauth2.Token) tokens.Pair {
	life := accessTokenLife
	if token.ExpiresIn > 0 && token.ExpiresIn < 1<<31 {
		life = time.Duration(token.ExpiresIn) * time.Second
	}
	now := c.now()
	return tokens.Pair{AccessToken: token.AccessToken, RefreshToken: token.RefreshToken, Obtained: now, Expires: now.Add(life)}
}

// judgeRefresh is the tokens.Judge of exchangeRefresh.
func judgeRefresh(err error) tokens.Verdict {
	e, ok := errors.AsType[*Error](err)
	return tokens.Verdict{
		Ended:   errors.Is(err, ErrReconnectRequired),
		Unclear: !ok || e.reach != reachedNever && (e.StatusCode == 0 || e.StatusCode >= 500),
		Again:   Retryable(err) || errors.Is(err, context.DeadlineExceeded),
	}
}

// tokenError turns x/oauth2's errors into ours, without the body it keeps.
func tokenError(op Operation, err error, now time.Time) error {
	var answered *oauth2.RetrieveError
	if errors.As(err, &answered) && answered.Response != nil && answered.Response.StatusCode >= 300 {
		e := decodeError(op, answered.Response.StatusCode, answered.Response.Header, answered.Body, now)
		e.Description = "" // it may quote the code or the token
		e.read = op == opRefresh
		return e
	}
	// The same refresh token may be sent again, a code never.
	e := &Error{Operation: op, reach: reachedUnsure, Err: errTokenAnswer, read: op == opRefresh}
	var failed *url.Error
	if errors.As(err, &failed) {
		e.Err = failed.Err
	}
	if certainlyNotSent(err) {
		e.reach = reachedNever
	}
	return e
}

// errTokenAnswer stands for x/oauth2's own texts, which could quote the answer.
var errTokenAnswer = errors.New("the token endpoint's answer cannot be read")

// mintAppToken is the tokens.Exchange of the application. Asking twice does no harm.
func (c *core) mintAppToken(ctx context.Context, _ string) (tokens.Pair, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, min(mintTimeout, c.opts.attemptTimeout()), errAttemptTime)
	defer cancel()
	req, err := c.newTokenRequest(ctx)
	if err != nil {
		return tokens.Pair{}, &Error{Operation: opAppToken, reach: reachedNever, Err: err}
	}
	resp, err := c.opts.roundTrip(req) //nolint:bodyclose // readAnswer closes it
	if err != nil {
		e := &Error{Operation: opAppToken, read: true, reach: reachedUnsure, Err: causeOf(ctx, err)}
		if certainlyNotSent(err) {
			e.reach = reachedNever
		}
		return tokens.Pair{}, e
	}
	answer, err := c.readAnswer(ctx, resp)
	if err != nil {
		return tokens.Pair{}, &Error{Operation: opAppToken, StatusCode: resp.StatusCode, read: true, reach: reachedUnsure, Err: err}
	}
	return c.decodeAppToken(answer)
}

func (c *core) decodeAppToken(answer *answer) (tokens.Pair, error) {
	if answer.status != http.StatusOK {
		e := decodeError(opAppToken, answer.status, answer.header, answer.body, answer.at)
		e = withoutSecret(e, c.secrets().apiClientSecret)
		if e.Code == "invalid_client" {
			e.Description = "look at Config.APIClientID and Config.APIClientSecret; the legacy credentials of API v2.0 are not taken here"
		}
		if e.isApplicationLimit() {
			return tokens.Pair{}, c.gate.pauseAll(opAppToken, e)
		}
		return tokens.Pair{}, e
	}
	body, err := decodeObject[struct {
		AccessToken lenient.String `json:"access_token"`
		ExpiresIn   lenient.Float  `json:"expires_in"`
	}](answer.body)
	if err != nil || body.AccessToken == "" {
		return tokens.Pair{}, &Error{Operation: opAppToken, StatusCode: answer.status, Err: errTokenAnswer}
	}
	life := appTokenLife
	if s := body.ExpiresIn.Value; s != nil && *s >= 1 && *s < 1e9 {
		life = time.Duration(*s * float64(time.Second))
	}
	now := c.now()
	return tokens.Pair{AccessToken: string(body.AccessToken), Obtained: now, Expires: now.Add(life)}, nil
}

// withoutSecret keeps of an answer to credentials what does not repeat them.
func withoutSecret(e *Error, secret string) *Error {
	kept := &Error{
		Operation: e.Operation, StatusCode: e.StatusCode, Type: e.Type, Code: e.Code,
		RequestID: e.RequestID, RetryAfter: e.RetryAfter, read: true,
	}
	for _, text := range []*string{&kept.Type, &kept.Code, &kept.RequestID} {
		if strings.Contains(*text, secret) {
			*text = ""
		}
	}
	return kept
}

func (c *core) newTokenRequest(ctx context.Context) (*http.Request, error) {
	form := url.Values{
		"grant_type": {"client_credentials"}, "client_id": {c.apiClientID}, "client_secret": {c.secrets().apiClientSecret},
	}
	target := c.opts.origins.IAM.JoinPath("oauth2/token").String()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, target, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "application/json")
	req.Header["User-Agent"] = c.opts.userAgent
	return req, nil
}
