package smartcartest

import "time"

// bucket is the rate limit of the whole application, a token bucket.
type bucket struct {
	tokens   float64
	filledAt time.Time
}

// take draws one token; false when there is none. The bucket fills as time
// passes, and loses nothing when the clock is put back.
func (b *bucket) take(now time.Time, burst int, perMinute float64) bool {
	if gone := now.Sub(b.filledAt); gone > 0 {
		b.tokens = min(float64(burst), b.tokens+gone.Minutes()*perMinute)
	}
	b.filledAt = now
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}

// withinRateLimit takes one request from the application's rate limit; false
// when the limit is reached.
func (s *Server) withinRateLimit(c *call) bool {
	return s.cfg.rateBurst <= 0 || s.bucket.take(c.now, s.cfg.rateBurst, s.cfg.ratePerMinute)
}
