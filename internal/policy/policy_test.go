package policy

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

	// testRules are the rules as Smartcar documents them.
	testRules = Rules{KeylessWindow: 8 * time.Hour, LegacyRefresh: 5 * time.Minute, MaxLease: testLease}

	classNames = map[Class]string{
		ClassUnresolved: "unresolved", ClassUnknown: "unknown", ClassStreaming: "streaming", ClassLegacy: "legacy", ClassOther: "other",
	}
	keyNames = map[Key]string{
		KeyNotAsked: "not known", KeyUnavailable: "never had", KeyMissing: "missing", KeyInstalled: "installed",
	}
)

// keyRows are the rows of the golden tables within each class.
var keyRows = []struct {
	name string
	key  Key
	at   time.Time
}{
	{"not known", KeyNotAsked, time.Time{}},
	{"never had", KeyUnavailable, policyNow.Add(-48 * time.Hour)},
	{"missing 48h", KeyMissing, policyNow.Add(-48 * time.Hour)},
	{"missing 30s", KeyMissing, policyNow.Add(-30 * time.Second)},
	{"installed", KeyInstalled, policyNow.Add(-48 * time.Hour)},
}

// turns are the columns of the golden tables.
var turns = []struct {
	name  string
	turn  turn
	limit limit
	said  said
	quiet quiet
}{
	{name: "never asked"},
	{name: "used 1h ago", turn: turn{usedAt: policyNow.Add(-time.Hour)}},
	{name: "used 9h ago", turn: turn{usedAt: policyNow.Add(-9 * time.Hour)}},
	{name: "reserved", turn: turn{phase: phaseReserved, nonce: 7, leaseEnd: policyNow.Add(20 * time.Second)}},
	{name: "reserve died", turn: turn{phase: phaseReserved, nonce: 7, leaseEnd: policyNow.Add(-time.Hour)}},
	{name: "sent", turn: turn{phase: phaseSent, nonce: 7, leaseEnd: policyNow.Add(time.Minute)}},
	{name: "sender died", turn: turn{phase: phaseSent, nonce: 7, leaseEnd: policyNow.Add(-time.Hour)}},
	{name: "limited +2h", limit: limit{to: policyNow.Add(2 * time.Hour), at: policyNow.Add(-time.Minute)}},
	{
		name: "said, used 30m", turn: turn{usedAt: policyNow.Add(-30 * time.Minute)},
		said: said{at: policyNow.Add(-time.Hour), trialAt: policyNow.Add(48 * time.Hour)},
	},
	{name: "asleep +15m", quiet: quiet{times: 2, to: policyNow.Add(15 * time.Minute)}},
}

