package smartcartest_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seed-498a1bc4/smartcar/smartcartest"
)

func TestBasePath(t *testing.T) {
	a := newAPI(t, smartcartest.WithBasePath("base/"))
	require.Equal(t, 404, a.get("/v2.0/user").status)
	require.Equal(t, 404, a.get("/basement/v2.0/user").status)
	a.get("/base/v2.0/user").fails(401, "AUTHENTICATION", "")
	_, err := a.sim.Grant(a.authorize(nil))
	require.Error(t, err)
	_, err = a.sim.Grant(strings.Replace(a.authorize(nil), "/oauth", "/base/oauth", 1))
	require.NoError(t, err)
	for _, line := range a.sim.Environment("http://127.0.0.1:1/") {
		if name, value, _ := strings.Cut(line, "="); strings.HasSuffix(name, "_ORIGIN") {
			require.Equal(t, "http://127.0.0.1:1/base", value)
		}
	}
	origin, stop, err := a.sim.Start()
	require.NoError(t, err)
	defer stop()
	res, err := http.Get(origin + "/v2.0/user")
	require.NoError(t, err)
	a.read(res).fails(401, "AUTHENTICATION", "")
}

func TestEscapedIDs(t *testing.T) {
	a := connected(t, smartcartest.WithCars(smartcartest.Car{ID: "a/b c", Make: "FORD"}))
	var got struct{ ID string }
	a.get("/v2.0/vehicles/a%2Fb%20c").ok(&got)
	require.Equal(t, "a/b c", got.ID)
}

func TestHugeBody(t *testing.T) {
	a := connected(t)
	res := a.post(car(smartcartest.Model3, "/security"), strings.Repeat("x", 2<<20))
	require.Equal(t, http.StatusRequestEntityTooLarge, res.status)
}

// The token endpoint as each of the vendor's SDKs makes it of the environment.
func TestEnvironmentOfTheSDKs(t *testing.T) {
	for _, base := range []string{"", "/base"} {
		a := newAPI(t, smartcartest.WithBasePath(base))
		value := func(lines []string) string {
			i := slices.IndexFunc(lines, func(line string) bool { return strings.HasPrefix(line, "SMARTCAR_AUTH_ORIGIN=") })
			return strings.TrimPrefix(lines[i], "SMARTCAR_AUTH_ORIGIN=")
		}
		for sdk, endpoint := range map[string]string{
			"node":   value(a.sim.Environment("http://127.0.0.1:1")) + "/oauth/token",
			"python": value(a.sim.PythonEnvironment("http://127.0.0.1:1")),
		} {
			req, err := http.NewRequest(http.MethodPost, endpoint, strings.NewReader("grant_type=refresh_token&refresh_token=x"))
			require.NoError(t, err)
			req.Header.Set("Content-Type", formType)
			req.SetBasicAuth(a.sim.ClientID(), a.sim.ClientSecret())
			a.do(req).oauth(400, "invalid_request")
			require.Equal(t, "http://127.0.0.1:1"+base+"/oauth/token", endpoint, sdk)
		}
	}
}

// A Server that was declared and not made is what New makes, whichever method is the
// first.
func TestZeroServerIsANewOne(t *testing.T) {
	for name, first := range map[string]func(s *smartcartest.Server){
		"Transport": func(s *smartcartest.Server) {
			res, err := (&http.Client{Transport: s.Transport()}).Get("https://api.smartcar.com/v2.0/user")
			require.NoError(t, err)
			require.NoError(t, res.Body.Close())
			require.Equal(t, 401, res.StatusCode)
		},
		"Wake":    func(s *smartcartest.Server) { require.NoError(t, s.Wake(smartcartest.ModelY)) },
		"Advance": func(s *smartcartest.Server) { s.Advance(time.Hour) },
		"Clock":   func(s *smartcartest.Server) { require.NotZero(t, s.Clock().Now()) },
		"UserIDOf": func(s *smartcartest.Server) {
			require.NotEmpty(t, s.UserIDOf("somebody"))
		},
		"Deliver": func(s *smartcartest.Server) {
			_, err := s.Deliver(t.Context())
			require.NoError(t, err)
		},
		"ExpireAppTokens": func(s *smartcartest.Server) { s.ExpireAppTokens() },
	} {
		t.Run(name, func(t *testing.T) {
			var s smartcartest.Server
			first(&s)
			require.NoError(t, s.Unpair(smartcartest.ModelY))
		})
	}
	var clock smartcartest.Clock
	require.Zero(t, clock.Now())
	require.Zero(t, clock.Elapsed())
	require.Error(t, clock.Sleep(t.Context(), time.Second))
}
