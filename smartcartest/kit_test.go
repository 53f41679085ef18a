package smartcartest_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seed-498a1bc4/smartcar/smartcartest"
)

// api speaks to a simulator with plain net/http.
type api struct {
	t      *testing.T
	sim    *smartcartest.Server
	http   *http.Client
	origin string
	token  string
	units  string
	user   string // sc-user-id
}

type answer struct {
	t      *testing.T
	status int
	header http.Header
	body   []byte
}

// newAPI is a client over the in-memory transport, not yet connected.
func newAPI(t *testing.T, opts ...smartcartest.Option) *api {
	t.Helper()
	sim := smartcartest.New(opts...)
	return &api{t: t, sim: sim, origin: "https://api.smartcar.com", http: &http.Client{
		Transport:     sim.Transport(),
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// connected has gone through Connect and holds an access token.
func connected(t *testing.T, opts ...smartcartest.Option) *api {
	t.Helper()
	a := newAPI(t, opts...)
	a.login(url.Values{"decision": {"grant"}})
	return a
}

func (a *api) login(form url.Values) (refresh string) {
	a.t.Helper()
	back := a.answer(a.authorize(nil), form)
	require.NotEmpty(a.t, back.Get("code"))
	var pair pair
	a.grant(url.Values{"grant_type": {"authorization_code"}, "code": {back.Get("code")}}).ok(&pair)
	a.token = pair.Access
	return pair.Refresh
}

type pair struct {
	Access  string `json:"access_token"`
	Refresh string `json:"refresh_token"`
	Type    string `json:"token_type"`
	Expires int    `json:"expires_in"`
}

func (a *api) authorize(add url.Values) string {
	q := url.Values{"response_type": {"code"}, "client_id": {a.sim.ClientID()}}
	for name, values := range add {
		q[name] = values
	}
	return "https://connect.smartcar.com/oauth/authorize?" + q.Encode()
}

// answer answers the Connect page and reads the redirect.
func (a *api) answer(page string, form url.Values) url.Values {
	a.t.Helper()
	location, err := a.sim.AnswerConnect(page, form)
	require.NoError(a.t, err)
	u, err := url.Parse(location)
	require.NoError(a.t, err)
	return u.Query()
}

// grant is a request at the token endpoint.
func (a *api) grant(form url.Values) answer {
	a.t.Helper()
	req, err := http.NewRequest(http.MethodPost, "https://auth.smartcar.com/oauth/token", strings.NewReader(form.Encode()))
	require.NoError(a.t, err)
	req.SetBasicAuth(a.sim.ClientID(), a.sim.ClientSecret())
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return a.do(req)
}

func (a *api) renew(refresh string) answer {
	a.t.Helper()
	return a.grant(url.Values{"grant_type": {"refresh_token"}, "refresh_token": {refresh}})
}

func (a *api) get(path string) answer { a.t.Helper(); return a.call(http.MethodGet, path, "") }

func (a *api) post(path, body string) answer {
	a.t.Helper()
	return a.call(http.MethodPost, path, body)
}

// car is the path of an endpoint of a car.
func car(id, path string) string { return "/v2.0/vehicles/" + id + path }

func (a *api) call(method, path, body string) answer {
	a.t.Helper()
	res, err := a.http.Do(a.request(method, path, body))
	require.NoError(a.t, err)
	return a.read(res)
}

// try is call for requests that may fail below HTTP.
func (a *api) try(method, path, body string) (answer, error) {
	a.t.Helper()
	res, err := a.http.Do(a.request(method, path, body))
	if err != nil {
		return answer{}, err
	}
	return a.read(res), nil
}

func (a *api) request(method, path, body string) *http.Request {
	a.t.Helper()
	req, err := http.NewRequest(method, a.origin+path, strings.NewReader(body))
	require.NoError(a.t, err)
	if a.token != "" {
		req.Header.Set("Authorization", "Bearer "+a.token)
	}
	if a.units != "" {
		req.Header.Set("SC-Unit-System", a.units)
	}
	if a.user != "" {
		req.Header.Set("sc-user-id", a.user)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	return req
}

func (a *api) do(req *http.Request) answer {
	a.t.Helper()
	res, err := a.http.Do(req)
	require.NoError(a.t, err)
	return a.read(res)
}

func (a *api) read(res *http.Response) answer {
	a.t.Helper()
	body, err := io.ReadAll(res.Body)
	require.NoError(a.t, err)
	require.NoError(a.t, res.Body.Close())
	return answer{a.t, res.StatusCode, res.Header, body}
}

// ok requires a 200 and decodes it.
func (r answer) ok(into any) answer {
	r.t.Helper()
	require.Equal(r.t, http.StatusOK, r.status, "%s", r.body)
	if into != nil {
		d := json.NewDecoder(bytes.NewReader(r.body))
		require.NoError(r.t, d.Decode(into), "%s", r.body)
	}
	return r
}

type failure struct {
	Type       string  `json:"type"`
	Code       *string `json:"code"`
	Status     int     `json:"statusCode"`
	RequestID  string  `json:"requestId"`
	DocURL     string  `json:"docURL"`
	Resolution struct {
		Type *string `json:"type"`
		URL  string  `json:"url"`
	} `json:"resolution"`
	Detail []struct {
		Field   []string `json:"field"`
		Message string   `json:"message"`
	} `json:"detail"`
}

// fails requires a v2 error; code "" is null.
func (r answer) fails(status int, typ, code string) failure {
	r.t.Helper()
	require.Equal(r.t, status, r.status, "%s", r.body)
	var f failure
	require.NoError(r.t, json.Unmarshal(r.body, &f), "%s", r.body)
	require.Equal(r.t, typ, f.Type)
	if code == "" {
		require.Nil(r.t, f.Code)
	} else {
		require.NotNil(r.t, f.Code)
		require.Equal(r.t, code, *f.Code)
	}
	require.Equal(r.t, status, f.Status)
	require.Equal(r.t, r.header.Get("SC-Request-Id"), f.RequestID)
	require.NotEmpty(r.t, f.RequestID)
	require.NotEmpty(r.t, f.DocURL)
	return f
}

// oauth requires an OAuth error.
func (r answer) oauth(status int, code string) {
	r.t.Helper()
	require.Equal(r.t, status, r.status, "%s", r.body)
	var f struct {
		Error       string `json:"error"`
		Description string `json:"error_description"`
	}
	require.NoError(r.t, json.Unmarshal(r.body, &f))
	require.Equal(r.t, code, f.Error)
	require.NotEmpty(r.t, f.Description)
}

func (r answer) time(header string) time.Time {
	r.t.Helper()
	at, err := time.Parse("2006-01-02T15:04:05.000Z", r.header.Get(header))
	require.NoError(r.t, err)
	return at
}

// stopped is a clock that only Advance moves.
func stopped() smartcartest.Option {
	at := time.Date(2026, time.November, 23, 12, 0, 30, 0, time.UTC)
	return smartcartest.WithClock(func() time.Time { return at })
}
