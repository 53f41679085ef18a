package fleet

import (
	"context"
	"log/slog"
	"time"
)

// pace is what the limit of the application leaves, if that is less than the cars want.
func (g *engine) pace() time.Duration {
	limit := g.fleet.client.Budget().ApplicationLimit
	if limit.Requests <= 0 || g.wanted <= limit.PerMinute/60 {
		return 0
	}
	return time.Duration(float64(len(g.cars)) / limit.PerMinute * float64(time.Minute))
}

// warn says once that the cars want more than the limit of the application allows.
func (g *engine) warn(ctx context.Context) {
	g.mu.Lock()
	pace := g.pace()
	say := pace > 0 && g.fresh == 0 && !g.warned
	g.warned = g.warned || say
	g.mu.Unlock()
	if say {
		g.fleet.config.Logger.LogAttrs(ctx, slog.LevelWarn, "smartcar fleet: the cars want more requests than the limit of the application allows",
			slog.Duration("pace", pace))
	}
}
