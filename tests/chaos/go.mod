module github.com/seed-498a1bc4/smartcar/tests/chaos

go 1.26.0

require (
	github.com/jackc/pgx/v5 v5.12.0
	github.com/redis/go-redis/v9 v9.23.0
	github.com/seed-498a1bc4/smartcar v0.1.0
	github.com/seed-498a1bc4/smartcar/store/redisstore v0.1.0
	github.com/seed-498a1bc4/smartcar/store/sqlstore v0.1.0
	github.com/stretchr/testify v1.12.1
)

require go.yaml.in/yaml/v3 v3.0.5 // indirect

require (
	github.com/cespare/xxhash/v2 v2.3.0 // indirect
	github.com/jackc/pgpassfile v1.0.0 // indirect
	github.com/jackc/pgservicefile v0.0.0-20240606120523-5a60cdf6a761 // indirect
	github.com/jackc/puddle/v2 v2.2.3 // indirect
	go.uber.org/atomic v1.12.0 // indirect
	golang.org/x/oauth2 v0.37.0 // indirect
	golang.org/x/sync v0.24.0
	golang.org/x/sys v0.49.0 // indirect
	golang.org/x/text v0.41.0 // indirect
	golang.org/x/time v0.16.0
)

replace (
	github.com/seed-498a1bc4/smartcar => ../..
	github.com/seed-498a1bc4/smartcar/store/redisstore => ../../store/redisstore
	github.com/seed-498a1bc4/smartcar/store/sqlstore => ../../store/sqlstore
)
