package smartcar

import (
	"context"
	"errors"
	"iter"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/seed-498a1bc4/smartcar/internal/contexts"
	"github.com/seed-498a1bc4/smartcar/internal/policy"
)

// watchBackOff follows an error that names no time.
const watchBackOff = time.Minute

// Watch reads the operations again and again, at the car's own pace, and yields
// a snapshot whenever it holds something that was recorded since the last one:
// every 8 hours for a keyless Tesla (at once after pairing is noticed), after
// each refresh of a legacy car while it is awake, at the pace of [Every] for
// the others. Every slows the others down as well. With [WithBudget] a month's reads are
// spread over it. What a [WebhookReceiver] of this client gets of the car is yielded at
// once, and as long as webhooks bring all that is wanted, nothing is read. The times are
// spread by up to a twentieth, so that cars that began together do not stay so.
//
// It is [Vehicle.Visit] for one car, without a promise: what was yielded last is not
// stored. For many cars, use package fleet.
//
// Errors are yielded, too; while the car sleeps, [ErrAsleep] only once. After an error
// that may pass the loop goes on. After one that will not pass, and when ctx ends, it
// yields the error and stops.
func (v *Vehicle) Watch(ctx context.Context, want ...Operation) iter.Seq2[*Snapshot, error] {
	return func(yield func(*Snapshot, error) bool) {
		if err := checkContext(ctx); err != nil {
			yield(nil, err)
			return
		}
		if v == nil || v.handle.core == nil { // the read says why
			_, err := v.Snapshot(ctx, want...)
			yield(nil, err)
			return
		}
		w := watch{step: step{through: &v.handle, want: want}}
		w.ops, _ = readsOf("Watch", want) // the read says why
		woken, leave := v.handle.core.wakers.join(v.handle.car.id)
		defer leave()
		var last time.Time
		var slept, spent bool // that it sleeps, or that its month is used up, was said
		for due := true; ; {
			snapshot, err := w.look(ctx, due)
			asleep := errors.Is(err, ErrAsleep) || err == nil && snapshot.onlyAsleep()
			switch {
			case asleep && slept: // already yielded
			case err == nil:
				slept, spent = asleep, false
				at, dated := snapshot.recordedAt()
				if !at.Equal(last) || !dated && snapshot != nil {
					last = at
					if !yield(snapshot, nil) {
						return
					}
				}
			case ctx.Err() != nil:
				yield(nil, contexts.EndOf(ctx))
				return
			case isLocalLimit(err): // the loop woke early, to look for the key
			case spent && isBudget(err): // already yielded
			default:
				slept, spent = asleep, isBudget(err)
				if !yield(nil, err) || terminal(err) {
					return
				}
			}
			failed := err != nil // then it is read again as soon as that may bring something
			if due, err = w.sleep(ctx, w.untilNext(ctx, err), woken); err != nil {
				yield(nil, err)
				return
			}
			due = due && (failed || w.isTime())
		}
	}
}

// watch is one loop of Watch. Its step has a mark that is not stored.
type watch struct {
	step
	reads int           // so far
	read  time.Duration // when the last one was, by the time that has passed
}

// isTime reports whether Every has passed since the last read. The loop of a car that waits
// for its key wakes more often, to look for that.
func (w *watch) isTime() bool {
	return w.reads == 0 || w.through.core.opts.clock.Elapsed()-w.read >= w.through.opts.every
}

// look reads the car if that is due, and else takes what webhooks have brought, which may
// be nothing.
func (w *watch) look(ctx context.Context, due bool) (*Snapshot, error) {
	if due {
		snapshot, err := w.through.snapshot(ctx, w.want)
		if limit, ok := errors.AsType[*RateLimitError](err); !ok || !limit.Local {
			w.reads, w.read = w.reads+1, w.through.core.opts.clock.Elapsed()
		}
		return snapshot, err
	}
	r, err := w.through.newRequest(ctx, opSnapshot)
	if err != nil {
		return nil, err
	}
	news := w.kept(ctx, r)
	w.received(news)
	if _, dated := news.recordedAt(); !dated {
		return nil, nil //nolint:nilnil // nothing has come
	}
	return news, nil
}

