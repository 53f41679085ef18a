package smartcar

import (
	"errors"
	"time"

	"github.com/seed-498a1bc4/smartcar/internal/policy"
	"github.com/seed-498a1bc4/smartcar/internal/vin"
	"github.com/seed-498a1bc4/smartcar/signals"
)

// This file says what an answer, an error or a webhook event shows about a car. Its
// functions take plain values and return events of package policy; they send nothing
// and store nothing. An event that is older than what is known changes nothing, so
// events may arrive in any order.
//
//	source                                      event                           where it is applied
//	-----------------------------------------   -----------------------------   ------------------------
//	attributes, VIN of v2.0                     LearnClass, LearnClassByVIN     gate.learnFrom
//	  none of them told the class               LearnClass(ClassUnknown)        gate.learnClass
//	  nor did the attributes of v3              ClassNotTold                    gate.learnClass
//	  they could not be read for the moment     ClassCheckFailed                gate.learnClass
//	status of the key, v2.0                     LearnKey                        gate.learnFrom
//	  the answer does not say it                KeyCheckFailed                  gate.learnFrom
//	  it could not be read for the moment       KeyCheckFailed                  gate.learnKey
//	  this connection can never read it         LearnKey(KeyUnavailable)        gate.learnKey, Vehicle.KeyStatus
//	a data request, whatever came back          Settle                          gate.book
//	  VIRTUAL_KEY_REQUIRED                      LearnKeyRequired                gate.book
//	  429 VEHICLE for an item of a batch        Limited                         gate.book
//	  the VIN among the signals of v3           LearnClassByVIN                 gate.book
//	  all signals of v3, and none tells it      DataTellsNoClass                gate.book
//	  the key's signal, v3                      LearnKey                        gate.book
//	  a list of signals without it, v3          LearnKey(KeyUnavailable)        gate.book
//	a command that proves the key and worked    LearnKey(KeyInstalled)          gate.command
//	  any, of a car that slept                  LearnData                       gate.command
//	  VIRTUAL_KEY_REQUIRED                      LearnKeyRequired                gate.command
//	webhook event of format 4.0: its vehicle    LearnClass                      core.learnEvent
//	  its signals                               LearnData, and as of v3 above   core.learnEvent
//	  VIRTUAL_KEY_REQUIRED, of it or a signal   LearnKeyRequired                core.learnEvent
//	  VIRTUAL_KEY_REQUIRED is resolved          LearnKey(KeyInstalled)          core.learnEvent
//	  ASLEEP, or resolved                       LearnData                       core.learnEvent
//	webhook event of format 2.0                 LearnData, LearnKeyRequired     core.learnReadings
//	the application's word                      LearnKey                        Vehicle.SetKeyState
//	the operator's                              Reset, Paused                   Vehicle.ResetCar, Pause
//	the owner ran Connect again                 AccessChanged                   accounts.accessChanged
//	the car was subscribed to a webhook         Subscribed                      Vehicle.Subscribe
//
// The other events of package policy concern the car's turn: AskData, AskCommand, Leave
// and ReserveAgain are made in gate.go, command.go and cars.go. cars.giveBack makes a
// Settle, too.

// keyTellers are the sources from which this client learns of a car's key, beside
// errors and commands.
type keyTellers struct {
	endpoint bool // the API has an endpoint for it, which asks no car
	believed bool // the endpoint: see WithoutKeyEndpoint
	signal   bool // the key's own signal is believed: see WithoutKeySignal
}

// evidenceOfReading is what the answer to a metadata request shows.
func evidenceOfReading(value any, began time.Time, tellers keyTellers) []policy.Event {
	switch r := value.(type) {
	case *AttributesReading:
		if class := classOf(r.identity()); class != policy.ClassUnknown {
			return []policy.Event{policy.LearnClass(class)}
		}
	case *VINReading:
		if class := classOf(VehicleIdentity{VIN: r.VIN}); class != policy.ClassUnknown {
			return []policy.Event{policy.LearnClassByVIN(class)}
		}
	case *virtualKeyReading:
		switch {
		case !tellers.believed:
			return []policy.Event{policy.LearnKey(policy.KeyUnavailable, policy.FromEndpoint, began)}
		case r.Paired == nil:
			return []policy.Event{policy.KeyCheckFailed()}
		case *r.Paired:
			return []policy.Event{policy.LearnKey(policy.KeyInstalled, policy.FromEndpoint, began)}
		}
		return []policy.Event{policy.LearnKey(policy.KeyMissing, policy.FromEndpoint, began)}
	}
	return nil
}

