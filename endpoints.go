package smartcar

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"math"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/seed-498a1bc4/smartcar/internal/contexts"
	"github.com/seed-498a1bc4/smartcar/internal/echo"
	"github.com/seed-498a1bc4/smartcar/internal/lenient"
	"github.com/seed-498a1bc4/smartcar/internal/roundtrip"
	"github.com/seed-498a1bc4/smartcar/internal/tokens"
	"golang.org/x/oauth2"
)

// tokenEndpoints ask for tokens: a pair for a code, a pair for a refresh token,
// and the token of the application.
type tokenEndpoints struct {
	opts        *options
	pause       *pause
	apiClientID string // of API v3
	secrets     func() secrets
	oauth       func() *oauth2.Config
	http        *http.Client // a copy of the caller's, for x/oauth2
}

const (
	// exchangeTimeout bounds one exchange of a code, mintTimeout one request for
	// the application's token.
	exchangeTimeout = 30 * time.Second
	mintTimeout     = 10 * time.Second
	// codeTries is how often a code is tried while each request was certainly not sent.
	codeTries = 3
	// accessTokenLife and appTokenLife are the documented lives, for an answer that
	// names none.
	accessTokenLife = 2 * time.Hour
	appTokenLife    = time.Hour
)

const opAppToken Operation = "application-token"

func newTokenEndpoints(config Config, o *options, p *pause, own func() secrets) *tokenEndpoints {
	application, secret, redirectURL := config.application(), config.ClientSecret, config.RedirectURL
	return &tokenEndpoints{
		opts: o, pause: p, apiClientID: config.APIClientID, secrets: own, http: newTokenClient(o),
		oauth: func() *oauth2.Config {
			return &oauth2.Config{
				ClientID: application, ClientSecret: secret, RedirectURL: redirectURL,
				// Probing for the style would send a one-time code twice.
				Endpoint: oauth2.Endpoint{TokenURL: o.origins.Auth.JoinPath("oauth/token").String(), AuthStyle: oauth2.AuthStyleInHeader},
			}
		},
	}
}

// exchangeCode trades the one-time code for the first pair. It sends the code again
// only if the request before was certainly not sent.
func (t *tokenEndpoints) exchangeCode(ctx context.Context, code, redirectURL string) (tokens.Pair, error) {
	ctx = new(contexts.Named).Under(ctx, string(opExchange))
	for try := 1; ; try++ {
		attempt, cancel := context.WithTimeoutCause(ctx, min(exchangeTimeout, t.opts.attemptTimeout()), errAttemptTime)
		attempt = context.WithValue(attempt, oauth2.HTTPClient, t.http)
		token, err := t.oauth().Exchange(attempt, code, oauth2.SetAuthURLParam("redirect_uri", redirectURL))
		cancel()
		if err == nil {
			return t.pairOf(token), nil
		}
		e := tokenError(opExchange, err, t.opts.now())
		if failed, ok := errors.AsType[*Error](e); !ok || failed.reach != reachedNever || try >= codeTries || ctx.Err() != nil {
			return tokens.Pair{}, e
		}
		if t.opts.clock.Sleep(ctx, t.opts.retry.BaseDelay) != nil {
			return tokens.Pair{}, e
		}
	}
}

// exchangeRefresh is the tokens.Exchange of grants.
func (t *tokenEndpoints) exchangeRefresh(ctx context.Context, refreshToken string) (tokens.Pair, error) {
	began := t.opts.clock.Elapsed()
	pair, err := t.refresh(new(contexts.Named).Under(ctx, string(opRefresh)), refreshToken)
	tellToken(ctx, t.opts.emitter, opRefresh, began, err)
	return pair, err
}

func (t *tokenEndpoints) refresh(ctx context.Context, refreshToken string) (tokens.Pair, error) {
	if refreshToken == "" { // what is stored is damaged, or none ever came
		return tokens.Pair{}, &Error{Operation: opRefresh, Err: errNoRefreshToken, read: true, reach: reachedNever, void: true}
	}
	ctx, cancel := context.WithTimeoutCause(ctx, t.opts.refreshTimeout(), errAttemptTime)
	defer cancel()
	ctx = context.WithValue(ctx, oauth2.HTTPClient, t.http)
	token, err := t.oauth().TokenSource(ctx, &oauth2.Token{RefreshToken: refreshToken}).Token()
	if err != nil {
		return tokens.Pair{}, tokenError(opRefresh, err, t.opts.now())
	}
	return t.pairOf(token), nil
}

// pairOf reckons the end of the token from the seconds in the answer and our clock,
// and not from x/oauth2's Expiry, which is by the computer's clock.
func (t *tokenEndpoints) pairOf(token *oauth2.Token) tokens.Pair {
	life := accessTokenLife
	if token.ExpiresIn > 0 && token.ExpiresIn < 1<<31 {
		life = time.Duration(token.ExpiresIn) * time.Second
	}
	now := t.opts.now()
	return tokens.Pair{AccessToken: token.AccessToken, RefreshToken: token.RefreshToken, Obtained: now, Expires: now.Add(life)}
}

