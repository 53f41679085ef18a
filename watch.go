package smartcar

import (
	"context"
	"errors"
	"iter"
	"math/rand/v2"
	"time"

	"github.com/seed-498a1bc4/smartcar/internal/contexts"
	"github.com/seed-498a1bc4/smartcar/internal/policy"
)

// The pace of Watch where no rule sets one: what Smartcar names as the average
// of streaming Teslas, and its advice for everything else.
const (
	streamingPace = 3 * time.Minute
	otherPace     = 30 * time.Minute
	// watchBackOff follows an error that names no time.
	watchBackOff = time.Minute
)

// Watch reads the operations again and again, at the car's own pace, and yields
// a snapshot whenever it holds something that was recorded since the last one:
// every 8 hours for a keyless Tesla (at once after pairing is noticed), after
// each refresh of a legacy car while it is awake, at the pace of [Every] for
// the others.
//
// Errors are yielded too. After one that may pass the loop goes on; after one
// that will not, and when ctx ends, it yields that error and stops.
func (v *Vehicle) Watch(ctx context.Context, want ...Operation) iter.Seq2[*Snapshot, error] {
	return func(yield func(*Snapshot, error) bool) {
		if err := checkContext(ctx); err != nil {
			yield(nil, err)
			return
		}
		var last time.Time
		for {
			snapshot, err := v.Snapshot(ctx, want...)
			switch {
			case err == nil:
				at, dated := snapshot.recordedAt()
				if !at.Equal(last) || !dated {
					last = at
					if !yield(snapshot, nil) {
						return
					}
				}
			case ctx.Err() != nil:
				yield(nil, contexts.EndOf(ctx))
				return
			case isLocalLimit(err): // woken early to look for the key: not an error
			default:
				if !yield(nil, err) || terminal(err) {
					return
				}
			}
			if err := v.core.opts.clock.Sleep(ctx, v.untilNext(ctx, err)); err != nil {
				yield(nil, err)
				return
			}
		}
	}
}

func isLocalLimit(err error) bool {
	limit, ok := err.(*RateLimitError) //nolint:errorlint // only what Snapshot returned itself, not what it wraps
	return ok && limit.Local && limit.Rule == RuleKeyless
}

// untilNext says how long to sleep before the next read is worth it.
func (v *Vehicle) untilNext(ctx context.Context, err error) time.Duration {
	now := v.core.opts.now()
	if at, ok := NextAllowed(err); ok {
		return clampWait(at.Sub(now))
	}
	if err != nil {
		return watchBackOff
	}
	a, err := v.Access(ctx)
	switch {
	case err != nil:
		return watchBackOff
	case !a.NextRead.IsZero():
		return clampWait(a.NextRead.Sub(now))
	case v.opts.every > 0:
		return v.opts.every
	case a.Class == ClassStreaming || a.Class == ClassLegacy:
		return streamingPace
	}
	return otherPace
}

// clampWait looks in between whether a key was added.
func clampWait(d time.Duration) time.Duration {
	return min(max(d, time.Second), policy.SlowestKeyCheck)
}

// recordedAt is the newest recording in the snapshot; dated is false if nothing
// in it says when it was recorded.
func (s *Snapshot) recordedAt() (at time.Time, dated bool) {
	for _, p := range s.all() {
		if p.refused == nil && !p.meta.RecordedAt.IsZero() {
			at, dated = later(at, p.meta.RecordedAt), true
		}
	}
	return at, dated
}

const (
	// keyWaitLook is how often WaitForKey looks into the store, which costs
	// Smartcar nothing.
	keyWaitLook = 3 * time.Second
	// Its status reads are requests: the first ones catch an owner who is
	// standing there with the phone, and the last of them comes after two hours
	// and a bit.
	keyWaitFirst = 5 * time.Second
	keyWaitLast  = 5 * time.Minute
	keyWaitReads = 30
)

// ErrKeyNotNeeded matches every [*KeyNotNeededError].
var ErrKeyNotNeeded = errors.New("smartcar: the car needs no virtual key")