// evidenceOfIdentity is what make, model, year and VIN show together: each alone
// may not tell the class.
func evidenceOfIdentity(identity VehicleIdentity) (events []policy.Event, found bool) {
	switch class := classOf(identity); {
	case class == policy.ClassUnknown:
		return nil, false
	case identity.VIN != "":
		return []policy.Event{policy.LearnClassByVIN(class)}, true
	default:
		return []policy.Event{policy.LearnClass(class)}, true
	}
}

// evidenceOfClassCheck is for a probe that read everything that takes no turn, and did
// not find the class. Err is why the last of it could not be read; nil if it could be.
// With dataHasVIN, the car's data may still show the class.
func evidenceOfClassCheck(err error, dataHasVIN bool) []policy.Event {
	switch {
	case err != nil && !permanent(err):
		return []policy.Event{policy.ClassCheckFailed()}
	case dataHasVIN:
		return []policy.Event{policy.ClassNotTold()}
	}
	return []policy.Event{policy.LearnClass(policy.ClassUnknown)}
}

// evidenceOfKeyCheck is for a probe that could not read the status of the key,
// because of err.
func evidenceOfKeyCheck(err error, now time.Time) []policy.Event {
	if keyStatusNeverHad(err) {
		return []policy.Event{policy.LearnKey(policy.KeyUnavailable, policy.FromEndpoint, now)}
	}
	return []policy.Event{policy.KeyCheckFailed()}
}

// evidenceOfData appends to events what came back for a data request.
//
// The order matters. What the car is, and that its key is missing, comes before
// Settle: a car that answers without its key was without it when it was asked, so
// the answer has used its turn. All other evidence comes after, so that the turn is
// booked by what was known when it was taken.
func evidenceOfData(events []policy.Event, a attempt, nonce uint64, lease time.Duration, tellers keyTellers) []policy.Event {
	result := policy.Result{Outcome: a.outcome}
	if f := a.failure; f != nil {
		result.RetryAfter = f.RetryAfter
		switch {
		case f.isKeyRequired():
			events = append(events, policy.LearnKeyRequired(policy.FromError, a.began))
		case f.isVehicleLimit() && a.outcome != policy.OutcomeLimited: // one item of a batch
			events = append(events, policy.Limited(f.RetryAfter))
		}
	}
	if a.answer == nil {
		return append(events, policy.Settle(nonce, lease, result))
	}
	shown := a.answer.observed
	if shown.wasChecked {
		result.Data = shown.data()
	}
	for i := range a.answer.parts {
		p := &a.answer.parts[i]
		if p.err == nil && p.meta.RecordedAt.After(result.Data.RecordedAt) {
			result.Data.RecordedAt = p.meta.RecordedAt
		}
		if p.err == nil && !shown.wasChecked && p.meta.FetchedAt.After(result.Data.FetchedAt) {
			result.Data.FetchedAt = p.meta.FetchedAt // of v3, which answers with what it has stored, it says nothing
		}
	}
	if !shown.wasChecked {
		return append(events, policy.Settle(nonce, lease, result))
	}
	switch class := shown.classShown(); {
	case class != policy.ClassUnknown:
		events = append(events, policy.LearnClassByVIN(class))
	case shown.hidesVIN:
		events = append(events, policy.DataTellsNoClass())
	}
	key, keyAt := shown.keyShown(a.answer.at, tellers)
	if key == policy.KeyMissing {
		events = append(events, policy.LearnKey(key, policy.FromSignal, keyAt))
	}
	events = append(events, policy.Settle(nonce, lease, result))
	if key == policy.KeyInstalled || key == policy.KeyUnavailable {
		events = append(events, policy.LearnKey(key, policy.FromSignal, keyAt))
	}
	return events
}

