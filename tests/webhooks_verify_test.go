package smartcar_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
	"github.com/stretchr/testify/require"
)

// The vectors that Smartcar's own SDK is tested with.
func TestWebhookVectors(t *testing.T) {
	v, err := smartcar.NewWebhookVerifier("amt")
	require.NoError(t, err)
	proof, err := v.Challenge("challenge")
	require.NoError(t, err)
	require.Equal(t, "9baf5a7464bd86740ad5a06e439dcf535a075022ed2c92d74efacf646d79328e", proof)
	const signature = "4c05a8da471f05156ad717baa4017acd13a3a809850b9ca7d3301dcaaa854f70"
	require.NoError(t, v.Verify([]byte(`{"pizza":"pasta"}`), signature))
	require.NoError(t, v.Verify([]byte(`{"pizza":"pasta"}`), strings.ToUpper(signature)), "the same bytes")
}

func TestWebhookVerifierRefuses(t *testing.T) {
	v, err := smartcar.NewWebhookVerifier("amt")
	require.NoError(t, err)
	body := []byte(`{"pizza":"pasta"}`)
	good := webhookSignature("amt", body)
	for name, tt := range map[string]struct {
		body, signature string
		reason          smartcar.WebhookReason
	}{
		"no signature":      {string(body), "", smartcar.WebhookUnsigned},
		"a short one":       {string(body), good[:62], smartcar.WebhookMalformedSignature},
		"an odd one":        {string(body), good[:63], smartcar.WebhookMalformedSignature},
		"a long one":        {string(body), good + "00", smartcar.WebhookMalformedSignature},
		"no hex":            {string(body), strings.Repeat("g", 64), smartcar.WebhookMalformedSignature},
		"a scheme":          {string(body), "sha256=" + good, smartcar.WebhookMalformedSignature},
		"zeros":             {string(body), strings.Repeat("0", 64), smartcar.WebhookWrongSignature},
		"another secret":    {string(body), webhookSignature("other", body), smartcar.WebhookWrongSignature},
		"an empty secret":   {string(body), webhookSignature("", body), smartcar.WebhookWrongSignature},
		"key and message":   {string(body), webhookSignature(string(body), []byte("amt")), smartcar.WebhookWrongSignature},
		"another body":      {`{"pizza": "pasta"}`, good, smartcar.WebhookWrongSignature},
		"a byte more":       {string(body) + "\n", good, smartcar.WebhookWrongSignature},
		"a byte less":       {string(body[:len(body)-1]), good, smartcar.WebhookWrongSignature},
		"nothing, unsigned": {"", "", smartcar.WebhookUnsigned},
	} {
		t.Run(name, func(t *testing.T) {
			err := v.Verify([]byte(tt.body), tt.signature)
			require.ErrorIs(t, err, smartcar.ErrWebhookRefused)
			require.Equal(t, tt.reason, reasonOf(err))
			for _, verb := range []string{"%v", "%+v", "%#v"} {
				text := fmt.Sprintf(verb, err)
				require.NotContains(t, text, good[:16])
				require.NotContains(t, text, "amt")
				require.NotContains(t, text, "pasta")
			}
			if tt.signature != "" {
				require.NotContains(t, err.Error(), tt.signature)
			}
		})
	}
	var none smartcar.WebhookVerifier
	require.Equal(t, smartcar.WebhookWrongSignature, reasonOf(none.Verify(body, webhookSignature("", body))), "the zero value verifies nothing")
	_, err = none.Challenge("challenge")
	require.Equal(t, smartcar.WebhookBadChallenge, reasonOf(err))
}

