// Package users is what is stored of a user: the grants, the link to add the
// virtual key, the application's own id, and the cars.
//
// The record of a user stands under "user/<id>" and does not grow with the cars:
// those are in a tree of small records under "usercars/<id>/", see [Car]. The ids of the
// grants are under "usergrants/<id>", too.
package users

import (
	"context"
	"errors"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/seed-498a1bc4/smartcar/internal/lru"
	"github.com/seed-498a1bc4/smartcar/internal/randid"
	"github.com/seed-498a1bc4/smartcar/internal/records"
	"github.com/seed-498a1bc4/smartcar/store"
)

// ErrNotConnected is smartcar.ErrNotConnected.
var ErrNotConnected = errors.New("smartcar: the user is not connected; send the owner through Connect")

// A Record is what is stored of a user, but for the cars. Records are shared
// between callers: nobody may change one.
type Record struct {
	Grants        []Grant `json:"grants"` // oldest first
	VirtualKeyURL string  `json:"virtual_key_url,omitempty"`
	ExternalID    string  `json:"external_id,omitempty"`
	// Moved says that a move to API v3 has filed the user's connections.
	Moved bool `json:"moved,omitempty"`
	// Forgotten users are being removed: nothing is added to them.
	Forgotten bool `json:"forgotten,omitempty"`
	// Lost says that an earlier record could not be read: the grants it held are
	// not known any more.
	Lost bool `json:"lost,omitempty"`
	// Born is a random number, drawn when the record is made. A user who is forgotten
	// and connects again gets another one. So a process can tell that the cars it
	// remembers are from before Forget.
	Born uint64 `json:"born,omitempty"`
	// Connect is drawn anew by each run of Connect. What was read before the last one
	// is the user's as far as its permissions go.
	Connect uint64 `json:"connect,omitempty"`

	// Cars were kept here by an earlier version: they are read, and never added to.
	Cars []string `json:"cars,omitempty"`
}

// A Grant is one run of Connect by the user, on API v2.0.
type Grant struct {
	ID          string    `json:"id"`
	ConnectedAt time.Time `json:"connected_at"`
	// Vehicles were kept here by an earlier version: they are read, and never added to.
	Vehicles []string `json:"vehicles,omitempty"`
}

// RecordID is by what a grant is found again in a record of a later version.
func (g Grant) RecordID() string { return g.ID }

// Has reports whether a grant is one of the user's.
func (r *Record) Has(grant string) bool { return r.index(grant) >= 0 }

func (r *Record) index(grant string) int {
	return slices.IndexFunc(r.Grants, func(g Grant) bool { return g.ID == grant })
}

// Grant returns one of the user's grants, or one that was never filed.
func (r *Record) Grant(id string) Grant {
	if i := r.index(id); i >= 0 {
		return r.Grants[i]
	}
	return Grant{ID: id}
}

// NewestFirst returns the grants, that of the last Connect first.
func (r *Record) NewestFirst() []Grant {
	out := slices.Clone(r.Grants)
	slices.Reverse(out)
	return out
}

// hasCar reports whether an earlier version has kept the car in the record.
func (r *Record) hasCar(id string) bool { return slices.Contains(r.Cars, id) }

// An Arrival is what one run of Connect brought.
type Arrival struct {
	Grant         string // on API v2.0
	ConnectedAt   time.Time
	VirtualKeyURL string // empty keeps the one of the run before
	ExternalID    string // empty keeps the one of the run before
}

func (r *Record) add(a Arrival) {
	if a.Grant != "" && !r.Has(a.Grant) {
		r.Grants = append(r.Grants, Grant{ID: a.Grant, ConnectedAt: a.ConnectedAt})
	}
	if a.VirtualKeyURL != "" {
		r.VirtualKeyURL = a.VirtualKeyURL
	}
	if a.ExternalID != "" {
		r.ExternalID = a.ExternalID
	}
}

// Users are those of one store. They are safe for concurrent use.
type Users struct {
	records records.Records
	steady  records.Clock // for what is remembered in this process
	recent  *lru.Cache[string, recent]
	cars    *lru.Cache[carKey, knownCar]
	trees   trees
}

// recent is a record with the time it was loaded at: it spares the store a load
// for each request.
type recent struct {
	held  *records.Held[Record]
	at    time.Time
	asked uint64 // before the store was asked: see records.Records.Number
}

const (
	// recentUsers is how many users this process remembers at least.
	recentUsers = 10_000
	// recentNodes is how many full nodes of trees it remembers: 10,000 cars of one
	// user have 17 of them.
	recentNodes = 1_000
	// recentTime bounds how long a grant that another process has added, and a
	// Forget there, go unseen.
	recentTime = time.Minute
)

