package policy_test

import (
	"slices"
	"time"

	"github.com/seed-498a1bc4/smartcar/internal/policy"
)

// Time is counted in minutes, and passes by a lease or by a quarter of the window.
const (
	lease   = 60
	quarter = 120
	window  = 4 * quarter

	never = -30_000 // long ago, or not at all
)

// The pauses of a car that sleeps are a lease, three of them and then a window and a half.
var (
	checkRules = policy.Rules{KeylessWindow: window * time.Minute, LegacyRefresh: lease * time.Minute, MaxLease: lease * time.Minute}
	checkStart = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
)

func minutes[T int | int16](n T) time.Duration { return time.Duration(n) * time.Minute }

// instant is a minute by some clock; the zero time is never.
func instant(minute int16) time.Time {
	if minute == never {
		return time.Time{}
	}
	return checkStart.Add(minutes(minute))
}

func minuteOf(t time.Time) int16 {
	if t.IsZero() {
		return never
	}
	return int16(t.Sub(checkStart) / time.Minute)
}

// A world is everything at one moment. It is compared and hashed as a value. Every
// method is one step of it: what a process does in one go, or what happens to it. Between
// two steps it is canonical: see canonical.
type world struct {
	m    *model
	now  int16 // true time; zero between two steps
	left counts

	record  int32 // the number of the stored state
	version int8  // of the record
	storeBy int16 // how far the store's clock is off; zero between two steps

	hasKey    bool
	changedAt int16 // when the key was added or removed last
	told      bool  // the client was told that the key is missing, and it is
	counted   int16 // when the server counted the last data request
	bound     int16 // when it counted the last one that left after the client was told
	ended     int16 // when it counted the last one that has ended
	bookedBy  int16 // how far the store's clock was off when a turn was taken, kept or used last
	due       int16 // when the car has to be open at the latest, by all requests that have ended
	limitTo   int16 // until when the server has refused the car, as the client was told
	limitAt   int16 // when the client was told so, unless it has seen since that the key is there
	limitBy   int16 // how far the store's clock was off then
	asleepTo  int16 // until when the car is not to be asked, since it said that it sleeps

	stepped        int16 // the sum of all steps of clocks
	machineStepped bool  // the clock of a machine was one of them
	replicas       [2]replica
	orphans        [2]orphan
	wrong          failure // what is wrong with this world
}

// counts are how often things may still happen.
type counts struct{ apart, crashes, steps, keys int8 }

// orphan is a request whose sender has given up or died. It may be processed all
// the same.
type orphan struct {
	until     int16 // never for none
	told      bool  // see replica
	ended     int16 // the same
	heedLimit bool  // the same
}

type stage int8

const (
	idle stage = iota
	loaded
	reserved
	flying
	processed
)

// replica is one process.
type replica struct {
	bootBy int16      // how far the clock of its machine was off then: from there it counts the time that passes
	by     int16      // and is off now
	seen   [3]segment // what it has seen of the store's clock
	known  int8       // the version of the record at the last contact with the store
	wasBy  int16      // how far the store's clock was off at the last contact

	stage     stage
	direct    bool      // loaded: the request leaves with the swap
	outrun    bool      // loaded: somebody has written meanwhile
	turn      bool      // the request has taken a turn
	told      bool      // the client had been told that the key is missing, when it was decided on
	heedLimit bool      // and that the server refuses the car
	ended     int16     // world.ended then
	until     int16     // reserved: when the lease ends; from then on: until when the server may process it
	due       int16     // when the car has to be open, should nobody hear of this request again
	at        int16     // loaded, processed: when
	keyThen   bool      // processed: what the answer says of the key
	counted   bool      // processed: the server has counted it
	wait      int16     // and for how long the server refuses the car; 0 if it did not
	knew      knowledge // from loaded on

	looking  bool  // a status read is under way
	lookAt   int16 // since then
	lookKey  bool  // and what it says
	lookKnew knowledge
}

