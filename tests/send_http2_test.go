package smartcar_test

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
	"github.com/stretchr/testify/require"
)

// What the peer below does to a stream.
type http2Fate struct {
	rst       uint32 // RST_STREAM with this code; 0 is none
	goAway    bool   // GOAWAY with this code and last stream
	code      uint32
	last      int  // the last stream that counts, relative to this one: 0 is this one, -2 the one before
	warmUp    bool // the first stream of the connection is answered
	hangUp    bool // the connection is closed
	atHeaders bool // before the body has come
	processed bool // the request may have been processed
}

const (
	http2NoError     = 0x0
	http2Protocol    = 0x1
	http2Internal    = 0x2
	http2Refused     = 0x7
	http2Cancel      = 0x8
	http2EnhanceCalm = 0xb
)

var http2Fates = map[string]http2Fate{
	"REFUSED_STREAM":                          {rst: http2Refused},
	"REFUSED_STREAM before the body":          {rst: http2Refused, atHeaders: true},
	"REFUSED_STREAM of a later stream":        {rst: http2Refused, warmUp: true},
	"GOAWAY before the first stream":          {goAway: true, code: http2NoError, last: -1},
	"GOAWAY before a later stream":            {goAway: true, code: http2NoError, last: -2, warmUp: true},
	"GOAWAY with an error, later stream":      {goAway: true, code: http2EnhanceCalm, last: -2, warmUp: true},
	"GOAWAY with an error, first stream":      {goAway: true, code: http2EnhanceCalm, last: -1},
	"GOAWAY with an unknown error":            {goAway: true, code: 0xabc, last: -1},
	"GOAWAY before the stream, and hung up":   {goAway: true, code: http2NoError, last: -2, warmUp: true, hangUp: true},
	"GOAWAY that counts the stream, hung up":  {goAway: true, code: http2NoError, hangUp: true, processed: true},
	"GOAWAY with an error, stream counts":     {goAway: true, code: http2Internal, hangUp: true, processed: true},
	"INTERNAL_ERROR":                          {rst: http2Internal, processed: true},
	"CANCEL":                                  {rst: http2Cancel, processed: true},
	"ENHANCE_YOUR_CALM":                       {rst: http2EnhanceCalm, processed: true},
	"PROTOCOL_ERROR, which net/http resends":  {rst: http2Protocol, processed: true},
	"hung up":                                 {hangUp: true, processed: true},
	"hung up before the body":                 {hangUp: true, atHeaders: true, processed: true},
	"INTERNAL_ERROR of a later stream":        {rst: http2Internal, warmUp: true, processed: true},
	"PROTOCOL_ERROR of a later stream":        {rst: http2Protocol, warmUp: true, processed: true},
	"GOAWAY that counts a later one, hung up": {goAway: true, code: http2NoError, warmUp: true, hangUp: true, processed: true},
}

// http2Peer is a server of HTTP/2 on loopback that is written down frame by frame,
// so that it can do what no library's server does on demand. It reads no headers:
// whatever comes is answered with body, after the first fates have been dealt out.
type http2Peer struct {
	listener net.Listener
	body     string
	mu       sync.Mutex
	fates    []http2Fate
	requests int
	open     sync.WaitGroup
}

func newHTTP2Peer(t *testing.T, body string, fates ...http2Fate) *http2Peer {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	p := &http2Peer{listener: listener, body: body, fates: fates}
	p.open.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			p.open.Go(func() {
				defer func() { _ = conn.Close() }()
				_ = p.serve(conn)
			})
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		p.open.Wait()
	})
	return p
}

const (
	frameData, frameHeaders, frameReset, frameSettings, frameGoAway = 0x0, 0x1, 0x3, 0x4, 0x7
	flagEndStream, flagAck, flagEndHeaders                          = 0x1, 0x1, 0x4
)

func writeFrame(w io.Writer, kind, flags byte, stream uint32, payload []byte) error {
	frame := binary.BigEndian.AppendUint32(nil, uint32(len(payload))<<8|uint32(kind))
	frame = binary.BigEndian.AppendUint32(append(frame, flags), stream)
	_, err := w.Write(append(frame, payload...))
	return err
}

func (p *http2Peer) serve(conn net.Conn) error {
	preface := make([]byte, len("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"))
	if _, err := io.ReadFull(conn, preface); err != nil {
		return err
	}
	if err := writeFrame(conn, frameSettings, 0, 0, nil); err != nil {
		return err
	}
	first := true
	var fate *http2Fate
	for {
		var head [9]byte
		if _, err := io.ReadFull(conn, head[:]); err != nil {
			return err
		}
		payload := make([]byte, binary.BigEndian.Uint32(head[:])>>8)
		if _, err := io.ReadFull(conn, payload); err != nil {
			return err
		}
		kind, flags, stream := head[3], head[4], binary.BigEndian.Uint32(head[5:])
		var err error
		switch {
		case kind == frameSettings && flags&flagAck == 0:
			err = writeFrame(conn, frameSettings, flagAck, 0, nil)
		case kind == frameHeaders:
			fate, first = p.next(first), false
			if fate != nil && fate.atHeaders || flags&flagEndStream != 0 {
				err = p.finish(conn, stream, fate)
			}
		case kind == frameData && flags&flagEndStream != 0 && (fate == nil || !fate.atHeaders):
			err = p.finish(conn, stream, fate)
		}
		if err != nil {
			return err
		}
	}
}

// next is the fate of a request; nil is an answer.
func (p *http2Peer) next(first bool) *http2Fate {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.requests++
	if len(p.fates) == 0 || first && p.fates[0].warmUp {
		return nil
	}
	fate := p.fates[0]
	p.fates = p.fates[1:]
	return &fate
}

