package smartcar

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "rewrite golden files")

const testLease = 5 * time.Minute

var (
	policyNow = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

	classNames = map[carClass]string{
		classUnresolved: "unresolved", classUnknown: "unknown", classStreaming: "streaming", classLegacy: "legacy", classOther: "other",
	}
	keyNames = map[keyKnowledge]string{
		keyNotAsked: "not known", keyUnavailable: "never had", keyMissing: "missing", keyInstalled: "installed",
	}
)

// keyRows are the rows of the golden tables within each class.
var keyRows = []struct {
	name string
	key  keyKnowledge
	at   time.Time
}{
	{"not known", keyNotAsked, time.Time{}},
	{"never had", keyUnavailable, policyNow.Add(-48 * time.Hour)},
	{"missing 48h", keyMissing, policyNow.Add(-48 * time.Hour)},
	{"missing 30s", keyMissing, policyNow.Add(-30 * time.Second)},
	{"installed", keyInstalled, policyNow.Add(-48 * time.Hour)},
}

// turns are the columns of the golden tables.
var turns = []struct {
	name string
	set  func(*carState)
}{
	{"never asked", func(*carState) {}},
	{"used 1h ago", func(s *carState) { s.usedAt = policyNow.Add(-time.Hour) }},
	{"used 9h ago", func(s *carState) { s.usedAt = policyNow.Add(-9 * time.Hour) }},
	{"reserved", func(s *carState) { s.phase, s.nonce, s.leaseEnd = turnReserved, 7, policyNow.Add(20*time.Second) }},
	{"reserve died", func(s *carState) { s.phase, s.nonce, s.leaseEnd = turnReserved, 7, policyNow.Add(-time.Hour) }},
	{"sent", func(s *carState) { s.phase, s.nonce, s.leaseEnd = turnSent, 7, policyNow.Add(time.Minute) }},
	{"sender died", func(s *carState) { s.phase, s.nonce, s.leaseEnd = turnSent, 7, policyNow.Add(-time.Hour) }},
	{"limited +2h", func(s *carState) {
		s.limitedTo, s.limitedAt = policyNow.Add(2*time.Hour), policyNow.Add(-time.Minute)
	}},
}

var policyEvents = []struct {
	name string
	event
}{
	{"a data request asks, token at hand", event{kind: askData, nonce: 9, lease: testLease, sent: true}},
	{"a data request asks, token to be refreshed first", event{kind: askData, nonce: 9, lease: 30 * time.Second}},
	{"a command asks", event{kind: askCommand}},
	{"the reserved request is about to leave", event{kind: markSent, nonce: 7, lease: testLease}},
	{"settle: 2xx", event{kind: settle, nonce: 7, outcome: outcomeOK, lease: testLease}},
	{"settle: not sent for certain, 400 validation, 401, 403, 404, 430, 501, 429 SMARTCAR_API", event{kind: settle, nonce: 7, outcome: outcomeReleased, lease: testLease}},
	{"settle: 409 ASLEEP", event{kind: settle, nonce: 7, outcome: outcomeAsleep, lease: testLease}},
	{"settle: 429 VEHICLE, Retry-After 3h", event{kind: settle, nonce: 7, outcome: outcomeLimited, retryAfter: 3 * time.Hour, lease: testLease}},
	{"settle: 429 VEHICLE without Retry-After", event{kind: settle, nonce: 7, outcome: outcomeLimited, lease: testLease}},
	{"settle: VIRTUAL_KEY_REQUIRED, other 409, 5xx", event{kind: settle, nonce: 7, outcome: outcomeAnswered, lease: testLease}},
	{"settle: timeout or reset after the write", event{kind: settle, nonce: 7, outcome: outcomeUnclear, lease: testLease}},
	{"settle by an attempt that was taken over: 2xx", event{kind: settle, nonce: 8, outcome: outcomeOK, lease: testLease}},
	{"settle by an attempt that was taken over: not sent", event{kind: settle, nonce: 8, outcome: outcomeReleased, lease: testLease}},
	{"the class is learned: streaming", event{kind: learnClass, class: classStreaming}},
	{"the class is learned: legacy", event{kind: learnClass, class: classLegacy}},
	{"the key is seen: paired", event{kind: learnKey, key: keyInstalled, keySource: fromEndpoint, at: policyNow}},
	{"the key is seen: not paired", event{kind: learnKey, key: keyMissing, keySource: fromEndpoint, at: policyNow}},
	{"Smartcar answers VIRTUAL_KEY_REQUIRED", event{kind: learnKey, key: keyMissing, keySource: fromError, at: policyNow}},
	{"the status can never be had", event{kind: learnKey, key: keyUnavailable, keySource: fromEndpoint, at: policyNow}},
	{"the status failed for the moment", event{kind: keyCheckFailed}},
	{"the owner connects again", event{kind: accessChanged}},
	{"make and model could not be read for the moment", event{kind: classCheckFailed}},
	{"a webhook says that the key is there", event{kind: learnKey, key: keyInstalled, keySource: fromWebhook, at: policyNow}},
	{"a webhook says VIRTUAL_KEY_REQUIRED", event{kind: learnKey, key: keyMissing, keySource: fromWebhook, proves: true, at: policyNow}},
	{"a webhook brings data", event{kind: learnData, seen: true, recordedAt: policyNow, at: policyNow}},
	{"older evidence than the one known: paired", event{kind: learnKey, key: keyInstalled, keySource: fromWebhook, at: policyNow.Add(-72 * time.Hour)}},
}