// segment is a time for which the store's clock was not stepped, as far as a replica
// has seen it. When it saw it last makes no difference: the jump to the next segment
// is as long.
type segment struct {
	used  bool
	first int16 // true time
	by    int16
}

// saw reports whether the replica has asked the store while its clock was off by that.
func (r *replica) saw(by int16) bool {
	return slices.ContainsFunc(r.seen[:], func(s segment) bool { return s.used && s.by == by })
}

// nonce numbers the attempts of a replica. A process that has died had nonce dead.
func nonce(i int) uint64 { return uint64(i + 1) }

const dead = 3

// contact reads the store's clock, and which record it holds.
func (w *world) contact(i int) {
	r := &w.replicas[i]
	r.known, r.wasBy = w.version, w.storeBy
	for k := range r.seen {
		s := &r.seen[k]
		newest := k+1 == len(r.seen) || !r.seen[k+1].used
		switch {
		case !s.used:
			*s = segment{true, w.now, w.storeBy}
			return
		case newest && s.by == w.storeBy:
			return
		}
	}
	panic("the store's clock was stepped more often than a run allows")
}

func (w *world) state() *policy.State { return &w.m.states[w.record] }

// storeTime is the store's present as a replica reckons it from the last contact.
func (w *world) storeTime(i int) time.Time { return instant(w.now + w.replicas[i].wasBy) }

// machineTime is the clock of its machine as a replica reckons it from its start.
func (w *world) machineTime(i int) time.Time { return instant(w.now + w.replicas[i].bootBy) }

// step is cars.step.
func (w *world) step(i int, state policy.State, e policy.Event) (policy.State, policy.Decision) {
	e = w.witnessed(i, e)
	judged := w.judged(i, state)
	return policy.Step(&judged, e, w.storeTime(i), checkRules)
}

func (w *world) nextData(i int, state policy.State) policy.Decision {
	judged := w.judged(i, state)
	return judged.NextData(w.storeTime(i), checkRules)
}

// stored is a state as it will be read.
func (w *world) stored(state policy.State) int32 {
	stored, err := policy.Decode(policy.Encode(&state, 0))
	if err != nil {
		panic(err)
	}
	return w.m.number(stored)
}

// write stores a state.
func (w *world) write(i int, state policy.State) {
	w.record = w.stored(state)
	w.version++
	for k := range w.replicas {
		w.replicas[k].outrun = w.replicas[k].stage == loaded
	}
	w.contact(i)
}

// dated is an event as it is dated by the store's clock when it is applied.
type dated func() policy.Event

func undated(e policy.Event) dated { return func() policy.Event { return e } }

// apply is cars.apply: it begins with the record as the replica knows it, whose
// clock it goes by, unless somebody else was faster. If that clock turns out to have
// been set, the events are dated anew.
func (w *world) apply(i int, events ...dated) {
	if w.replicas[i].known != w.version {
		w.contact(i)
	}
	before := *w.state()
	state := before
	for _, e := range events {
		state, _ = w.step(i, state, e())
	}
	if w.stored(state) == w.record {
		return
	}
	by := w.replicas[i].wasBy
	if w.write(i, state); by == w.replicas[i].wasBy {
		return
	}
	if after := w.state().KeyAt(); !after.Equal(before.KeyAt()) { // they hold
		for k, e := range events {
			events[k] = known(e, minuteOf(after), minuteOf(w.storeTime(i)))
		}
	}
	w.apply(i, events...)
}

// knowledge is what a replica knew when a request began.
type knowledge struct {
	keyAt int16 // as of when the key was known, by the store's clock
	by    int16 // how far that was off
}

func (w *world) knowledge() knowledge { return knowledge{minuteOf(w.state().KeyAt()), w.storeBy} }