func TestWebhookSecrets(t *testing.T) {
	for name, secrets := range map[string][]string{
		"none": {}, "an empty one": {""}, "an empty one among others": {"amt", ""}, "spaces": {" amt"}, "a line break": {"amt\n"},
	} {
		t.Run(name, func(t *testing.T) {
			v, err := smartcar.NewWebhookVerifier(secrets...)
			require.Nil(t, v)
			require.ErrorIs(t, err, smartcar.ErrInvalidArgument)
			require.NotContains(t, err.Error(), "amt")
			if len(secrets) > 0 {
				_, err = newClient(t, smartcartest.New()).WebhookReceiver(smartcar.WebhookOptions{Secrets: secrets}, nil)
				require.ErrorIs(t, err, smartcar.ErrInvalidArgument)
			}
		})
	}
	t.Run("of the client", func(t *testing.T) {
		client, err := smartcar.New(smartcar.Config{ClientID: "id", ClientSecret: "secret", RedirectURL: "https://example.com/callback"})
		require.NoError(t, err)
		_, err = client.WebhookReceiver(smartcar.WebhookOptions{}, nil)
		require.ErrorIs(t, err, smartcar.ErrInvalidArgument)
	})
	t.Run("rotation", func(t *testing.T) {
		v, err := smartcar.NewWebhookVerifier("new", "old")
		require.NoError(t, err)
		for _, secret := range []string{"new", "old"} {
			require.NoError(t, v.Verify([]byte("{}"), webhookSignature(secret, []byte("{}"))))
		}
		proof, err := v.Challenge("c")
		require.NoError(t, err)
		require.Equal(t, webhookSignature("new", []byte("c")), proof)
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x"} {
			require.Equal(t, "smartcar.WebhookVerifier", fmt.Sprintf(verb, v))
		}
	})
}

func TestWebhookOptionsAreChecked(t *testing.T) {
	client := newClient(t, smartcartest.New())
	for name, o := range map[string]smartcar.WebhookOptions{
		"negative size": {MaxBytes: -1}, "negative time": {Timeout: -1}, "15 seconds": {Timeout: 15e9}, "a minute of memory": {Remember: 60e9},
	} {
		_, err := client.WebhookReceiver(o, nil)
		require.ErrorIs(t, err, smartcar.ErrInvalidArgument, name)
	}
}

func TestWebhookAnswersOfTheReceiver(t *testing.T) {
	body := []byte(readFixture(t, "webhooks/vehicle-state").Request.Body)
	good := webhookSignature(webhookSecret, body)
	var compact bytes.Buffer
	require.NoError(t, json.Compact(&compact, body))
	require.NotEqual(t, len(body), compact.Len())
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	_, _ = z.Write(body)
	require.NoError(t, z.Close())
	with := func(r *http.Request, edit func(*http.Request)) *http.Request { edit(r); return r }
	for name, tt := range map[string]struct {
		request *http.Request
		status  int
		reason  smartcar.WebhookReason
	}{
		"signed":            {webhookRequest(body, good), 200, ""},
		"upper-case hex":    {webhookRequest(body, strings.ToUpper(good)), 200, ""},
		"identity":          {with(webhookRequest(body, good), func(r *http.Request) { r.Header.Set("Content-Encoding", "identity") }), 200, ""},
		"GET":               {httptest.NewRequest(http.MethodGet, "/hook", nil), 405, smartcar.WebhookNotPost},
		"HEAD":              {httptest.NewRequest(http.MethodHead, "/hook", nil), 405, smartcar.WebhookNotPost},
		"PUT":               {with(webhookRequest(body, good), func(r *http.Request) { r.Method = http.MethodPut }), 405, smartcar.WebhookNotPost},
		"gzip":              {with(webhookRequest(zipped.Bytes(), webhookSignature(webhookSecret, zipped.Bytes())), func(r *http.Request) { r.Header.Set("Content-Encoding", "gzip") }), 415, smartcar.WebhookCompressed},
		"gzip, 2nd":         {with(webhookRequest(zipped.Bytes(), webhookSignature(webhookSecret, zipped.Bytes())), func(r *http.Request) { r.Header["Content-Encoding"] = []string{"identity", "gzip"} }), 415, smartcar.WebhookCompressed},
		"2 MiB":             {webhookRequest(bytes.Repeat([]byte(" "), 2<<20), good), 413, smartcar.WebhookTooLarge},
		"2 MiB unannounced": {with(webhookRequest(bytes.Repeat([]byte(" "), 2<<20), good), func(r *http.Request) { r.ContentLength = -1 }), 413, smartcar.WebhookTooLarge},
		"broken off": {with(webhookRequest(body, good), func(r *http.Request) {
			r.Body = io.NopCloser(iotest.TimeoutReader(iotest.OneByteReader(bytes.NewReader(body))))
		}), 400, smartcar.WebhookNotRead},
		"truncated":           {webhookRequest(body[:len(body)-1], good), 401, smartcar.WebhookWrongSignature},
		"serialized again":    {webhookRequest(compact.Bytes(), good), 401, smartcar.WebhookWrongSignature},
		"another's":           {webhookRequest(body, webhookSignature("another's", body)), 401, smartcar.WebhookWrongSignature},
		"no signature":        {webhookRequest(body, ""), 401, smartcar.WebhookUnsigned},
		"half a signature":    {webhookRequest(body, good[:32]), 401, smartcar.WebhookMalformedSignature},
		"nothing":             {webhookRequest(nil, ""), 401, smartcar.WebhookUnsigned},
		"signed, but no JSON": {webhookRequest([]byte("hello"), webhookSignature(webhookSecret, []byte("hello"))), 400, smartcar.WebhookUnreadable},
	} {
		t.Run(name, func(t *testing.T) {
			receiver, handed := newReceiver(t, smartcar.WebhookOptions{})
			w := httptest.NewRecorder()
			receiver.ServeHTTP(w, tt.request)
			require.Equal(t, tt.status, w.Code, w.Body.String())
			require.Equal(t, "application/json", w.Header().Get("Content-Type"))
			require.Equal(t, tt.status == 405, w.Header().Get("Allow") == "POST")
			if tt.status == 200 {
				require.Len(t, *handed, 1)
				return
			}
			require.Empty(t, *handed)
			var answer struct{ Error string }
			require.NoError(t, json.Unmarshal(w.Body.Bytes(), &answer))
			require.Equal(t, (&smartcar.WebhookError{Reason: tt.reason}).Error(), answer.Error)
			require.Equal(t, tt.status, (&smartcar.WebhookError{Reason: tt.reason}).StatusCode())
		})
	}
}

