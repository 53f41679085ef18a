//go:build unix

package sqlstore_test

import "testing"

func BenchmarkPostgres(b *testing.B) {
	s := startServer(b)
	for _, sync := range []string{"on", "off"} {
		b.Run("synchronous_commit="+sync, func(b *testing.B) {
			param := "synchronous_commit=" + sync
			benchmarks(b, s.store(b, s.table(), param), s.open(b, param), bare{
				upsert: "INSERT INTO bare VALUES ($1, $2) ON CONFLICT (k) DO UPDATE SET v = excluded.v",
				get:    "SELECT v FROM bare WHERE k = $1",
			}, "DROP TABLE IF EXISTS bare; CREATE TABLE bare (k text PRIMARY KEY, v bytea NOT NULL)")
		})
	}
}
