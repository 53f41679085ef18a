package policy

import "time"

// An Outcome is what became of a data request.
type Outcome uint8

// The outcomes, ordered by how sure it is that the server counted the request.
const (
	OutcomeNone     Outcome = iota
	OutcomeReleased         // not counted for certain: not sent, or refused before the car was asked
	OutcomeAsleep           // 409 ASLEEP, which is documented as not sent
	OutcomeLimited          // 429 VEHICLE
	OutcomeUnclear          // no answer after the write; it may be counted until the lease ends
	OutcomeAnswered         // an answer that may have been counted: VIRTUAL_KEY_REQUIRED, other 409, 5xx
	OutcomeOK               // 2xx; of a batch, the strongest item
)

// Stronger reports whether o decides beside other, in an answer with several items.
func (o Outcome) Stronger(other Outcome) bool { return o > other }

// mayCount reports whether the server may have counted the request.
func (o Outcome) mayCount() bool {
	return o == OutcomeOK || o == OutcomeAnswered || o == OutcomeUnclear
}

// A Result is what came back for a data request.
type Result struct {
	Outcome    Outcome
	RetryAfter time.Duration // the server's own word with OutcomeLimited; 0 if it said none
	Data       Data          // of OutcomeOK; its Wake and Stored count with any outcome
}
