package smartcar_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
	"github.com/stretchr/testify/require"
)

func requireArgumentError(t *testing.T, err error, argument string) {
	t.Helper()
	require.ErrorIs(t, err, smartcar.ErrInvalidArgument)
	var problem *smartcar.ArgumentError
	require.ErrorAs(t, err, &problem)
	require.Equal(t, argument, problem.Argument)
	require.NotEmpty(t, problem.Problem)
}

// requireError is errors.As for the one type most tests look at.
func requireError(t testing.TB, err error) *smartcar.Error {
	t.Helper()
	var e *smartcar.Error
	require.ErrorAs(t, err, &e)
	return e
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

// requireNoExpiredToken: the simulator answers 401 to a token past its end.
func requireNoExpiredToken(t *testing.T, sim *smartcartest.Server) {
	t.Helper()
	for _, r := range sim.Requests() {
		require.NotEqual(t, http.StatusUnauthorized, r.Status, "%s at %v", r.Path, r.Time)
	}
}

// requireFreshTokens asks for a reading at some time before the end of the
// access token.
func requireFreshTokens(t *testing.T, left []time.Duration, renewed bool) {
	t.Helper()
	for _, d := range left {
		transport := newCanned(t).on(odometerPath, readFixture(t, "v2/reads/odometer").reply()).
			on(tokenPath, jsonReply(200, `{"access_token":"renewed","token_type":"Bearer","expires_in":7200,"refresh_token":"next"}`))
		clock := &standingClock{now: fixtureTime.Add(-24 * time.Hour)}
		client := cannedClient(t, transport, smartcar.WithClock(clock))
		grant, err := client.ImportTokens(t.Context(), smartcar.Tokens{AccessToken: "old", RefreshToken: "refresh-token", Expires: fixtureTime})
		require.NoError(t, err)
		clock.now = fixtureTime.Add(-d)
		_, err = client.User(grant.UserID).Vehicle(fixtureVehicle).Odometer(t.Context())
		require.NoError(t, err)
		want := "Bearer old"
		if renewed {
			want = "Bearer renewed"
		}
		require.Equal(t, want, transport.requests(odometerPath)[0].header.Get("Authorization"), "%v before its end", d)
	}
}

// refusedLocally: the window of a car without its key is closed.
func refusedLocally(t *testing.T, v *smartcar.Vehicle) {
	t.Helper()
	_, err := v.Odometer(t.Context())
	_ = requireKeyless(t, err)
}

// refusedUntil: the same, and when it opens.
func refusedUntil(t *testing.T, v *smartcar.Vehicle, at time.Time) {
	t.Helper()
	_, err := v.Battery(t.Context())
	require.WithinDuration(t, at, requireKeyless(t, err).NextAllowed, time.Second)
}

// requireKeyless: this client refused a read of a car without its key.
func requireKeyless(t *testing.T, err error) *smartcar.RateLimitError {
	t.Helper()
	var limited *smartcar.RateLimitError
	require.ErrorAs(t, err, &limited)
	require.True(t, limited.Local)
	require.Equal(t, smartcar.RuleKeyless, limited.Rule)
	return limited
}

func requireNothingKept(t *testing.T, db *spoiledStore) {
	t.Helper()
	for _, key := range db.live(t) {
		if strings.HasPrefix(key, "answers/") { // an empty one goes by itself
			record, err := db.Store.Load(t.Context(), key)
			require.NoError(t, err)
			require.NotContains(t, string(record.Value), "scope")
			continue
		}
		require.True(t, strings.HasPrefix(key, "application/"), "%s is kept of a forgotten user", key)
	}
}

func requireNoSecret(t *testing.T, what, text string, hidden []string) {
	t.Helper()
	for _, secret := range hidden {
		if secret == "" {
			continue
		}
		for _, spelled := range spellings(secret) {
			if strings.Contains(text, spelled) {
				t.Errorf("%s shows %q:\n%.300s", what, secret, text)
				return
			}
		}
	}
}

// requireUnprintable tries every verb on a value, on a pointer to it, and on
// what holds it.
func requireUnprintable(t *testing.T, name string, value any, hidden []string) {
	t.Helper()
	type holder struct{ Value any }
	for form, v := range map[string]any{
		"itself": value, "in a struct": holder{value}, "in a pointer to a struct": &holder{value},
		"in a slice": []any{value}, "in a map": map[string]any{"v": value},
	} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d", "%x", "%X", "%T"} {
			requireNoSecret(t, name+" "+form+" by "+verb, fmt.Sprintf(verb, v), hidden)
		}
	}
	var logs bytes.Buffer
	for _, handler := range []slog.Handler{slog.NewTextHandler(&logs, nil), slog.NewJSONHandler(&logs, nil)} {
		slog.New(handler).Info("value", "value", value)
	}
	requireNoSecret(t, name+" in a log", logs.String(), hidden)
}

// requireUnprintableError looks at an error as a log would.
func requireUnprintableError(t *testing.T, name string, err error, hidden []string) {
	t.Helper()
	for _, verb := range []string{"%v", "%s", "%q", "%x"} {
		requireNoSecret(t, name+" by "+verb, fmt.Sprintf(verb, fmt.Errorf("job: %w", err)), hidden)
	}
	var logs bytes.Buffer
	slog.New(slog.NewJSONHandler(&logs, nil)).Error("job", "error", err)
	slog.New(slog.NewTextHandler(&logs, nil)).Error("job", "error", err)
	requireNoSecret(t, name+" in a log", logs.String(), hidden)
}

// allOf runs n calls at once and returns their errors.
func allOf(n int, call func(i int) error) []error {
	errs := make([]error, n)
	var group sync.WaitGroup
	for i := range n {
		group.Go(func() { errs[i] = call(i) })
	}
	group.Wait()
	return errs
}

// attributesRead is a call that needs the token and no turn of a car.
func attributesRead(ctx context.Context, client *smartcar.Client, userID string) error {
	_, err := client.User(userID).Vehicle(smartcartest.MachE).Attributes(ctx)
	return err
}

// spellings are the forms in which package fmt, or a header, can show a secret.
func spellings(secret string) []string {
	numbers := make([]string, len(secret))
	for i := range len(secret) {
		numbers[i] = strconv.Itoa(int(secret[i]))
	}
	return []string{
		secret, hex.EncodeToString([]byte(secret)), strings.ToUpper(hex.EncodeToString([]byte(secret))),
		base64.StdEncoding.EncodeToString([]byte(secret)), strings.Join(numbers, " "), strings.Join(numbers, ", "),
	}
}
