//go:build unix

package sqlstore_test

import (
	"context"
	"errors"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/seed-498a1bc4/smartcar/store"
	"github.com/seed-498a1bc4/smartcar/store/sqlstore"
	"github.com/stretchr/testify/require"
)

// wire counts what a pool sends, and can lose the next answer.
type wire struct {
	sent     atomic.Int64
	loseNext atomic.Bool
}

func (w *wire) dial(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, address)
	return &wireConn{Conn: conn, wire: w}, err
}

type wireConn struct {
	net.Conn
	wire *wire
	lost atomic.Bool
}

func (c *wireConn) Write(b []byte) (int, error) {
	c.wire.sent.Add(1)
	n, err := c.Conn.Write(b)
	if c.wire.loseNext.CompareAndSwap(true, false) {
		c.lost.Store(true)
	}
	return n, err
}

var errCut = errors.New("connection reset by peer")

func (c *wireConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if c.lost.Load() { // the server has answered, so it has done its work
		_ = c.Close()
		return 0, errCut
	}
	return n, err
}

func overWire(t *testing.T, s *server) (*sqlstore.Store, *wire) {
	t.Helper()
	w := new(wire)
	config, err := pgx.ParseConfig(s.URL())
	require.NoError(t, err)
	config.DialFunc = w.dial
	kept, err := sqlstore.New(t.Context(), pool(t, config), sqlstore.Postgres, sqlstore.WithTable(s.table()))
	require.NoError(t, err)
	oneLife(t, kept) // statements are prepared
	return kept, w
}

func TestPostgresRoundTrips(t *testing.T) {
	s := startServer(t)
	ctx := t.Context()
	kept, w := overWire(t, s)
	// A connection that was idle for a second is asked whether it is there, so
	// a slow machine may need a second try; more would be ours.
	trips := func(what string, call func() error, want error) {
		t.Helper()
		best := int64(99)
		for range 5 {
			before := w.sent.Load()
			require.ErrorIs(t, call(), want, what)
			best = min(best, w.sent.Load()-before)
		}
		require.EqualValues(t, 1, best, what)
	}
	var record store.Record
	trips("absent", func() error { _, err := kept.Load(ctx, "none"); return err }, store.ErrNotFound)
	trips("create and delete", func() error {
		r, err := kept.CompareAndSwap(ctx, "brief", "", []byte("v"), 0)
		require.NoError(t, err)
		w.sent.Add(-1)
		require.NoError(t, kept.Delete(ctx, "brief", r.Revision))
		return err
	}, nil)
	trips("swap", func() error { // reserve and settle are one each
		var err error
		record, err = kept.CompareAndSwap(ctx, "car", record.Revision, []byte("reserved"), time.Hour)
		return err
	}, nil)
	trips("load", func() error { _, err := kept.Load(ctx, "car"); return err }, nil)
	trips("refused update", func() error {
		current, err := kept.CompareAndSwap(ctx, "car", "other", []byte("v"), 0)
		require.Equal(t, record.Revision, current.Revision)
		w.sent.Add(-1) // it reads what stands there
		return err
	}, store.ErrConflict)
	trips("refused create", func() error {
		current, err := kept.CompareAndSwap(ctx, "car", "", []byte("v"), 0)
		require.Equal(t, record.Revision, current.Revision)
		return err
	}, store.ErrConflict)
	trips("refused delete", func() error { return kept.Delete(ctx, "car", "other") }, store.ErrConflict)
	trips("delete", func() error { return kept.Delete(ctx, "car", record.Revision) }, nil)
}

// A swap whose answer is lost must not be repeated below us: the repetition
// would report that somebody else was faster.
func TestPostgresLostAnswer(t *testing.T) {
	s := startServer(t)
	ctx := t.Context()
	kept, w := overWire(t, s)
	first, err := kept.CompareAndSwap(ctx, "car", "", []byte("idle"), 0)
	require.NoError(t, err)

	w.loseNext.Store(true)
	_, err = kept.CompareAndSwap(ctx, "car", first.Revision, []byte("taken"), 0)
	require.ErrorIs(t, err, errCut)
	require.NotErrorIs(t, err, store.ErrConflict)

	found, err := kept.Load(ctx, "car")
	require.NoError(t, err)
	require.Equal(t, "taken", string(found.Value))
	current, err := kept.CompareAndSwap(ctx, "car", first.Revision, []byte("taken"), 0)
	require.ErrorIs(t, err, store.ErrConflict)
	require.Equal(t, found.Revision, current.Revision)
}
