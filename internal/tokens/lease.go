package tokens

import (
	"context"
	"errors"
	"time"

	"github.com/seed-498a1bc4/smartcar/internal/contexts"
	"github.com/seed-498a1bc4/smartcar/internal/records"
)

// A lease stands in a stored record while one process renews its token, and says
// until when the others wait. Three processes A, B and C, of which A dies:
//
//  1. A and B find that the access token has run out. Both load the record.
//  2. A swaps its lease in: id A, until 15 s from now. B's swap conflicts: it sees
//     A's lease and looks again five times a second. C does the same when it comes.
//  3. A sends the refresh token. Smartcar trades it for a new pair and honors the
//     old one for a minute more, the grace, in which it gives the same new pair
//     or another one.
//  4. A dies before it has stored the pair. Its lease stays in the record.
//  5. The 15 s are over. B swaps its own lease in and sends the same refresh token,
//     still within the grace. If B dies, too, C is in time at 30 s, and a fourth
//     process at 45 s: that is why a lease lasts a quarter of the grace.
//  6. B stores its pair, which takes the lease out of the record, and uses it.
//     C sees a good access token and uses it, too.
//
// A process that only seems to be dead is covered by the order of the writes:
//
//  7. A was not dead, but cut off from the store, and comes back with its pair after
//     step 6. The refresh token in the record is not the one that A has traded:
//     Smartcar honors one of the two pairs, and nobody can tell which. A stores its
//     refresh token as the spare one, which is sent if Smartcar refuses the other.
//
// And a process that gives up says so:
//
//  8. A gets no clear answer and gives up. It ends its lease but leaves its id in the
//     record, as the trace of a refresh that may have succeeded. The next process
//     sends the same refresh token again while the grace lasts, even if the access
//     token is good for another hour: after the grace the login could not be saved.
//  9. If no process comes within the grace, the next one takes the trace out, and uses
//     the access token as long as it is good.
//
// The answer to a process that was slow may be worth nothing:
//
//  10. A is slow, and B has taken the lease over and sent the same refresh token. A
//     stores its pair before B does. If B's answer was given later, only B's pair
//     works, and B may die with it. So A leaves B's lease in the record, and the old
//     refresh token as the spare one. B's pair takes its place; if B never comes, the
//     next process follows the trace within the grace, as in step 8.
type lease struct {
	LeaseID    string    `json:"lease_id,omitempty"`
	LeaseUntil time.Time `json:"lease_until,omitzero"`
}

func (l *lease) leaseOf() *lease { return l }

// held reports whether a process has the lease, and with tooLong, that it ends later than
// any lease does: the clock was set back since, or was wrong before.
func (l *lease) held(now time.Time, length time.Duration) (held, tooLong bool) {
	left := l.LeaseUntil.Sub(now)
	return l.LeaseID != "" && left > 0, l.LeaseID != "" && left > 2*length
}

func (l *lease) take(id string, until time.Time) { l.LeaseID, l.LeaseUntil = id, until }

func (l *lease) clear() { *l = lease{} }

// ErrTaken says that another process renews the token, and takes too long.
var ErrTaken = errors.New("another process has taken the refresh over")

// leased is a pointer to a stored record with a lease in it.
type leased[T any] interface {
	*T
	leaseOf() *lease
}

// leases are those in one kind of record.
type leases[T any, P leased[T]] struct {
	records records.Records
	clock   records.Clock
	ttl     time.Duration // of a record
	length  time.Duration // of a lease
	poll    time.Duration // how often a process that waits looks
	// patience is how long to wait for other processes; zero is as long as
	// the caller does.
	patience time.Duration
	// grace is how long after the end of a lease its trace counts: see step 8 of lease.
	// With zero, a trace does not count.
	grace time.Duration
	// absent is the error for a record that is not there; nil makes it.
	absent error
}

