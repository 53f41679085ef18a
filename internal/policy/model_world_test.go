package policy_test

import (
	"slices"
	"time"

	"github.com/seed-498a1bc4/smartcar/internal/policy"
)

// Time is counted in minutes.
const (
	lease   = 10
	quarter = 120
	window  = 4 * quarter
)

var (
	checkRules = policy.Rules{KeylessWindow: window * time.Minute, LegacyRefresh: 5 * time.Minute, MaxLease: lease * time.Minute}
	checkStart = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
)

func minutes[T int | int16](n T) time.Duration  { return time.Duration(n) * time.Minute }
func instant[T int | int16](minute T) time.Time { return checkStart.Add(minutes(minute)) }

// A world is everything at one moment. It is compared and hashed as a value. Every
// method is one step of it: what a process does in one go, or what happens to it.
type world struct {
	now  int16 // true time
	left counts

	record  policy.State
	version int8  // of the record
	storeBy int16 // how far the store's clock is off

	hasKey    bool
	changedAt int16 // when the key was added or removed last
	told      bool  // the client was told that the key is missing, and it is
	counted   int16 // when the server counted the last data request; -1 for none
	bound     int16 // when it counted the last one that left after the client was told; -1 for none
	ended     int16 // when it counted the last one that has ended; -1 for none
	excused   bool  // that one, or another one that left after it: nobody could know better
	sent      int16 // when the last data request left, or came to its end

	stepped                  int16 // the sum of all steps of clocks
	wrongStore, wrongMachine bool  // which clocks were stepped
	replicas                 [2]replica
	orphans                  [2]orphan
	broken, tooLong          string // what is wrong with this world
}

// counts are how often things may still happen.
type counts struct{ apart, leases, crashes, steps, keys, looks int8 }

// orphan is a request whose sender has given up or died. It may be processed all
// the same.
type orphan struct {
	until int16 // 0 for none
	told  bool  // see replica
	ended int16 // the same
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
	boot   int16      // true time at which it began
	bootBy int16      // how far the clock of its machine was off then: from there it counts the time that passes
	by     int16      // and is off now
	again  bool       // it has died before
	seen   [3]segment // what it has seen of the store's clock
	known  int8       // the version of the record at the last contact with the store
	wasBy  int16      // how far the store's clock was off at the last contact

	stage   stage
	direct  bool      // loaded: the request leaves with the swap
	turn    bool      // the request has taken a turn
	told    bool      // the client had been told, when it was decided on
	ended   int16     // world.ended then
	until   int16     // until when the server may process it
	at      int16     // loaded, processed: when
	keyThen bool      // processed: what the answer says of the key
	counted bool      // processed: the server has counted it
	wait    int16     // and for how long the server refuses the car; 0 if it did not
	knew    knowledge // from loaded on

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

func (r *replica) nonce(i int) uint64 {
	if r.again {
		return uint64(2*i + 2)
	}
	return uint64(2*i + 1)
}

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

// storeTime is the store's present as a replica reckons it from the last contact.
func (w *world) storeTime(i int) time.Time { return instant(w.now + w.replicas[i].wasBy) }

// machineTime is the clock of its machine as a replica reckons it from its start.
func (w *world) machineTime(i int) time.Time { return instant(w.now + w.replicas[i].bootBy) }

// step is cars.step.
func (w *world) step(i int, state policy.State, e policy.Event) (policy.State, policy.Decision) {
	e = w.witnessed(i, e)
	return policy.Step(w.judged(i, state), e, w.storeTime(i), checkRules)
}

func (w *world) nextData(i int, state policy.State) policy.Decision {
	return w.judged(i, state).NextData(w.storeTime(i), checkRules)
}

// write stores a state, as it will be read.
func (w *world) write(i int, state policy.State) {
	stored, err := policy.Decode(policy.Encode(state, 0))
	if err != nil {
		panic(err)
	}
	w.record = stored
	w.version++
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
	state := w.record
	for _, e := range events {
		state, _ = w.step(i, state, e())
	}
	if state == w.record {
		return
	}
	if state.Keyless() && !w.record.Keyless() {
		w.sent = w.now // what was sent until now, without a turn, may be counted
	}
	by, keyAt := w.replicas[i].wasBy, w.record.KeyAt()
	if w.write(i, state); by == w.replicas[i].wasBy {
		return
	}
	if !w.record.KeyAt().Equal(keyAt) { // they hold
		for k, e := range events {
			events[k] = known(e, w.record.KeyAt(), w.storeTime(i))
		}
	}
	w.apply(i, events...)
}

// knowledge is what a replica knew when a request began.
type knowledge struct {
	keyAt time.Time // as of when the key was known
	by    int16     // how far the store's clock was off
}

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
		return knowing(e, knew.keyAt, instant(w.now+knew.by))
	}
}

