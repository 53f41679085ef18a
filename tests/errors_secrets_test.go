package smartcar_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
	"github.com/stretchr/testify/require"
)

// parrot answers every request with an error whose texts all repeat what was sent.
type parrot struct {
	next   http.RoundTripper
	mu     sync.Mutex
	heard  map[string]bool                          // every secret that was ever sent
	answer func(path, echo string) (int, string)    // nil, or an empty body: next answers
	spell  func(secret string) string               // as the text of a JSON document
	fail   func(path string, echo string) (e error) // in place of an answer
}

func (p *parrot) RoundTrip(r *http.Request) (*http.Response, error) {
	var body []byte
	if r.Body != nil {
		body, _ = io.ReadAll(r.Body)
		_ = r.Body.Close()
		r = r.Clone(r.Context())
		r.Body = io.NopCloser(bytes.NewReader(body))
	}
	sent := secretsIn(r.Header, string(body))
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range sent {
		p.heard[s] = true
	}
	plain := "you sent " + strings.Join(sent, " and ")
	if p.fail != nil {
		if err := p.fail(r.URL.Path, plain); err != nil {
			return nil, err
		}
	}
	if p.answer != nil {
		if status, text := p.answer(r.URL.Path, p.spell(plain)); text != "" {
			return &http.Response{
				StatusCode: status, Body: io.NopCloser(strings.NewReader(text)), ContentLength: -1,
				Header: http.Header{"Content-Type": {"application/json"}, "Sc-Request-Id": {plain}},
			}, nil
		}
	}
	return p.next.RoundTrip(r)
}

// secretsIn are the credentials of a request.
func secretsIn(header http.Header, body string) (list []string) {
	kind, credential, _ := strings.Cut(header.Get("Authorization"), " ")
	list = append(list, credential)
	if kind == "Basic" {
		pair, _ := base64.StdEncoding.DecodeString(credential)
		_, secret, _ := strings.Cut(string(pair), ":")
		list = append(list, secret)
	}
	form, _ := url.ParseQuery(body)
	var object map[string]any
	_ = json.Unmarshal([]byte(body), &object)
	for _, name := range []string{"code", "refresh_token", "client_secret"} {
		value, _ := object[name].(string)
		list = append(list, form.Get(name), value, url.QueryEscape(form.Get(name)))
	}
	return slices.DeleteFunc(list, func(s string) bool { return s == "" })
}

func (p *parrot) secrets() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Sorted(maps.Keys(p.heard))
}

func (p *parrot) set(answer func(path, echo string) (int, string)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answer = answer
}

// The ways in which JSON can spell the same text.
var spellings19 = map[string]func(string) string{
	"as it is": func(s string) string { return s },
	"escaped": func(s string) string {
		var b strings.Builder
		for _, r := range s {
			fmt.Fprintf(&b, `\u%04x`, r)
		}
		return b.String()
	},
}

// requireUnheard looks for the secrets in everything an error shows.
func requireUnheard(t *testing.T, name string, err error, secrets []string) {
	t.Helper()
	require.Error(t, err, name)
	var logs bytes.Buffer
	slog.New(slog.NewJSONHandler(&logs, nil)).Error("failed", "err", err)
	slog.New(slog.NewTextHandler(&logs, nil)).Error("failed", slog.Any("err", err))
	shown := []string{logs.String()}
	for e := err; e != nil; e = errors.Unwrap(e) {
		shown = append(shown, e.Error())
	}
	for _, v := range []any{err, struct{ Err error }{err}} {
		text, _ := json.Marshal(v)
		shown = append(shown, string(text), fmt.Sprintf("%v %+v %#v %s %q", v, v, v, v, v))
	}
	if e, ok := errors.AsType[*smartcar.Error](err); ok {
		text, _ := json.Marshal(e)
		shown = append(shown, string(text), fmt.Sprintf("%#v %+v", *e, *e))
	}
	for _, text := range shown {
		for _, secret := range secrets {
			require.NotContains(t, text, secret, name)
		}
	}
}

// everyField is an error of every shape at once.
func everyField(echo string) string {
	return `"type":"VEHICLE_STATE","code":"X ` + echo + `","description":"` + echo + `","title":"` + echo + `","message":"` + echo +
		`","docURL":"https://x/` + echo + `","requestId":"` + echo + `","suggestedUserMessage":"` + echo +
		`","resolution":{"type":"` + echo + `","url":"https://x/` + echo + `"},"links":{"about":"` + echo +
		`"},"detail":[{"field":["` + echo + `"],"message":"` + echo + `"}]`
}

