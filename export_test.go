package smartcar

import (
	"time"

	"github.com/seed-498a1bc4/smartcar/internal/policy"
	"github.com/seed-498a1bc4/smartcar/internal/randid"
)

// Replayable lets net/http repeat requests by itself, which the client
// prevents: a test shows what would happen.
func Replayable() Option {
	return func(o *options) error { o.replayable = true; return nil }
}

// CarRecord is what the policy stores of a keyless car whose turn was used.
func CarRecord(usedAt time.Time) []byte {
	s := policy.Closed(usedAt)
	for _, e := range []policy.Event{
		policy.LearnClass(policy.ClassStreaming), policy.LearnKey(policy.KeyMissing, policy.FromEndpoint, usedAt),
	} {
		s, _ = policy.Step(s, e, usedAt, policy.Rules{})
	}
	return policy.Encode(s, randid.New())
}