// New returns the users of a store. This process remembers which users have
// which cars, for so many cars, and as many users, if they are more than recentUsers.
func New(r records.Records, steady records.Clock, cars int) *Users {
	return &Users{
		records: r, steady: steady,
		recent: lru.New[string, recent](max(cars, recentUsers)),
		cars:   lru.New[carKey, knownCar](cars),
		trees:  trees{records: r, full: lru.New[nodeKey, fullNode](recentNodes)},
	}
}

func userKey(id string) string { return "user/" + id }

// Stored returns what is stored of a user, also of one who is being forgotten.
// Errors: [ErrNotConnected], records.ErrUnreadable, records.ErrStore.
func (u *Users) Stored(ctx context.Context, id string) (*Record, error) {
	before, _ := u.recent.Get(id)
	asked := u.records.Number()
	r, err := records.HoldAgain(ctx, u.records, userKey(id), before.held)
	switch {
	case errors.Is(err, store.ErrNotFound):
		u.recent.Delete(id)
		return nil, ErrNotConnected
	case err != nil:
		return nil, err
	}
	return u.remember(id, r, asked), nil
}

// All yields the ids of all users that are stored, those who are being forgotten
// included. Some may come twice, and some may be gone. It ends with an error, which is
// store.ErrCannotList if the store cannot list.
func (u *Users) All(ctx context.Context) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for key, err := range u.records.List(ctx, userKey("")) {
			if !yield(strings.TrimPrefix(key, userKey("")), err) || err != nil {
				return
			}
		}
	}
}

// Connected is Stored for those who are not being forgotten.
func (u *Users) Connected(ctx context.Context, id string) (*Record, error) {
	r, err := u.Stored(ctx, id)
	if err == nil && r.Forgotten {
		u.recent.Delete(id)
		return nil, ErrNotConnected
	}
	return r, err
}

// Known returns the record of a user that this process has loaded or written last. It
// returns nil if there is none, or the user was being forgotten.
func (u *Users) Known(id string) *Record {
	if c, ok := u.recent.Get(id); ok && !c.held.Value.Forgotten {
		return &c.held.Value
	}
	return nil
}

// Recent is Known, and reports whether that was within the last minute.
func (u *Users) Recent(id string) (r *Record, fresh bool) {
	c, ok := u.recent.Get(id)
	if !ok || c.held.Value.Forgotten {
		return nil, false
	}
	return &c.held.Value, u.steady.Now().Sub(c.at) < recentTime
}

// Since returns when the user of a car was born, if this process has seen the user, and
// the car with the user, in what the store was asked for after that number.
func (u *Users) Since(id, car string, number uint64) (born uint64, seen bool) {
	c, ok := u.recent.Get(id)
	if !ok || c.asked <= number || c.held.Value.Forgotten || !u.knows(&c.held.Value, id, car) {
		return 0, false
	}
	return c.held.Value.Born, true
}

func (u *Users) remember(id string, r *records.Held[Record], asked uint64) *Record {
	u.recent.Put(id, recent{r, u.steady.Now(), asked})
	return &r.Value
}

// change edits a stored record, again after each write that came first. Edit returns
// false to write nothing. If no record is there and edit writes none, change returns
// [ErrNotConnected].
func (u *Users) change(ctx context.Context, id string, edit func(r *Record, found bool) (write bool)) (*Record, error) {
	gone, asked := false, u.records.Number()
	r, err := records.Change(ctx, u.records, userKey(id), 0, editing(edit, &gone))
	return u.changed(id, &r, gone, asked, err)
}

// repair is change for callers who need not read what is stored. In place of a
// record that cannot be read, edit gets one with Lost set, and has to write it.
func (u *Users) repair(ctx context.Context, id string, edit func(r *Record, found bool) (write bool)) (*Record, error) {
	gone, asked := false, u.records.Number()
	substitute := Record{Lost: true, Born: randid.New()}
	r, err := records.Repair(ctx, u.records, userKey(id), 0, substitute, editing(edit, &gone))
	return u.changed(id, &r, gone, asked, err)
}

func editing(edit func(r *Record, found bool) (write bool), gone *bool) func(*Record, bool, time.Time) error {
	return func(r *Record, found bool, _ time.Time) error {
		write := edit(r, found)
		*gone = !found && !write
		switch {
		case !write:
			return records.ErrUnchanged
		case !found:
			r.Born = randid.New()
		}
		return nil
	}
}

func (u *Users) changed(id string, r *Record, gone bool, asked uint64, err error) (*Record, error) {
	switch {
	case err != nil:
		return nil, err
	case gone:
		u.recent.Delete(id)
		return nil, ErrNotConnected
	}
	return u.remember(id, &records.Held[Record]{Value: *r}, asked), nil
}

// Arrive files what a run of Connect brought. A record that cannot be read is
// replaced by one that can. Under a user who is being forgotten Arrive files
// nothing and returns false: Forget would remove it.
func (u *Users) Arrive(ctx context.Context, id string, a Arrival) (filed bool, err error) {
	_, err = u.repair(ctx, id, func(r *Record, _ bool) bool {
		if filed = !r.Forgotten; filed {
			r.add(a)
			r.Connect = randid.New()
		}
		return filed
	})
	if filed && err == nil && a.Grant != "" {
		u.index(ctx, id, a.Grant)
	}
	return filed && err == nil, err
}

