package main

import (
	"bufio"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seed-498a1bc4/smartcar/smartcartest"
)

func TestRun(t *testing.T) {
	ctx, interrupt := context.WithCancel(t.Context())
	out, in := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		ended <- run(ctx, []string{"-listen", "127.0.0.1:0", "-base", "/b", "-keyless", "stale", "-sdk", "python", "-redirect", "https://example.com/cb"}, in, io.Discard)
		_ = in.Close()
	}()
	env := map[string]string{}
	lines := bufio.NewScanner(out)
	for range 15 {
		require.True(t, lines.Scan())
		name, value, ok := strings.Cut(lines.Text(), "=")
		require.True(t, ok)
		env[name] = value
	}
	for _, name := range []string{
		"SMARTCAR_CONNECT_ORIGIN", "SMARTCAR_AUTH_ORIGIN", "SMARTCAR_API_ORIGIN", "SMARTCAR_API_V3_ORIGIN",
		"SMARTCAR_MANAGEMENT_API_ORIGIN", "SMARTCAR_MANAGEMENT_API_V3_ORIGIN", "SMARTCAR_COMPATIBILITY_API_V3_ORIGIN", "SMARTCAR_IAM_ORIGIN", "SMARTCAR_APPLICATION_ID",
		"SMARTCAR_API_CLIENT_ID", "SMARTCAR_API_CLIENT_SECRET", "SMARTCAR_CLIENT_ID", "SMARTCAR_CLIENT_SECRET", "SMARTCAR_REDIRECT_URI",
	} {
		require.NotEmpty(t, env[name], name)
	}
	require.Equal(t, env["SMARTCAR_API_ORIGIN"]+"/oauth/token", env["SMARTCAR_AUTH_ORIGIN"], "as the SDK for Python wants it")
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

// The command has the environment, and the simulator ends with it.
func TestCommand(t *testing.T) {
	var out, logs strings.Builder
	shell := func(script string) error {
		return run(t.Context(), []string{"-listen", "127.0.0.1:0", "sh", "-c", script}, &out, &logs)
	}
	require.NoError(t, shell(`echo "$SMARTCAR_API_CLIENT_ID at $SMARTCAR_IAM_ORIGIN"; echo warned >&2`))
	require.Regexp(t, `^client_\S+ at http://127\.0\.0\.1:\d+\n$`, out.String())
	require.Equal(t, "warned\n", logs.String())

	var ended *exec.ExitError
	require.ErrorAs(t, shell("exit 3"), &ended)
	require.Equal(t, 3, ended.ExitCode())
	require.Error(t, run(t.Context(), []string{"-listen", "127.0.0.1:0", "no-such-command"}, &out, &logs))

	ctx, interrupt := context.WithCancel(t.Context())
	printed, in := io.Pipe()
	stopped := make(chan error, 1)
	go func() {
		stopped <- run(ctx, []string{"-listen", "127.0.0.1:0", "sh", "-c", "trap 'exit 1' INT; echo ready; while :; do sleep 0.01; done"}, in, &logs)
	}()
	_, err := bufio.NewReader(printed).ReadString('\n')
	require.NoError(t, err)
	interrupt()
	require.NoError(t, <-stopped)
}

func TestRefusals(t *testing.T) {
	for _, args := range [][]string{
		{"-listen", "0.0.0.0:0"}, {"-listen", ":8787"}, {"-listen", "example.com:80"}, {"-listen", "nonsense"},
		{"-keyless", "maybe"}, {"-sdk", "perl"}, {"-unknown"}, {"-webhook-version", "3"}, {"-webhook", "nonsense"},
	} {
		require.Error(t, run(t.Context(), args, io.Discard, io.Discard), args)
	}
	require.NoError(t, loopback("[::1]:0"))
	require.NoError(t, loopback("localhost:1"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.NoError(t, run(ctx, []string{"-listen", "0.0.0.0:0", "-public"}, io.Discard, io.Discard))
}

// TestWebhook has a receiver that is not ready at first.
func TestWebhook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		_, err := sim.Grant("https://connect.smartcar.com/oauth/authorize?response_type=code&client_id=" + sim.ClientID())
		require.NoError(t, err)
		var events atomic.Int64
		var ready atomic.Bool
		h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if !ready.Load() {
				w.WriteHeader(http.StatusBadGateway)
				return
			}
			var e struct{ Data struct{ Challenge string } }
			_ = json.NewDecoder(r.Body).Decode(&e)
			if e.Data.Challenge == "" {
				events.Add(1)
				return
			}
			mac := hmac.New(sha256.New, []byte(sim.ManagementToken()))
			_, _ = io.WriteString(mac, e.Data.Challenge)
			_, _ = fmt.Fprintf(w, `{"challenge":"%x"}`, mac.Sum(nil))
		})
		var stderr strings.Builder
		stop := deliver(t.Context(), sim, smartcartest.Webhook{CallbackURL: "http://localhost/", Handler: h, AutoSubscribe: true}, &stderr)
		synctest.Wait()
		require.Contains(t, stderr.String(), "waits until its receiver answers")
		ready.Store(true)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		require.EqualValues(t, 7, events.Load(), "one first delivery or error for each car")
		require.NoError(t, stop())
		require.Error(t, deliver(t.Context(), sim, smartcartest.Webhook{CallbackURL: "nonsense"}, &stderr)())
		require.NoError(t, deliver(t.Context(), sim, smartcartest.Webhook{}, &stderr)())
	})
}