// evidence is how the key was at true time since.
func (w *world) evidence(i int, hasKey, demanded bool, since int16, knew knowledge) dated {
	return func() policy.Event {
		asOf := w.storeTime(i).Add(-minutes(w.now - since))
		e := policy.LearnKey(policy.KeyMissing, policy.FromEndpoint, asOf)
		if hasKey {
			e = policy.LearnKey(policy.KeyInstalled, policy.FromEndpoint, asOf)
		}
		if demanded {
			e = policy.LearnKeyRequired(policy.FromError, asOf)
		}
		return e.Knowing(instant(knew.keyAt), instant(w.now+knew.by))
	}
}

func known(e dated, keyAt, now int16) dated {
	return func() policy.Event { return e().Knowing(instant(keyAt), instant(now)) }
}

// learned: the client has evidence now of how the key was at true time since. Before is
// what it knew until now.
func (w *world) learned(before policy.Key, hasKey bool, since int16) {
	switch {
	case since < w.changedAt || hasKey != w.hasKey:
	case !hasKey:
		w.told = true
	case before != policy.KeyInstalled && since > w.limitAt:
		w.limitAt = never
	}
}

// load is the first half of askForData: the car is looked up and the machine asked.
func (w *world) load(i int, direct bool) {
	w.contact(i)
	r := &w.replicas[i]
	state, d := w.ask(i, direct)
	if d.Verdict == policy.VerdictRefuse {
		w.refused(i, d)
		if w.stored(state) != w.record { // gate.refuse
			w.write(i, state)
		}
		return
	}
	if w.now < w.asleepTo && w.stepped == 0 {
		w.wrong = woken
	}
	r.knew, r.ended, r.told, r.heedLimit = w.knowledge(), w.ended, w.told, w.now < w.limitTo
	if w.machineStepped && !r.saw(w.bookedBy) { // nobody can tell
		r.told = false
	}
	r.heedLimit = r.heedLimit && r.saw(w.limitBy)
	r.turn, r.due = d.Verdict == policy.VerdictTake, never
	if r.turn {
		r.stage, r.at, r.direct = loaded, w.now, direct
	} else {
		r.stage, r.until = flying, w.now+lease
	}
}

// loadAndSwap is askForData, with nothing in between.
func (w *world) loadAndSwap(i int, direct bool) {
	if w.load(i, direct); w.replicas[i].stage == loaded {
		w.swap(i)
	}
}

// ask asks the machine whether a data request may go.
func (w *world) ask(i int, direct bool) (policy.State, policy.Decision) {
	if direct {
		return w.step(i, *w.state(), policy.AskDataAndLeave(nonce(i), minutes(lease)))
	}
	return w.step(i, *w.state(), policy.AskData(nonce(i), minutes(lease)))
}

// swap is the second half of askForData: the turn is taken if nobody was faster, and
// given back if the store's clock says that the window is not open.
func (w *world) swap(i int) {
	r := &w.replicas[i]
	if r.outrun {
		w.contact(i)
		r.stage = idle
		return
	}
	// The record is as it was loaded; what is written was made then.
	before, now := *w.state(), w.now
	w.now = r.at
	taken, _ := w.ask(i, r.direct)
	w.now = now
	by := r.wasBy
	w.write(i, taken)
	w.bookedBy = w.storeBy
	r.until, r.due = r.at+lease, w.now+lease
	if r.direct { // from here on the turn counts as used, whatever happens
		r.due += window
	}
	switch {
	case by != w.storeBy || !w.nextData(i, before).Next.IsZero():
		w.settle(i, policy.Result{Outcome: policy.OutcomeReleased})
	case r.direct && w.state().LeaseCovers(w.storeTime(i).Add(minutes(lease))):
		r.stage, r.until = flying, w.now+lease
	default: // turn.leave takes another write
		r.stage = reserved
	}
}

// hold is turn.leave and turn.holdBack.
func (w *world) hold(i int, e policy.Event) (mine bool) {
	r := &w.replicas[i]
	if r.known != w.version {
		w.contact(i)
	}
	state, d := w.step(i, *w.state(), e)
	if d.Verdict == policy.VerdictLost {
		if w.now < r.until && w.stepped == 0 {
			w.wrong = stolen
		}
		return false
	}
	by := r.wasBy
	if w.write(i, state); by != r.wasBy {
		return w.hold(i, e)
	}
	return true
}

