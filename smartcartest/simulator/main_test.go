package main

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestRun(t *testing.T) {
	ctx, interrupt := context.WithCancel(t.Context())
	out, in := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		ended <- run(ctx, []string{"-listen", "127.0.0.1:0", "-base", "/b", "-keyless", "stale", "-redirect", "https://example.com/cb"}, in, io.Discard)
		_ = in.Close()
	}()
	env := map[string]string{}
	lines := bufio.NewScanner(out)
	for range 14 {
		require.True(t, lines.Scan())
		name, value, ok := strings.Cut(lines.Text(), "=")
		require.True(t, ok)
		env[name] = value
	}
	for _, name := range []string{
		"SMARTCAR_CONNECT_ORIGIN", "SMARTCAR_AUTH_ORIGIN", "SMARTCAR_API_ORIGIN", "SMARTCAR_API_V3_ORIGIN",
		"SMARTCAR_MANAGEMENT_API_ORIGIN", "SMARTCAR_MANAGEMENT_API_V3_ORIGIN", "SMARTCAR_IAM_ORIGIN", "SMARTCAR_APPLICATION_ID",
		"SMARTCAR_API_CLIENT_ID", "SMARTCAR_API_CLIENT_SECRET", "SMARTCAR_CLIENT_ID", "SMARTCAR_CLIENT_SECRET", "SMARTCAR_REDIRECT_URI",
	} {
		require.NotEmpty(t, env[name], name)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for path, want := range map[string]int{"/v2.0/user": http.StatusUnauthorized, "/_sim/cars": http.StatusOK} {
		res, err := client.Get(env["SMARTCAR_API_ORIGIN"] + path)
		require.NoError(t, err)
		require.NoError(t, res.Body.Close())
		require.Equal(t, want, res.StatusCode)
	}
	interrupt()
	require.NoError(t, <-ended)
}

func TestRefusals(t *testing.T) {
	for _, args := range [][]string{
		{"-listen", "0.0.0.0:0"}, {"-listen", ":8787"}, {"-listen", "example.com:80"}, {"-listen", "nonsense"},
		{"-keyless", "maybe"}, {"-unknown"},
	} {
		require.Error(t, run(t.Context(), args, io.Discard, io.Discard), args)
	}
	require.NoError(t, loopback("[::1]:0"))
	require.NoError(t, loopback("localhost:1"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.NoError(t, run(ctx, []string{"-listen", "0.0.0.0:0", "-public"}, io.Discard, io.Discard))
}
