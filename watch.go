package smartcar

import (
	"context"
	"iter"
	"time"

	"github.com/seed-498a1bc4/smartcar/internal/contexts"
	"github.com/seed-498a1bc4/smartcar/internal/policy"
)

// The pace of Watch where no rule sets one: what Smartcar names as the average
// of streaming Teslas, and its advice for everything else.
const (
	streamingPace = 3 * time.Minute
	otherPace     = 30 * time.Minute
	// watchBackOff follows an error that names no time.
	watchBackOff = time.Minute
)

// Watch reads the operations again and again, at the car's own pace, and yields
// a snapshot whenever it holds something that was recorded since the last one:
// every 8 hours for a keyless Tesla (at once after pairing is noticed), after
// each refresh of a legacy car while it is awake, at the pace of [Every] for
// the others.
//
// Errors are yielded too. After one that may pass the loop goes on; after one
// that will not, and when ctx ends, it yields that error and stops.
func (v *Vehicle) Watch(ctx context.Context, want ...Operation) iter.Seq2[*Snapshot, error] {
	return func(yield func(*Snapshot, error) bool) {
		if err := checkContext(ctx); err != nil {
			yield(nil, err)
			return
		}
		var last time.Time
		for {
			snapshot, err := v.Snapshot(ctx, want...)
			switch {
			case err == nil:
				at, dated := snapshot.recordedAt()
				if !at.Equal(last) || !dated {
					last = at
					if !yield(snapshot, nil) {
						return
					}
				}
			case ctx.Err() != nil:
				yield(nil, contexts.EndOf(ctx))
				return
			case isLocalLimit(err): // woken early to look for the key: not an error
			default:
				if !yield(nil, err) || terminal(err) {
					return
				}
			}
			if err := v.core.opts.clock.Sleep(ctx, v.untilNext(ctx, err)); err != nil {
				yield(nil, err)
				return
			}
		}
	}
}

func isLocalLimit(err error) bool {
	limit, ok := err.(*RateLimitError) //nolint:errorlint // only what Snapshot returned itself, not what it wraps
	return ok && limit.Local && limit.Rule == RuleKeyless
}

// untilNext says how long to sleep before the next read is worth it.
func (v *Vehicle) untilNext(ctx context.Context, err error) time.Duration {
	now := v.core.opts.now()
	if at, ok := NextAllowed(err); ok {
		return clampWait(at.Sub(now))
	}
	if err != nil {
		return watchBackOff
	}
	a, err := v.Access(ctx)
	switch {
	case err != nil:
		return watchBackOff
	case !a.NextRead.IsZero():
		return clampWait(a.NextRead.Sub(now))
	case v.opts.every > 0:
		return v.opts.every
	case a.Class == ClassStreaming || a.Class == ClassLegacy:
		return streamingPace
	}
	return otherPace
}

// clampWait looks in between whether a key was added.
func clampWait(d time.Duration) time.Duration {
	return min(max(d, time.Second), policy.SlowestKeyCheck)
}

// recordedAt is the newest recording in the snapshot; dated is false if nothing
// in it says when it was recorded.
func (s *Snapshot) recordedAt() (at time.Time, dated bool) {
	for _, p := range s.all() {
		if p.refused == nil && !p.meta.RecordedAt.IsZero() {
			at, dated = later(at, p.meta.RecordedAt), true
		}
	}
	return at, dated
}