func newParrot(sim *smartcartest.Server, spell func(string) string) *parrot {
	return &parrot{next: sim.Transport(), heard: map[string]bool{}, spell: spell}
}

// operations19 are calls to every endpoint, by name.
func operations19(t *testing.T, client *smartcar.Client, v *smartcar.Vehicle) map[string]func() error {
	t.Helper()
	ctx := t.Context()
	first := func(yieldErr func(yield func(error) bool)) (err error) {
		yieldErr(func(e error) bool { err = e; return false })
		return err
	}
	return map[string]func() error{
		"read":    func() error { _, err := v.Odometer(ctx); return err },
		"command": func() error { _, err := v.Lock(ctx); return err },
		"raw":     func() error { _, err := v.Request(ctx, smartcar.Request{Path: "tesla/status"}); return err },
		"attributes": func() error {
			_, err := v.Attributes(ctx)
			return err
		},
		"snapshot": func() error {
			s, err := v.Snapshot(ctx, smartcar.Battery, smartcar.Odometer)
			if err != nil {
				return err
			}
			_, err = s.Battery()
			return err
		},
		"vehicles": func() error {
			return first(func(yield func(error) bool) {
				for _, err := range client.User("somebody-else").Vehicles(ctx) {
					yield(err)
					return
				}
			})
		},
		"connections": func() error {
			return first(func(yield func(error) bool) {
				for _, err := range client.Connections(ctx, smartcar.ConnectionFilter{}) {
					yield(err)
					return
				}
			})
		},
		"subscribe": func() error { return v.Subscribe(ctx, "webhook") },
	}
}

// Case 19, on the endpoints of both APIs, in every field of an error and whatever
// way it is wrapped.
func TestSecretsThatAreSentBackAreStruckOut(t *testing.T) {
	t.Parallel()
	shapes := map[string]func(path, echo string) (int, string){
		"flat":     func(_, echo string) (int, string) { return 409, "{" + everyField(echo) + "}" },
		"errors[]": func(_, echo string) (int, string) { return 409, `{"errors":[{` + everyField(echo) + `}]}` },
		"error":    func(_, echo string) (int, string) { return 409, `{"error":{` + everyField(echo) + `}}` },
		"OAuth": func(_, echo string) (int, string) {
			return 400, `{"error":"` + echo + `","error_description":"` + echo + `"}`
		},
		"detail, a text":  func(_, echo string) (int, string) { return 409, `{"errors":[{"code":"X","detail":"` + echo + `"}]}` },
		"status of a 200": func(_, echo string) (int, string) { return 200, `{"errors":[{` + everyField(echo) + `}]}` },
		"a page":          func(_, echo string) (int, string) { return 502, "<html>" + echo + "</html>" },
		"a 401": func(_, echo string) (int, string) {
			return 401, `{"type":"AUTHENTICATION","description":"` + echo + `"}`
		},
	}
	for _, api := range []smartcar.API{smartcar.V2, smartcar.V3} {
		for spelled, spell := range spellings19 {
			for shape, answer := range shapes {
				t.Run(fmt.Sprintf("%s %s %s", api, spelled, shape), func(t *testing.T) {
					t.Parallel()
					sim := smartcartest.New()
					echo := newParrot(sim, spell)
					var logs bytes.Buffer
					logger := slog.New(slog.NewTextHandler(&logs, &slog.HandlerOptions{Level: slog.LevelDebug}))
					client := borderClient(t, sim, api, echo, onceOnly(), smartcar.WithLogger(logger))
					grant, err := borderConnect(t, sim, client)
					require.NoError(t, err)
					v := client.User(grant.UserID).Vehicle(smartcartest.Model3)
					_, err = v.Battery(t.Context())
					require.NoError(t, err)
					echo.set(func(path, echo string) (int, string) {
						if strings.Contains(path, "/token") {
							return 0, ""
						}
						return answer(path, echo)
					})
					for name, operation := range operations19(t, client, v) {
						err := operation()
						if err == nil && (shape == "status of a 200" || api == smartcar.V3 && name == "subscribe") {
							continue // 409 there says that it is subscribed
						}
						requireUnheard(t, name, err, echo.secrets())
					}
					for _, secret := range echo.secrets() {
						require.NotContains(t, logs.String(), secret)
					}
				})
			}
		}
	}
}

