package smartcartest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// ServeHTTP answers one request. A dropped connection is
// panic(http.ErrAbortHandler), which net/http turns into a closed connection.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.ready()
	if r.Body == nil { // only a request that no server made
		r.Body = http.NoBody
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		status := http.StatusBadRequest
		if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
			status = http.StatusRequestEntityTooLarge
		}
		http.Error(w, err.Error(), status)
		return
	}
	c := &call{request: r, query: r.URL.Query(), body: body, requestID: randomUUID(), cfg: &s.cfg}
	inside := s.splitPath(c)
	if inside && c.path[0] == "_sim" && s.cfg.control {
		s.serveControl(r.Context(), c).write(w)
		return
	}
	f := s.pickFault(c)
	if !sleep(r.Context(), f.Latency) {
		s.logAbandoned(c)
		panic(http.ErrAbortHandler) // the client has left: nothing is processed
	}
	res, dropped := s.process(c, f, inside)
	if res != nil && res.streamed && (!dropped || f.Accepted) {
		res.stream(r.Context(), w, res.streamAfter+f.LatencyAfter, dropped)
		return
	}
	if !sleep(r.Context(), f.LatencyAfter) || dropped {
		panic(http.ErrAbortHandler)
	}
	res.write(w)
}

// process answers a request. It holds the lock from the beginning to the end,
// so that answer, ledger and log always agree. dropped says that the
// connection closes instead of the answer; res is nil when nothing was
// processed.
func (s *Server) process(c *call, f Fault, inside bool) (res *response, dropped bool) {
	s.lock()
	defer s.mu.Unlock()
	c.now = s.now()
	switch {
	case f.DropBefore:
		s.logRequest(c, 0, true)
		return nil, true
	case !inside:
		res = &response{status: http.StatusNotFound, contentType: "text/plain; charset=utf-8", body: []byte("nothing here: not below the base path\n")}
	case f.replacesAnswer() && !f.AfterProcessing:
		s.identify(c)
		res = f.answer(c)
	default:
		res = s.route(c)
		if f.replacesAnswer() {
			res = f.answer(c)
		}
	}
	if f.Accepted && c.v3 {
		res.streamed, res.status = true, http.StatusAccepted
	}
	if f.Malformed {
		res.body = res.body[:len(res.body)/2]
	}
	if s.mustObserve || c.entry != nil && c.entry.Executed {
		s.mustObserve = false
		s.observe(c.now)
	}
	res.header("Date", c.now.Format(http.TimeFormat))
	if c.entry != nil {
		c.entry.Status, c.entry.Dropped = res.status, f.DropAfter
		c.car.write(*c.entry)
	}
	s.logRequest(c, res.status, f.DropAfter)
	return res, f.DropAfter
}

// logAbandoned logs a request whose client left before it was processed.
func (s *Server) logAbandoned(c *call) {
	s.lock()
	defer s.mu.Unlock()
	c.now = s.now()
	s.logRequest(c, 0, true)
}

// splitPath reads the path below the base path; false when the request lies
// outside of it.
func (s *Server) splitPath(c *call) bool {
	path, inside := strings.CutPrefix(c.request.URL.EscapedPath(), s.cfg.basePath)
	inside = inside && (path == "" || path[0] == '/')
	c.path = strings.Split(strings.Trim(path, "/"), "/")
	for i, segment := range c.path {
		// Unescaped after the split, so that an escaped slash does not split.
		if plain, err := url.PathUnescape(segment); err == nil {
			c.path[i] = plain
		}
	}
	if unknownVersion(c.path[0]) {
		c.path[0] = "v2.0"
	}
	c.v3 = c.path[0] == "v3"
	return inside
}

// unknownVersion says whether the first segment of a path is a version, well
// formed, that the vendor never had: it serves its latest instead, which on
// this host is 2.0. The retired 1.0 is known, and not served.
func unknownVersion(segment string) bool {
	version, isVersion := strings.CutPrefix(segment, "v")
	major, minor, hasMinor := strings.Cut(version, ".")
	digits := func(s string) bool {
		return s != "" && strings.Trim(s, "0123456789") == ""
	}
	return isVersion && hasMinor && digits(major) && digits(minor) && version != "1.0"
}

// route answers a request by its path. The caller holds the lock.
func (s *Server) route(c *call) *response {
	rest := c.path[1:]
	switch c.path[0] {
	case "oauth":
		if len(rest) == 1 {
			switch rest[0] {
			case "authorize":
				return s.serveConnect(c)
			case "reauthenticate":
				return s.serveReauthenticate(c)
			case "token":
				return s.userToken(c)
			}
		}
	case keyPath:
		return s.serveKeyPage(c, rest)
	case "oauth2":
		if len(rest) == 1 && rest[0] == "token" {
			return s.appToken(c)
		}
	case "v2.0":
		return s.serveV2(c, rest)
	case "v3":
		return s.serveV3(c, rest)
	default:
		if v := c.path[0]; len(v) > 1 && v[0] == 'v' && v[1] >= '0' && v[1] <= '9' {
			return c.fail(newError("RESOURCE_NOT_FOUND", "VERSION"))
		}
	}
	return c.fail(newError("RESOURCE_NOT_FOUND", "PATH"))
}

// sleep waits for d; false when ctx ended first. The caller must not hold the
// lock.
func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// bodyOf is the body for a reader that begins at its start.
func bodyOf(b []byte) io.ReadCloser { return io.NopCloser(bytes.NewReader(b)) }
