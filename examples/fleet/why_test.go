package main

import (
	"bytes"
	"net/http"
	"path/filepath"
	"testing"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/internal/testserver"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
	"github.com/stretchr/testify/require"
)

// The person on call has a store and the id of a car.
func TestWhyACarIsSilent(t *testing.T) {
	for name, where := range map[string]func(*testing.T) (stores, []string){
		"SQLite": func(t *testing.T) (stores, []string) {
			path := filepath.Join(t.TempDir(), "cars.db")
			return stores{sqlite: path}, []string{"-window", "8h", "-dsn", path}
		},
		"PostgreSQL": func(t *testing.T) (stores, []string) {
			url := testserver.StartPostgres(t).URL()
			return stores{postgres: url}, []string{"-window", "8h", "-postgres", url}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("SMARTCAR_CLIENT_ID", "")
			s, args := where(t)
			sim, user := silent(t, s)
			requests := len(sim.Requests())
			var out bytes.Buffer
			require.NoError(t, run(t.Context(), append([]string{"why"}, append(args, smartcartest.ModelY)...), nil, &out))
			require.Contains(t, out.String(), "without the virtual key")
			require.Regexp(t, `class +streaming Tesla, attributes\n`, out.String())
			require.Regexp(t, `user +`+user.ID()+`\n`, out.String())
			require.Regexp(t, `key +missing, key endpoint, 20`, out.String())
			require.Regexp(t, `next read +20\S+Z, keyless-window\n`, out.String())
			require.Regexp(t, `last turn +20\S+Z, data\n`, out.String())
			require.Regexp(t, `budget +\d+ calls spent, \d+ left\n`, out.String())
			whole := out.String()

			out.Reset()
			require.NoError(t, run(t.Context(), append([]string{"why"}, append(args, "-user", user.ID(), smartcartest.ModelY)...), nil, &out))
			require.Equal(t, whole, out.String(), "the user is found")
			out.Reset()
			require.NoError(t, run(t.Context(), append([]string{"why"}, args...), nil, &out))
			require.Contains(t, out.String(), smartcartest.ModelY+"  next read 20")
			require.Contains(t, out.String(), smartcartest.MachE)
			require.ErrorIs(t, run(t.Context(), append([]string{"why"}, append(args, "nobody's")...), nil, &out), errUnknownCar)
			require.Len(t, sim.Requests(), requests, "nobody was asked")
		})
	}
}

func TestWhyNeedsAStoreThatIsThere(t *testing.T) {
	t.Setenv(envRedis, "")
	t.Setenv(envPostgres, "")
	var out bytes.Buffer
	require.ErrorContains(t, run(t.Context(), []string{"why", "car"}, nil, &out), "say which store")
	path := filepath.Join(t.TempDir(), "none.db")
	require.Error(t, run(t.Context(), []string{"why", "-dsn", path, "car"}, nil, &out))
	require.NoFileExists(t, path)
}

// silent is a program that reads a car without its key, and stops.
func silent(t *testing.T, s stores) (*smartcartest.Server, *smartcar.User) {
	t.Helper()
	kept, closeStore, err := s.open(t.Context())
	require.NoError(t, err)
	sim := smartcartest.New()
	client, err := newClient(configOf(sim), kept, smartcar.WithHTTPClient(&http.Client{Transport: sim.Transport()}))
	require.NoError(t, err)
	user := connectOwner(t, sim, client)
	_, err = user.Vehicle(smartcartest.ModelY).Battery(t.Context())
	require.NoError(t, err)
	require.NoError(t, client.Drain(t.Context()))
	require.NoError(t, closeStore())
	return sim, user
}
