package smartcar

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/seed-498a1bc4/smartcar/internal/randid"
	"github.com/seed-498a1bc4/smartcar/internal/records"
)

// A Budget is what a plan allows: see [WithBudget].
type Budget struct {
	// PerVehicle is how many calls each vehicle has in a calendar month, UTC. Zero counts
	// none. Plans are not published in full; 500 is a common one.
	PerVehicle int
	// Reserve is how many of them are for commands: reads are refused when only these are
	// left. At least 0, less than PerVehicle.
	Reserve int
	// FreeMetadata does not count what Smartcar answers by itself: attributes,
	// permissions, the status of the key. The plans do not say whether these count.
	FreeMetadata bool
	// BatchOnce counts a batch of API v2.0 as one call, instead of one for each read in it.
	BatchOnce bool

	ApplicationLimit ApplicationLimit
}

// An ApplicationLimit is how many requests the whole application may send.
type ApplicationLimit struct {
	// Requests may be sent at once. Zero is 120, as Smartcar documents it; below zero there
	// is no limit here, and Smartcar's 429 counts.
	Requests int
	// PerMinute is how many more there are each minute; above 0. Default 2.
	PerMinute float64
}

// WithBudget keeps the program within its plan, in all processes that share the store.
//
// A read of a vehicle of whose month only the reserve is left is refused as a
// [*RateLimitError] with [RuleBudget], until the next month and a share of its first day.
// A batch that is larger than what is left is refused whole. While the application has
// used up its requests, reads of vehicles are refused with [RuleApplication]. A command is
// counted and never refused: Smartcar decides. How a month's reads are spread over it is a
// pace, which [Vehicle.Visit] and package fleet keep.
//
// Calls are taken from the store in blocks: those of a vehicle for ten reads, those of the
// application for a minute. So counting costs a store call in ten reads. What a process
// that dies has taken counts as spent; [Client.Drain] gives it back. While the store is
// away, nothing is counted and nothing refused. Calls that were made before the option
// was set, or beside this package, are not known.
func WithBudget(b Budget) Option {
	return func(o *options) error {
		b.ApplicationLimit.Requests = cmp.Or(b.ApplicationLimit.Requests, 120)
		b.ApplicationLimit.PerMinute = cmp.Or(b.ApplicationLimit.PerMinute, 2)
		switch {
		case b.PerVehicle < 0:
			return argumentError("Budget.PerVehicle", "must not be negative; 0 counts none")
		case b.Reserve < 0 || b.Reserve > 0 && b.Reserve >= b.PerVehicle:
			return argumentError("Budget.Reserve", "must not be negative, and less than PerVehicle")
		case !(b.ApplicationLimit.PerMinute > 0):
			return argumentError("ApplicationLimit.PerMinute", "must be above zero; 0 is 2")
		}
		o.budget = &b
		return nil
	}
}

// Budget returns what [WithBudget] has set, with its defaults; the zero Budget if it was
// not used.
func (c *Client) Budget() Budget {
	if c.core == nil || c.core.opts.budget == nil {
		return Budget{}
	}
	return *c.core.opts.budget
}

// ResetBudget is the operator's word that calls are counted anew, because the plan has
// changed or the count is wrong: all vehicles have their whole month, and a refusal by
// Smartcar for the month ([RuleBudget]) is forgotten. Other processes that share the store
// see it within a minute; what Smartcar has refused there, they find out within a day.
// Errors: [ErrStore].
func (c *Client) ResetBudget(ctx context.Context) error {
	if err := errors.Join(c.core.made(), checkContext(ctx)); err != nil {
		return err
	}
	c.core.gate.allowances.forgetAll()
	b := c.core.gate.budgets
	if b == nil {
		return nil
	}
	reset := storedReset{Reset: randid.New()}
	_, err := records.Repair(ctx, b.records, resetKey, 0, reset, func(r *storedReset, _ bool, _ time.Time) error {
		*r = reset
		return nil
	})
	if err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.reset, b.resetAt = reset.Reset, max(b.opts.clock.Elapsed(), 1)
	return nil
}
