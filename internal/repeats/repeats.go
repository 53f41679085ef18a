// Package repeats counts what happens again and again, so that it is said once, and then
// once in a while with how often it has happened since.
package repeats

import (
	"container/list"
	"sync"
	"time"
)

// A Counter counts occurrences by their keys. It remembers a bounded number of keys. It is
// safe for concurrent use.
type Counter[K comparable, V any] struct {
	every time.Duration
	most  int

	mu    sync.Mutex
	byKey map[K]*list.Element
	said  list.List // of *entry, the one that was said longest ago first
}

type entry[K comparable, V any] struct {
	key    K
	at     time.Duration // when it was said last
	unsaid int           // occurrences since then
	last   V             // the last of them
}

// A Line is to be said: an occurrence, and how many it stands for, itself included.
type Line[V any] struct {
	Value V
	Count int
}

// New returns a counter that says one key once in a while, and remembers at most so many.
func New[K comparable, V any](every time.Duration, most int) *Counter[K, V] {
	return &Counter[K, V]{every: every, most: most, byKey: map[K]*list.Element{}}
}

// Add counts an occurrence, and returns what is to be said now. That may be of other keys:
// those whose time has come, and those that are forgotten. Now is the time that has passed
// since some instant.
func (c *Counter[K, V]) Add(key K, value V, now time.Duration) (due []Line[V]) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if known, ok := c.byKey[key]; ok {
		e := known.Value.(*entry[K, V])
		e.unsaid, e.last = e.unsaid+1, value
	} else {
		due = append(due, Line[V]{value, 1})
		c.byKey[key] = c.said.PushBack(&entry[K, V]{key: key, at: now})
	}
	for first := c.said.Front(); first != nil; first = c.said.Front() {
		e := first.Value.(*entry[K, V])
		over := now-e.at >= c.every
		if !over && len(c.byKey) <= c.most {
			break
		}
		repeated := e.unsaid > 0
		due = e.say(due)
		if over && repeated {
			e.at = now
			c.said.MoveToBack(first)
			continue
		}
		c.said.Remove(first)
		delete(c.byKey, e.key)
	}
	return due
}

// Rest returns what was counted and not said, and forgets all keys.
func (c *Counter[K, V]) Rest() (due []Line[V]) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for at := c.said.Front(); at != nil; at = at.Next() {
		due = at.Value.(*entry[K, V]).say(due)
	}
	c.said.Init()
	clear(c.byKey)
	return due
}

func (e *entry[K, V]) say(due []Line[V]) []Line[V] {
	if e.unsaid == 0 {
		return due
	}
	due = append(due, Line[V]{e.last, e.unsaid})
	e.unsaid = 0
	return due
}