// The token endpoints are sent the most: codes, refresh tokens, the secrets of the
// application.
func TestSecretsThatATokenEndpointSendsBackAreStruckOut(t *testing.T) {
	t.Parallel()
	shapes := map[string]func(path, echo string) (int, string){
		"OAuth": func(_, echo string) (int, string) {
			return 400, `{"error":"` + echo + `","error_description":"` + echo + `"}`
		},
		"flat": func(_, echo string) (int, string) { return 400, "{" + everyField(echo) + "}" },
		"typed": func(_, echo string) (int, string) {
			return 500, `{"error":"server_error","docURL":"` + echo + `","code":"` + echo + `"}`
		},
		"OAuth in a 200": func(_, echo string) (int, string) {
			return 200, `{"error":"` + echo + `","error_description":"` + echo + `"}`
		},
		"short error in a 200": func(string, string) (int, string) { return 200, `{"error":"invalid_grant"}` },
		"a page":               func(_, echo string) (int, string) { return 503, echo },
		"no JSON":              func(_, echo string) (int, string) { return 200, echo },
		"a list":               func(_, echo string) (int, string) { return 200, `["` + echo + `"]` },
		"nothing":              func(_, echo string) (int, string) { return 200, `{"token_type":"` + echo + `"}` },
	}
	for spelled, spell := range spellings19 {
		for shape, answer := range shapes {
			token := func(path, echo string) (int, string) {
				if !strings.Contains(path, "/token") {
					return 0, ""
				}
				return answer(path, echo)
			}
			t.Run("v2 "+spelled+" "+shape, func(t *testing.T) {
				t.Parallel()
				sim := smartcartest.New()
				echo := newParrot(sim, spell)
				client := borderClient(t, sim, smartcar.V2, echo, onceOnly(), smartcar.WithClock(sim.Clock()))
				grant, err := borderConnect(t, sim, client)
				require.NoError(t, err)
				echo.set(token)
				_, err = borderConnect(t, sim, client)
				requireUnheard(t, "exchange", err, echo.secrets())
				sim.Advance(3 * time.Hour)
				_, err = client.User(grant.UserID).Vehicle(smartcartest.MachE).Battery(t.Context())
				requireUnheard(t, "refresh", err, echo.secrets())
				_, err = client.ImportTokens(t.Context(), smartcar.Tokens{RefreshToken: "a-refresh-token-that-nobody-knows"})
				requireUnheard(t, "import", err, echo.secrets())
			})
			t.Run("v3 "+spelled+" "+shape, func(t *testing.T) {
				t.Parallel()
				sim := smartcartest.New()
				echo := newParrot(sim, spell)
				echo.set(token)
				client := borderClient(t, sim, smartcar.V3, echo, onceOnly(), smartcar.WithClock(sim.Clock()))
				_, err := client.User("somebody").Vehicle(smartcartest.MachE).Battery(t.Context())
				requireUnheard(t, "application token", err, echo.secrets())
			})
		}
	}
}