// errWokenUp ends a sleep because a webhook event has come.
var errWokenUp = errors.New("a webhook event has come")

// sleep waits, and reports whether all of the time has passed: a webhook event ends it
// early.
func (w *watch) sleep(ctx context.Context, d time.Duration, woken <-chan struct{}) (all bool, err error) {
	sleeping, wake := context.WithCancelCause(ctx)
	defer wake(nil)
	done := make(chan struct{})
	defer close(done)
	go func() {
		select {
		case <-woken:
			wake(errWokenUp)
		case <-done:
		}
	}()
	err = w.through.core.opts.clock.Sleep(sleeping, d)
	if err != nil && ctx.Err() == nil && errors.Is(context.Cause(sleeping), errWokenUp) {
		return false, nil
	}
	return true, err
}

// wakers are the loops of this process that wait for a car's next moment, by vehicle.
type wakers struct {
	mu   sync.Mutex
	cars map[string][]chan struct{}
}

// join returns a channel that gets an element when something has happened to a car.
func (w *wakers) join(vehicleID string) (woken <-chan struct{}, leave func()) {
	c := make(chan struct{}, 1)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.cars == nil {
		w.cars = make(map[string][]chan struct{})
	}
	w.cars[vehicleID] = append(w.cars[vehicleID], c)
	return c, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		rest := slices.DeleteFunc(w.cars[vehicleID], func(o chan struct{}) bool { return o == c })
		if w.cars[vehicleID] = rest; len(rest) == 0 {
			delete(w.cars, vehicleID)
		}
	}
}

func (w *wakers) wake(vehicleID string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range w.cars[vehicleID] {
		select {
		case c <- struct{}{}:
		default:
		}
	}
}

func isBudget(err error) bool {
	limit, ok := errors.AsType[*RateLimitError](err)
	return ok && limit.Rule == RuleBudget
}

func isLocalLimit(err error) bool {
	limit, ok := err.(*RateLimitError) //nolint:errorlint // only what Snapshot returned itself, not what it wraps
	return ok && limit.Local && (limit.Rule == RuleKeyless || limit.Rule == RuleAsleep || limit.Rule == RuleNothingStored || limit.Rule == RulePaused)
}

// untilNext says how long to sleep before the next read is worth it.
func (w *watch) untilNext(ctx context.Context, err error) time.Duration {
	now := w.now()
	next, dated := NextAllowed(err)
	if err != nil && !dated && !errors.Is(err, ErrAsleep) {
		return watchBackOff
	}
	c, accessErr := w.through.learned(ctx)
	lookAt := now.Add(lookAgain)
	switch {
	case accessErr != nil && !dated:
		return watchBackOff
	case accessErr != nil:
	case dated:
		lookAt = w.through.core.gate.lookAt(&c)
	default:
		w.toStore = c.now().Sub(now)
		var readAt time.Time
		if w.reads > 0 {
			readAt = c.now().Add(w.read - w.through.core.opts.clock.Elapsed())
		}
		next = c.ours(w.next(ctx, &c, readAt).Next)
		if c.state.MayNeedKey() {
			lookAt = w.through.core.gate.lookAt(&c)
			break
		}
		return max(next.Sub(now), time.Second)
	}
	return max(earlier(next, lookAt).Sub(now), time.Second)
}

// recordedAt is the newest recording in the snapshot; dated is false if nothing
// in it says when it was recorded.
func (s *Snapshot) recordedAt() (at time.Time, dated bool) {
	for _, p := range s.all() {
		if p.callerErr == nil && !p.meta.RecordedAt.IsZero() {
			at, dated = later(at, p.meta.RecordedAt), true
		}
	}
	return at, dated
}

// onlyAsleep reports that no operation was read because the car sleeps.
func (s *Snapshot) onlyAsleep() bool {
	asleep := false
	for _, p := range s.all() {
		if !errors.Is(p.callerErr, ErrAsleep) {
			return false
		}
		asleep = true
	}
	return asleep
}