// The plain function does what the handler does, and says why.
func TestWebhookReceive(t *testing.T) {
	receiver, handed := newReceiver(t, smartcar.WebhookOptions{MaxBytes: 100_000})
	body := []byte(readFixture(t, "webhooks/vehicle-state").Request.Body)
	good := webhookSignature(webhookSecret, body)
	for _, tt := range []struct {
		header http.Header
		body   []byte
		status int
		reason smartcar.WebhookReason
	}{
		{http.Header{"sc-signature": {good}}, body, 200, ""}, // as some frameworks have it
		{http.Header{"SC-SIGNATURE": {good}}, body, 200, ""},
		{http.Header{"Sc-Signature": {good}}, body, 200, ""},
		{nil, body, 401, smartcar.WebhookUnsigned},
		{http.Header{"Sc-Signature": {}}, body, 401, smartcar.WebhookUnsigned},
		{http.Header{"content-encoding": {"br"}, "sc-signature": {good}}, body, 415, smartcar.WebhookCompressed},
		{http.Header{}, make([]byte, 100_001), 413, smartcar.WebhookTooLarge},
	} {
		status, answer, err := receiver.Receive(t.Context(), tt.header, tt.body)
		require.Equal(t, tt.status, status)
		require.Equal(t, tt.reason, reasonOf(err))
		require.True(t, json.Valid(answer))
	}
	require.Len(t, *handed, 1, "the same event three times")
	_, _, err := receiver.Receive(noContext(), nil, nil)
	require.ErrorIs(t, err, smartcar.ErrInvalidArgument)
}

func TestWebhookChallenge(t *testing.T) {
	receiver, handed := newReceiver(t, smartcar.WebhookOptions{})
	for _, name := range []string{"verify", "verify.epoch-time", "v2.verify"} {
		body := readFixture(t, "webhooks/"+name).Request.Body
		for _, signature := range []string{"", webhookSignature(webhookSecret, body), "nonsense"} {
			w := httptest.NewRecorder()
			receiver.ServeHTTP(w, webhookRequest(body, signature))
			require.Equal(t, 200, w.Code)
			require.Equal(t, "application/json", w.Header().Get("Content-Type"))
			require.JSONEq(t, `{"challenge":"`+webhookSignature(webhookSecret, []byte("0c7f5c4e-6c0e-4e0a-8a57-3b1f4f0c9f10"))+`"}`, w.Body.String())
		}
	}
	require.Empty(t, *handed)
}

