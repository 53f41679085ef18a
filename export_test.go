package smartcar

import (
	"time"

	"github.com/seed-498a1bc4/smartcar/internal/randid"
)

// Replayable lets net/http repeat requests by itself, which the client
// prevents: a test shows what would happen.
func Replayable() Option {
	return func(o *options) error { o.replayable = true; return nil }
}

// CarRecord is what the policy stores of a keyless car whose turn was used.
func CarRecord(usedAt time.Time) []byte {
	s := carState{class: classStreaming, key: keyMissing, usedAt: usedAt, keyAt: usedAt}
	return s.encode(randid.New())
}
