package e2e_test

import (
	"bufio"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
	"github.com/stretchr/testify/require"
)

// A site is the example application, as a process of its own, against a
// simulator in the test.
type site struct {
	sim  *smartcartest.Server
	home string // of the application, ending in a slash
	maps string // origin of the simulator
}

// program is examples/webapp, built once.
var program = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "smartcar-webapp-")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "webapp")
	build := exec.Command("go", "build", "-o", path, "./examples/webapp")
	build.Dir = "../.." // the module it belongs to
	out, err := build.CombinedOutput()
	if err != nil {
		_, _ = os.Stderr.Write(out)
	}
	return path, err
})

func startSite(t *testing.T, cars ...smartcartest.Car) *site {
	t.Helper()
	return startSiteOn(t, smartcar.V2, cars...)
}

// startSiteOn starts it on an API. On v3 the simulator sends webhooks, as Smartcar does.
func startSiteOn(t *testing.T, api smartcar.API, cars ...smartcartest.Car) *site {
	t.Helper()
	if _, err := exec.LookPath("chromium"); err != nil {
		missing(t, "chromium")
	}
	path, err := program()
	require.NoError(t, err)
	if cars == nil {
		cars = smartcartest.DefaultGarage()
	}
	s := &site{sim: smartcartest.New(smartcartest.WithCars(cars...))}
	origin, stop, err := s.sim.Start()
	require.NoError(t, err)
	t.Cleanup(stop)
	s.maps, s.home = origin, "http://localhost:"+freePort(t)+"/"

	cmd := exec.Command(path, "-api", string(api)) // ended below, gracefully
	cmd.Env = append(os.Environ(), s.sim.Environment(origin)...)
	cmd.Env = append(cmd.Env, "SMARTCAR_REDIRECT_URI="+s.home+"callback")
	logs := &strings.Builder{}
	cmd.Stderr = logs
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		require.NoError(t, cmd.Wait(), "it ends gracefully")
		for _, secret := range []string{"code=", "state=", s.sim.ClientSecret(), "52.5163", "openstreetmap", "7SAYGDEE5PA000002", "Bearer"} {
			require.NotContains(t, logs.String(), secret)
		}
		if t.Failed() {
			t.Log(logs.String())
		}
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	require.Contains(t, line, s.home)
	if api == smartcar.V3 {
		_, err := s.sim.AddWebhook(t.Context(), smartcartest.Webhook{CallbackURL: s.home + "webhooks/smartcar", AutoSubscribe: true})
		require.NoError(t, err)
		go func() { _ = s.sim.RunWebhooks(t.Context(), time.Second) }()
	}
	return s
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "localhost:0")
	require.NoError(t, err)
	_, port, err := net.SplitHostPort(l.Addr().String())
	require.NoError(t, err)
	require.NoError(t, l.Close())
	return port
}

// hosts are those a page may ask.
func (s *site) hosts(t *testing.T) []string {
	t.Helper()
	var hosts []string
	for _, address := range []string{s.home, s.maps} {
		u, err := url.Parse(address)
		require.NoError(t, err)
		hosts = append(hosts, u.Host)
	}
	return hosts
}

func (s *site) signIn(b *tab, name string) {
	b.t.Helper()
	b.visit(s.home)
	b.fill("#name", name)
	b.click("form.card button")
}

// connect signs in and grants everything.
func (s *site) connect(b *tab, name string) {
	b.t.Helper()
	s.signIn(b, name)
	b.click("main form button")
	b.wait("button[value=grant]")
	b.click("button[value=grant]")
}