// A KeyNotNeededError says that waiting for the key is in vain: the car takes
// none. Do not ask its owner for one.
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
// and nothing calls back. It returns at once if the key is known to be there.
//
// It looks into the store every 3 seconds, and so takes whatever evidence comes
// first, from this process or from a replica: a command that worked, a webhook
// event, a status somebody else has read, [Vehicle.SetKeyState]. The
// [KeyStatus] it returns says which, and when. In between it reads the status
// itself, which takes no turn of the car: after 5 seconds, then ever more
// rarely up to every 5 minutes, and never more than 30 times in one call. Reads
// of others count, so that many who wait for one car ask hardly more often than
// one. When the 30 are used up, after a little more than 2 hours, where the
// status can never be read with this connection, and on API v3, which tells it
// with the car's data only, it goes on looking into the store alone. The time is bounded by ctx and by nothing else: give it a deadline.
//
// Errors: that of ctx when it ends; a [*KeyNotNeededError] for a car that takes
// no key; [ErrNotConnected], [ErrReconnectRequired], [ErrReauthenticate] or an
// [*Error] when the car can no longer be reached. What may pass, such as a store
// that is away for a moment, is waited out.
//
// A car of which it cannot be told whether it needs the key is waited for like
// one that does.
//
// https://smartcar.com/docs/help/oem-integrations/tesla/virtual-key-tesla
func (v *Vehicle) WaitForKey(ctx context.Context) (KeyStatus, error) {
	r, err := v.newRequest(ctx, opKeyStatus)
	if err != nil {
		return KeyStatus{}, err
	}
	w := keyWait{gate: v.core.gate, reach: v.core.reach, request: r}
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
		if err := v.core.opts.clock.Sleep(ctx, keyWaitLook); err != nil {
			return KeyStatus{}, err
		}
	}
}

// keyWait is one call of WaitForKey.
type keyWait struct {
	gate    *gate
	reach   reach
	request *request // whose credentials are used

	reads int           // status reads so far, those of others included
	last  time.Duration // the newest of them, by the time that has passed
	pause time.Duration // from last to the next one
	seen  time.Time     // when the newest evidence was asked for, as stored
}

// look returns a status that is not KeyInstalled, or an error that may pass,
// for "not yet".
func (w *keyWait) look(ctx context.Context) (KeyStatus, error) {
	if err := w.reach.connected(ctx, w.request.car.user); err != nil {
		return KeyStatus{}, err
	}
	c, err := w.gate.cars.load(ctx, w.request.car)
	if err == nil && c.state.WantsClass(c.now()) && w.reads < keyWaitReads {
		w.count()
		c, err = w.gate.learned(ctx, w.request) // this reads the status, too
		w.seen = c.state.KeyAt()
	}
	if err != nil {
		return KeyStatus{}, err
	}
	w.countOthers(c)
	if w.due(c) {
		if c, err = w.ask(ctx); err != nil {
			return KeyStatus{}, err
		}
	}
	return w.status(c.state, c.now())
}

// countOthers counts a status that somebody else has read as one of our own.
func (w *keyWait) countOthers(c car) {
	at := c.state.KeyAt()
	if at.Equal(w.seen) {
		return
	}
	if !w.seen.IsZero() || w.reads > 0 {
		w.count()
	}
	w.seen, w.last = at, w.passed()-max(0, c.now().Sub(at))
}

func (w *keyWait) count() {
	w.pause = keyWaitLast
	if w.reads < 7 {
		w.pause = min(keyWaitFirst<<w.reads, keyWaitLast)
	}
	w.pause += rand.N(w.pause / 4) // jitter, so that replicas spread
	w.reads++
	w.last = w.passed()
}

func (w *keyWait) passed() time.Duration { return w.gate.opts.clock.Elapsed() }

func (w *keyWait) due(c car) bool {
	s := c.state
	switch {
	case s.TakesNoKey() || w.reads >= keyWaitReads || !w.gate.probe.keyIsFree():
		return false
	case (w.reads > 0 || !w.seen.IsZero()) && w.passed() < w.last+max(w.pause, keyWaitFirst):
		return false
	case s.Key() == policy.KeyInstalled || s.Key() == policy.KeyUnavailable:
		return s.WantsKey(c.now()) // in doubt, or the owner has connected again
	}
	return true
}

// ask reads the status once for all who wait in this process.
func (w *keyWait) ask(ctx context.Context) (car, error) {
	err := w.gate.askKey(ctx, w.request)
	w.count()
	if err != nil && !keyStatusNeverHad(err) {
		return car{}, err
	}
	c, err := w.gate.cars.load(ctx, w.request.car)
	if err == nil {
		w.seen = c.state.KeyAt()
	}
	return c, err
}

func (w *keyWait) status(s policy.State, now time.Time) (KeyStatus, error) {
	switch {
	case s.TakesNoKey():
		return KeyStatus{}, &KeyNotNeededError{VehicleID: w.request.car.id, Class: publicClass(s.Class())}
	case s.Key() != policy.KeyInstalled || s.WantsKey(now) && w.reads < keyWaitReads && w.gate.probe.keyIsFree():
		return KeyStatus{}, nil
	}
	return knownKey(s), nil // whatever could be told of the car, its key is there
}