// What is an error inside a success: an item of a batch, a signal, a command.
func TestSecretsInsideSuccessesAreStruckOut(t *testing.T) {
	t.Parallel()
	for spelled, spell := range spellings19 {
		t.Run("v2 "+spelled, func(t *testing.T) {
			t.Parallel()
			sim := smartcartest.New()
			echo := newParrot(sim, spell)
			client := borderClient(t, sim, smartcar.V2, echo, onceOnly())
			grant, err := borderConnect(t, sim, client)
			require.NoError(t, err)
			echo.set(func(path, echo string) (int, string) {
				if !strings.HasSuffix(path, "/batch") {
					return 0, ""
				}
				return 200, `{"responses":[{"path":"/battery","code":409,"headers":{"sc-request-id":"` + echo + `"},"body":{` + everyField(echo) + `}},
					{"path":"/odometer","code":200,"body":"` + echo + `"}]}`
			})
			s, err := client.User(grant.UserID).Vehicle(smartcartest.Model3).Snapshot(t.Context(), smartcar.Battery, smartcar.Odometer, smartcar.Fuel)
			require.NoError(t, err)
			_, battery := s.Battery()
			_, odometer := s.Odometer()
			_, fuel := s.Fuel()
			require.Equal(t, "VEHICLE_STATE", borderError(t, battery).Type)
			for name, err := range map[string]error{"battery": battery, "odometer": odometer, "fuel": fuel} {
				requireUnheard(t, name, err, echo.secrets())
			}
		})
		t.Run("v3 "+spelled, func(t *testing.T) {
			t.Parallel()
			sim := smartcartest.New()
			echo := newParrot(sim, spell)
			client := borderClient(t, sim, smartcar.V3, echo, onceOnly())
			grant, err := borderConnect(t, sim, client)
			require.NoError(t, err)
			echo.set(func(path, echo string) (int, string) {
				status := `"status":{"value":"ERROR","error":{` + everyField(echo) + `}}`
				switch {
				case strings.HasSuffix(path, "/signals"):
					return 200, `{"data":[{"id":"odometer-traveleddistance","attributes":{"code":"odometer-traveleddistance",` + status + `}},
						{"id":"tractionbattery-stateofcharge","attributes":{"code":"tractionbattery-stateofcharge","status":{"value":"` + echo + `"},"body":{"value":5}}}]}`
				case strings.Contains(path, "/commands/"):
					return 202, `{"data":{"attributes":{` + status + `}}}`
				}
				return 0, ""
			})
			v := client.User(grant.UserID).Vehicle(smartcartest.Model3)
			_, odometer := v.Odometer(t.Context())
			_, lock := v.Lock(t.Context())
			all, err := v.Signals(t.Context())
			require.NoError(t, err)
			_, signal := all.OdometerTraveledDistance()
			_, charge := all.TractionBatteryStateOfCharge()
			for name, err := range map[string]error{"odometer": odometer, "lock": lock, "signal": signal, "charge": charge} {
				requireUnheard(t, name, err, echo.secrets())
			}
		})
	}
}

// silentError is the error of a transport that says little and holds much.
type silentError struct {
	Sent   string
	hidden string
	inner  error
}

func (silentError) Error() string   { return "the transport failed" }
func (s silentError) Unwrap() error { return s.inner }

// net/http quotes what it cannot read; other transports keep what they were given.
func TestSecretsThatAnErrorOfTheTransportQuotesAreStruckOut(t *testing.T) {
	t.Parallel()
	errs := map[string]struct {
		fail func(echo string) error
		says string
	}{
		"its text":         {func(s string) error { return fmt.Errorf("malformed HTTP response %q", s) }, "[secret]"},
		"the text inside":  {func(s string) error { return silentError{inner: errors.Join(io.EOF, errors.New(s))} }, "the transport failed"},
		"its fields":       {func(s string) error { return &silentError{Sent: s} }, "the transport failed"},
		"its small fields": {func(s string) error { return silentError{hidden: s} }, "the transport failed"},
		"an address": {func(s string) error {
			return &url.Error{Op: "Get", URL: "https://x/?" + strings.ToLower(url.QueryEscape(s)), Err: io.EOF}
		}, "EOF"},
	}
	for _, api := range []smartcar.API{smartcar.V2, smartcar.V3} {
		for _, part := range []string{"/vehicles/", "/token"} {
			for name, tt := range errs {
				sim := smartcartest.New()
				echo := newParrot(sim, spellings19["as it is"])
				client := borderClient(t, sim, api, echo, onceOnly(), smartcar.WithClock(sim.Clock()))
				grant, err := borderConnect(t, sim, client)
				require.NoError(t, err)
				sim.Advance(3 * time.Hour)
				echo.mu.Lock()
				echo.fail = func(path, echo string) error {
					if strings.Contains(path, part) {
						return tt.fail(echo)
					}
					return nil
				}
				echo.mu.Unlock()
				_, err = client.User(grant.UserID).Vehicle(smartcartest.MachE).Battery(t.Context())
				requireUnheard(t, string(api)+part+name, err, echo.secrets())
				require.ErrorContains(t, err, tt.says)
			}
		}
	}
}

