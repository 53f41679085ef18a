package smartcar

import (
	"sync"
	"time"

	"github.com/seed-498a1bc4/smartcar/internal/lru"
)

// answerCache keeps the last answers of each vehicle. They are keyed by grant,
// operation and units below the vehicle, so that a shared car leaks nothing
// between its owners.
type answerCache struct {
	vehicles *lru.Cache[string, *vehicleKept]
}

func newAnswerCache(vehicles int) *answerCache {
	if vehicles == 0 {
		return &answerCache{}
	}
	return &answerCache{vehicles: lru.New[string, *vehicleKept](vehicles)}
}

// vehicleKept is what is kept of one vehicle. A command replaces it whole: an
// answer that was on its way then lands where nobody looks.
type vehicleKept struct {
	mu      sync.Mutex
	answers map[answerKey]part
	class   carClass
	streams bool
}

type answerKey struct {
	grant string
	op    Operation
	units UnitSystem
}

// of returns where the answers of a vehicle are kept; nil when none are.
func (c *answerCache) of(vehicleID string) *vehicleKept {
	if c.vehicles == nil {
		return nil
	}
	if k, ok := c.vehicles.Get(vehicleID); ok {
		return k
	}
	return c.vehicles.GetOrPut(vehicleID, new(vehicleKept))
}

// discard forgets a vehicle's answers after a command that may have changed it.
func (c *answerCache) discard(vehicleID string) {
	old, ok := c.vehicles.Get(vehicleID)
	if !ok {
		return
	}
	old.mu.Lock()
	fresh := &vehicleKept{class: old.class, streams: old.streams}
	old.mu.Unlock()
	c.vehicles.Put(vehicleID, fresh)
}

// dropGrant forgets what one grant was told: its connection has ended.
func (k *vehicleKept) dropGrant(grant string) {
	if k == nil {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	for key := range k.answers {
		if key.grant == grant {
			delete(k.answers, key)
		}
	}
}

func (k *vehicleKept) get(key answerKey) (part, bool) {
	if k == nil {
		return part{}, false
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	p, ok := k.answers[key]
	return p, ok
}

// keep stores what the car said, for the next caller of the same grant.
func (k *vehicleKept) keep(call *call, parts []part) {
	if k == nil || call.query != nil {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.answers == nil {
		k.answers = make(map[answerKey]part)
	}
	for _, p := range parts {
		if p.err == nil && p.op.kind == KindData {
			p.value = nil // the caller's
			k.answers[call.answerKey(p.op.name)] = p
		}
	}
}

// current returns the answer that Smartcar would give again: that of a legacy
// car before its data is refreshed.
func (k *vehicleKept) current(key answerKey, now time.Time, rules Rules) (part, bool) {
	p, ok := k.get(key)
	if !ok || !k.legacy() || !now.Before(nextLegacy(p.meta.RecordedAt, p.meta.ReceivedAt, rules)) {
		return part{}, false
	}
	return p, true
}

// legacy reports whether the vehicle is known to refresh at a fixed cadence.
func (k *vehicleKept) legacy() bool {
	if k == nil {
		return false
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.class == classLegacy && !k.streams
}

// note remembers of the car's state what decides whether an answer is current.
func (k *vehicleKept) note(s carState) {
	if k == nil {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.class, k.streams = s.class, s.streams
}

// newest returns the latest recording among parts.
func newest(parts []part) (at time.Time) {
	for _, p := range parts {
		if p.err == nil {
			at = later(at, p.meta.RecordedAt)
		}
	}
	return at
}

func (c *call) answerKey(op Operation) answerKey {
	return answerKey{grant: c.grant.grant, op: op, units: c.units}
}
