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

// api is a client of one simulator, with plain net/http. Its requests carry
// token, units and user.
type api struct {
	t      *testing.T
	sim    *smartcartest.Server
	http   *http.Client
	origin string
	token  string
	units  string
	user   string // sc-user-id
}

// newAPI is a client over the in-memory transport that has not been through
// Connect.
func newAPI(t *testing.T, opts ...smartcartest.Option) *api {
	t.Helper()
	sim := smartcartest.New(opts...)
	return &api{t: t, sim: sim, origin: "https://api.smartcar.com", http: &http.Client{
		Transport:     sim.Transport(),
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// connected is a client that has been through Connect and holds a user token.
func connected(t *testing.T, opts ...smartcartest.Option) *api {
	t.Helper()
	a := newAPI(t, opts...)
	a.login(url.Values{"decision": {"grant"}})
	return a
}

// everywhere runs a test over the in-memory transport and over loopback.
func everywhere(t *testing.T, test func(t *testing.T, a *api)) {
	t.Run("transport", func(t *testing.T) { test(t, connected(t, stopped())) })
	t.Run("loopback", func(t *testing.T) {
		a := connected(t, stopped())
		origin, stop, err := a.sim.Start()
		require.NoError(t, err)
		t.Cleanup(stop)
		// Fresh connections: net/http repeats a GET on a kept one by itself.
		a.origin, a.http = origin, &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		a.get("/v2.0/user").ok(nil)
		test(t, a)
	})
}

// v3 is a client that has been through Connect and holds an application token.
// Its requests name the default owner. Only Advance moves the clock.
func v3(t *testing.T, opts ...smartcartest.Option) *api {
	t.Helper()
	a := connected(t, append([]smartcartest.Option{stopped()}, opts...)...)
	form := url.Values{"grant_type": {"client_credentials"}, "client_id": {a.sim.APIClientID()}, "client_secret": {a.sim.APIClientSecret()}}
	var p pair
	a.appToken(formType, form.Encode()).ok(&p)
	a.token, a.user = p.Access, a.sim.UserID()
	return a
}

// stopped is a clock that only Advance moves.
func stopped() smartcartest.Option {
	at := time.Date(2026, time.November, 23, 12, 0, 30, 0, time.UTC)
	return smartcartest.WithClock(func() time.Time { return at })
}

// login goes through Connect with a form, and keeps the access token.
func (a *api) login(form url.Values) (refresh string) {
	a.t.Helper()
	back := a.answer(a.authorize(nil), form)
	require.NotEmpty(a.t, back.Get("code"))
	var pair pair
	a.grant(url.Values{"grant_type": {"authorization_code"}, "code": {back.Get("code")}}).ok(&pair)
	a.token = pair.Access
	return pair.Refresh
}

// authorize is the URL of Connect, with more or other parameters.
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

// grant posts a form to the token endpoint of v2.0.
func (a *api) grant(form url.Values) answer {
	a.t.Helper()
	req, err := http.NewRequest(http.MethodPost, "https://auth.smartcar.com/oauth/token", strings.NewReader(form.Encode()))
	require.NoError(a.t, err)
	req.SetBasicAuth(a.sim.ClientID(), a.sim.ClientSecret())
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return a.do(req)
}

// pair is the answer of a token endpoint.
type pair struct {
	Access  string `json:"access_token"`
	Refresh string `json:"refresh_token"`
	Type    string `json:"token_type"`
	Expires int    `json:"expires_in"`
}

// renew uses a refresh token.
func (a *api) renew(refresh string) answer {
	a.t.Helper()
	return a.grant(url.Values{"grant_type": {"refresh_token"}, "refresh_token": {refresh}})
}

// appToken posts a body of some type to the token endpoint of v3.
func (a *api) appToken(contentType, body string) answer {
	a.t.Helper()
	req, err := http.NewRequest(http.MethodPost, "https://iam.smartcar.com/oauth2/token", strings.NewReader(body))
	require.NoError(a.t, err)
	req.Header.Set("Content-Type", contentType)
	return a.do(req)
}

const formType = "application/x-www-form-urlencoded"

const modelY = smartcartest.ModelY

// car is a path of API v2.0 below a car.
func car(id, path string) string { return "/v2.0/vehicles/" + id + path }

// v3car is a path of API v3 below a car.
func v3car(id, path string) string { return "/v3/vehicles/" + id + path }

func (a *api) get(path string) answer { a.t.Helper(); return a.call(http.MethodGet, path, "") }

func (a *api) post(path, body string) answer {
	a.t.Helper()
	return a.call(http.MethodPost, path, body)
}

// call sends a request that has to get an answer, whatever it says.
func (a *api) call(method, path, body string) answer {
	a.t.Helper()
	res, err := a.http.Do(a.request(method, path, body))
	require.NoError(a.t, err)
	return a.read(res)
}

// try sends a request that may fail below HTTP.
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

// answer is what came back, its body read.
type answer struct {
	t      *testing.T
	status int
	header http.Header
	body   []byte
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

// failure is an error of API v2.0.
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

// fails requires an error of API v2.0. An empty code stands for null.
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

// fails3 requires an error of API v3. An empty code stands for null.
func (r answer) fails3(status int, typ, code string) map[string]any {
	r.t.Helper()
	require.Equal(r.t, status, r.status, "%s", r.body)
	var body struct{ Errors []map[string]any }
	require.NoError(r.t, json.Unmarshal(r.body, &body))
	require.Len(r.t, body.Errors, 1)
	e := body.Errors[0]
	require.Equal(r.t, typ, e["type"])
	if code == "" {
		require.Nil(r.t, e["code"])
	} else {
		require.Equal(r.t, code, e["code"])
	}
	require.IsType(r.t, "", e["status"])
	require.NotEmpty(r.t, e["title"])
	require.NotEmpty(r.t, e["detail"])
	return e
}

// oauth requires an error of a token endpoint.
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

// time reads a header that holds a time.
func (r answer) time(header string) time.Time {
	r.t.Helper()
	at, err := time.Parse("2006-01-02T15:04:05.000Z", r.header.Get(header))
	require.NoError(r.t, err)
	return at
}

// refreshed is a new access token from a new Connect.
func refreshed(a *api) string {
	a.t.Helper()
	a.login(url.Values{"decision": {"grant"}})
	return a.token
}

// locked reads whether the doors of a car are locked.
func locked(a *api, id string) bool {
	a.t.Helper()
	var got struct{ IsLocked *bool }
	a.get(car(id, "/security")).ok(&got)
	require.NotNil(a.t, got.IsLocked)
	return *got.IsLocked
}

// signal is a signal of API v3.
type signal struct {
	ID, Type   string
	Attributes struct {
		Code, Name, Group string
		Status            struct {
			Value string
			Error struct {
				Type string
				Code *string
			}
		}
		Body map[string]any
	}
	Meta struct{ OEMUpdatedAt, RetrievedAt, IngestedAt time.Time }
}

// signalsOf reads all signals of a car, by code.
func signalsOf(a *api, id string) map[string]signal {
	a.t.Helper()
	var got struct {
		Data []signal
		Meta struct{ TotalCount int }
	}
	a.get(v3car(id, "/signals")).ok(&got)
	require.Len(a.t, got.Data, got.Meta.TotalCount)
	byCode := map[string]signal{}
	for _, s := range got.Data {
		byCode[s.ID] = s
	}
	return byCode
}

// execution is the answer to a command of API v3.
type execution struct {
	Data struct {
		ID, Type   string
		Attributes struct {
			CommandType, ExecutionMode, Action, ScheduleType, ScheduleID string

			Status     struct{ Value string }
			Parameters map[string]any
		}
		Links struct{ Schedule string }
		Meta  struct {
			ExecutedAt, CompletedAt time.Time
			DurationInSeconds       int
		}
	}
}