const (
	// keyWaitLook is how often WaitForKey looks into the store, which costs
	// Smartcar nothing.
	keyWaitLook = 3 * time.Second
	// Between two reads of the status WaitForKey pauses from keyWaitFirst, for an owner
	// who is adding the key just now, up to keyWaitLast. The last of keyWaitReads comes
	// after a little more than two hours.
	keyWaitFirst = 5 * time.Second
	keyWaitLast  = 5 * time.Minute
	keyWaitReads = 30
)

// ErrKeyNotNeeded matches every [*KeyNotNeededError].
var ErrKeyNotNeeded = errors.New("smartcar: the car needs no virtual key")

// A KeyNotNeededError says that the car takes no key, so that there is nothing to wait
// for. Do not ask its owner for one.
type KeyNotNeededError struct {
	VehicleID string
	Class     VehicleClass // ClassLegacy or ClassOther
}

func (e *KeyNotNeededError) Error() string {
	return "smartcar: the car needs no virtual key (" + e.Class.String() + "): send requests without one"
}

// Is reports whether target is [ErrKeyNotNeeded].
func (e *KeyNotNeededError) Is(target error) bool { return target == ErrKeyNotNeeded }

// WaitForKey returns when the virtual key is on the car. Call it after you have
// shown the owner [Access].VirtualKeyURL: adding the key ends in the Tesla app,
// and nothing calls back. It returns at once if the key was seen there in the last
// 5 minutes; what is older is looked up first where that takes no turn, since an
// owner can remove a key at any time.
//
// It looks into the store every 3 seconds, and so takes whatever evidence comes
// first, from this process or from a replica: a command that worked, a webhook
// event, a status somebody else has read, [Vehicle.SetKeyState]. The
// [KeyStatus] it returns says which, and when. In between it reads the status
// itself, which takes no turn of the car: after 5 seconds, then ever more
// rarely up to every 5 minutes, and never more than 30 times in one call. Reads
// of others count, so that many who wait for one car ask hardly more often than
// one. After the 30, which is after a little more than 2 hours, it only looks into the
// store. So it does from the beginning if the status can never be read with this
// connection, and on API v3, which tells the status with the car's data only. Nothing
// but ctx bounds the time: give it a deadline.
//
// Errors: that of ctx when it ends; a [*KeyNotNeededError] for a car that takes
// no key; [ErrNotConnected], [ErrReconnectRequired], [ErrReauthenticate] or an
// [*Error] when the car can no longer be reached. What may pass, such as a store
// that is away for a moment, is waited out.
//
// If it cannot be told whether the car needs the key, WaitForKey waits.
//
// https://smartcar.com/docs/help/oem-integrations/tesla/virtual-key-tesla
func (v *Vehicle) WaitForKey(ctx context.Context) (KeyStatus, error) {
	r, err := v.calls().newRequest(ctx, opKeyStatus)
	if err != nil {
		return KeyStatus{}, err
	}
	w := keyWait{gate: v.handle.core.gate, reach: v.handle.core.reach, car: v.handle.car, request: *r, grant: v.handle.grantID}
	for {
		status, err := w.look(ctx)
		switch {
		case ctx.Err() != nil:
			return KeyStatus{}, contexts.EndOf(ctx)
		case err == nil && status.State == KeyInstalled:
			return status, nil
		case err != nil && terminal(err):
			return KeyStatus{}, err
		}
		if err := v.handle.core.opts.clock.Sleep(ctx, keyWaitLook); err != nil {
			return KeyStatus{}, err
		}
	}
}

// keyWait is one call of WaitForKey.
type keyWait struct {
	gate    *gate
	reach   reach
	car     carRef
	request request // for the status, without a credential that is still good
	grant   string  // see User.Vehicle

	reads  int           // status reads so far, those of others included
	last   time.Duration // the newest of them, by the time that has passed
	pause  time.Duration // from last to the next one
	newest time.Time     // when the newest evidence was asked for, as stored
}