// What comes through the owner's browser may repeat the state that it brings.
func TestStateInAnErrorOfConnectIsStruckOut(t *testing.T) {
	t.Parallel()
	const state = "2VYQXNNFEAE32PFKQNFCB6OXGQ"
	for _, echo := range []string{state, "x" + state + "y", "%32" + state[1:]} {
		callback, err := smartcar.ParseCallback(url.Values{
			"state": {state}, "error": {"access_denied"}, "error_description": {"denied " + echo}, "error_message": {echo},
		})
		require.NoError(t, err)
		require.NoError(t, callback.VerifyState(state))
		require.ErrorIs(t, callback.Err, smartcar.ErrAccessDenied)
		requireUnheard(t, echo, callback.Err, []string{state, echo})
	}
}

// An event's errors are those of a request, and may quote what a request may.
func TestSecretsInAnEventAreStruckOut(t *testing.T) {
	t.Parallel()
	const rotated = "the-management-token-before"
	for spelled, spell := range spellings19 {
		sim := smartcartest.New()
		client := newClient(t, sim)
		secrets := []string{sim.ManagementToken(), rotated, sim.ClientSecret()}
		var event *smartcar.WebhookEvent
		receiver, err := client.WebhookReceiver(smartcar.WebhookOptions{Secrets: secrets[:2]}, func(_ context.Context, e *smartcar.WebhookEvent) error {
			event = e
			return nil
		})
		require.NoError(t, err)
		body := []byte(`{"eventId":"e","eventType":"VEHICLE_ERROR","data":{"errors":[{"state":"ERROR",` + everyField(spell(strings.Join(secrets, " and "))) + `}]}}`)
		status, _, err := receiver.Receive(t.Context(), http.Header{"Sc-Signature": {webhookSignature(rotated, body)}}, body)
		require.NoError(t, err)
		require.Equal(t, http.StatusOK, status)
		require.Len(t, event.Errors, 1)
		require.Equal(t, "VEHICLE_STATE", event.Errors[0].Err.Type)
		requireUnheard(t, spelled, event.Errors[0].Err, secrets)
		require.Equal(t, body, event.Raw(), "it stays as it came")
		require.NotContains(t, fmt.Sprintf("%#v", receiver)+fmt.Sprintf("%+v", *receiver), rotated)
	}
}

// A short secret, as tests have, does not spoil the words that contain it, and
// what is not an error stays as it was sent.
func TestStrikingOutSpoilsNothing(t *testing.T) {
	t.Parallel()
	const api = "https://api.smartcar.com/v2.0"
	answers := map[string]string{
		api + "/user":                             `{"id":"user-1"}`,
		api + "/vehicles/car-1":                   `{"id":"car-1","make":"FORD","model":"access \"T\" Mustang","year":2020}`,
		api + "/vehicles/car-1/tesla/user/access": `{"accessType":"owner","permissions":["read_access"]}`,
	}
	transport := roundTripFunc(func(r *http.Request) (*http.Response, error) {
		status, body := 200, answers[r.URL.String()]
		if body == "" {
			status, body = 403, `{"type":"PERMISSION","code":"access","description":"inaccessible: no access, access_denied, accessible"}`
		}
		return &http.Response{StatusCode: status, Body: io.NopCloser(strings.NewReader(body)), ContentLength: -1, Header: http.Header{}}, nil
	})
	client, err := smartcar.New(smartcar.Config{
		ClientID: "id", ClientSecret: "s", RedirectURL: "https://example.com/callback",
	}, smartcar.WithHTTPClient(&http.Client{Transport: transport}))
	require.NoError(t, err)
	grant, err := client.ImportTokens(t.Context(), smartcar.Tokens{AccessToken: "access", RefreshToken: "refresh", Expires: time.Now().Add(time.Hour)})
	require.NoError(t, err)
	v := client.User(grant.UserID).Vehicle("car-1")
	who, err := v.TeslaUserAccess(t.Context())
	require.NoError(t, err)
	require.Equal(t, "OWNER", who.AccessType)
	require.Equal(t, []string{"read_access"}, who.Permissions)
	_, err = v.Battery(t.Context())
	require.ErrorIs(t, err, smartcar.ErrPermission)
	require.Equal(t, "inaccessible: no [secret], access_denied, accessible", borderError(t, err).Description)
}

func borderError(t *testing.T, err error) *smartcar.Error {
	t.Helper()
	e, ok := errors.AsType[*smartcar.Error](err)
	require.True(t, ok, "%v", err)
	return e
}

type roundTripFunc func(*http.Request) (*http.Response, error)

func (f roundTripFunc) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