// The answer to VERIFY is made as signatures are. Nobody gets one for an event.
func TestWebhookChallengeSignsNoEvent(t *testing.T) {
	forged := []byte(readFixture(t, "webhooks/vehicle-error.virtual-key-resolved").Request.Body)
	receiver, handed := newReceiver(t, smartcar.WebhookOptions{})
	challenges := []string{
		string(forged), `{}`, `{"eventType":"VEHICLE_ERROR"}`, "[]", `""`, " ", "", "a b", "a\nb", "ü", "a,b", "{", strings.Repeat("a", 257), "\x00",
	}
	for _, challenge := range challenges {
		for _, template := range []string{
			`{"eventType":"VERIFY","data":{"challenge":%s}}`, `{"eventName":"verify","payload":{"challenge":%s}}`,
			`{"EVENTTYPE":"verify","DATA":{"CHALLENGE":%s}}`,
		} {
			quoted, err := json.Marshal(challenge)
			require.NoError(t, err)
			body := fmt.Appendf(nil, template, quoted)
			w := httptest.NewRecorder()
			receiver.ServeHTTP(w, webhookRequest(body, ""))
			require.NotEqual(t, 200, w.Code, challenge)
			require.NotContains(t, w.Body.String(), webhookSignature(webhookSecret, []byte(challenge)))

			var answer map[string]string
			require.NoError(t, json.Unmarshal(w.Body.Bytes(), &answer))
			attack := httptest.NewRecorder()
			receiver.ServeHTTP(attack, webhookRequest(forged, answer["challenge"]))
			require.Equal(t, 401, attack.Code)
		}
	}
	require.Empty(t, *handed)

	// What is answered can be no event, whatever it is.
	v, err := smartcar.NewWebhookVerifier(webhookSecret)
	require.NoError(t, err)
	for _, challenge := range []string{"a", strings.Repeat("a", 256), "A.b_c~d+e/f=g-h", "null", "1", "true", "1e5"} {
		proof, err := v.Challenge(challenge)
		require.NoError(t, err)
		status, _, err := receiver.Receive(t.Context(), http.Header{"Sc-Signature": {proof}}, []byte(challenge))
		require.Equal(t, 400, status)
		require.Equal(t, smartcar.WebhookUnreadable, reasonOf(err))
	}
	require.Empty(t, *handed)
}

func TestWebhookReceiverThatCameFromNowhere(t *testing.T) {
	for _, receiver := range []*smartcar.WebhookReceiver{nil, {}} {
		w := httptest.NewRecorder()
		receiver.ServeHTTP(w, webhookRequest([]byte("{}"), ""))
		require.Equal(t, 500, w.Code)
		_, _, err := receiver.Receive(t.Context(), nil, nil)
		require.ErrorIs(t, err, smartcar.ErrInvalidArgument)
	}
	var none *smartcar.WebhookEvent
	require.Nil(t, none.Raw())
	require.Equal(t, "smartcar.WebhookEvent(nil)", fmt.Sprint(none))
	require.NotEmpty(t, (&smartcar.WebhookError{Reason: "of tomorrow"}).Error())
	require.Equal(t, 500, (&smartcar.WebhookError{}).StatusCode())
}

// Behind a router, and with a prefix that is stripped.
func TestWebhookBehindARouter(t *testing.T) {
	receiver, handed := newReceiver(t, smartcar.WebhookOptions{})
	mux := http.NewServeMux()
	mux.Handle("POST /a/{id}", receiver)
	mux.Handle("/b/", http.StripPrefix("/b", receiver))
	body := []byte(readFixture(t, "webhooks/vehicle-state").Request.Body)
	for _, path := range []string{"/a/1", "/b/x/y"} {
		r := webhookRequest(body, webhookSignature(webhookSecret, body))
		r.URL.Path = path
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, r)
		require.Equal(t, 200, w.Code)
	}
	require.Len(t, *handed, 1)
}

// The test button's events are test, also where they name a real car.
func TestWebhookTestDeliveryOfALiveCar(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		client, user := connectedV3(t, sim)
		receiver := hookReceiver(t, client, smartcar.WebhookOptions{}, nil)
		body := keyError(t, "1", user.ID(), smartcartest.ModelY, "RESOLVED", map[string]any{"mode": "TEST"})
		event, err := smartcar.ParseWebhookEvent(body, time.Now())
		require.NoError(t, err)
		require.Equal(t, "test", event.Mode)
		require.Equal(t, 200, send(t, receiver, body))
		access, err := user.Vehicle(smartcartest.ModelY).Access(t.Context())
		require.NoError(t, err)
		require.NotEqual(t, smartcar.KeyInstalled, access.Key.State)
	})
}
