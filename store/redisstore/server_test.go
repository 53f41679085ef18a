package redisstore_test

import (
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
	"github.com/seed-498a1bc4/smartcar/internal/testserver"
	"github.com/seed-498a1bc4/smartcar/store/redisstore"
	"github.com/stretchr/testify/require"
)

func TestMain(m *testing.M) {
	logging.Disable() // servers that are gone are what these tests are about
	m.Run()
}

// eachServer runs test with every server there is.
func eachServer(t *testing.T, test func(t *testing.T, binary string)) {
	t.Helper()
	for _, name := range []string{"redis-server", "valkey-server"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, testserver.FindRedis(t, name))
		})
	}
}

// server is a Redis of this test alone.
type server struct{ *testserver.Redis }

func startServer(t testing.TB, binary string, args ...string) server {
	t.Helper()
	return server{testserver.StartRedis(t, binary, args...)}
}

// client is a new client of the server, with go-redis's own retries.
func (s server) client(t testing.TB) *redis.Client {
	t.Helper()
	return clientOf(t, s.Addr())
}

func clientOf(t testing.TB, addr string) *redis.Client {
	t.Helper()
	client := redis.NewClient(&redis.Options{Addr: addr, ContextTimeoutEnabled: true})
	t.Cleanup(func() { client.Close() })
	return client
}

func newStore(t testing.TB, client redis.UniversalClient, opts ...redisstore.Option) *redisstore.Store {
	t.Helper()
	store, err := redisstore.New(client, opts...)
	require.NoError(t, err)
	return store
}