var policyEvents = []struct {
	name string
	Event
}{
	{"a data request asks, token at hand", AskDataAndLeave(9, testLease)},
	{"a data request asks, token to be refreshed first", AskData(9, 30*time.Second)},
	{"a command asks, the status can be looked at", AskCommand(true)},
	{"a command asks, only data tells the status", AskCommand(false)},
	{"the reserved request is about to leave", Leave(7, testLease)},
	{"settle: 2xx", settled(7, OutcomeOK, 0)},
	{"settle: not sent for certain, 400 validation, 401, 403, 404, 430, 501, 429 SMARTCAR_API", settled(7, OutcomeReleased, 0)},
	{"settle: 409 ASLEEP", settled(7, OutcomeAsleep, 0)},
	{"settle: 429 VEHICLE, Retry-After 3h", settled(7, OutcomeLimited, 3*time.Hour)},
	{"settle: 429 VEHICLE without Retry-After", settled(7, OutcomeLimited, 0)},
	{"settle: the list came, and nothing is stored", Settle(7, testLease, Result{Outcome: OutcomeReleased, Data: Data{Stored: StoredNothing}})},
	{"settle: VIRTUAL_KEY_REQUIRED, other 409, 5xx", settled(7, OutcomeAnswered, 0)},
	{"settle: timeout or reset after the write", settled(7, OutcomeUnclear, 0)},
	{"a batch was answered, one of its items: 429 VEHICLE, Retry-After 3h", Limited(3 * time.Hour)},
	{"a batch was answered, one of its items: 429 VEHICLE without Retry-After", Limited(0)},
	{"settle without a turn: 2xx", settled(0, OutcomeOK, 0)},
	{"settle without a turn: timeout or reset after the write", settled(0, OutcomeUnclear, 0)},
	{"settle by an attempt that was taken over: 2xx", settled(8, OutcomeOK, 0)},
	{"settle by an attempt that was taken over: not sent", settled(8, OutcomeReleased, 0)},
	{"the class is learned: streaming", LearnClass(ClassStreaming)},
	{"the class is learned: legacy", LearnClass(ClassLegacy)},
	{"the class is learned: other", LearnClass(ClassOther)},
	{"each source was asked, and the class cannot be told", LearnClass(ClassUnknown)},
	{"make and model do not tell the class", ClassNotTold()},
	{"the data does not tell the class", DataTellsNoClass()},
	{"the key is seen: paired", LearnKey(KeyInstalled, FromEndpoint, policyNow)},
	{"the key is seen: not paired", LearnKey(KeyMissing, FromEndpoint, policyNow)},
	{"Smartcar answers VIRTUAL_KEY_REQUIRED", LearnKeyRequired(FromError, policyNow)},
	{"the status can never be had", LearnKey(KeyUnavailable, FromEndpoint, policyNow)},
	{"the status failed for the moment", KeyCheckFailed()},
	{"the owner connects again", AccessChanged()},
	{"make and model could not be read for the moment", ClassCheckFailed()},
	{"a webhook says that the key is there", LearnKey(KeyInstalled, FromWebhook, policyNow)},
	{"a webhook says VIRTUAL_KEY_REQUIRED", LearnKeyRequired(FromWebhook, policyNow)},
	{"a webhook brings data", LearnData(Data{RecordedAt: policyNow, Stored: StoredSome}, policyNow)},
	{"a command worked", LearnKey(KeyInstalled, FromCommand, policyNow)},
	{"the car is subscribed to a webhook", Subscribed()},
	{"the operator resets the car", Reset()},
	{"older evidence than the one known: paired", LearnKey(KeyInstalled, FromWebhook, policyNow.Add(-72*time.Hour))},
}

func settled(nonce uint64, o Outcome, retryAfter time.Duration) Event {
	return Settle(nonce, testLease, Result{Outcome: o, RetryAfter: retryAfter})
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
		for class := ClassUnresolved; class <= ClassOther; class++ {
			for _, row := range keyRows {
				fmt.Fprintf(&b, "\n%-10s %-11s", classNames[class], row.name)
				for _, turn := range turns {
					s := State{class: classKnown{is: class}, key: keyKnown{is: row.key, at: row.at}, turn: turn.turn, limit: turn.limit, said: turn.said, data: dataKnown{quiet: turn.quiet}}
					fmt.Fprintf(&b, " | %-16s", policyCell(s, e.Event))
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
	require.Equal(t, string(want), got, "run go test -run TestPolicyGolden -update ./internal/policy and review the difference")
}

func policyCell(s State, e Event) string {
	after, d := Step(&s, e, policyNow, testRules)
	switch d.Verdict {
	case VerdictSend:
		return "send"
	case VerdictTake:
		if e.kind == leave {
			return "sent"
		}
		return "take"
	case VerdictKey:
		return "key"
	case VerdictRecheck:
		return "look"
	case VerdictLost:
		return "lost"
	case VerdictRefuse:
		return "no " + fromNow(d.Next) + inFlight(d)
	}
	cell := fromNow(after.NextData(policyNow, testRules).Next)
	if after.Class() != s.Class() {
		cell += " " + classNames[after.Class()]
	}
	if after.Key() != s.Key() {
		cell += " " + keyNames[after.Key()]
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

func inFlight(d Decision) string {
	if d.InFlight {
		return " flying"
	}
	return ""
}

// keylessState is a car without its key whose turn was used at that time.
func keylessState(usedAt time.Time) State {
	return State{class: classKnown{is: ClassStreaming}, key: keyKnown{is: KeyMissing}, turn: turn{usedAt: usedAt}}
}

func TestDecisionAllocatesNothing(t *testing.T) {
	s := keylessState(policyNow.Add(-time.Hour))
	e := AskDataAndLeave(9, testLease)
	require.Zero(t, testing.AllocsPerRun(1000, func() {
		_, d := Step(&s, e, policyNow, testRules)
		require.Equal(t, VerdictRefuse, d.Verdict)
	}))
}

func BenchmarkDecision(b *testing.B) {
	s := keylessState(policyNow.Add(-time.Hour))
	e := AskDataAndLeave(9, testLease)
	b.ReportAllocs()
	for b.Loop() {
		Step(&s, e, policyNow, testRules)
	}
}
