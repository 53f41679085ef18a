package connectstate

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

func stateTestFlow() Flow {
	return Flow{
		State:       "STATE234567",
		Expires:     stateTestNow.Add(time.Hour),
		Purpose:     Connect,
		ExternalID:  `acct "42" <ä>`,
		UserID:      "725146a3-69f4-46c8-965d-54b3b6f81eb7",
		VehicleID:   "36ab27d0-fd9d-4455-823a-ce30af709ffc",
		RedirectURL: "https://app.example/callback?tab=1",
	}
}

func sealForTest(t *testing.T, f Flow) string {
	t.Helper()
	cookie, err := seal(stateTestKey, f)
	require.NoError(t, err)
	return cookie
}

func TestFlowSurvivesTheBrowser(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]Flow{
		"everything set": stateTestFlow(),
		"bare":           {State: "s", Expires: stateTestNow.Add(time.Second), Purpose: Reauth},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cookie := &http.Cookie{Name: cookieName(f.State, true), Value: sealForTest(t, f)}
			require.NoError(t, cookie.Valid())
			got, err := open(stateTestKey, cookie.Value, stateTestNow)
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
	want := Flow{
		State: "s", Expires: stateTestNow.Add(time.Hour), Purpose: Connect,
		ExternalID: "acct_42", UserID: "user", VehicleID: "car", RedirectURL: "https://app.example/cb",
	}
	got, err := open(stateTestKey, cookie, stateTestNow)
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
		0:                ErrExpired,
		time.Hour:        ErrExpired,
	} {
		got, err := open(stateTestKey, cookie, f.Expires.Add(offset))
		require.ErrorIs(t, err, want, "%v", offset)
		require.Equal(t, want == nil, got == f, "%v", offset)
	}

	forever := sealForTest(t, Flow{State: "s"})
	_, err := open(stateTestKey, forever, stateTestNow)
	require.ErrorIs(t, err, ErrExpired, "a flow without an end has ended")
}

func TestCookieThatWasTamperedWithIsRefused(t *testing.T) {
	t.Parallel()
	cookie := sealForTest(t, stateTestFlow())
	text, signed, _ := strings.Cut(cookie, ".")
	payload, err := base64.RawURLEncoding.DecodeString(text)
	require.NoError(t, err)
	forged := base64.RawURLEncoding.EncodeToString(bytes.Replace(payload, []byte("725146a3"), []byte("evil46a3"), 1))
	require.NotEqual(t, text, forged)

	for name, value := range map[string]string{
		"empty":               "",
		"point":               ".",
		"no signature":        text,
		"empty signature":     text + ".",
		"signature alone":     "." + signed,
		"short signature":     cookie[:len(cookie)-1],
		"other content":       forged + "." + signed,
		"line feed in it":     text[:4] + "\n" + text[4:] + "." + signed,
		"padding":             text + "=." + signed,
		"more behind it":      cookie + ".x",
		"signature in front":  signed + "." + text,
		"longer than allowed": strings.Repeat("x", maxCookie+1),
		"signed, no base64":   "!." + signature(stateTestKey, "!"),
		"signed, no JSON":     "eA." + signature(stateTestKey, "eA"),
		"signed, no version":  "e30." + signature(stateTestKey, "e30"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := open(stateTestKey, value, stateTestNow)
			require.ErrorIs(t, err, ErrMismatch)
			require.Equal(t, Flow{}, got)
		})
	}
}

func TestEveryBitOfTheCookieCounts(t *testing.T) {
	t.Parallel()
	cookie := sealForTest(t, stateTestFlow())
	for i := range len(cookie) {
		changed := []byte(cookie)
		changed[i] ^= 1
		_, err := open(stateTestKey, string(changed), stateTestNow)
		require.ErrorIs(t, err, ErrMismatch, "byte %d", i)
	}
}

