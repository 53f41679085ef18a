package smartcartest

import (
	"time"
)

// bucket is the application's rate limit.
type bucket struct {
	tokens   float64
	filledAt time.Time
}

// take draws one request; the clock may have been put back.
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

func (s *Server) withinRateLimit(c *call) bool {
	return s.cfg.rateBurst <= 0 || s.bucket.take(c.now, s.cfg.rateBurst, s.cfg.ratePerMinute)
}
