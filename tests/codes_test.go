package smartcar_test

import (
	"fmt"
	"testing"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/stretchr/testify/require"
)

// Codes are what programs store, count and compare: they are short and stay as
// they are. What people read says no hours, which WithRules may change.
func TestCodesAreShortAndSaidForPeople(t *testing.T) {
	t.Parallel()
	for code, value := range map[string]fmt.Stringer{
		"keyless-window":    smartcar.RuleKeyless,
		"legacy-cadence":    smartcar.RuleLegacy,
		"server-limit":      smartcar.RuleServer,
		"application-limit": smartcar.RuleApplication,
		"store-away":        smartcar.RuleStore,
		"budget":            smartcar.RuleBudget,
		"paused":            smartcar.RulePaused,

		"streaming": smartcar.ClassStreaming,
		"legacy":    smartcar.ClassLegacy,
		"other":     smartcar.ClassOther,

		"not-required": smartcar.KeyNotRequired,

		"endpoint": smartcar.KeyFromEndpoint,
		"signal":   smartcar.KeyFromSignal,
		"error":    smartcar.KeyFromError,
		"webhook":  smartcar.KeyFromWebhook,

		"not-post":            smartcar.WebhookNotPost,
		"compressed":          smartcar.WebhookCompressed,
		"too-large":           smartcar.WebhookTooLarge,
		"not-read":            smartcar.WebhookNotRead,
		"bad-challenge":       smartcar.WebhookBadChallenge,
		"unsigned":            smartcar.WebhookUnsigned,
		"malformed-signature": smartcar.WebhookMalformedSignature,
		"wrong-signature":     smartcar.WebhookWrongSignature,
		"unreadable":          smartcar.WebhookUnreadable,
		"store-failed":        smartcar.WebhookStoreFailed,
		"in-progress":         smartcar.WebhookInProgress,
		"handler-failed":      smartcar.WebhookHandlerFailed,
	} {
		require.Equal(t, fmt.Sprintf("%q", code), fmt.Sprintf("%#v", value))
		require.NotEqual(t, code, value.String(), "says no more than the code")
		require.NotRegexp(t, `\d (hours|minutes)`, value.String())
	}
	for code, value := range map[string]fmt.Stringer{
		"unknown":     smartcar.ClassUnknown,
		"required":    smartcar.KeyRequired,
		"installed":   smartcar.KeyInstalled,
		"missing":     smartcar.KeyMissing,
		"command":     smartcar.KeyFromCommand,
		"application": smartcar.KeyFromApplication,
	} {
		require.Equal(t, fmt.Sprintf("%q", code), fmt.Sprintf("%#v", value))
		require.Equal(t, code, value.String(), "says it as well")
	}
	require.Equal(t, "unknown", string(smartcar.KeyNeedUnknown))
	for _, none := range []fmt.Stringer{smartcar.RuleNone, smartcar.KeyUnknown, smartcar.KeySourceNone} {
		require.Equal(t, `""`, fmt.Sprintf("%#v", none))
		require.NotEmpty(t, none.String())
	}
	require.Equal(t, "a rule of a newer version", smartcar.Rule("a rule of a newer version").String())
}

// A refusal names its rule in words.
func TestRefusalsNameTheirRuleInWords(t *testing.T) {
	t.Parallel()
	err := &smartcar.RateLimitError{Operation: smartcar.Battery, Rule: smartcar.RuleKeyless}
	require.EqualError(t, err, "smartcar: battery: not now: one data request per window while the virtual key is missing")
	none := &smartcar.KeyNotNeededError{Class: smartcar.ClassOther}
	require.EqualError(t, none, "smartcar: the car needs no virtual key (other make): send requests without one")
}