func (p *http2Peer) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.requests
}

var errHungUp = errors.New("the peer hangs up")

func (p *http2Peer) finish(conn net.Conn, stream uint32, fate *http2Fate) error {
	switch {
	case fate == nil:
		const status200 = 0x88 // in the static table of HPACK
		if err := writeFrame(conn, frameHeaders, flagEndHeaders, stream, []byte{status200}); err != nil {
			return err
		}
		return writeFrame(conn, frameData, flagEndStream, stream, []byte(p.body))
	case fate.rst != 0:
		return writeFrame(conn, frameReset, 0, stream, binary.BigEndian.AppendUint32(nil, fate.rst))
	case fate.goAway:
		payload := binary.BigEndian.AppendUint32(nil, uint32(int(stream)+fate.last))
		if err := writeFrame(conn, frameGoAway, 0, 0, binary.BigEndian.AppendUint32(payload, fate.code)); err != nil {
			return err
		}
	}
	if fate.hangUp {
		return errHungUp
	}
	return nil
}

// throughHTTP2 sends what reads or commands the car to the peer, by net/http's own
// transport, and everything else to the simulator.
type throughHTTP2 struct {
	sim  http.RoundTripper
	peer *http.Transport
	to   string
}

func (r *throughHTTP2) RoundTrip(req *http.Request) (*http.Response, error) {
	if !strings.HasSuffix(req.URL.Path, "/battery") && !strings.HasSuffix(req.URL.Path, "/security") {
		return r.sim.RoundTrip(req)
	}
	req = req.Clone(req.Context())
	req.URL.Scheme, req.URL.Host = "http", r.to
	return r.peer.RoundTrip(req)
}

// http2Car is a car behind a peer that deals out the fates, after a first answer
// where a fate is about a later stream of a connection.
func http2Car(t *testing.T, car, body string, fate http2Fate, opts ...smartcar.Option) (*smartcar.Vehicle, *http2Peer, *smartcartest.Server) {
	t.Helper()
	sim := smartcartest.New()
	peer := newHTTP2Peer(t, body, fate)
	transport := &http.Transport{Protocols: new(http.Protocols)}
	transport.Protocols.SetUnencryptedHTTP2(true)
	t.Cleanup(transport.CloseIdleConnections)
	through := &throughHTTP2{sim: sim.Transport(), peer: transport, to: peer.listener.Addr().String()}
	opts = append([]smartcar.Option{smartcar.WithClock(sim.Clock())}, opts...)
	client := borderClient(t, sim, smartcar.V2, through, opts...)
	grant, err := borderConnect(t, sim, client)
	require.NoError(t, err)
	v := client.User(grant.UserID).Vehicle(car)
	if fate.warmUp {
		r := httptest.NewRequest(http.MethodGet, "http://"+through.to+"/battery", nil)
		r.RequestURI = ""
		resp, err := transport.RoundTrip(r)
		require.NoError(t, err)
		_, _ = io.Copy(io.Discard, resp.Body)
		require.NoError(t, resp.Body.Close())
		require.Equal(t, 1, peer.count())
	}
	return v, peer, sim
}

func onceOnly() smartcar.Option { return smartcar.WithRetry(smartcar.RetryPolicy{MaxAttempts: 1}) }

// RFC 9113, 8.7: what a peer resets with REFUSED_STREAM, or leaves beyond the last
// stream of a GOAWAY, was not processed. Everything else may have been. These are
// net/http's own errors: a version of Go that words them otherwise fails here.
func TestHTTP2PeerSaysWhatItHasNotProcessed(t *testing.T) {
	t.Parallel()
	for name, fate := range http2Fates {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v, peer, _ := http2Car(t, smartcartest.Model3, `{"status":"success","message":"ok"}`, fate, onceOnly())
			before := peer.count()
			_, err := v.Lock(t.Context())
			require.Error(t, err)
			require.Equal(t, fate.processed, smartcar.MayHaveSucceeded(err), err)
			require.Equal(t, !fate.processed, smartcar.Retryable(err), err)
			require.ErrorIs(t, err, smartcar.ErrUnavailable)
			require.Equal(t, before+1, peer.count(), "net/http repeats nothing of it")
			require.Equal(t, !fate.processed, strings.Contains(err.Error(), "not sent"), err)
		})
	}
}

// Case 15: the turn of a car without its key is given back.
func TestHTTP2PeerGivesATurnBack(t *testing.T) {
	t.Parallel()
	for name, fate := range http2Fates {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v, peer, _ := http2Car(t, smartcartest.ModelY, `{"percentRemaining":0.5,"range":200}`, fate, onceOnly())
			before := peer.count()
			_, err := v.Battery(t.Context())
			require.Error(t, err)
			require.Equal(t, before+1, peer.count())
			battery, err := v.Battery(t.Context())
			if fate.processed {
				require.ErrorIs(t, err, smartcar.ErrRateLimited)
				require.Equal(t, before+1, peer.count(), "the turn is used")
				return
			}
			require.NoError(t, err)
			require.InDelta(t, 50, *battery.Percent, 0)
			require.Equal(t, before+2, peer.count())
		})
	}
}

// What was certainly not processed may be sent again, a command, too.
func TestHTTP2PeerIsAskedAgain(t *testing.T) {
	t.Parallel()
	for name, fate := range http2Fates {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v, peer, _ := http2Car(t, smartcartest.Model3, `{"status":"success","message":"ok"}`, fate)
			before := peer.count()
			_, err := v.Lock(t.Context())
			if fate.processed {
				require.Error(t, err)
				require.Equal(t, before+1, peer.count())
				return
			}
			require.NoError(t, err)
			require.Equal(t, before+2, peer.count())
		})
	}
}
