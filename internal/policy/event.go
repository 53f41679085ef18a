package policy

import "time"

// An Event is something that happened to a car. The functions below make them.
type Event struct {
	kind    eventKind
	attempt attempt   // askData, leave, holdBack, settle
	result  Result    // settle; of limited only RetryAfter
	class   Class     // learnClass
	byVIN   bool      // learnClass
	key     Key       // learnKey
	source  KeySource // learnKey
	demands bool      // learnKey: Smartcar itself asked for the key
	data    Data      // learnData
	asOf    time.Time // learnKey, learnData: what it tells was so then, and may have changed since
	knew    time.Time // learnKey: see Knowing
	knewNow time.Time // the same
}

type eventKind uint8

const (
	askData eventKind = iota + 1
	askCommand
	leave
	holdBack
	settle
	limited
	learnClass
	classCheckFailed
	learnKey
	keyCheckFailed
	accessChanged
	learnData
)

// attempt is one data request of one process.
type attempt struct {
	nonce uint64
	lease time.Duration
	phase phase         // askData: in which the turn is taken
	ahead time.Duration // see Witnessed
}

// AskData asks whether a data request may go. If it needs the car's turn, the
// turn is reserved for the attempt with that nonce, for as long as the lease:
// Leave has to come before the request is sent.
func AskData(nonce uint64, lease time.Duration) Event {
	return Event{kind: askData, attempt: attempt{nonce: nonce, lease: lease, phase: phaseReserved}}
}

// AskDataAndLeave is AskData and Leave in one, for a request that has its token
// at hand. The lease covers the request.
func AskDataAndLeave(nonce uint64, lease time.Duration) Event {
	return Event{kind: askData, attempt: attempt{nonce: nonce, lease: lease, phase: phaseSent}}
}

// AskCommand asks whether a command may go.
func AskCommand() Event { return Event{kind: askCommand} }

// Leave: the request that holds the turn is about to be sent. From then on a
// process that dies has used the turn. The lease covers the request.
func Leave(nonce uint64, lease time.Duration) Event {
	return Event{kind: leave, attempt: attempt{nonce: nonce, lease: lease, phase: phaseSent}}
}

// HoldBack: the request that holds the turn was refused for its token, so it was
// not counted, and will be sent again with another one. The turn is reserved
// until then.
func HoldBack(nonce uint64, lease time.Duration) Event {
	return Event{kind: holdBack, attempt: attempt{nonce: nonce, lease: lease, phase: phaseReserved}}
}

// Settle: a data request came back, or did not. The nonce is 0 for a request
// that held no turn. The lease is how long the request may take: one that nobody
// has heard of again may be counted until then.
func Settle(nonce uint64, lease time.Duration, r Result) Event {
	return Event{kind: settle, attempt: attempt{nonce: nonce, lease: lease}, result: r}
}

// Limited: one item of a batch was refused with 429 VEHICLE. RetryAfter is the
// server's own word, 0 if it said none.
func Limited(retryAfter time.Duration) Event {
	return Event{kind: limited, result: Result{RetryAfter: retryAfter}}
}

// LearnClass: make, model and year tell the class, or that it cannot be told.
func LearnClass(class Class) Event { return Event{kind: learnClass, class: class} }

// LearnClassByVIN: the VIN tells the class, which make, model and year cannot
// outweigh.
func LearnClassByVIN(class Class) Event { return Event{kind: learnClass, class: class, byVIN: true} }

// ClassCheckFailed: make and model could not be read for the moment.
func ClassCheckFailed() Event { return Event{kind: classCheckFailed} }

// LearnKey: the key was seen, or seen missing, or can never be known with this
// connection. AsOf is when the request that shows it began, or when the car said
// so. Evidence older than what is known changes nothing.
func LearnKey(key Key, source KeySource, asOf time.Time) Event {
	return Event{kind: learnKey, key: key, source: source, asOf: asOf}
}

// LearnKeyRequired: Smartcar itself asked for the key (VIRTUAL_KEY_REQUIRED). It
// is missing, and the car is one that needs it, whatever was inferred.
func LearnKeyRequired(source KeySource, asOf time.Time) Event {
	return Event{kind: learnKey, key: KeyMissing, source: source, demands: true, asOf: asOf}
}

// KeyCheckFailed: the key status could not be read for the moment.
func KeyCheckFailed() Event { return Event{kind: keyCheckFailed} }

// AccessChanged: the owner connected again. What this connection could not tell
// may be told now.
func AccessChanged() Event { return Event{kind: accessChanged} }

// LearnData: data came without being asked for, which takes no turn. AsOf is
// when Smartcar had it.
func LearnData(d Data, asOf time.Time) Event { return Event{kind: learnData, data: d, asOf: asOf} }

// Witnessed notes what the clock of the machine shows while the clock of the record
// shows now, so that the two can be compared later: see State.Doubted.
func (e Event) Witnessed(machine, now time.Time) Event {
	e.attempt.ahead = machine.Sub(now)
	return e
}

// Knowing says that the request which shows the evidence began when the key was
// known as of keyAt (see State.KeyAt), and what the present is by the clock of the
// record as it was then. So the evidence is newer than that, whatever it is dated by
// a clock that was set in between; and if it was, dates tell nothing else.
func (e Event) Knowing(keyAt, now time.Time) Event {
	e.knew, e.knewNow = keyAt, now
	return e
}

// OnClock moves the time of the evidence from one clock to another. Here and
// there are the same instant on the two.
func (e Event) OnClock(here, there time.Time) Event {
	if !e.asOf.IsZero() {
		e.asOf = there.Add(-here.Sub(e.asOf))
	}
	return e
}