// learned: the client has evidence now of how the key was at true time since.
func (w *world) learned(hasKey bool, since int16) {
	if !hasKey && !w.hasKey && since >= w.changedAt {
		w.told = true
	}
}

// load is the first half of gate.data: the car is looked up and the machine asked.
func (w *world) load(i int, direct bool) policy.Verdict {
	w.contact(i)
	r := &w.replicas[i]
	r.knew = knowledge{w.record.KeyAt(), w.storeBy}
	state, d := w.ask(i, direct)
	switch d.Verdict {
	case policy.VerdictRefuse:
		w.refused(i, d)
		if state != w.record { // gate.refuse
			w.write(i, state)
		}
	case policy.VerdictSend:
		r.stage, r.turn, r.told, r.ended, r.until = flying, false, w.told, w.ended, w.now+lease
		w.sent = w.now
	case policy.VerdictTake:
		r.stage, r.at, r.direct, r.turn, r.told, r.ended = loaded, w.now, direct, true, w.told, w.ended
	}
	if r.again && w.wrongStore && w.wrongMachine && d.Verdict == policy.VerdictTake {
		// All clocks that a replica can ask which is younger than the turn were stepped.
		r.told, w.excused = false, true
	}
	return d.Verdict
}

// loadAndSwap is gate.data, with nothing in between.
func (w *world) loadAndSwap(i int, direct bool) {
	if w.load(i, direct); w.replicas[i].stage == loaded {
		w.swap(i)
	}
}

// ask asks the machine whether a data request may go.
func (w *world) ask(i int, direct bool) (policy.State, policy.Decision) {
	nonce := w.replicas[i].nonce(i)
	if direct {
		return w.step(i, w.record, policy.AskDataAndLeave(nonce, minutes(lease)))
	}
	return w.step(i, w.record, policy.AskData(nonce, minutes(lease)))
}

// refused checks that a car is not locked for too long.
func (w *world) refused(i int, d policy.Decision) {
	longest := window + lease + w.stepped
	if locked := w.now - max(w.sent, 0); locked > longest && !d.InFlight {
		w.tooLong = "the car is refused longer than the rule, a lease and the steps of the clocks allow"
	}
	if d.Next.Sub(w.storeTime(i)) > minutes(longest) {
		w.tooLong = "the car is to wait longer than the rule, a lease and the steps of the clocks allow"
	}
}

// swap is the second half of gate.data: the turn is taken if nobody was faster, and
// given back if the store's clock says that the window is not open.
func (w *world) swap(i int) {
	r := &w.replicas[i]
	if r.known != w.version {
		w.contact(i)
		r.stage = idle
		return
	}
	// The record is as it was loaded; what is written was made then.
	before, now := w.record, w.now
	w.now = r.at
	taken, _ := w.ask(i, r.direct)
	w.now = now
	by := r.wasBy
	w.write(i, taken)
	if r.direct { // from here on the turn counts as used, whatever happens
		w.sent = w.now
	}
	switch {
	case by != w.storeBy || !w.nextData(i, before).Next.IsZero():
		w.settle(i, policy.Result{Outcome: policy.OutcomeReleased})
	case r.direct && w.record.LeaseCovers(w.storeTime(i).Add(minutes(lease))):
		r.stage, r.until = flying, w.now+lease
		w.sent = w.now
	default: // turn.leave takes another write
		r.stage = reserved
	}
}

// hold is turn.leave and turn.holdBack.
func (w *world) hold(i int, e policy.Event) (mine bool) {
	if w.replicas[i].known != w.version {
		w.contact(i)
	}
	state, d := w.step(i, w.record, e)
	if d.Verdict == policy.VerdictLost {
		return false
	}
	by := w.replicas[i].wasBy
	if w.write(i, state); by != w.replicas[i].wasBy {
		return w.hold(i, e)
	}
	return true
}

func (w *world) leave(i int) {
	r := &w.replicas[i]
	if !w.hold(i, policy.Leave(r.nonce(i), minutes(lease))) {
		r.stage = idle
		return
	}
	r.stage, r.until, w.sent = flying, w.now+lease, w.now
}

// holdBack: the token was refused, so that the request was not counted.
func (w *world) holdBack(i int) {
	r := &w.replicas[i]
	r.stage = reserved
	if !w.hold(i, policy.ReserveAgain(r.nonce(i), minutes(lease))) {
		w.settle(i, policy.Result{Outcome: policy.OutcomeReleased})
	}
}

// process: the server has the request of a replica.
func (w *world) process(i int) {
	r := &w.replicas[i]
	r.stage, r.at, r.keyThen = processed, w.now, w.hasKey
	r.wait = w.count(r.told, r.ended)
	r.counted = !w.hasKey && r.wait == 0
}

