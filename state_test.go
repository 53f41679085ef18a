package smartcar

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/seed-498a1bc4/smartcar/internal/randid"
	"github.com/stretchr/testify/require"
)

var (
	stateTestKey = []byte("0123456789abcdef0123456789abcdef")
	stateTestNow = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
)

func stateTestFlow() flow {
	return flow{
		State:       "STATE234567",
		Expires:     stateTestNow.Add(time.Hour),
		Purpose:     flowConnect,
		ExternalID:  `acct "42" <ä>`,
		UserID:      "725146a3-69f4-46c8-965d-54b3b6f81eb7",
		VehicleID:   "36ab27d0-fd9d-4455-823a-ce30af709ffc",
		RedirectURL: "https://app.example/callback?tab=1",
	}
}

func sealForTest(t *testing.T, f flow) string {
	t.Helper()
	cookie, err := sealFlow(stateTestKey, f)
	require.NoError(t, err)
	return cookie
}

func TestFlowSurvivesTheBrowser(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]flow{
		"everything set": stateTestFlow(),
		"bare":           {State: "s", Expires: stateTestNow.Add(time.Second), Purpose: flowReauth},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cookie := &http.Cookie{Name: stateCookieName(f.State, true), Value: sealForTest(t, f)}
			require.NoError(t, cookie.Valid())
			got, err := openFlow(stateTestKey, cookie.Value, stateTestNow)
			require.NoError(t, err)
			require.Equal(t, f, got)
		})
	}
}

// The cookie of a flow outlives the process and the version that wrote it.
func TestCookieOfVersionOneStaysReadable(t *testing.T) {
	t.Parallel()
	const cookie = "eyJ2IjoxLCJzIjoicyIsImUiOjE3OTU0Mzg4MDAsInAiOiJjb25uZWN0IiwieCI6ImFjY3RfNDIiLCJ1IjoidXNlciIsImMiOiJjYXIiLCJyIjoiaHR0cHM6Ly9hcHAuZXhhbXBsZS9jYiJ9" +
		".rN_C-3k_qMOUXmCYst_LyZ33IQnMy6LmnV3a97Ejb8k"
	want := flow{
		State: "s", Expires: stateTestNow.Add(time.Hour), Purpose: flowConnect,
		ExternalID: "acct_42", UserID: "user", VehicleID: "car", RedirectURL: "https://app.example/cb",
	}
	got, err := openFlow(stateTestKey, cookie, stateTestNow)
	require.NoError(t, err)
	require.Equal(t, want, got)
	require.Equal(t, cookie, sealForTest(t, want))
}

func TestFlowEndsAtItsTime(t *testing.T) {
	t.Parallel()
	f := stateTestFlow()
	cookie := sealForTest(t, f)
	for offset, want := range map[time.Duration]error{
		-time.Nanosecond: nil,
		0:                ErrStateExpired,
		time.Hour:        ErrStateExpired,
	} {
		got, err := openFlow(stateTestKey, cookie, f.Expires.Add(offset))
		require.ErrorIs(t, err, want, "%v", offset)
		require.Equal(t, want == nil, got == f, "%v", offset)
	}

	forever := sealForTest(t, flow{State: "s"})
	_, err := openFlow(stateTestKey, forever, stateTestNow)
	require.ErrorIs(t, err, ErrStateExpired, "a flow without an end has ended")
}

func TestCookieThatWasTamperedWithIsRefused(t *testing.T) {
	t.Parallel()
	cookie := sealForTest(t, stateTestFlow())
	text, signature, _ := strings.Cut(cookie, ".")
	payload, err := base64.RawURLEncoding.DecodeString(text)
	require.NoError(t, err)
	forged := base64.RawURLEncoding.EncodeToString(bytes.Replace(payload, []byte("725146a3"), []byte("evil46a3"), 1))
	require.NotEqual(t, text, forged)

	for name, value := range map[string]string{
		"empty":               "",
		"point":               ".",
		"no signature":        text,
		"empty signature":     text + ".",
		"signature alone":     "." + signature,
		"short signature":     cookie[:len(cookie)-1],
		"other content":       forged + "." + signature,
		"line feed in it":     text[:4] + "\n" + text[4:] + "." + signature,
		"padding":             text + "=." + signature,
		"more behind it":      cookie + ".x",
		"signature in front":  signature + "." + text,
		"longer than allowed": strings.Repeat("x", maxFlowCookie+1),
		"signed, no base64":   "!." + flowSignature(stateTestKey, "!"),
		"signed, no JSON":     "eA." + flowSignature(stateTestKey, "eA"),
		"signed, no version":  "e30." + flowSignature(stateTestKey, "e30"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := openFlow(stateTestKey, value, stateTestNow)
			require.ErrorIs(t, err, ErrStateMismatch)
			require.Equal(t, flow{}, got)
		})
	}
}

func TestEveryBitOfTheCookieCounts(t *testing.T) {
	t.Parallel()
	cookie := sealForTest(t, stateTestFlow())
	for i := range len(cookie) {
		changed := []byte(cookie)
		changed[i] ^= 1
		_, err := openFlow(stateTestKey, string(changed), stateTestNow)
		require.ErrorIs(t, err, ErrStateMismatch, "byte %d", i)
	}
}

