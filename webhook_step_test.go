package smartcar

import (
	"encoding/hex"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Data that nobody asked for moves what is known forward, never back, and takes
// no turn.
func TestLearnData(t *testing.T) {
	now := policyNow
	was := carState{class: classLegacy, nothing: true, wake: wakeAsleep, recordedAt: now.Add(-time.Hour), fetchedAt: now.Add(-time.Hour)}
	learn := func(s carState, e event) carState {
		e.kind = learnData
		s, d := step(s, e, now, DefaultRules(), testLease)
		require.Zero(t, d)
		return s
	}
	t.Run("newer", func(t *testing.T) {
		s := learn(was, event{seen: true, recordedAt: now.Add(-time.Minute), at: now.Add(-30 * time.Second)})
		want := was
		want.nothing, want.wake, want.recordedAt, want.fetchedAt = false, wakeAwake, now.Add(-time.Minute), now.Add(-30*time.Second)
		require.Equal(t, want, s)
	})
	t.Run("older", func(t *testing.T) {
		s := learn(was, event{seen: true, recordedAt: now.Add(-2 * time.Hour), wake: wakeAwake, at: now})
		want := was
		want.nothing = false
		require.Equal(t, want, s)
	})
	t.Run("undated", func(t *testing.T) {
		require.Equal(t, wakeAwake, learn(was, event{wake: wakeAwake, at: now}).wake)
		require.Equal(t, was, learn(was, event{wake: wakeAwake, at: now.Add(-2 * time.Hour)}), "older than the data")
		require.Equal(t, was, learn(was, event{at: now}), "it shows nothing")
	})
	t.Run("a clock that is ahead", func(t *testing.T) {
		s := learn(was, event{seen: true, recordedAt: now.Add(time.Hour), at: now.Add(time.Hour)})
		require.Equal(t, []time.Time{now, now}, []time.Time{s.recordedAt, s.fetchedAt})
		ahead := was
		ahead.recordedAt = now.Add(24 * time.Hour)
		require.Equal(t, now, learn(ahead, event{seen: true, recordedAt: now, at: now}).recordedAt, "is not believed for ever")
	})
	t.Run("the pace of events proves no streaming", func(t *testing.T) {
		s := learn(was, event{recordedAt: now.Add(-time.Minute), at: now})
		require.False(t, learn(s, event{recordedAt: now, at: now}).streams)
	})
	t.Run("an asleep car", func(t *testing.T) {
		s := learn(carState{class: classLegacy}, event{recordedAt: now.Add(-11 * time.Minute), at: now})
		require.Equal(t, wakeAsleep, s.wake)
		s = learn(carState{class: classStreaming}, event{recordedAt: now.Add(-11 * time.Minute), at: now})
		require.Equal(t, wakeUnknown, s.wake, "a streaming car may just have nothing to say")
	})
}

func TestWhichAnswerIsNewer(t *testing.T) {
	at := func(recorded, received int, pushed bool, sequence int64) part {
		p := part{pushed: pushed, sequence: sequence}
		if recorded != 0 {
			p.meta.RecordedAt = policyNow.Add(time.Duration(recorded) * time.Second)
		}
		p.meta.ReceivedAt = policyNow.Add(time.Duration(received) * time.Second)
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
