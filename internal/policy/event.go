package policy

import "time"

// An Event is something that happened to a car. The functions below make them.
type Event struct {
	kind    eventKind
	class   Class     // learnClass
	byVIN   bool      // learnClass
	byData  bool      // classNotTold
	canLook bool      // askCommand
	key     Key       // learnKey
	source  KeySource // learnKey
	demands bool      // learnKey: Smartcar itself asked for the key
	attempt attempt   // askData, leave, reserveAgain, settle
	result  Result    // settle; of limited only RetryAfter, of learnData only Data
	asOf    time.Time // learnKey, learnData: when the evidence was true; it may have changed since
	knew    time.Time // learnKey: see Knowing
	knewNow time.Time // learnKey: the same
}

type eventKind uint8

const (
	askData eventKind = iota + 1
	askCommand
	leave
	reserveAgain
	settle
	limited
	learnClass
	classNotTold
	classCheckFailed
	learnKey
	keyCheckFailed
	accessChanged
	learnData
	subscribed
	paused
	reset
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

// AskCommand asks whether a command may go. CanLook says that the status of the
// key can be read without asking the car.
func AskCommand(canLook bool) Event { return Event{kind: askCommand, canLook: canLook} }

// Leave: the request that holds the turn is about to be sent. From then on a
// process that dies has used the turn. The lease covers the request.
func Leave(nonce uint64, lease time.Duration) Event {
	return Event{kind: leave, attempt: attempt{nonce: nonce, lease: lease, phase: phaseSent}}
}

// ReserveAgain: the request that holds the turn was refused for its token, so the
// server has not counted it, and it will be sent again with another token. The turn
// is reserved until then.
func ReserveAgain(nonce uint64, lease time.Duration) Event {
	return Event{kind: reserveAgain, attempt: attempt{nonce: nonce, lease: lease, phase: phaseReserved}}
}

// Settle: a data request has ended, with an answer or without. The nonce is 0 for a
// request that held no turn. The lease is how long the request may take: without an
// answer, the server may count it until then.
func Settle(nonce uint64, lease time.Duration, r Result) Event {
	return Event{kind: settle, attempt: attempt{nonce: nonce, lease: lease}, result: r}
}

// Limited: one item of a batch was refused with 429 VEHICLE. RetryAfter is 0 if the
// server named no time.
func Limited(retryAfter time.Duration) Event {
	return Event{kind: limited, result: Result{RetryAfter: retryAfter}}
}

// LearnClass: make, model and year show the class, or ClassUnknown: all sources
// were asked, and none shows it.
func LearnClass(class Class) Event { return Event{kind: learnClass, class: class} }

// LearnClassByVIN: the VIN shows the class. Make, model and year do not change it
// any more.
func LearnClassByVIN(class Class) Event { return Event{kind: learnClass, class: class, byVIN: true} }

// ClassNotTold: what can be read without a turn does not tell the class, or may not
// be read. The car's data may tell it.
func ClassNotTold() Event { return Event{kind: classNotTold} }

// DataTellsNoClass: all of a car's data came, and it does not tell the class.
func DataTellsNoClass() Event { return Event{kind: classNotTold, byData: true} }

// ClassCheckFailed: make and model could not be read for the moment.
func ClassCheckFailed() Event { return Event{kind: classCheckFailed} }

// LearnKey: something showed that the key is there, or is missing, or can never be
// known with this connection. AsOf is when the request that shows it began, or when
// the car said so. Evidence older than what is known changes nothing.
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

// AccessChanged: the owner connected again. The new connection may tell what the
// old one could not, and what the server's limits have shown may have changed.
func AccessChanged() Event { return Event{kind: accessChanged} }

// LearnData: a webhook sent data, which takes no turn. AsOf is when Smartcar had it.
func LearnData(d Data, asOf time.Time) Event {
	return Event{kind: learnData, result: Result{Data: d}, asOf: asOf}
}

// Subscribed: the car was subscribed to a webhook. Smartcar stores its data from now
// on.
func Subscribed() Event { return Event{kind: subscribed} }

// Paused stops all data requests to the car until that time; zero ends the pause.
func Paused(until time.Time) Event { return Event{kind: paused, asOf: until} }

// Reset forgets what was learned of the car, since the operator says that it is wrong.
// What protects the car stays: its turn, what Smartcar said of its limits, and a pause.
func Reset() Event { return Event{kind: reset} }

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

// ClosesFrom lets evidence that the key is missing count from that time, if it is older:
// its own date was judged by a clock that is wrong.
func (e Event) ClosesFrom(at time.Time) Event {
	if e.kind == learnKey && e.key == KeyMissing {
		e.asOf = later(e.asOf, at)
	}
	return e
}

// OnClock moves the time of the evidence from one clock to another. Here and there
// are the same instant on the two clocks.
func (e Event) OnClock(here, there time.Time) Event {
	if !e.asOf.IsZero() {
		e.asOf = there.Add(-here.Sub(e.asOf))
	}
	return e
}
