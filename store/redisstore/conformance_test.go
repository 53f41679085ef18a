package redisstore_test

import (
	"net"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/seed-498a1bc4/smartcar/internal/testserver"
	"github.com/seed-498a1bc4/smartcar/store"
	"github.com/seed-498a1bc4/smartcar/store/storetest"
	"github.com/stretchr/testify/require"
)

func TestConformance(t *testing.T) {
	eachServer(t, func(t *testing.T, binary string) {
		s := startServer(t, binary, testserver.Durable()...)
		storetest.Run(t, func(t *testing.T) store.Store {
			return newStore(t, s.client(t))
		}, storetest.Shared())
	})
}

func TestConformanceOverRESP2(t *testing.T) {
	eachServer(t, func(t *testing.T, binary string) {
		s := startServer(t, binary)
		storetest.Run(t, func(t *testing.T) store.Store {
			client := redis.NewClient(&redis.Options{Addr: s.Addr(), Protocol: 2, MaxRetries: -1, ContextTimeoutEnabled: true})
			t.Cleanup(func() { client.Close() })
			return newStore(t, client)
		}, storetest.Shared())
	})
}

func TestConformanceOfACluster(t *testing.T) {
	eachServer(t, func(t *testing.T, binary string) {
		addrs := startCluster(t, binary)
		open := func(t *testing.T) *redis.ClusterClient {
			// A slice for each: go-redis appends to what it is given.
			client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{addrs[0]}, ContextTimeoutEnabled: true})
			t.Cleanup(func() { client.Close() })
			return client
		}
		storetest.Run(t, func(t *testing.T) store.Store { return newStore(t, open(t)) }, storetest.Shared())

		// Both nodes took part.
		for _, addr := range addrs {
			stats, err := clientOf(t, addr).Info(t.Context(), "commandstats").Result()
			require.NoError(t, err)
			require.Contains(t, stats, "cmdstat_evalsha:", "the node %s was not used", addr)
		}
	})
}

// startCluster starts two nodes with half of the slots each.
func startCluster(t *testing.T, binary string) []string {
	t.Helper()
	ctx := t.Context()
	var addrs []string
	var nodes []*redis.Client
	for i := range 2 {
		// The port of the cluster's bus is free more likely than not; startServer tries again.
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		_, bus, err := net.SplitHostPort(listener.Addr().String())
		require.NoError(t, err)
		require.NoError(t, listener.Close())
		s := startServer(t, binary, "--cluster-enabled", "yes", "--cluster-port", bus, "--cluster-node-timeout", "5000")
		addrs = append(addrs, s.Addr())
		nodes = append(nodes, s.client(t))
		require.NoError(t, nodes[i].ClusterAddSlotsRange(ctx, i*8192, i*8192+8191).Err())
		if i > 0 {
			host, port, err := net.SplitHostPort(addrs[0])
			require.NoError(t, err)
			first := nodes[0].Do(ctx, "config", "get", "cluster-port")
			values, err := first.Result()
			require.NoError(t, err)
			require.NoError(t, nodes[i].Do(ctx, "cluster", "meet", host, port, configValue(values)).Err())
		}
	}
	require.Eventually(t, func() bool {
		for _, node := range nodes {
			info, err := node.ClusterInfo(ctx).Result()
			if err != nil || !strings.Contains(info, "cluster_state:ok") || !strings.Contains(info, "cluster_slots_ok:16384") {
				return false
			}
		}
		return true
	}, 20*time.Second, 50*time.Millisecond, "the nodes do not find each other")
	return addrs
}

// configValue reads the answer of CONFIG GET in either protocol.
func configValue(values any) any {
	switch v := values.(type) {
	case map[any]any:
		return v["cluster-port"]
	case []any:
		return v[1]
	}
	return nil
}