// judgeRefresh is the tokens.Judge of exchangeRefresh.
func judgeRefresh(err error) tokens.Verdict {
	e, ok := errors.AsType[*Error](err)
	return tokens.Verdict{
		Ended:   errors.Is(err, ErrReconnectRequired),
		Unclear: !ok || e.reach == reachedUnsure || e.reach == reachedServer && (e.StatusCode == 0 || e.StatusCode >= 500),
		Again:   Retryable(err) || errors.Is(err, context.DeadlineExceeded),
	}
}

// tokenError turns x/oauth2's errors into ours, without the body it keeps.
func tokenError(op Operation, err error, now time.Time) error {
	var answered *oauth2.RetrieveError
	if errors.As(err, &answered) && answered.Response != nil { // some servers answer errors with 200
		e := decodeError(op, answered.Response.StatusCode, answered.Response.Header, answered.Body, now)
		if e.Code != codeNotEnabled { // which names the make
			e.void = op == opRefresh && e.StatusCode == http.StatusBadRequest && e.Code == "invalid_request" &&
				strings.Contains(strings.ToLower(e.Description), "refresh")
			e.Description = "" // it may quote the code or the token
		}
		e.read = op == opRefresh
		return e
	}
	// The same refresh token may be sent again, a code never.
	e := &Error{Operation: op, reach: reachedUnsure, Err: errTokenAnswer, read: op == opRefresh}
	var failed *url.Error
	if errors.As(err, &failed) {
		e.Err = failed.Err
	} else {
		e.StatusCode = http.StatusOK // the answer was a success, and x/oauth2 found no token in it
	}
	if roundtrip.NotSent(err) {
		e.reach = reachedNever
	}
	return e
}

var errNoRefreshToken = errors.New("there is no refresh token; send the owner through Connect again")

// errTokenAnswer stands for x/oauth2's own texts, which could quote the answer.
var errTokenAnswer = errors.New("the token endpoint's answer cannot be read")

// mintAppToken is the tokens.Exchange of the application. Asking twice does no harm.
func (t *tokenEndpoints) mintAppToken(ctx context.Context, _ string) (tokens.Pair, error) {
	began := t.opts.clock.Elapsed()
	pair, err := t.mint(new(contexts.Named).Under(ctx, string(opAppToken)))
	tellToken(ctx, t.opts.emitter, opAppToken, began, err)
	return pair, err
}

func (t *tokenEndpoints) mint(ctx context.Context) (tokens.Pair, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, min(mintTimeout, t.opts.attemptTimeout()), errAttemptTime)
	defer cancel()
	req, err := t.newTokenRequest(ctx)
	if err != nil {
		return tokens.Pair{}, &Error{Operation: opAppToken, reach: reachedNever, Err: err}
	}
	sent := t.opts.sentForToken(req)
	resp, err := roundtrip.Send(t.opts.client.Transport, req) //nolint:bodyclose // roundtrip.Body closes it
	if err != nil {
		e := &Error{Operation: opAppToken, read: true, reach: reachedUnsure, Err: sent.Cause(causeOf(ctx, err))}
		if roundtrip.NotSent(err) {
			e.reach = reachedNever
		}
		return tokens.Pair{}, e
	}
	header := sent.Header(resp.Header)
	body, err := roundtrip.Body(resp, maxBody, maxErrorBody)
	if err != nil {
		return tokens.Pair{}, &Error{
			Operation: opAppToken, StatusCode: resp.StatusCode, read: true, reach: reachedUnsure, Err: sent.Cause(causeOf(ctx, err)),
		}
	}
	if resp.StatusCode != http.StatusOK || isTokenError(body) { // otherwise the token is what the answer is for
		body = sent.JSON(body)
	}
	return t.decodeAppToken(&answer{status: resp.StatusCode, header: header, body: body, at: t.opts.now()})
}

