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
	at      int32         // in the heap; -1 outside
	rule    uint8         // what it waits for, an index of rules
	running bool
	woken   bool
	retired bool
	removed bool
}

const keySeparator = "\x00"

func keyOf(v *smartcar.Vehicle) string { return v.UserID() + keySeparator + v.ID() }

// ids are those of the user and the vehicle.
func (e *entry) ids() (user, vehicle string) {
	user, vehicle, _ = strings.Cut(e.key, keySeparator)
	return user, vehicle
}

// queue orders cars by when they are due.
type queue []*entry

var _ heap.Interface = (*queue)(nil)

func (q queue) Len() int           { return len(q) }
func (q queue) Less(i, j int) bool { return q[i].due < q[j].due }

func (q queue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].at, q[j].at = int32(i), int32(j)
}

// Push implements [heap.Interface].
func (q *queue) Push(x any) {
	e, _ := x.(*entry)
	e.at = int32(len(*q))
	*q = append(*q, e)
}

// Pop implements [heap.Interface].
func (q *queue) Pop() any {
	last := len(*q) - 1
	e := (*q)[last]
	(*q)[last] = nil
	*q, e.at = (*q)[:last], -1
	return e
}

func (q *queue) add(e *entry) { heap.Push(q, e) }

func (q *queue) remove(e *entry) {
	if e.at >= 0 {
		heap.Remove(q, int(e.at))
	}
}
