package smartcar

import (
	"encoding/hex"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestWhichAnswerIsNewer(t *testing.T) {
	at := func(recorded, received int, pushed bool, sequence int64) part {
		p := part{pushed: pushed, sequence: sequence}
		if recorded != 0 {
			p.meta.RecordedAt = fuzzTime.Add(time.Duration(recorded) * time.Second)
		}
		p.meta.ReceivedAt = fuzzTime.Add(time.Duration(received) * time.Second)
		return p
	}
	for name, tt := range map[string]struct {
		old, new part
		newer    bool
	}{
		"recorded later, said earlier": {at(1, 9, true, 0), at(2, 8, true, 0), true},
		"recorded earlier, said later": {at(2, 8, true, 0), at(1, 9, true, 0), false},
		"the same, a higher sequence":  {at(1, 9, true, 1), at(1, 8, true, 2), true},
		"the same, a lower sequence":   {at(1, 8, true, 2), at(1, 9, true, 1), false},
		"the same, no sequence, later": {at(1, 8, true, 0), at(1, 9, true, 0), true},
		"the same event":               {at(1, 8, true, 1), at(1, 8, true, 1), false},
		"than a read":                  {at(1, 8, false, 0), at(2, 8, true, 1), true},
		"not than a later read":        {at(3, 9, false, 0), at(2, 8, true, 1), false},
		"undated":                      {at(0, 8, true, 0), at(2, 9, true, 0), true},
		"than one with a clock ahead":  {at(99999, 8, false, 0), at(9, 10, true, 0), true},
		"a read goes by when it came":  {at(2, 8, true, 5), at(1, 9, false, 0), true},
		"a read does not by its clock": {at(1, 9, false, 0), at(2, 8, false, 0), false},
	} {
		require.Equal(t, tt.newer, tt.new.outdates(tt.old), name)
	}
}

// FuzzWebhook: no body makes the receiver's parsing panic, what is refused says
// nothing of it, and no challenge that is answered is an event.
func FuzzWebhook(f *testing.F) {
	for _, fixture := range fixtureFiles(f, "webhooks/*.json") {
		f.Add([]byte(fixture.Request.Body), "4c05a8da471f05156ad717baa4017acd13a3a809850b9ca7d3301dcaaa854f70")
	}
	for _, body := range []string{"", "{}", "null", `{"eventType":"VERIFY"}`, `{"eventName":"verify","payload":null}`, `{"data":{"signals":{}}}`, "\xff"} {
		f.Add([]byte(body), "")
	}
	verifier, err := NewWebhookVerifier("amt")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, body []byte, signature string) {
		if err := verifier.Verify(body, signature); err == nil {
			t.Skip("the official vector")
		}
		proof := sign([]byte("amt"), body)
		if verifier.Verify(body, hex.EncodeToString(proof)) != nil {
			t.Fatal("the right signature was refused")
		}
		e, err := ParseWebhookEvent(body, fuzzTime)
		if err != nil {
			if e != nil || err.Error() != refusedWebhook(WebhookUnreadable).Error() {
				t.Fatalf("%v beside %v", err, e)
			}
			return
		}
		if string(e.Raw()) != string(body) {
			t.Fatal("the raw bytes are others")
		}
		for _, signal := range e.Signals.All() {
			_ = signal.Body()
		}
		for _, v := range e.Vehicles {
			for op, failed := range v.Readings.Operations() {
				if r, err := fromSnapshot[BatteryReading](v.Readings, op); failed != nil && (err == nil || r != nil) {
					t.Fatal("a reading of what failed")
				}
			}
		}
		answered, err := verifier.Challenge(e.challenge)
		if err == nil && isObject([]byte(e.challenge)) || (err == nil) != (answered != "") {
			t.Fatal("a challenge that could be an event was answered")
		}
		_ = e.webhookKey()
	})
}