// count: the server counts a data request, and refuses the car for as long as it
// returns.
func (w *world) count(told bool, ended int16) (wait int16) {
	if w.hasKey {
		return 0
	}
	if w.counted >= 0 && w.now-w.counted < window {
		if known := max(w.bound, ended); told && !w.excused && known >= 0 && w.now-known < window {
			w.broken = "two data requests were counted inside a window"
		}
		return window - (w.now - w.counted)
	}
	w.counted = w.now
	if told {
		w.bound = w.now
	}
	return 0
}

// settle is gate.settle: what came back is booked, with the evidence it brought.
// What a request without a turn says is stored only where that is news.
func (w *world) settle(i int, result policy.Result, evidence ...dated) {
	r := &w.replicas[i]
	if result.Outcome >= policy.OutcomeUnclear {
		w.sent = w.now
		if r.counted && r.at >= w.changedAt { // whoever books it knows of it
			w.ended = max(w.ended, r.at)
		}
	}
	nonce := uint64(0)
	if r.turn {
		nonce = r.nonce(i)
	}
	events := append(evidence, undated(policy.Settle(nonce, minutes(lease), result)))
	plain := result.Outcome == policy.OutcomeOK || result.Outcome == policy.OutcomeReleased
	if !r.turn && plain && !slices.ContainsFunc(events, func(e dated) bool { return w.record.WorthStoring(w.storeTime(i), checkRules, e()) }) {
		if w.contact(i); !w.record.Keyless() {
			r.stage = idle
			return
		}
	}
	w.apply(i, events...)
	r.stage = idle
}

// answer is the end of a request that was processed. With signals, as on API v3, the
// answer says whether the key is there.
func (w *world) answer(i int, o policy.Outcome, signals bool) {
	r := &w.replicas[i]
	result := policy.Result{Outcome: o}
	if o == policy.OutcomeLimited {
		result.RetryAfter = minutes(r.wait)
	}
	if !signals {
		w.settle(i, result)
		return
	}
	hasKey, at := r.keyThen, r.at
	w.settle(i, result, w.evidence(i, hasKey, false, at, r.knew))
	w.learned(hasKey, at)
}

// demand: the server answers that it wants the key.
func (w *world) demand(i int) {
	at := w.replicas[i].at
	w.settle(i, policy.Result{Outcome: policy.OutcomeAnswered}, w.evidence(i, false, true, at, w.replicas[i].knew))
	w.learned(false, at)
}

// abandon leaves a request on its way; false if more are there than a run allows.
func (w *world) abandon(i int) bool {
	r := &w.replicas[i]
	for k := range w.orphans {
		if w.orphans[k].until == 0 {
			w.orphans[k] = orphan{r.until, r.told, r.ended}
			return true
		}
	}
	return false
}

// die ends a process, and begins another one in its place.
func (w *world) die(i int) bool {
	r := &w.replicas[i]
	if r.stage == flying && w.now < r.until && !w.abandon(i) {
		return false
	}
	*r = replica{boot: w.now, bootBy: r.by, by: r.by, again: true}
	w.contact(i)
	return true
}

// lookUp ends a status read.
func (w *world) lookUp(i int) {
	r := &w.replicas[i]
	r.looking = false
	hasKey, at := r.lookKey, r.lookAt
	w.apply(i, w.evidence(i, hasKey, false, at, r.lookKnew))
	w.learned(hasKey, at)
}

// tidy makes worlds equal that go on alike.
func (w *world) tidy() {
	for i := range w.replicas {
		r := &w.replicas[i]
		if r.stage == idle {
			r.direct, r.turn, r.told, r.ended, r.until, r.knew = false, false, false, 0, 0, knowledge{}
		}
		if r.stage != processed {
			r.keyThen, r.counted, r.wait = false, false, 0
		}
		if r.stage != loaded {
			r.direct = false
			if r.stage != processed {
				r.at = 0
			}
		}
		if !r.looking {
			r.lookAt, r.lookKey, r.lookKnew = 0, false, knowledge{}
		}
		// A replica that does nothing begins with a contact. Of the versions it counts
		// only whether the record is still the one that was seen.
		switch {
		case r.stage == idle && !r.looking:
			r.known, r.wasBy = 0, 0
		case r.known == w.version:
			r.known = 0
		default:
			r.known = -1
		}
	}
	w.version = 0
	for k := range w.orphans {
		if w.orphans[k].until <= w.now {
			w.orphans[k] = orphan{}
		}
	}
	if w.orphans[1].until != 0 && w.orphans[0].until == 0 {
		w.orphans[0], w.orphans[1] = w.orphans[1], orphan{}
	}
}

func known(e dated, keyAt, now time.Time) dated {
	return func() policy.Event { return knowing(e(), keyAt, now) }
}