// acquired is a record as it was found when a lease was asked for.
type acquired[T any] struct {
	held records.Held[T]
	mine bool      // our lease is in it; if not, the record will do as it is
	now  time.Time // the store's
	// known says that the store was not asked.
	known bool
}

// acquire puts our lease into a record, unless enough says that the record will do as
// it is. While another process has the lease, acquire waits, and returns [ErrTaken] if
// that takes too long. Held, which may be nil, spares a load where the lease is written: if
// the record will do, only the store knows the time by which it does.
func (l *leases[T, P]) acquire(ctx context.Context, key, id string, held *records.Held[T], enough func(r *T, now time.Time) bool) (acquired[T], error) {
	for waited := time.Duration(0); ; waited += l.poll {
		a, err := l.try(ctx, key, id, held, enough)
		if err == nil && !a.mine && a.known {
			a, err = l.try(ctx, key, id, nil, enough)
		}
		held = nil
		if !errors.Is(err, ErrTaken) || l.patience > 0 && waited >= l.patience {
			return a, err
		}
		if err := l.clock.Sleep(ctx, l.poll); err != nil {
			return a, err
		}
	}
}

// try is acquire without waiting.
func (l *leases[T, P]) try(ctx context.Context, key, id string, from *records.Held[T], enough func(r *T, now time.Time) bool) (a acquired[T], err error) {
	shortened := false
	asked := false
	a.held, err = records.ChangeHeld(ctx, l.records, key, l.ttl, from, func(r *T, found bool, now time.Time) error {
		a.mine, a.now, shortened = false, now, false
		a.known, asked = from != nil && !asked, true // again: the store has shown another record, or time
		if !found && l.absent != nil {
			return l.absent
		}
		in := P(r).leaseOf()
		held, tooLong := in.held(now, l.length)
		switch does := enough(r, now); {
		case does && (held || in.LeaseID == "" || l.grace == 0):
			return records.ErrUnchanged
		case does && now.After(in.LeaseUntil.Add(l.grace)):
			in.clear() // too late to save anything
			return nil
		case tooLong: // its process may be at work
			in.LeaseUntil, shortened = now.Add(l.length), true
			return nil
		case held:
			return ErrTaken
		}
		in.take(id, now.Add(l.length))
		a.mine = true
		return nil
	})
	if err == nil && shortened {
		err = ErrTaken
	}
	return a, err
}

// extend makes our lease begin anew, or returns [ErrTaken] if it is no longer ours. Held
// is what the last write with our lease has stored; nil loads it.
func (l *leases[T, P]) extend(ctx context.Context, key, id string, held *records.Held[T]) error {
	ctx, cancel := contexts.Detached(ctx)
	defer cancel()
	is, err := records.ChangeHeld(ctx, l.records, key, l.ttl, held, func(r *T, found bool, now time.Time) error {
		in := P(r).leaseOf()
		switch {
		case !found && l.absent != nil:
			return l.absent
		case in.LeaseID != id:
			return ErrTaken
		}
		in.LeaseUntil = now.Add(l.length)
		return nil
	})
	if err == nil && held != nil {
		*held = is
	}
	return err
}

// release ends our lease, so that others can renew at once. With a trace the id
// stays: see step 8 of lease. Edit, which may be nil, changes the record on the
// way. A failure to write is harmless: the lease then ends by itself. Held is what the
// last write with our lease has stored; what is stored then is returned.
func (l *leases[T, P]) release(ctx context.Context, key, id string, held *records.Held[T], trace bool, edit func(r *T, now time.Time)) (records.Held[T], error) {
	ctx, cancel := contexts.Detached(ctx)
	defer cancel()
	return records.ChangeHeld(ctx, l.records, key, l.ttl, held, func(r *T, _ bool, now time.Time) error {
		in := P(r).leaseOf()
		if in.LeaseID != id {
			return records.ErrUnchanged
		}
		in.LeaseUntil = now
		if !trace {
			in.clear()
		}
		if edit != nil {
			edit(r, now)
		}
		return nil
	})
}
