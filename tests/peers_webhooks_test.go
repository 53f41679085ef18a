package smartcar_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
	"github.com/stretchr/testify/require"
)

// These tests are named after what others' webhooks got wrong. CONTRIBUTING.md
// lists them.

// A payload was serialized again before its signature was checked.
func TestPeersNode03_TheBytesThatCameAreVerified(t *testing.T) {
	v, err := smartcar.NewWebhookVerifier("amt")
	require.NoError(t, err)
	// Spaces, the order of the keys, escapes and digits: another program would
	// write all of it differently.
	for _, body := range []string{`{ "b" : 1.0,  "a":"\u00e4\/" }`, "{\"a\":1e2}\n", `{"a":1,"a":2}`, `{"a":12345678901234567890}`} {
		signature := webhookSignature("amt", []byte(body))
		require.NoError(t, v.Verify([]byte(body), signature))
		var read any
		require.NoError(t, json.Unmarshal([]byte(body), &read))
		written, err := json.Marshal(read)
		require.NoError(t, err)
		require.Equal(t, smartcar.WebhookWrongSignature, reasonOf(v.Verify(written, signature)))
	}
}

// The right signature stood in the error's text.
func TestModels01_NoSignatureInAnError(t *testing.T) {
	receiver, _ := newReceiver(t, smartcar.WebhookOptions{})
	body := []byte(readFixture(t, "webhooks/vehicle-state").Request.Body)
	right := webhookSignature(webhookSecret, body)
	w := httptest.NewRecorder()
	receiver.ServeHTTP(w, webhookRequest(body, strings.Repeat("0", 64)))
	require.Equal(t, 401, w.Code)
	_, _, err := receiver.Receive(t.Context(), nil, body)
	for _, text := range []string{w.Body.String(), fmt.Sprintf("%+v", err), fmt.Sprintf("%#v", err)} {
		require.NotContains(t, text, right)
		require.NotContains(t, text, strings.Repeat("0", 64))
		require.NotContains(t, text, webhookSecret)
	}
}

// An empty secret switched verification off.
func TestModels02_AnEmptySecretIsRefused(t *testing.T) {
	_, err := smartcar.NewWebhookVerifier("")
	require.ErrorIs(t, err, smartcar.ErrInvalidArgument)
	_, err = smartcar.NewWebhookVerifier("amt", "")
	require.ErrorIs(t, err, smartcar.ErrInvalidArgument)
	body := []byte(`{}`)
	var none smartcar.WebhookVerifier
	require.Error(t, none.Verify(body, webhookSignature("", body)))
}

// Signatures of re-serialized JSON, compared as texts.
func TestModels03_SignaturesAreBytes(t *testing.T) {
	v, err := smartcar.NewWebhookVerifier("amt")
	require.NoError(t, err)
	body := []byte(`{"pizza":"pasta"}`)
	right := webhookSignature("amt", body)
	require.NoError(t, v.Verify(body, strings.ToUpper(right)))
	require.Equal(t, smartcar.WebhookMalformedSignature, reasonOf(v.Verify(body, right+" ")))
	require.Equal(t, smartcar.WebhookMalformedSignature, reasonOf(v.Verify(body, right[:10])), "a part of it is none")
}

// Timestamps from the future were accepted. Smartcar signs no time at all:
// what keeps a recording from being played back is the id of the event.
func TestModels04_ARecordedDeliveryIsKnown(t *testing.T) {
	handed := 0
	client := newClient(t, smartcartest.New())
	receiver := hookReceiver(t, client, smartcar.WebhookOptions{}, func(context.Context, *smartcar.WebhookEvent) error { handed++; return nil })
	body := []byte(readFixture(t, "webhooks/vehicle-error.virtual-key-resolved").Request.Body)
	for range 3 {
		require.Equal(t, 200, send(t, receiver, body))
	}
	// An id in the header, or beside the signed bytes, changes nothing.
	require.Equal(t, 401, sendSigned(t, receiver, bytes.Replace(body, []byte("3c37a1d0"), []byte("00000000"), 1), webhookSignature(webhookSecret, body)))
	require.Equal(t, 1, handed)
}

func sendSigned(t testing.TB, receiver *smartcar.WebhookReceiver, body []byte, signature string) int {
	t.Helper()
	w := httptest.NewRecorder()
	receiver.ServeHTTP(w, webhookRequest(body, signature))
	return w.Code
}
