package repeats

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestFirstAtOnceThenOnceAMinute(t *testing.T) {
	t.Parallel()
	c := New[string, int](time.Minute, 10)
	require.Equal(t, []Line[int]{{1, 1}}, c.Add("a", 1, 0))
	require.Empty(t, c.Add("a", 2, 10*time.Second))
	require.Equal(t, []Line[int]{{3, 1}}, c.Add("b", 3, 20*time.Second))
	require.Empty(t, c.Add("a", 4, 59*time.Second))
	require.Equal(t, []Line[int]{{5, 3}}, c.Add("a", 5, time.Minute))
	require.Empty(t, c.Add("a", 6, 61*time.Second), "a minute from the last line, not from the first")
	require.Empty(t, c.Add("b", 7, 70*time.Second))
	require.Equal(t, []Line[int]{{8, 2}}, c.Add("b", 8, 80*time.Second))
	require.Equal(t, []Line[int]{{9, 2}}, c.Add("a", 9, 2*time.Minute))
}

// Whatever happens, each occurrence is said once, and few keys are remembered.
func TestEveryOccurrenceIsSaidOnce(t *testing.T) {
	t.Parallel()
	c := New[string, int](time.Minute, 5)
	said := 0
	for i := range 10_000 {
		for _, line := range c.Add(fmt.Sprint(i*i%17%(1+i%9)), i, time.Duration(i)*7*time.Second/10) {
			said += line.Count
		}
		require.LessOrEqual(t, len(c.byKey), 5)
		require.Equal(t, len(c.byKey), c.said.Len())
	}
	for _, line := range c.Rest() {
		said += line.Count
	}
	require.Equal(t, 10_000, said)
	require.Empty(t, c.Rest())
	require.Empty(t, c.byKey)
}

// A key that is silent for a while is forgotten, and its last repeats are said with the
// next line of any key.
func TestSilentKeysAreForgotten(t *testing.T) {
	t.Parallel()
	c := New[string, int](time.Minute, 100)
	c.Add("a", 1, 0)
	c.Add("a", 2, time.Second)
	c.Add("b", 3, time.Second)
	require.ElementsMatch(t, []Line[int]{{4, 1}, {2, 1}}, c.Add("c", 4, 3*time.Minute))
	require.Len(t, c.byKey, 2, "b had nothing to say")
	require.Equal(t, []Line[int]{{5, 1}}, c.Add("d", 5, 10*time.Minute))
	require.Len(t, c.byKey, 1)
}
