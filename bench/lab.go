package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"fmt"
	"io"
	"net/http"
	"path"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"
	"github.com/redis/go-redis/v9"
	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/internal/testserver"
	"github.com/seed-498a1bc4/smartcar/store"
	"github.com/seed-498a1bc4/smartcar/store/redisstore"
	"github.com/seed-498a1bc4/smartcar/store/sqlstore"
	"github.com/seed-498a1bc4/smartcar/store/sqlstore/sqlite"
	"github.com/stretchr/testify/require"
)

// counted is a store that counts its calls: each is one round trip, as the
// tests of the stores prove.
type counted struct {
	store.Store
	trips atomic.Int64
}

func (c *counted) Load(ctx context.Context, key string) (store.Record, error) {
	c.trips.Add(1)
	return c.Store.Load(ctx, key)
}

func (c *counted) CompareAndSwap(ctx context.Context, key string, old store.Revision, value []byte, ttl time.Duration) (store.Record, error) {
	c.trips.Add(1)
	return c.Store.CompareAndSwap(ctx, key, old, value, ttl)
}

func (c *counted) Delete(ctx context.Context, key string, old store.Revision) error {
	c.trips.Add(1)
	return c.Store.Delete(ctx, key, old)
}

// answers is a Smartcar in memory, with a car without its key, which answers
// at once and never refuses. What is measured is what a client adds.
type answers struct{}

func (answers) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		_ = r.Body.Close()
	}
	body := `{"id":"car","make":"TESLA","model":"Model Y","year":2023}`
	if strings.Contains(r.URL.Path, free) {
		body = `{"id":"car","make":"FORD","model":"Mustang Mach-E","year":2022}`
	}
	switch path.Base(r.URL.Path) {
	case "battery":
		body = `{"percentRemaining":0.3,"range":40.5}`
	case "virtual_key":
		body = `{"isPaired":false}`
	case "user":
		_, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		// Each token is that of another owner. The token itself would be struck out.
		body = fmt.Sprintf(`{"id":"%x"}`, sha256.Sum256([]byte(token)))
	}
	header := http.Header{"Content-Type": {"application/json"}, "Sc-Request-Id": {"f3d1701e-1d57-4e12-9478-698951786698"}}
	return &http.Response{
		StatusCode: http.StatusOK, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: header,
		Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body)), Request: r,
	}, nil
}

const (
	carsOfOwner = 5
	free        = "free" // in the id of a car that is under no rule
)

// newCars returns cars whose class, key and tokens are known, as they are in
// a program that has been running for a while.
func newCars(tb testing.TB, kept store.Store, kind string, n int, window time.Duration, opts ...smartcar.Option) []*smartcar.Vehicle {
	tb.Helper()
	client := newClient(tb, kept, window, opts...)
	cars := make([]*smartcar.Vehicle, n)
	var owner *smartcar.User
	for i := range cars {
		if i%carsOfOwner == 0 {
			owner = newOwner(tb, client)
		}
		cars[i] = owner.Vehicle(kind + rand.Text())
		_, err := cars[i].Battery(tb.Context())
		require.NoError(tb, err)
		access, err := cars[i].Access(tb.Context())
		require.NoError(tb, err)
		require.Equal(tb, kind != free, access.Key.State == smartcar.KeyMissing)
	}
	return cars
}

func newClient(tb testing.TB, kept store.Store, window time.Duration, opts ...smartcar.Option) *smartcar.Client {
	tb.Helper()
	rules := smartcar.DefaultRules()
	rules.KeylessWindow = window
	client, err := smartcar.New(smartcar.Config{
		ClientID: "id", ClientSecret: "secret", RedirectURL: "https://example.com/callback",
	}, append([]smartcar.Option{
		smartcar.WithHTTPClient(&http.Client{Transport: answers{}}), smartcar.WithStore(kept), smartcar.WithRules(rules),
	}, opts...)...)
	require.NoError(tb, err)
	return client
}

func newOwner(tb testing.TB, client *smartcar.Client) *smartcar.User {
	tb.Helper()
	grant, err := client.ImportTokens(tb.Context(), smartcar.Tokens{
		AccessToken: rand.Text(), RefreshToken: "refresh", Expires: time.Now().Add(time.Hour),
	})
	require.NoError(tb, err)
	return client.User(grant.UserID)
}

// A bench is a store, and what it is compared with.
type bench struct {
	store store.Store
	// relaxes says that the store makes use of store.MayBeLost.
	relaxes bool
	// bare is the plainest write of a record on the same connection, with the
	// same settings.
	bare   other
	others []other
}

// other is what somebody else does once.
type other struct {
	name string
	do   func(ctx context.Context) error
}

// eachKey returns as many keys, in turn, as there are cars: a single one would be
// hammered, which databases like less or more than a fleet.
func eachKey() func() string {
	keys := make([]string, cars)
	for i := range keys {
		keys[i] = rand.Text()
	}
	next := 0
	return func() string {
		next++
		return keys[next%cars]
	}
}