func (t *tokenEndpoints) decodeAppToken(answer *answer) (tokens.Pair, error) {
	if answer.status != http.StatusOK || isTokenError(answer.body) {
		e := decodeError(opAppToken, answer.status, answer.header, answer.body, answer.at)
		e = withoutSecret(e, t.secrets().apiClientSecret)
		if e.Code == "invalid_client" {
			e.Description = "look at Config.APIClientID and Config.APIClientSecret; the legacy credentials of API v2.0 are not taken here"
		}
		if e.isApplicationLimit() {
			return tokens.Pair{}, t.pause.begin(opAppToken, e)
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
	now := t.opts.now()
	return tokens.Pair{AccessToken: string(body.AccessToken), Obtained: now, Expires: now.Add(life)}, nil
}

// withoutSecret returns an error of a token endpoint without the texts that could
// repeat the credentials.
func withoutSecret(e *Error, secret string) *Error {
	safe := &Error{
		Operation: e.Operation, StatusCode: e.StatusCode, Type: e.Type, Code: e.Code,
		RequestID: e.RequestID, RetryAfter: e.RetryAfter, read: true,
	}
	for _, text := range []*string{&safe.Type, &safe.Code, &safe.RequestID} {
		if strings.Contains(*text, secret) {
			*text = ""
		}
	}
	return safe
}

func (t *tokenEndpoints) newTokenRequest(ctx context.Context) (*http.Request, error) {
	form := url.Values{
		"grant_type": {"client_credentials"}, "client_id": {t.apiClientID}, "client_secret": {t.secrets().apiClientSecret},
	}
	target := t.opts.origins.IAM.JoinPath("oauth2/token").String()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, target, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "application/json")
	req.Header["User-Agent"] = t.opts.userAgent
	return req, nil
}

// tokenTransport is what x/oauth2 sends through.
type tokenTransport struct{ o *options }

var _ http.RoundTripper = tokenTransport{}

func (t tokenTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	req = req.Clone(req.Context())
	req.Header["User-Agent"] = t.o.userAgent
	sent := t.o.sentForToken(req)
	resp, err := roundtrip.Send(t.o.client.Transport, req)
	if err != nil {
		return nil, sent.Cause(err)
	}
	resp.Header = sent.Header(resp.Header).Clone()
	if resp.Header.Get("Content-Type") == "" {
		resp.Header.Set("Content-Type", "application/json") // x/oauth2 would guess a form
	}
	body, err := roundtrip.Body(resp, maxErrorBody, maxErrorBody)
	switch {
	case err != nil && !errors.Is(err, roundtrip.ErrTooLarge): // of which what is read is no JSON
		err = sent.Cause(err)
	case resp.StatusCode >= 300:
		body, err = sent.JSON(body), nil
	default:
		resp.Header.Set("Content-Type", "application/json")
		body, err = plainToken(body, &sent), nil
	}
	resp.Body, resp.ContentLength = io.NopCloser(io.MultiReader(bytes.NewReader(body), brokenOff{err})), -1
	return resp, nil
}

// newTokenClient returns the client that x/oauth2 uses: the caller's transport,
// no redirects, and a bound on the body and on the time.
func newTokenClient(o *options) *http.Client {
	return &http.Client{
		Transport:     tokenTransport{o},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// plainToken writes the answer of a token endpoint as x/oauth2 can read it: texts are
// texts, and a lifetime such as 7200.0 or "7.2e3" is 7200. A lifetime that is no number
// is left out. An error, and what is no JSON object, stays as it is but for the secrets
// that were sent.
func plainToken(body []byte, sent *echo.Echo) []byte {
	if isTokenError(body) {
		return sent.JSON(body)
	}
	fields, err := decodeObject[struct {
		AccessToken  lenient.String `json:"access_token"`
		TokenType    lenient.String `json:"token_type"`
		RefreshToken lenient.String `json:"refresh_token"`
		ExpiresIn    lenient.Float  `json:"expires_in"`
	}](body)
	if err != nil {
		return body
	}
	token := struct {
		AccessToken  lenient.String `json:"access_token"`
		TokenType    lenient.String `json:"token_type,omitempty"`
		RefreshToken lenient.String `json:"refresh_token,omitempty"`
		ExpiresIn    int64          `json:"expires_in,omitempty"`
	}{fields.AccessToken, fields.TokenType, fields.RefreshToken, 0}
	if s := fields.ExpiresIn.Value; s != nil && *s >= 1 && *s < math.MaxInt32 {
		token.ExpiresIn = int64(*s)
	}
	plain, err := json.Marshal(token)
	if err != nil {
		return body
	}
	return plain
}

// isTokenError reports whether the answer of a token endpoint is one of its errors and
// brings no token, whatever its status says.
func isTokenError(body []byte) bool {
	v, _ := lenient.Parse(body)
	var problem, token lenient.Value
	v.Read(lenient.Field{Name: "error", To: &problem}, lenient.Field{Name: "access_token", To: &token})
	return problem.HasText() && !token.HasText()
}

// brokenOff ends a body with the error with which the original one ended.
type brokenOff struct{ err error }

func (b brokenOff) Read([]byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	return 0, io.EOF
}

// sentForToken are the secrets of a request to a token endpoint.
func (o *options) sentForToken(req *http.Request) (e echo.Echo) {
	if kind, sent, _ := strings.Cut(req.Header.Get("Authorization"), " "); kind == "Basic" {
		pair, _ := base64.StdEncoding.DecodeString(sent)
		_, secret, _ := strings.Cut(string(pair), ":")
		plain, _ := url.QueryUnescape(secret)
		for _, form := range []string{sent, secret, plain} {
			e.Add(form)
		}
	}
	if req.GetBody == nil {
		return e
	}
	body, err := req.GetBody()
	if err != nil {
		return e
	}
	text, _ := io.ReadAll(body)
	form, _ := url.ParseQuery(string(text))
	for _, name := range []string{"code", "refresh_token", "client_secret"} {
		e.Add(form.Get(name))
	}
	return e
}
