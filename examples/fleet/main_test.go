package main

import (
	"bytes"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/internal/testserver"
	"github.com/seed-498a1bc4/smartcar/store"
	"github.com/stretchr/testify/require"
)

// TestMain is a replica where the program under test starts itself again.
func TestMain(m *testing.M) {
	if os.Getenv(envReplica) != "" {
		main()
		return
	}
	m.Run()
}

func TestFleetBreaksNoWindow(t *testing.T) {
	t.Setenv(envRedis, "")
	t.Setenv(envPostgres, "")
	var out bytes.Buffer
	err := run(t.Context(), []string{"-duration", "10s", "-keyless", "6", "-legacy", "2"}, nil, &out)
	require.NoError(t, err, "%s", &out)
	requireKept(t, &out)
}

// Several processes share the cars through River.
func TestReplicasShareTheWork(t *testing.T) {
	t.Setenv(envRedis, "")
	t.Setenv(envPostgres, "")
	var out bytes.Buffer
	url := testserver.StartPostgres(t).URL()
	err := run(t.Context(), []string{"-duration", "12s", "-keyless", "6", "-legacy", "2", "-postgres", url}, nil, &out)
	require.NoError(t, err, "%s", &out)
	requireKept(t, &out)
}

func requireKept(t *testing.T, out *bytes.Buffer) {
	t.Helper()
	require.Regexp(t, `Reads sent: +[1-9]`, out.String())
	require.Regexp(t, `Handed over: +[1-9]`, out.String())
	require.Regexp(t, `Cars not read: +0\n`, out.String())
	require.Regexp(t, `Processes killed: +[1-9]`, out.String())
	require.Regexp(t, `Logins lost: +0\n`, out.String())
	require.Regexp(t, `Windows broken: +0\n`, out.String())
}

// The judge must see what the replicas are kept from.
func TestFleetSeesBrokenWindowsAndLostLogins(t *testing.T) {
	f := newWorld(1, 0, shortWindow)
	client, err := f.client(store.NewMemory())
	require.NoError(t, err)
	require.NoError(t, f.connect(client))
	require.ErrorContains(t, f.judge(t.Context(), client, io.Discard), "no car was read")

	car := client.User(f.owners[0]).Vehicle(f.cars[0]).With(smartcar.IgnorePolicy())
	_, err = car.Battery(t.Context())
	require.NoError(t, err)
	require.NoError(t, f.judge(t.Context(), client, io.Discard))
	f.sim.RevokeRefreshTokens()
	require.ErrorContains(t, f.judge(t.Context(), client, io.Discard), "1 logins were lost")

	require.NoError(t, f.connect(client))
	_, err = car.Odometer(t.Context())
	require.ErrorIs(t, err, smartcar.ErrRateLimited)
	require.ErrorContains(t, f.judge(t.Context(), client, io.Discard), "1 windows were broken")
}

// What an application needs is short, and stays so.
func TestTheCoreIsShort(t *testing.T) {
	text, err := os.ReadFile("core.go")
	require.NoError(t, err)
	_, code, _ := strings.Cut(string(text), "\n)\n") // behind the imports
	lines := 0
	for line := range strings.Lines(code) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "//") {
			lines++
		}
	}
	t.Logf("%d lines", lines)
	require.LessOrEqual(t, lines, 40)
}
