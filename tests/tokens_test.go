package smartcar_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
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
	"github.com/seed-498a1bc4/smartcar/store"
	"github.com/stretchr/testify/require"
)

const (
	accessLife = 2 * time.Hour
	tokenSkew  = time.Minute // an access token is renewed this long before its end
)

var errStoreDown = errors.New("connection refused")

// spoiledStore fails where its hooks say so; a nil hook never does. Set them
// while nobody uses the store.
type spoiledStore struct {
	store.Store
	load     func(key string) error
	before   func(key string, value []byte) error // the swap does not happen
	after    func(key string, value []byte) error // the swap happens, and nobody hears of it
	mu       sync.Mutex
	seenKeys map[string]bool
}

func newSpoiledStore() *spoiledStore {
	return &spoiledStore{Store: store.NewMemory(), seenKeys: make(map[string]bool)}
}

func (s *spoiledStore) Load(ctx context.Context, key string) (store.Record, error) {
	if s.load != nil {
		if err := s.load(key); err != nil {
			return store.Record{}, err
		}
	}
	return s.Store.Load(ctx, key)
}

func (s *spoiledStore) CompareAndSwap(ctx context.Context, key string, old store.Revision, value []byte, ttl time.Duration) (store.Record, error) {
	s.mu.Lock()
	s.seenKeys[key] = true
	s.mu.Unlock()
	if s.before != nil {
		if err := s.before(key, value); err != nil {
			return store.Record{}, err
		}
	}
	record, err := s.Store.CompareAndSwap(ctx, key, old, value, ttl)
	if err == nil && s.after != nil {
		if err := s.after(key, value); err != nil {
			return store.Record{}, err
		}
	}
	return record, err
}

// goDown makes every access fail; back undoes it.
func (s *spoiledStore) goDown() (back func()) {
	s.load = func(string) error { return errStoreDown }
	s.before = func(string, []byte) error { return errStoreDown }
	return func() { s.load, s.before = nil, nil }
}

// live lists the keys that can still be loaded, but for used Connect states.
func (s *spoiledStore) live(t *testing.T) []string {
	t.Helper()
	s.mu.Lock()
	keys := slices.Sorted(maps.Keys(s.seenKeys))
	s.mu.Unlock()
	return slices.DeleteFunc(keys, func(key string) bool {
		_, err := s.Store.Load(t.Context(), key)
		return strings.HasPrefix(key, "state/") || errors.Is(err, store.ErrNotFound)
	})
}

// tokenWatch notes what is sent to the token endpoint and with which access
// tokens the API is called. Its hook, if any, makes the request instead.
type tokenWatch struct {
	http.RoundTripper
	token func(r *http.Request) (*http.Response, error)
	mu    sync.Mutex
	forms []url.Values
	used  []string
}

func (w *tokenWatch) RoundTrip(r *http.Request) (*http.Response, error) {
	if !strings.HasSuffix(r.URL.Path, "/oauth/token") {
		w.mu.Lock()
		w.used = append(w.used, strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "))
		w.mu.Unlock()
		return w.RoundTripper.RoundTrip(r)
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, err
	}
	w.mu.Lock()
	w.forms = append(w.forms, form)
	hook := w.token
	w.mu.Unlock()
	r.Body = io.NopCloser(bytes.NewReader(body))
	if hook != nil {
		return hook(r)
	}
	return w.RoundTripper.RoundTrip(r)
}

// refreshes are the refresh tokens that were sent, in order.
func (w *tokenWatch) refreshes() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var sent []string
	for _, f := range w.forms {
		if f.Get("grant_type") == "refresh_token" {
			sent = append(sent, f.Get("refresh_token"))
		}
	}
	return sent
}

func statuses(sim *smartcartest.Server, path string) []int {
	var all []int
	for _, r := range sim.Requests() {
		if strings.HasSuffix(r.Path, path) {
			all = append(all, r.Status)
		}
	}
	return all
}

// requireNoExpiredToken: the simulator answers 401 to a token past its end.
func requireNoExpiredToken(t *testing.T, sim *smartcartest.Server) {
	t.Helper()
	for _, r := range sim.Requests() {
		require.NotEqual(t, http.StatusUnauthorized, r.Status, "%s at %v", r.Path, r.Time)
	}
}

// requireLoggedIn: the login still works now, and after the next refresh too.
func requireLoggedIn(t *testing.T, v *smartcar.Vehicle) {
	t.Helper()
	for range 3 {
		_, err := v.Odometer(t.Context())
		require.NoError(t, err)
		time.Sleep(accessLife)
	}
}

// anotherClient's pair: what an application that kept its tokens itself has.
func foreignPair(t *testing.T, sim *smartcartest.Server, client *smartcar.Client) smartcar.Tokens {
	t.Helper()
	authorizeURL, err := client.Connect().AuthorizeURL(smartcar.ConnectOptions{}, "a-state")
	require.NoError(t, err)
	callback, err := sim.Grant(authorizeURL)
	require.NoError(t, err)
	form := url.Values{
		"grant_type": {"authorization_code"}, "code": {mustParse(t, callback).Query().Get("code")}, "redirect_uri": {sim.RedirectURL()},
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://auth.smartcar.com/oauth/token", strings.NewReader(form.Encode()))
	require.NoError(t, err)
	r.SetBasicAuth(sim.ClientID(), sim.ClientSecret())
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := sim.Transport().RoundTrip(r)
	require.NoError(t, err)
	defer resp.Body.Close()
	var pair struct {
		AccessToken  string `json:"access_token"`
		RefreshToken string `json:"refresh_token"`
	}
	require.NoError(t, json.NewDecoder(resp.Body).Decode(&pair))
	require.NotEmpty(t, pair.RefreshToken)
	return smartcar.Tokens{AccessToken: pair.AccessToken, RefreshToken: pair.RefreshToken, Expires: time.Now().Add(accessLife)}
}

// connectAs walks Connect as a named owner who grants some of the cars, all if
// none is named.
func connectAs(t *testing.T, sim *smartcartest.Server, client *smartcar.Client, owner string, cars ...string) *smartcar.Grant {
	t.Helper()
	authorizeURL, cookies := begin(t, client, smartcar.ConnectOptions{})
	callback, err := sim.AnswerConnect(authorizeURL, url.Values{"decision": {"grant"}, "user": {owner}, "vehicle": cars})
	require.NoError(t, err)
	grant, err := finish(client, callback, cookies)
	require.NoError(t, err)
	return grant
}