// look looks once. "Not yet" is a status that is not KeyInstalled, or an error that may
// pass.
func (w *keyWait) look(ctx context.Context) (KeyStatus, error) {
	if err := w.reach.connected(ctx, w.car.user); err != nil {
		return KeyStatus{}, err
	}
	c, err := w.gate.cars.load(ctx, w.car)
	if err == nil && c.state.WantsClass(c.now()) && w.reads < keyWaitReads {
		if c, err = w.learned(ctx); notAsked(err) {
			err = nil
		} else {
			w.count()
		}
		w.newest = c.state.KeyAt()
	}
	if err != nil {
		return KeyStatus{}, err
	}
	w.countOthers(&c)
	if w.due(&c) {
		if c, err = w.ask(ctx); err != nil {
			return KeyStatus{}, err
		}
	}
	return w.status(&c.state, c.now())
}

// authorized returns a request for the status with a credential of now: while
// WaitForKey waited, the grant may have ended, and the user may have another one.
func (w *keyWait) authorized(ctx context.Context) (*request, error) {
	r := w.request
	return &r, w.reach.authorize(ctx, &r, w.grant)
}

// learned loads the record, after learning the class and the status of the key.
func (w *keyWait) learned(ctx context.Context) (car, error) {
	r, err := w.authorized(ctx)
	if err != nil {
		return car{}, err
	}
	return w.gate.learned(ctx, r)
}

// countOthers counts a status that somebody else has read as one of our own.
func (w *keyWait) countOthers(c *car) {
	at := c.state.KeyAt()
	if at.Equal(w.newest) {
		return
	}
	if !w.newest.IsZero() || w.reads > 0 {
		w.count()
	}
	w.newest, w.last = at, w.gate.opts.clock.Elapsed()-max(0, c.now().Sub(at))
}

func (w *keyWait) count() {
	w.pause = keyWaitLast
	if w.reads < 7 {
		w.pause = min(keyWaitFirst<<w.reads, keyWaitLast)
	}
	w.pause += rand.N(w.pause / 4) // jitter, so that replicas spread
	w.reads++
	w.last = w.gate.opts.clock.Elapsed()
}

func (w *keyWait) due(c *car) bool {
	s := &c.state
	switch {
	case s.TakesNoKey() || w.reads >= keyWaitReads || !w.gate.probe.keyIsFree:
		return false
	case (w.reads > 0 || !w.newest.IsZero()) && w.gate.opts.clock.Elapsed() < w.last+max(w.pause, keyWaitFirst):
		return false
	case s.Key() == policy.KeyUnavailable:
		return s.WantsKey(c.now()) // the owner has connected again
	case s.Key() == policy.KeyInstalled:
		return s.WantsKey(c.now()) || s.WantsFreshKey(c.now())
	}
	return true
}

// ask reads the status once for all who wait in this process.
func (w *keyWait) ask(ctx context.Context) (car, error) {
	r, err := w.authorized(ctx)
	if err == nil {
		err = w.gate.askKey(ctx, r)
	}
	if notAsked(err) {
		return car{}, err
	}
	w.count()
	if err != nil && !keyStatusNeverHad(err) {
		return car{}, err
	}
	c, err := w.gate.cars.load(ctx, w.car)
	if err == nil {
		w.newest = c.state.KeyAt()
	}
	return c, err
}

func (w *keyWait) status(s *policy.State, now time.Time) (KeyStatus, error) {
	switch {
	case s.TakesNoKey():
		return KeyStatus{}, &KeyNotNeededError{VehicleID: w.car.id, Class: publicClass(s.Class())}
	case s.Key() != policy.KeyInstalled:
		return KeyStatus{}, nil
	case (s.WantsKey(now) || s.WantsFreshKey(now)) && w.reads < keyWaitReads && w.gate.probe.keyIsFree:
		return KeyStatus{}, nil
	}
	return knownKey(s), nil // the key is there, even if the class is not known
}