func TestCookieOfAnotherKeyIsRefused(t *testing.T) {
	t.Parallel()
	cookie := sealForTest(t, stateTestFlow())
	other := bytes.Clone(stateTestKey)
	other[31]++
	_, err := openFlow(other, cookie, stateTestNow)
	require.ErrorIs(t, err, ErrStateMismatch)
}

func TestStateKeyMustBeLongEnough(t *testing.T) {
	t.Parallel()
	require.NoError(t, validStateKey(stateTestKey))
	for _, key := range [][]byte{nil, {}, stateTestKey[:31]} {
		requireArgument(t, validStateKey(key), "Config.StateKey")
		_, err := sealFlow(key, stateTestFlow())
		require.ErrorIs(t, err, ErrInvalidArgument)
		_, err = openFlow(key, "x.y", stateTestNow)
		require.ErrorIs(t, err, ErrInvalidArgument)
	}
}

func TestCookieIsNeverTooLargeForABrowser(t *testing.T) {
	t.Parallel()
	f := stateTestFlow()
	f.ExternalID = strings.Repeat("<", maxOwnerID) // six bytes each in JSON
	cookie := sealForTest(t, f)
	require.Less(t, len(stateCookieName(f.State, true))+len(cookie), 4096)

	f.ExternalID += "<"
	_, err := sealFlow(stateTestKey, f)
	requireArgument(t, err, "ExternalID")

	f = stateTestFlow()
	f.RedirectURL += strings.Repeat("x", maxFlowCookie)
	_, err = sealFlow(stateTestKey, f)
	requireArgument(t, err, "RedirectURL")
	require.NotContains(t, err.Error(), f.State)
}

func TestEveryFlowHasItsOwnCookie(t *testing.T) {
	t.Parallel()
	// printf %s STATE234567 | sha256sum
	const hash = "7779ce8daf8489b5"
	require.Equal(t, "__Host-smartcar_"+hash, stateCookieName("STATE234567", true))
	require.Equal(t, "smartcar_"+hash, stateCookieName("STATE234567", false))
	require.NotEqual(t, stateCookieName("a", true), stateCookieName("b", true))
}

func TestStatesAreLongAndNeverTheSame(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for range 1000 {
		state := randid.Text()
		require.GreaterOrEqual(t, len(state), 26) // 128 bits in base32
		require.False(t, seen[state])
		seen[state] = true
	}
}

func TestPrintingAFlowRevealsNoState(t *testing.T) {
	t.Parallel()
	f := stateTestFlow()
	for _, value := range []any{f, &f, []flow{f}, map[string]flow{"x": f}, struct{ Flow flow }{f}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
			text := fmt.Sprintf(verb, value)
			require.NotContains(t, text, f.State, verb)
			require.NotContains(t, text, fmt.Sprintf("%x", f.State), verb)
		}
	}
	require.Equal(t, "{connect flow until 2026-11-23T13:00:00Z}", fmt.Sprint(f))
}

func TestStateErrorsAreDifferent(t *testing.T) {
	t.Parallel()
	all := []error{ErrStateMismatch, ErrStateExpired, ErrStateReplayed}
	for i, a := range all {
		for j, b := range all {
			require.Equal(t, i == j, errors.Is(a, b))
		}
	}
}

func FuzzOpenFlow(f *testing.F) {
	valid, err := sealFlow(stateTestKey, stateTestFlow())
	require.NoError(f, err)
	for _, seed := range []string{"", ".", valid, valid + "=", strings.ToUpper(valid), "e30." + flowSignature(stateTestKey, "e30")} {
		f.Add(seed, "acct_42", "https://app.example/cb")
	}
	otherKey := bytes.Repeat([]byte{7}, minStateKey)
	f.Fuzz(func(t *testing.T, cookie, externalID, redirectURL string) {
		got, err := openFlow(stateTestKey, cookie, stateTestNow)
		if err == nil {
			again, sealErr := sealFlow(stateTestKey, got)
			require.NoError(t, sealErr)
			require.Equal(t, cookie, again, "only what we sealed opens")
		} else {
			require.Equal(t, flow{}, got)
			require.True(t, errors.Is(err, ErrStateMismatch) || errors.Is(err, ErrStateExpired))
		}
		_, err = openFlow(otherKey, cookie, stateTestNow)
		require.ErrorIs(t, err, ErrStateMismatch)

		want := flow{State: "s", Expires: stateTestNow.Add(time.Minute), Purpose: flowConnect, ExternalID: externalID, RedirectURL: strings.ToValidUTF8(redirectURL, "")}
		sealed, err := sealFlow(stateTestKey, want)
		if err != nil {
			require.ErrorIs(t, err, ErrInvalidArgument)
			return
		}
		require.LessOrEqual(t, len(sealed), maxFlowCookie)
		got, err = openFlow(stateTestKey, sealed, stateTestNow)
		require.NoError(t, err)
		require.Equal(t, want, got)
	})
}