func (w *world) leave(i int) {
	r := &w.replicas[i]
	if !w.hold(i, policy.Leave(nonce(i), minutes(lease))) {
		r.stage, r.due = idle, never
		return
	}
	w.bookedBy = w.storeBy
	r.stage, r.until, r.due = flying, w.now+lease, w.now+lease+window
}

// holdBack: the token was refused, so that the request was not counted.
func (w *world) holdBack(i int) {
	r := &w.replicas[i]
	if !w.hold(i, policy.ReserveAgain(nonce(i), minutes(lease))) {
		w.settle(i, policy.Result{Outcome: policy.OutcomeReleased})
		return
	}
	w.bookedBy = w.storeBy
	r.stage, r.until, r.due = reserved, w.now+lease, w.now+lease
}

// settle is gate.settle: what came back is booked, with the evidence it brought.
// What a request without a turn says is stored only where that is news.
func (w *world) settle(i int, result policy.Result, evidence ...dated) {
	r := &w.replicas[i]
	if result.Outcome >= policy.OutcomeUnclear && r.counted && r.at >= w.changedAt { // whoever books it knows of it
		w.ended = max(w.ended, r.at)
	}
	w.expect(result)
	used := uint64(0)
	if r.turn {
		used = nonce(i)
	}
	events := append(evidence, undated(policy.Settle(used, minutes(lease), result)))
	r.stage, r.due = idle, never
	plain := result.Outcome == policy.OutcomeOK || result.Outcome == policy.OutcomeReleased
	if !r.turn && plain && !slices.ContainsFunc(events, func(e dated) bool { return w.state().WorthStoring(w.storeTime(i), checkRules, e()) }) {
		if w.contact(i); !w.state().Keyless() {
			return
		}
	}
	w.apply(i, events...)
}

// answer is the end of a request that was processed. With signals, as on API v3, the
// answer says whether the key is there.
func (w *world) answer(i int, result policy.Result, signals bool) {
	r := &w.replicas[i]
	if !signals {
		w.settle(i, result)
		return
	}
	hasKey, at, before := r.keyThen, r.at, w.state().Key()
	w.settle(i, result, w.evidence(i, hasKey, false, at, r.knew))
	w.learned(before, hasKey, at)
}

// demand: the server answers that it wants the key.
func (w *world) demand(i int) {
	r := &w.replicas[i]
	at, before := r.at, w.state().Key()
	w.settle(i, policy.Result{Outcome: policy.OutcomeAnswered}, w.evidence(i, false, true, at, r.knew))
	w.learned(before, false, at)
}

// abandon leaves a request on its way; false if more are there than a run allows.
func (w *world) abandon(i int) bool {
	r := &w.replicas[i]
	for k := range w.orphans {
		if w.orphans[k].until == never {
			w.orphans[k] = orphan{r.until, r.told, r.ended, r.heedLimit}
			return true
		}
	}
	return false
}

// die ends a process, and begins another one in its place.
func (w *world) die(i int) bool {
	r := &w.replicas[i]
	if r.stage == flying && w.now <= r.until && !w.abandon(i) {
		return false
	}
	w.due = max(w.due, r.due)
	w.rename(func(n uint64) uint64 {
		if n == nonce(i) {
			return dead
		}
		return n
	})
	*r = replica{bootBy: r.by, by: r.by, due: never}
	w.contact(i)
	return true
}

// look begins a status read.
func (w *world) look(i int) {
	r := &w.replicas[i]
	r.looking, r.lookAt, r.lookKey, r.lookKnew = true, w.now, w.hasKey, w.knowledge()
}

// lookUp ends it.
func (w *world) lookUp(i int) {
	r := &w.replicas[i]
	r.looking = false
	hasKey, at, before := r.lookKey, r.lookAt, w.state().Key()
	w.apply(i, w.evidence(i, hasKey, false, at, r.lookKnew))
	w.learned(before, hasKey, at)
}
