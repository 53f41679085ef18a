// Package lru is a bounded map that forgets what was used least recently.
package lru

import (
	"container/list"
	"maps"
	"slices"
	"sync"
)

// A Cache holds at most a fixed number of entries. It is safe for concurrent
// use; a nil Cache, or one of size zero, holds nothing.
type Cache[K comparable, V any] struct {
	mu      sync.Mutex
	max     int
	order   list.List
	entries map[K]*list.Element
}

type entry[K comparable, V any] struct {
	key   K
	value V
}

// New returns an empty cache for at most limit entries.
func New[K comparable, V any](limit int) *Cache[K, V] {
	return &Cache[K, V]{max: limit, entries: make(map[K]*list.Element)}
}

// Get returns the entry under key and marks it as used.
func (c *Cache[K, V]) Get(key K) (value V, ok bool) {
	if c == nil {
		return value, false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.entries[key]
	if ok {
		c.order.MoveToFront(e)
		value = e.Value.(*entry[K, V]).value
	}
	return value, ok
}

// GetOrPut returns the entry under key, after storing value if there is none.
func (c *Cache[K, V]) GetOrPut(key K, value V) V {
	if c == nil || c.max <= 0 {
		return value
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if e, ok := c.entries[key]; ok {
		c.order.MoveToFront(e)
		return e.Value.(*entry[K, V]).value
	}
	c.put(key, value)
	return value
}

// Put stores value under key, forgetting another entry if the cache is full.
func (c *Cache[K, V]) Put(key K, value V) {
	if c == nil || c.max <= 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if e, ok := c.entries[key]; ok {
		e.Value.(*entry[K, V]).value = value
		c.order.MoveToFront(e)
		return
	}
	c.put(key, value)
}

// put adds an entry that is not there yet.
func (c *Cache[K, V]) put(key K, value V) {
	c.entries[key] = c.order.PushFront(&entry[K, V]{key, value})
	if len(c.entries) > c.max {
		oldest := c.order.Back()
		delete(c.entries, oldest.Value.(*entry[K, V]).key)
		c.order.Remove(oldest)
	}
}

// Delete forgets key.
func (c *Cache[K, V]) Delete(key K) {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if e, ok := c.entries[key]; ok {
		delete(c.entries, key)
		c.order.Remove(e)
	}
}

// Keys returns the keys of all entries, in no order.
func (c *Cache[K, V]) Keys() []K {
	if c == nil {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Collect(maps.Keys(c.entries))
}