// AddGrant files a grant again, with a new time, under a user who is still stored;
// else it returns [ErrNotConnected].
func (u *Users) AddGrant(ctx context.Context, id, grant string, connectedAt time.Time) error {
	connected := false
	_, err := u.change(ctx, id, func(r *Record, found bool) bool {
		if connected = found && !r.Forgotten; !connected {
			return false
		}
		if i := r.index(grant); i >= 0 {
			r.Grants[i].ConnectedAt = connectedAt
		} else {
			r.add(Arrival{Grant: grant, ConnectedAt: connectedAt})
		}
		return true
	})
	switch {
	case err == nil && !connected:
		return ErrNotConnected
	case err == nil:
		u.index(ctx, id, grant)
	}
	return err
}

// RemoveGrant takes a grant from a user, who stays known. A grant that was filed again
// since the caller saw it stays.
func (u *Users) RemoveGrant(ctx context.Context, id string, seen Grant) error {
	again := false
	_, err := u.change(ctx, id, func(r *Record, _ bool) bool {
		i := r.index(seen.ID)
		if again = i >= 0 && !r.Grants[i].ConnectedAt.Equal(seen.ConnectedAt); i < 0 || again {
			return false
		}
		r.Grants = slices.Delete(r.Grants, i, i+1)
		return true
	})
	if again {
		return nil
	}
	return errors.Join(ignoreAbsent(err), u.unindex(ctx, id, seen.ID))
}

// Move files what a move to API v3 has found of a user. It returns false if the user
// is being forgotten.
func (u *Users) Move(ctx context.Context, id, externalID string) (moved bool, err error) {
	_, err = u.change(ctx, id, func(r *Record, _ bool) bool {
		if moved = !r.Forgotten; !moved || r.Moved && (r.ExternalID != "" || externalID == "") {
			return false
		}
		r.Moved = true
		if r.ExternalID == "" {
			r.ExternalID = externalID
		}
		return true
	})
	return moved && err == nil, err
}

// MarkForgotten marks a user, to whom nothing is added from then on, and returns the
// record. It returns a zero Record if nothing is stored, and one with Lost set if
// the record cannot be read.
func (u *Users) MarkForgotten(ctx context.Context, id string) (Record, error) {
	r, err := u.repair(ctx, id, func(r *Record, found bool) bool {
		r.Forgotten = true
		return found
	})
	if err != nil {
		return Record{}, ignoreAbsent(err)
	}
	return *r, nil
}

// Delete removes a user who is marked as forgotten, the cars first. If the user has
// connected again meanwhile, both stay.
func (u *Users) Delete(ctx context.Context, id string) error {
	err := u.trees.remove(ctx, id, "", func(ctx context.Context) error { return u.stillForgotten(ctx, id) })
	if err == nil {
		err = u.dropIndex(ctx, id)
	}
	switch {
	case errors.Is(err, errReturned):
		return nil
	case err != nil:
		return err
	}
	for {
		record, err := u.records.Load(ctx, userKey(id))
		u.recent.Delete(id)
		if errors.Is(err, store.ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		if r, err := records.Decode[Record](record.Value); err == nil && !r.Forgotten {
			return nil
		}
		if err = u.records.Delete(ctx, userKey(id), record.Revision); !errors.Is(err, store.ErrConflict) {
			return err
		}
	}
}

// errReturned ends the removal of cars whose user has connected again.
var errReturned = errors.New("the user has connected again")

// stillForgotten returns errReturned for a user who is no longer marked.
func (u *Users) stillForgotten(ctx context.Context, user string) error {
	r, err := u.Stored(ctx, user)
	switch {
	case errors.Is(err, ErrNotConnected) || errors.Is(err, records.ErrUnreadable):
		return nil
	case err == nil && !r.Forgotten:
		return errReturned
	}
	return err
}

// Rewrite stores those records of a user again that the store has marked as outdated,
// such as those sealed with an old key.
func (u *Users) Rewrite(ctx context.Context, id string) error {
	record, err := u.records.Load(ctx, userKey(id))
	switch {
	case errors.Is(err, store.ErrNotFound):
		return nil
	case err != nil:
		return err
	case record.Outdated:
		_, err = u.change(ctx, id, func(r *Record, found bool) bool { return found && !r.Forgotten })
	}
	u.indexAll(ctx, id, record.Value)
	return errors.Join(ignoreAbsent(err), u.trees.rewrite(ctx, id, ""))
}

// ignoreAbsent drops [ErrNotConnected]: nothing is stored, so nothing is left to do.
func ignoreAbsent(err error) error {
	if errors.Is(err, ErrNotConnected) {
		return nil
	}
	return err
}
