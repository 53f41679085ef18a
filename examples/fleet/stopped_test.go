//go:build unix

package main

import (
	"context"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
)

// A process stands still for longer than its requests may take, as one does that swaps or
// is moved, and goes on in the middle of what it was doing. Meanwhile its visits, and those
// of the other process, are given to whoever is there, as River's rescuer does: two visit
// the same cars, and no window is broken.
func TestReplicasThatAreStopped(t *testing.T) {
	stopped := 0
	s := share(t, 2, 20, 4*time.Second, 24*time.Second, 6*time.Second, 6*time.Second, func(url string, p *process) {
		require.NoError(t, p.cmd.Process.Signal(syscall.SIGSTOP))
		defer func() { require.NoError(t, p.cmd.Process.Signal(syscall.SIGCONT)) }()
		db, err := pgx.Connect(t.Context(), url)
		require.NoError(t, err)
		defer func() { _ = db.Close(context.WithoutCancel(t.Context())) }()
		for range 2 { // while it stands still, and once more
			time.Sleep(requestTime)
			_, err = db.Exec(t.Context(), "UPDATE river_job SET state = 'available', scheduled_at = now() WHERE state = 'running'")
			require.NoError(t, err)
		}
		stopped++
	})
	require.GreaterOrEqual(t, stopped, 2)
	require.Empty(t, s.world.killed)
	require.Zero(t, s.doubtful)
	require.Less(t, s.longest, 20*time.Second, "and each car is read again and again")
}