// evidenceOfCommand is what the end of a command shows. Op is nil for a command of
// Vehicle.Request: whether that needs the key is not known.
func evidenceOfCommand(op *operation, a attempt, err error) []policy.Event {
	switch {
	case a.failure != nil && a.failure.isKeyRequired():
		return []policy.Event{policy.LearnKeyRequired(policy.FromError, a.began)}
	case err == nil && op != nil && op.provesKey:
		return []policy.Event{policy.LearnKey(policy.KeyInstalled, policy.FromCommand, a.began)}
	}
	return nil
}

// evidenceOfApplication is the application's own word about the key. It is nil for a
// state that the application cannot set.
func evidenceOfApplication(state KeyState, now time.Time) []policy.Event {
	switch state {
	case KeyInstalled:
		return []policy.Event{policy.LearnKey(policy.KeyInstalled, policy.FromApplication, now)}
	case KeyMissing:
		return []policy.Event{policy.LearnKey(policy.KeyMissing, policy.FromApplication, now)}
	}
	return nil
}

// evidenceOfWaking: a command that may have been carried out has woken the car.
func evidenceOfWaking(now time.Time) []policy.Event {
	return []policy.Event{policy.LearnData(policy.Data{Wake: policy.WakeAwake}, now)}
}

// evidenceOfSubscription: Smartcar stores what the car says from now on.
func evidenceOfSubscription() []policy.Event { return []policy.Event{policy.Subscribed()} }

// evidenceOfConnect: the owner ran Connect again, and the new grant may have a
// permission that the old one had not.
func evidenceOfConnect() []policy.Event { return []policy.Event{policy.AccessChanged()} }

// evidenceOfEvent is what a webhook event of format 4.0 shows about its car. KeyAt is the
// time that an error about the key counts from, zero if it counts for nothing: see
// core.orderKeyEvent.
func evidenceOfEvent(e *WebhookEvent, came arrival, keyAt time.Time, tellers keyTellers) []policy.Event {
	var events []policy.Event
	identity := VehicleIdentity{Make: e.Make, Model: e.Model, Year: e.Year}
	if class := classOf(identity); class != policy.ClassUnknown {
		events = append(events, policy.LearnClass(class))
	}
	if makeOf(e.Make) == otherMaker {
		tellers.signal = false // it is some other key
	}
	if e.Signals != nil {
		events = append(events, evidenceOfSignals(e.Signals.content(), came, keyAt, tellers)...)
	}
	for _, problem := range e.Errors {
		events = append(events, evidenceOfEventError(problem, keyAt, came.closes())...)
	}
	return events
}

// evidenceOfSignals is what the signals of a webhook event show. A webhook sends
// the signals that it is set up for, so a missing signal shows nothing.
func evidenceOfSignals(set *signalSet, came arrival, keyAt time.Time, tellers keyTellers) []policy.Event {
	o, arrived := observe(set), came.closes()
	needsKey := o.needsKey(!tellers.signal) != nil
	_, listed := set.find(signals.ConnectivityStatusIsDigitalKeyPaired)
	switch {
	case !listed, tellers.endpoint && (o.key == policy.KeyUnavailable || !tellers.signal):
		o.key, o.wasChecked = policy.KeyNotAsked, false // no signal of the key, or the endpoint counts instead
	case o.key == policy.KeyInstalled && o.keyAt.IsZero():
		o.keyAt = came.opens()
	case o.key == policy.KeyInstalled:
		o.keyAt = came.earliest(o.keyAt)
	case o.keyAt.IsZero():
		o.keyAt = arrived
	default:
		o.keyAt = came.latest(o.keyAt)
	}
	var events []policy.Event
	if class := o.classShown(); class != policy.ClassUnknown {
		events = append(events, policy.LearnClassByVIN(class))
	}
	switch key, keyAt := o.keyShown(arrived, tellers); key {
	case policy.KeyUnavailable:
		events = append(events, policy.LearnKey(key, policy.FromSignal, keyAt))
	case policy.KeyMissing, policy.KeyInstalled:
		events = append(events, policy.LearnKey(key, policy.FromWebhook, keyAt))
	}
	if needsKey && !keyAt.IsZero() {
		events = append(events, policy.LearnKeyRequired(policy.FromWebhook, keyAt))
	}
	data := policy.Data{Wake: o.wake}
	for _, s := range set.signals {
		if s.err == nil {
			data.Stored = policy.StoredSome
			data.RecordedAt = later(data.RecordedAt, s.meta.OEMUpdatedAt)
		}
	}
	return append(events, policy.LearnData(data, asOf(set, arrived)))
}

