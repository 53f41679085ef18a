package policy

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestAccountOfAMonth(t *testing.T) {
	now := time.Date(2026, 2, 3, 12, 0, 0, 0, time.UTC)
	a := Account{}.At(now, 1)
	blocks, calls := 0, 0
	for {
		next, block := a.Take(3, 450)
		if block == 0 {
			break
		}
		require.Equal(t, a.Spent+block, next.Spent)
		a = next
		blocks, calls = blocks+1, calls+block
	}
	require.LessOrEqual(t, calls, 450)
	require.Greater(t, calls, 447)
	require.LessOrEqual(t, blocks, 450/30+15, "one in ten reads, but for the last ones")
	require.Equal(t, a, a.At(now.AddDate(0, 0, 25), 1))
	require.Zero(t, a.At(now.AddDate(0, 1, 0), 1).Spent, "another month")
	require.Zero(t, a.At(now.AddDate(0, -1, 0), 1).Spent, "a clock that was set back")
	require.Zero(t, a.At(now, 2).Spent, "the operator says so")
	_, block := Account{}.Take(5, 4)
	require.Zero(t, block, "a batch larger than what is left is refused whole")
	_, block = Account{Spent: 100}.Take(1, 50)
	require.Zero(t, block)
}

func TestBucketOfTheApplication(t *testing.T) {
	now := time.Date(2026, 2, 3, 12, 0, 0, 0, time.UTC)
	b := Bucket{}.At(now, 120, 2)
	b, n := b.Take(20)
	require.Equal(t, 20, n)
	b, n = b.Take(200)
	require.Equal(t, 100, n)
	_, n = b.Take(1)
	require.Zero(t, n)
	require.Equal(t, 30*time.Second, b.Next(2))
	require.InDelta(t, b.Calls, b.At(now.Add(-time.Hour), 120, 2).Calls, 0)
	b = b.At(now.Add(30*time.Second), 120, 2)
	require.Zero(t, b.Next(2))
	require.InDelta(t, 120, b.At(now.Add(5*time.Hour), 120, 2).Calls, 0)
}

func TestNextMonthIsSpread(t *testing.T) {
	now := time.Date(2026, 12, 31, 23, 0, 0, 0, time.UTC)
	year := time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)
	late := 0
	for car := range uint64(1000) {
		next := NextMonth(car, now)
		require.Equal(t, next, NextMonth(car, now.Add(time.Minute)))
		require.False(t, next.Before(year))
		require.True(t, next.Before(year.Add(24*time.Hour)))
		if next.After(year.Add(12 * time.Hour)) {
			late++
		}
	}
	require.InDelta(t, 500, late, 60)
}
