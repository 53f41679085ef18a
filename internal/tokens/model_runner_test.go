package tokens

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"strings"
	"time"

	"github.com/seed-498a1bc4/smartcar/internal/records"
	"github.com/seed-498a1bc4/smartcar/internal/users"
	"github.com/seed-498a1bc4/smartcar/store"
)

// op is what a process asks for, before it gets the answer.
type op struct {
	kind  opKind
	key   string
	none  bool          // a swap: there has to be no record
	value string        // the new record, or the refresh token
	d     time.Duration // of a sleep
	ends  bool          // the sleep is cut short when patience ends
}

type opKind uint8

const (
	none opKind = iota
	load
	swap
	remove
	exchange
	sleep
)

func (k opKind) String() string {
	return [...]string{"nothing", "loads", "swaps", "removes", "sends", "sleeps"}[k]
}

// answer is what a process gets for an op.
type answer struct {
	err     error
	value   string
	store   int16 // the store's clock
	process int16 // the clock of the process at that moment
	pair    int8
}

var (
	errCut     = errors.New("the store is cut off")
	errRefused = errors.New("try later")
	errDead    = errors.New("the process has died")
	errPatient = context.DeadlineExceeded
)

// runner is a process that runs. It talks to the world through its port: as store,
// clock and token endpoint.
type runner struct {
	grants *Grants
	users  *users.Users
	yield  func(op) bool
	answer answer
	clock  int16
	op     op
	next   func() (op, bool)
	stop   func()
	lease  string // the random id of its lease
	named  string // by which the world knows that id
}

func (r *runner) ask(o op) answer {
	if !r.yield(o) {
		panic(errDead)
	}
	return r.answer
}

func (r *runner) Now() time.Time { return instant(r.clock) }

func (r *runner) Sleep(ctx context.Context, d time.Duration) error {
	_, ends := ctx.Deadline()
	return r.ask(op{kind: sleep, d: d, ends: ends}).err
}

func (r *runner) Load(_ context.Context, key string) (store.Record, error) {
	return r.record(op{kind: load, key: key})
}

func (r *runner) CompareAndSwap(_ context.Context, key string, old store.Revision, value []byte, _ time.Duration) (store.Record, error) {
	return r.record(op{kind: swap, key: key, none: old == "", value: r.outward(value)})
}

func (r *runner) Delete(_ context.Context, key string, old store.Revision) error {
	_, err := r.record(op{kind: remove, key: key})
	return err
}

func (r *runner) record(o op) (store.Record, error) {
	if strings.HasPrefix(o.key, "usergrants/") { // a second index, of which no login depends
		if o.kind == load {
			return store.Record{}, store.ErrNotFound
		}
		return store.Record{Value: []byte(o.value), Revision: "1"}, nil
	}
	a := r.ask(o)
	record := store.Record{Now: instant(a.store)}
	if a.value != "" {
		record.Value = []byte(a.value)
		if r.lease != "" {
			record.Value = []byte(strings.ReplaceAll(a.value, r.named, r.lease))
		}
		record.Revision = newestSeen
	}
	return record, a.err
}

// newestSeen is the revision of all records that a process has seen: whether it is that
// of the newest one says process.newest.
const newestSeen = "newest seen"

// outward replaces the random id of a lease by a name, so that worlds can be compared.
func (r *runner) outward(value []byte) string {
	var g grantRecord
	if json.Unmarshal(value, &g) == nil && len(g.LeaseID) > len(r.named) {
		r.lease = g.LeaseID
	}
	if r.lease == "" {
		return string(value)
	}
	return strings.ReplaceAll(string(value), r.lease, r.named)
}

func (r *runner) exchange(_ context.Context, refreshToken string) (Pair, error) {
	a := r.ask(op{kind: exchange, value: refreshToken})
	if a.err != nil {
		return Pair{}, a.err
	}
	return pairNumber(a.pair, r.Now(), time.Hour), nil
}

func pairNumber(n int8, now time.Time, life time.Duration) Pair {
	return Pair{AccessToken: fmt.Sprint("access-", n), RefreshToken: fmt.Sprint("refresh-", n), Obtained: now, Expires: now.Add(life)}
}

// newRunner makes a process with an empty memory.
func newRunner() *runner {
	r := new(runner)
	stored := records.New(r, r)
	r.users = users.New(stored, r, 10)
	r.grants = NewGrants(stored, r, r, r.users, r.exchange, judge, Timing{
		Grace: graceUnits * unit, Lease: leaseUnits * unit, Poll: unit, Pause: 500 * time.Millisecond,
		StorePause: 500 * time.Millisecond, StorePauseMax: 10 * time.Second,
	}, 10)
	return r
}

// start begins what do does, up to its first op.
func (r *runner) start(do func(ctx context.Context)) {
	r.next, r.stop = iter.Pull(func(yield func(op) bool) {
		defer func() {
			if err := recover(); err != nil && err != errDead { //nolint:errorlint // a panic's value
				panic(err)
			}
		}()
		r.yield = yield
		do(context.Background())
	})
	r.op, _ = r.next()
}

func (r *runner) resume(a answer) {
	r.answer, r.clock = a, a.process
	r.op, _ = r.next()
}

// serve is what the client does with a grant for one call. What comes before the tokens
// is of accounts.withGrants, what comes after them of logins.end.
func (r *runner) serve(ctx context.Context, c call) {
	if _, ok := r.grants.unstored.pair(modelGrant); ok {
		user, err := r.users.Connected(ctx, modelUser)
		if err != nil || len(user.Grants) == 0 && !r.grants.Revive(ctx, modelUser) {
			return
		}
	}
	a, err := r.grants.Authorization(ctx, modelGrant)
	if err == nil {
		switch c {
		case replace:
			_, err = r.grants.Replace(ctx, modelGrant, "car", a.Header)
		case renew:
			err = r.grants.Renew(ctx, modelGrant, time.Hour)
		}
	}
	if !r.grants.ended(err) {
		return
	}
	user, err := r.users.Stored(ctx, modelUser)
	if err != nil {
		return
	}
	seen := user.Grant(modelGrant)
	if ended, _ := r.grants.End(ctx, modelGrant); ended {
		_ = r.users.RemoveGrant(ctx, modelUser, seen)
	}
}