// evidenceOfEventError is what an error that a webhook event reports, or reports
// as resolved, shows.
func evidenceOfEventError(problem EventError, keyAt, arrived time.Time) []policy.Event {
	switch {
	case problem.Err.isKeyRequired() && keyAt.IsZero():
	case problem.Err.isKeyRequired() && problem.Resolved():
		return []policy.Event{policy.LearnKey(policy.KeyInstalled, policy.FromWebhook, keyAt)}
	case problem.Err.isKeyRequired():
		return []policy.Event{policy.LearnKeyRequired(policy.FromWebhook, keyAt)}
	case errors.Is(problem.Err, ErrAsleep) && problem.Resolved():
		return []policy.Event{policy.LearnData(policy.Data{Wake: policy.WakeAwake}, arrived)}
	case errors.Is(problem.Err, ErrAsleep) && problem.State != "":
		return []policy.Event{policy.LearnData(policy.Data{Wake: policy.WakeAsleep}, arrived)}
	}
	return nil
}

// evidenceOfReadings is what a webhook event of format 2.0 shows about a car.
func evidenceOfReadings(w WebhookVehicle, arrived time.Time) (events []policy.Event) {
	for _, failed := range w.Errors {
		if failed.isKeyRequired() {
			events = append(events, policy.LearnKeyRequired(policy.FromWebhook, arrived))
		}
	}
	if w.hasReadings {
		events = append(events, policy.LearnData(policy.Data{Stored: policy.StoredSome, RecordedAt: w.RecordedAt}, arrived))
	}
	return events
}

// observation is what an answer shows about the car, whatever was asked for.
type observation struct {
	key        policy.Key // policy.KeyNotAsked if it shows nothing of the key
	keyAt      time.Time  // when the car said so; zero if not known
	wake       policy.Wake
	vin        string
	hidesVIN   bool // all signals are there, and the VIN is not among them, or may not be read
	nothing    bool // Smartcar has stored no signals of this car
	wasChecked bool // false for wires and answers that show none of this

	recordedAt  time.Time // the newest of all that was sent
	keyRequired *Error    // of any signal, whether it was wanted or not
	keySince    bool      // the key's own signal is there, and newer than keyRequired
}

// needsKey is the error of a signal that asks for the key. It may be old, since
// each signal keeps its last error. It is ignored if the key's own signal is newer
// and says that the key is there, unless that signal does not count.
func (o observation) needsKey(ignoreKeySignal bool) *Error {
	if o.keySince && !ignoreKeySignal {
		return nil
	}
	return o.keyRequired
}

// data is what the policy learns of the car's data.
func (o observation) data() policy.Data {
	d := policy.Data{RecordedAt: o.recordedAt, Wake: o.wake}
	d.Stored = policy.StoredSome
	if o.nothing {
		d.Stored = policy.StoredNothing
	}
	return d
}

// classShown is the class that the VIN tells; ClassUnknown if it tells none.
func (o observation) classShown() policy.Class {
	if o.vin == "" {
		return policy.ClassUnknown
	}
	return classOf(VehicleIdentity{VIN: o.vin})
}

// keyShown is what an answer that came at that time shows of the key, and when that was
// true. If the car's clock is ahead, it was true when the answer came: a time in the
// future would make all later evidence look older. KeyNotAsked means that the answer
// shows nothing.
func (o observation) keyShown(at time.Time, tellers keyTellers) (policy.Key, time.Time) {
	if number, err := vin.Parse(o.vin); err == nil && !number.IsTesla() {
		return policy.KeyNotAsked, time.Time{} // the signal is of some other key
	}
	if !tellers.signal && o.wasChecked && !o.nothing {
		return policy.KeyUnavailable, time.Time{} // no source that counts will tell it
	}
	return o.key, earlier(o.keyAt, at)
}