// TestPolicyGolden shows what the policy does in every state for every event.
// Read testdata/policy.golden beside the tables of the package documentation.
func TestPolicyGolden(t *testing.T) {
	var b strings.Builder
	b.WriteString("For every event: rows are what is known of the car, columns its data turn. Times are from now.\n" +
		"Asks: send = goes, no turn needed; take = goes and takes the turn; no = refused until; key = needs the key; look = read the key status first.\n" +
		"Other events: when the next data request may go afterwards, and what else changed.\n")
	for _, e := range policyEvents {
		fmt.Fprintf(&b, "\n%s\n%-22s", e.name, "")
		for _, turn := range turns {
			fmt.Fprintf(&b, " | %-16s", turn.name)
		}
		for class := classUnresolved; class <= classOther; class++ {
			for _, row := range keyRows {
				fmt.Fprintf(&b, "\n%-10s %-11s", classNames[class], row.name)
				for _, turn := range turns {
					s := carState{class: class, key: row.key, keyAt: row.at}
					turn.set(&s)
					fmt.Fprintf(&b, " | %-16s", policyCell(s, e.event))
				}
			}
		}
		b.WriteString("\n")
	}
	var got string
	for line := range strings.Lines(b.String()) {
		got += strings.TrimRight(line, " \n") + "\n"
	}
	const golden = "testdata/policy.golden"
	if *update {
		require.NoError(t, os.WriteFile(golden, []byte(got), 0o644))
	}
	want, err := os.ReadFile(golden)
	require.NoError(t, err)
	require.Equal(t, string(want), got, "run go test -run TestPolicyGolden -update . and review the difference")
}

func policyCell(s carState, e event) string {
	after, d := step(s, e, policyNow, DefaultRules(), testLease)
	switch d.verdict {
	case verdictSend:
		return "send"
	case verdictTake:
		if e.kind == markSent {
			return "sent"
		}
		return "take"
	case verdictKey:
		return "key"
	case verdictRecheck:
		return "look"
	case verdictLost:
		return "lost"
	case verdictRefuse:
		return "no " + fromNow(d.next) + inFlight(d)
	}
	cell := fromNow(after.nextData(policyNow, DefaultRules()).next)
	if after.class != s.class {
		cell += " " + classNames[after.class]
	}
	if after.key != s.key {
		cell += " " + keyNames[after.key]
	}
	return cell
}

func fromNow(t time.Time) string {
	if t.IsZero() {
		return "now"
	}
	text := t.Sub(policyNow).String()
	if short, ok := strings.CutSuffix(text, "m0s"); ok {
		text = short + "m"
	}
	if short, ok := strings.CutSuffix(text, "h0m"); ok {
		text = short + "h"
	}
	return "+" + text
}

func inFlight(d decision) string {
	if d.inFlight {
		return " flying"
	}
	return ""
}

func TestDecisionAllocatesNothing(t *testing.T) {
	s := carState{class: classStreaming, key: keyMissing, usedAt: policyNow.Add(-time.Hour)}
	e := event{kind: askData, nonce: 9, lease: testLease, sent: true}
	require.Zero(t, testing.AllocsPerRun(1000, func() {
		_, d := step(s, e, policyNow, DefaultRules(), testLease)
		require.Equal(t, verdictRefuse, d.verdict)
	}))
}

func BenchmarkDecision(b *testing.B) {
	s := carState{class: classStreaming, key: keyMissing, usedAt: policyNow.Add(-time.Hour)}
	e := event{kind: askData, nonce: 9, lease: testLease, sent: true}
	b.ReportAllocs()
	for b.Loop() {
		step(s, e, policyNow, DefaultRules(), testLease)
	}
}
