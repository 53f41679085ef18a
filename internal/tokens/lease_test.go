package tokens

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-498a1bc4/smartcar/internal/records"
	"github.com/seed-498a1bc4/smartcar/store"
	"github.com/stretchr/testify/require"
)

// grantLeases are those of grants with a grace of a minute.
func grantLeases(s store.Store) leases[grantRecord, *grantRecord] {
	return leases[grantRecord, *grantRecord]{
		records: records.New(s, clock{}), clock: clock{}, ttl: time.Hour, length: 15 * time.Second,
		poll: 200 * time.Millisecond, patience: 45 * time.Second, grace: time.Minute, absent: ErrEnded,
	}
}

func never(*grantRecord, time.Time) bool  { return false }
func always(*grantRecord, time.Time) bool { return true }

// leasedRecord is a stored grant, and the leases of two processes.
func leasedRecord(t *testing.T) (a, b leases[grantRecord, *grantRecord]) {
	t.Helper()
	s := store.NewMemory()
	a, b = grantLeases(s), grantLeases(s)
	_, err := a.acquire(t.Context(), "k", "a", nil, never)
	require.ErrorIs(t, err, ErrEnded, "there is no record")
	_, err = records.Change(t.Context(), a.records, "k", 0, func(r *grantRecord, _ bool, _ time.Time) error {
		r.RefreshToken = "refresh-0"
		return nil
	})
	require.NoError(t, err)
	return a, b
}

// The steps of the timeline: A dies, B and C are in time.
func TestLeaseOfAProcessThatDied(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := leasedRecord(t)
		began := time.Now()
		got, err := a.acquire(t.Context(), "k", "a", nil, never)
		require.NoError(t, err)
		require.True(t, got.mine)
		got, err = b.acquire(t.Context(), "k", "b", nil, always)
		require.NoError(t, err, "what is enough needs no lease")
		require.False(t, got.mine)
		for i, id := range []string{"b", "c", "d"} {
			got, err = b.acquire(t.Context(), "k", id, nil, never)
			require.NoError(t, err)
			require.True(t, got.mine)
			require.WithinDuration(t, began.Add(time.Duration(i+1)*15*time.Second), time.Now(), time.Second)
		}
		require.ErrorIs(t, a.extend(t.Context(), "k", "a", nil), ErrTaken)
		_, _ = a.release(t.Context(), "k", "a", nil, false, nil)
		require.ErrorIs(t, b.extend(t.Context(), "k", "b", nil), ErrTaken)
		require.NoError(t, b.extend(t.Context(), "k", "d", nil), "only d has it")
	})
}

// A process that takes longer than three leases is not waited for.
func TestLeaseThatIsExtendedForLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := leasedRecord(t)
		_, err := a.acquire(t.Context(), "k", "a", nil, never)
		require.NoError(t, err)
		done := make(chan struct{})
		go func() {
			defer close(done)
			for range 12 {
				time.Sleep(5 * time.Second)
				_ = a.extend(t.Context(), "k", "a", nil)
			}
		}()
		began := time.Now()
		_, err = b.acquire(t.Context(), "k", "b", nil, never)
		require.ErrorIs(t, err, ErrTaken)
		require.WithinDuration(t, began.Add(45*time.Second), time.Now(), time.Second)
		<-done
	})
}

// A lease that was given up leaves a trace, which has to be followed up within
// the grace, however good the record is.
func TestTraceOfALease(t *testing.T) {
	for name, tt := range map[string]struct {
		trace bool
		after time.Duration
		mine  bool
	}{
		"given back":              {false, 0, false},
		"given up":                {true, 0, true},
		"given up a while ago":    {true, 59 * time.Second, true},
		"given up long ago":       {true, 61 * time.Second, false},
		"given up very long ago":  {true, 40 * time.Minute, false},
		"given back a while ago ": {false, 30 * time.Second, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, b := leasedRecord(t)
				_, err := a.acquire(t.Context(), "k", "a", nil, never)
				require.NoError(t, err)
				_, _ = a.release(t.Context(), "k", "a", nil, tt.trace, nil)
				time.Sleep(tt.after)
				got, err := b.acquire(t.Context(), "k", "b", nil, always)
				require.NoError(t, err)
				require.Equal(t, tt.mine, got.mine)
				if !tt.mine {
					require.Empty(t, got.held.Value.LeaseID, "the trace is taken out")
				}
			})
		})
	}
}

// A clock that is off has written a lease that ends next year. It counts for one lease
// from now.
func TestLeaseOfAClockThatIsOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := leasedRecord(t)
		_, err := records.Change(t.Context(), a.records, "k", 0, func(r *grantRecord, _ bool, now time.Time) error {
			r.lease.take("a", now.AddDate(1, 0, 0))
			return nil
		})
		require.NoError(t, err)
		began := time.Now()
		got, err := b.acquire(t.Context(), "k", "b", nil, never)
		require.NoError(t, err)
		require.True(t, got.mine)
		require.WithinDuration(t, began.Add(15*time.Second), time.Now(), time.Second, "its process may be at work")
	})
}
