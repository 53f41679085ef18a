package lru

import (
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestLeastRecentlyUsedGoesFirst(t *testing.T) {
	c := New[string, int](2)
	c.Put("a", 1)
	c.Put("b", 2)
	v, ok := c.Get("a") // b is now the oldest
	require.True(t, ok)
	require.Equal(t, 1, v)
	c.Put("c", 3)
	_, ok = c.Get("b")
	require.False(t, ok)
	c.Put("a", 10) // a change is a use, too, and takes no place
	c.Put("d", 4)
	_, ok = c.Get("c")
	require.False(t, ok)
	v, ok = c.Get("a")
	require.True(t, ok)
	require.Equal(t, 10, v)
	require.Len(t, c.entries, 2)
	require.Equal(t, 2, c.order.Len())
}

func TestDeleteMakesRoom(t *testing.T) {
	c := New[string, int](2)
	c.Put("a", 1)
	c.Put("b", 2)
	c.Delete("a")
	c.Delete("never there")
	_, ok := c.Get("a")
	require.False(t, ok)
	c.Put("c", 3)
	for key, want := range map[string]int{"b": 2, "c": 3} {
		v, ok := c.Get(key)
		require.True(t, ok)
		require.Equal(t, want, v)
	}
	require.Equal(t, 2, c.order.Len())
}

func TestCachesThatHoldNothing(t *testing.T) {
	for name, c := range map[string]*Cache[string, *int]{"nil": nil, "size zero": New[string, *int](0), "below zero": New[string, *int](-1)} {
		t.Run(name, func(t *testing.T) {
			c.Put("a", new(int))
			v, ok := c.Get("a")
			require.False(t, ok)
			require.Nil(t, v)
			require.NotPanics(t, func() { c.Delete("a") })
		})
	}
}

func TestZeroValuesAreEntries(t *testing.T) {
	c := New[string, int](1)
	c.Put("", 0)
	v, ok := c.Get("")
	require.True(t, ok)
	require.Zero(t, v)
}

func TestNeverMoreThanTheLimitWhoeverPuts(t *testing.T) {
	const limit = 50
	c := New[int, int](limit)
	var all sync.WaitGroup
	for worker := range 8 {
		all.Go(func() {
			for i := range 2000 {
				key := (i*7 + worker*13) % 200
				c.Put(key, key)
				if v, ok := c.Get(key); ok && v != key {
					t.Errorf("%d under %d", v, key)
				}
				if i%11 == 0 {
					c.Delete(key)
				}
			}
		})
	}
	all.Wait()
	require.LessOrEqual(t, len(c.entries), limit)
	require.Len(t, c.entries, c.order.Len())
}
