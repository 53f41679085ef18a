package fleet

import (
	"container/heap"
	"strings"
	"time"

	"github.com/seed-498a1bc4/smartcar"
)

// An entry is one car of an engine. It is small, since there are many.
type entry struct {
	key     string        // user and vehicle
	due     time.Duration // since the engine's epoch
	gap     float32       // seconds from the last visit to the next; 0 before the first
	look    float32       // seconds between two looks at its key; 0 if nobody looks
	at      int32         // in its heap; -1 outside
	rule    uint8         // what it waits for, an index of rules
	running bool
	woken   bool
	retired bool
	removed bool
	isDue   bool // see queue
}

const keySeparator = "\x00"

func keyOf(v *smartcar.Vehicle) string { return v.UserID() + keySeparator + v.ID() }

// ids are those of the user and the vehicle.
func (e *entry) ids() (user, vehicle string) {
	user, vehicle, _ = strings.Cut(e.key, keySeparator)
	return user, vehicle
}

// visited is when the car was visited last; of a new one when it came.
func (e *entry) visited() time.Duration {
	return e.due - time.Duration(float64(e.gap)*float64(time.Second))
}

// queue has the cars that are not visited now. Those that sleep are ordered by when they
// are due. Those that are due are ordered by when they were visited last: while there are
// more of them than may be visited, each has its turn as often as the others, whatever its
// pace.
type queue struct{ asleep, due heapOf }

func (q *queue) add(e *entry) {
	e.isDue = false
	heap.Push(&q.asleep, e)
}

func (q *queue) remove(e *entry) {
	switch {
	case e.at < 0:
	case e.isDue:
		heap.Remove(&q.due, int(e.at))
	default:
		heap.Remove(&q.asleep, int(e.at))
	}
}

// first returns the car that is visited next of those that are due; nil if none is.
func (q *queue) first(now time.Duration) *entry {
	for len(q.asleep.cars) > 0 && q.asleep.cars[0].due <= now {
		e := q.asleep.cars[0]
		q.remove(e)
		e.isDue = true
		heap.Push(&q.due, e)
	}
	if len(q.due.cars) == 0 {
		return nil
	}
	return q.due.cars[0]
}

// next is when the next car is due; ok is false if there is none.
func (q *queue) next(now time.Duration) (at time.Duration, ok bool) {
	switch {
	case len(q.due.cars) > 0:
		return now, true
	case len(q.asleep.cars) > 0:
		return q.asleep.cars[0].due, true
	}
	return 0, false
}

// late is for how long the car is due that has waited longest.
func (q *queue) late(now time.Duration) (late time.Duration) {
	for _, e := range q.due.cars {
		late = max(late, now-e.due)
	}
	if len(q.asleep.cars) > 0 {
		late = max(late, now-q.asleep.cars[0].due)
	}
	return late
}

// heapOf orders cars.
type heapOf struct {
	cars   []*entry
	before func(a, b *entry) bool
}

var _ heap.Interface = (*heapOf)(nil)

func newQueue() queue {
	return queue{
		asleep: heapOf{before: func(a, b *entry) bool { return a.due < b.due }},
		due:    heapOf{before: func(a, b *entry) bool { return a.visited() < b.visited() }},
	}
}

func (h *heapOf) Len() int           { return len(h.cars) }
func (h *heapOf) Less(i, j int) bool { return h.before(h.cars[i], h.cars[j]) }

func (h *heapOf) Swap(i, j int) {
	h.cars[i], h.cars[j] = h.cars[j], h.cars[i]
	h.cars[i].at, h.cars[j].at = int32(i), int32(j)
}

// Push implements [heap.Interface].
func (h *heapOf) Push(x any) {
	e, _ := x.(*entry)
	e.at = int32(len(h.cars))
	h.cars = append(h.cars, e)
}

// Pop implements [heap.Interface].
func (h *heapOf) Pop() any {
	last := len(h.cars) - 1
	e := h.cars[last]
	h.cars[last] = nil
	h.cars, e.at = h.cars[:last], -1
	return e
}