func TestCookieOfAnotherKeyIsRefused(t *testing.T) {
	t.Parallel()
	cookie := sealForTest(t, stateTestFlow())
	other := bytes.Clone(stateTestKey)
	other[31]++
	_, err := open(other, cookie, stateTestNow)
	require.ErrorIs(t, err, ErrMismatch)
}

func TestStateKeyMustBeLongEnough(t *testing.T) {
	t.Parallel()
	require.True(t, ValidKey(stateTestKey))
	for _, key := range [][]byte{nil, {}, stateTestKey[:31]} {
		require.False(t, ValidKey(key))
		_, err := seal(key, stateTestFlow())
		require.ErrorIs(t, err, ErrKey)
		_, err = open(key, "x.y", stateTestNow)
		require.ErrorIs(t, err, ErrKey)
	}
}

func TestCookieIsNeverTooLargeForABrowser(t *testing.T) {
	t.Parallel()
	f := stateTestFlow()
	f.ExternalID = strings.Repeat("<", MaxOwnerID) // six bytes each in JSON
	cookie := sealForTest(t, f)
	require.Less(t, len(cookieName(f.State, true))+len(cookie), 4096)

	f.ExternalID += "<"
	_, err := seal(stateTestKey, f)
	require.ErrorIs(t, err, ErrOwnerID)

	f = stateTestFlow()
	f.RedirectURL += strings.Repeat("x", maxCookie)
	_, err = seal(stateTestKey, f)
	require.ErrorIs(t, err, ErrTooLong)
	require.NotContains(t, err.Error(), f.State)
}

func TestEveryFlowHasItsOwnCookie(t *testing.T) {
	t.Parallel()
	// printf %s STATE234567 | sha256sum
	const hash = "7779ce8daf8489b5"
	require.Equal(t, "__Host-smartcar_"+hash, cookieName("STATE234567", true))
	require.Equal(t, "smartcar_"+hash, cookieName("STATE234567", false))
	require.NotEqual(t, cookieName("a", true), cookieName("b", true))
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
	for _, value := range []any{f, &f, []Flow{f}, map[string]Flow{"x": f}, struct{ Flow Flow }{f}} {
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
	all := []error{ErrMismatch, ErrExpired, ErrReplayed}
	for i, a := range all {
		for j, b := range all {
			require.Equal(t, i == j, errors.Is(a, b))
		}
	}
}

func FuzzOpenFlow(f *testing.F) {
	valid, err := seal(stateTestKey, stateTestFlow())
	require.NoError(f, err)
	for _, seed := range []string{"", ".", valid, valid + "=", strings.ToUpper(valid), "e30." + signature(stateTestKey, "e30")} {
		f.Add(seed, "acct_42", "https://app.example/cb")
	}
	otherKey := bytes.Repeat([]byte{7}, minKey)
	f.Fuzz(func(t *testing.T, cookie, externalID, redirectURL string) {
		got, err := open(stateTestKey, cookie, stateTestNow)
		if err == nil {
			again, sealErr := seal(stateTestKey, got)
			require.NoError(t, sealErr)
			require.Equal(t, cookie, again, "only what we sealed opens")
		} else {
			require.Equal(t, Flow{}, got)
			require.True(t, errors.Is(err, ErrMismatch) || errors.Is(err, ErrExpired))
		}
		_, err = open(otherKey, cookie, stateTestNow)
		require.ErrorIs(t, err, ErrMismatch)

		want := Flow{State: "s", Expires: stateTestNow.Add(time.Minute), Purpose: Connect, ExternalID: externalID, RedirectURL: strings.ToValidUTF8(redirectURL, "")}
		sealed, err := seal(stateTestKey, want)
		if err != nil {
			require.True(t, errors.Is(err, ErrOwnerID) || errors.Is(err, ErrTooLong))
			return
		}
		require.LessOrEqual(t, len(sealed), maxCookie)
		got, err = open(stateTestKey, sealed, stateTestNow)
		require.NoError(t, err)
		require.Equal(t, want, got)
	})
}