// carRecord is as large as the record of a car.
func carRecord() []byte { return make([]byte, 80) }

func memoryBench(tb testing.TB) *bench {
	return &bench{store: store.NewMemory(), others: []other{goLimiter(tb)}}
}

func sealedBench(tb testing.TB) *bench {
	tb.Helper()
	kept, err := store.NewSealed(store.NewMemory(), make([]byte, 32))
	require.NoError(tb, err)
	return &bench{store: kept, others: []other{goLimiter(tb)}}
}

func sqliteBench(opts ...sqlite.Option) func(testing.TB) *bench {
	return func(tb testing.TB) *bench {
		tb.Helper()
		path := filepath.Join(tb.TempDir(), "cars.db")
		kept, err := sqlite.Open(tb.Context(), path, opts...)
		require.NoError(tb, err)
		tb.Cleanup(func() { require.NoError(tb, kept.Close()) })
		synchronous := "FULL"
		if len(opts) > 0 {
			synchronous = "NORMAL"
		}
		db := open(tb, "sqlite", "file:"+path+"?_pragma=busy_timeout(10000)&_pragma=fullfsync(1)&_pragma=secure_delete(1)&_pragma=synchronous("+synchronous+")")
		return &bench{
			store: kept,
			bare: upsert(tb, db, "CREATE TABLE bare (k TEXT PRIMARY KEY, v BLOB NOT NULL)",
				"INSERT INTO bare VALUES (?1, ?2) ON CONFLICT (k) DO UPDATE SET v = excluded.v"),
		}
	}
}

func postgresBench(synchronous string) func(testing.TB) *bench {
	return func(tb testing.TB) *bench {
		tb.Helper()
		db := open(tb, "pgx", testserver.StartPostgres(tb).URL("synchronous_commit="+synchronous))
		kept, err := sqlstore.New(tb.Context(), db, sqlstore.Postgres)
		require.NoError(tb, err)
		return &bench{
			store: kept, relaxes: synchronous == "on",
			bare: upsert(tb, db, "CREATE TABLE bare (k text PRIMARY KEY, v bytea NOT NULL)",
				"INSERT INTO bare VALUES ($1, $2) ON CONFLICT (k) DO UPDATE SET v = excluded.v"),
		}
	}
}

func open(tb testing.TB, driver, address string) *sql.DB {
	tb.Helper()
	db, err := sql.Open(driver, address)
	require.NoError(tb, err)
	db.SetMaxIdleConns(8)
	tb.Cleanup(func() { require.NoError(tb, db.Close()) })
	return db
}

func upsert(tb testing.TB, db *sql.DB, create, query string) other {
	tb.Helper()
	_, err := db.ExecContext(tb.Context(), create)
	require.NoError(tb, err)
	value, key := carRecord(), eachKey()
	return other{"one UPSERT", func(ctx context.Context) error {
		value[0]++ // SQLite does not write what is there already
		_, err := db.ExecContext(ctx, query, key(), value)
		return err
	}}
}

func redisBench(args ...string) func(testing.TB) *bench {
	return func(tb testing.TB) *bench {
		tb.Helper()
		server := testserver.StartRedis(tb, testserver.FindRedis(tb, "redis-server"), args...)
		rdb := redis.NewClient(&redis.Options{Addr: server.Addr(), ContextTimeoutEnabled: true})
		tb.Cleanup(func() { require.NoError(tb, rdb.Close()) })
		kept, err := redisstore.New(rdb)
		require.NoError(tb, err)
		return &bench{
			store:  kept,
			bare:   evalsha(tb, rdb, "one EVALSHA", decide),
			others: []other{evalsha(tb, rdb, "an EVALSHA that only sets", "return redis.call('SET', KEYS[1], ARGV[1])"), redisRate(rdb)},
		}
	}
}

// decide is the least that a limiter on Redis does: it reads the server's clock
// and what is stored, decides by them, and writes what expires by itself. It
// knows one window, and nothing of a request under way.
const decide = `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local stored = redis.call('GET', KEYS[1])
if stored and tonumber(string.sub(stored, 1, 13)) > now then
	return {0, stored}
end
redis.call('SET', KEYS[1], string.format('%013.0f', now) .. ARGV[1], 'PX', ARGV[2])
return {1, now}`

func evalsha(tb testing.TB, rdb *redis.Client, name, script string) other {
	tb.Helper()
	sha, err := rdb.ScriptLoad(tb.Context(), script).Result()
	require.NoError(tb, err)
	key, value := eachKey(), carRecord()
	return other{name, func(ctx context.Context) error {
		return rdb.EvalSha(ctx, sha, []string{key()}, value, longTime.Milliseconds()).Err()
	}}
}