// outcome is that of a list of signals for the turn. The list is one request, so it
// costs the same whether the wanted signals are in it or not. An empty list never
// reached the car.
func (o observation) outcome(wanted policy.Outcome) policy.Outcome {
	if o.nothing {
		return policy.OutcomeReleased
	}
	if wanted == policy.OutcomeReleased || wanted == policy.OutcomeNone {
		return policy.OutcomeAnswered
	}
	return wanted
}

// observe takes out of a list of signals what the policy learns from it.
func observe(set *signalSet) observation {
	o := observation{wasChecked: true, nothing: len(set.signals) == 0 && !set.incomplete}
	whole := !set.incomplete && len(set.signals) > 1
	switch number, err := textSignal(set, signals.VehicleIdentificationVIN); {
	case err == nil && number.Value != nil:
		o.vin = *number.Value
		o.hidesVIN = whole && o.classShown() == policy.ClassUnknown
	default:
		o.hidesVIN = whole && (err == nil || permanent(err) || isGone(err))
	}
	if asleep, err := boolSignal(set, signals.ConnectivityStatusIsAsleep); err == nil && asleep.Value != nil {
		o.wake = policy.WakeAwake
		if *asleep.Value {
			o.wake = policy.WakeAsleep
		}
	}
	var askedAt time.Time // when a signal last asked for the key; zero if that is not known
	for _, s := range set.signals {
		switch {
		case s.err == nil:
			o.recordedAt = later(o.recordedAt, s.meta.OEMUpdatedAt)
		case s.err.isKeyRequired():
			at := later(later(s.meta.OEMUpdatedAt, s.meta.RetrievedAt), s.meta.IngestedAt)
			if o.keyRequired == nil || at.IsZero() || !askedAt.IsZero() && at.After(askedAt) {
				o.keyRequired, askedAt = s.err, at
			}
		}
	}
	paired, err := boolSignal(set, signals.ConnectivityStatusIsDigitalKeyPaired)
	switch {
	case err == nil && paired.Value != nil:
		// If a signal does not say when the car recorded it, the time at which Smartcar
		// fetched or stored it counts.
		o.key, o.keyAt = policy.KeyMissing, firstKnown(paired.OEMUpdatedAt, paired.RetrievedAt, paired.IngestedAt)
		if *paired.Value {
			o.key = policy.KeyInstalled
			o.keySince = !askedAt.IsZero() && earliestKnown(paired.OEMUpdatedAt, paired.RetrievedAt, paired.IngestedAt).After(askedAt)
		}
	case err != nil && permanent(err):
		o.key = policy.KeyUnavailable
	case err != nil && isGone(err) && whole:
		o.key = policy.KeyUnavailable // the list is complete, so the signal will not come
	}
	return o
}

// earliestKnown is the earliest of the times that are known.
func earliestKnown(times ...time.Time) (first time.Time) {
	for _, t := range times {
		if first.IsZero() || !t.IsZero() && t.Before(first) {
			first = t
		}
	}
	return first
}

// firstKnown is the first time of the list that is not zero.
func firstKnown(times ...time.Time) time.Time {
	for _, t := range times {
		if !t.IsZero() {
			return t
		}
	}
	return time.Time{}
}

func (r *AttributesReading) identity() VehicleIdentity {
	return VehicleIdentity{Make: r.Make, Model: r.Model, Year: r.Year}
}

func classOf(identity VehicleIdentity) policy.Class {
	switch identity.KeyRequirement().Class {
	case ClassStreaming:
		return policy.ClassStreaming
	case ClassLegacy:
		return policy.ClassLegacy
	case ClassOther:
		return policy.ClassOther
	}
	return policy.ClassUnknown
}

// permanent reports whether asking again soon would give the same error. The page of a
// proxy is not permanent, whatever its status.
func permanent(err error) bool {
	return errors.Is(err, ErrPermission) || errors.Is(err, ErrNotSupported)
}

// keyStatusNeverHad reports whether the status of the key can never be read with this
// connection. Two errors of the endpoint mean just that: VEHICLE_MISSING, since the
// connected account is not the owner's, and PLATFORM_NOT_CAPABLE, since the car is
// connected through Tesla's retired integration.
func keyStatusNeverHad(err error) bool {
	e, ok := errors.AsType[*Error](err)
	return permanent(err) || ok && e.Type == typeAccount && e.Code == "VEHICLE_MISSING"
}
