package users

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/seed-498a1bc4/smartcar/internal/lenient"
	"github.com/seed-498a1bc4/smartcar/internal/lru"
	"github.com/seed-498a1bc4/smartcar/internal/records"
	"github.com/seed-498a1bc4/smartcar/store"
)

// A Car is an entry in the tree of a user's cars. The tree holds every car of which
// this user's requests may have left records in the store and, on API v2.0, every car
// that a grant has listed.
//
// The root of the tree is the record "usercars/<id>/", and a node's children are
// the records whose keys have one more hex digit. A node takes cars until it
// holds nodeSize of them. From then on it is full for good, and every other car goes
// to the child named by the next digit of the hash of the car's id. Nodes are never
// split and cars never move. So a few small records are loaded for one car, and at
// most one is written, however many cars the user has. And all keys of the tree follow
// from the user's id, so the cars are found even if the user's own record is lost.
type Car struct {
	ID    string `json:"id"`
	Grant string `json:"grant,omitempty"` // that listed it, where the user had several
}

// RecordID is by what a car is found again in a record of a later version.
func (c Car) RecordID() string { return c.ID }

// node is the stored record of one node.
type node struct {
	Cars []Car `json:"cars,omitempty"`
	// Full stays set when cars are removed: there may be others below.
	Full bool `json:"full,omitempty"`
}

// UnmarshalJSON reads what encoding/json would, and copies the texts in one piece: a
// long list of cars goes through many nodes.
func (n *node) UnmarshalJSON(b []byte) error {
	*n = node{}
	var cars, full lenient.Value
	v := lenient.Value(b)
	v.Read(lenient.Field{Name: "cars", To: &cars}, lenient.Field{Name: "full", To: &full})
	if !v.IsObject() && !v.IsNull() || !cars.IsList() && !cars.IsNull() || !full.IsNull() && full[0] != 't' && full[0] != 'f' {
		return errNotNode
	}
	n.Full = !full.IsNull() && full[0] == 't'
	if cars.IsList() {
		n.Cars = make([]Car, 0, cars.Len())
	}
	copies := lenient.NewCopier(len(cars))
	for car := range cars.Elements() {
		var id, grant lenient.Value
		car.Read(lenient.Field{Name: "id", To: &id}, lenient.Field{Name: "grant", To: &grant})
		if !car.IsObject() && !car.IsNull() || !isText(id) || !isText(grant) {
			return errNotNode
		}
		n.Cars = append(n.Cars, Car{ID: copies.Text(id), Grant: copies.Text(grant)})
	}
	return nil
}

var errNotNode = errors.New("not a node of cars")

func isText(v lenient.Value) bool { return v.IsNull() || v[0] == '"' }

// nodeSize keeps a node at about 5 kB.
const nodeSize = 64

// unreadable stands in for a node that this version cannot read. The cars in it are
// lost, but the nodes below are still found.
func unreadable() node { return node{Full: true} }

func (n *node) index(car string) int {
	return slices.IndexFunc(n.Cars, func(c Car) bool { return c.ID == car })
}

// put adds a car, or updates the grant of a car that is there. Here is false if the
// car belongs below; changed says whether the node has changed.
func (n *node) put(car Car) (here, changed bool) {
	i := n.index(car.ID)
	switch {
	case i < 0 && n.Full:
		return false, false
	case i < 0:
		n.Cars = append(n.Cars, car)
		n.Full = len(n.Cars) >= nodeSize
		return true, true
	case car.Grant == "" || car.Grant == n.Cars[i].Grant:
		return true, false
	}
	n.Cars[i].Grant = car.Grant
	return true, true
}

// trees are the trees of all users. A user is named by id.
type trees struct {
	records records.Records
	full    *lru.Cache[nodeKey, fullNode]
}

func carsKey(user, path string) string { return "usercars/" + user + "/" + path }

// pathOf is where in the tree a car can be: at a node named by a prefix of it.
func pathOf(car string) string {
	sum := sha256.Sum256([]byte(car))
	return hex.EncodeToString(sum[:])
}

// digitAt is a digit of the path of a car.
func digitAt(car string, depth int) byte {
	sum := sha256.Sum256([]byte(car))
	if depth%2 == 0 {
		return digits[sum[depth/2]>>4]
	}
	return digits[sum[depth/2]&0xf]
}

const digits = "0123456789abcdef"

// loadNode returns an empty node for one that is not there.
func (t *trees) loadNode(ctx context.Context, user, path string) (node, store.Record, error) {
	record, err := t.records.Load(ctx, carsKey(user, path))
	switch {
	case errors.Is(err, store.ErrNotFound):
		return node{}, record, nil
	case err != nil:
		return node{}, record, err
	}
	n, err := records.Decode[node](record.Value)
	if err != nil {
		n = unreadable()
	}
	return n, record, nil
}

// changeNode edits a node, again after each write that came first. Edit returns false
// to write nothing.
func (t *trees) changeNode(ctx context.Context, user, path string, edit func(*node) bool) (node, error) {
	return records.Repair(ctx, t.records, carsKey(user, path), 0, unreadable(), func(n *node, _ bool, _ time.Time) error {
		if !edit(n) {
			return records.ErrUnchanged
		}
		return nil
	})
}

type nodeKey struct{ user, path string }

// fullNode is what this process has seen of a full node, in the life of the user
// that began with that Born. A full node takes no more cars: a car that was not
// in it never will be.
type fullNode struct {
	born uint64
	cars []Car
}

// isBelow reports whether a car is known to belong below a node.
func (t *trees) isBelow(user, path string, born uint64, car string) bool {
	full, ok := t.full.Get(nodeKey{user, path})
	return ok && full.born == born && !slices.ContainsFunc(full.cars, func(c Car) bool { return c.ID == car })
}

// insert adds one car, and returns the path of the node that holds it.
func (t *trees) insert(ctx context.Context, user string, born uint64, car string) (path string, added bool, err error) {
	full := pathOf(car)
	for depth := range len(full) {
		path, added = full[:depth], false
		if t.isBelow(user, path, born, car) {
			continue
		}
		here := false
		n, err := t.changeNode(ctx, user, path, func(n *node) (write bool) {
			added = n.index(car) < 0 && !n.Full
			here, write = n.put(Car{ID: car})
			return write
		})
		if err != nil || here {
			return path, added, err
		}
		t.full.Put(nodeKey{user, path}, fullNode{born: born, cars: n.Cars})
	}
	return path, false, nil // 64 full nodes below each other: hashes collide
}

// placed says at which node a car is.
type placed struct{ path, car string }

// insertAll adds cars whose paths begin with path, a node at a time, and returns
// those that are new.
func (t *trees) insertAll(ctx context.Context, user, path string, cars []Car) (added []placed, err error) {
	below := make(map[byte][]Car)
	_, err = t.changeNode(ctx, user, path, func(n *node) (write bool) {
		clear(below)
		added = nil
		for _, car := range cars {
			before := len(n.Cars)
			here, changed := n.put(car)
			isNew := len(n.Cars) > before
			write = write || changed
			switch {
			case here && isNew:
				added = append(added, placed{path, car.ID})
			case !here && len(path) < 2*sha256.Size:
				digit := digitAt(car.ID, len(path))
				below[digit] = append(below[digit], car)
			}
		}
		return write
	})
	for _, digit := range slices.Sorted(maps.Keys(below)) {
		if err != nil {
			break
		}
		var more []placed
		more, err = t.insertAll(ctx, user, path+string(digit), below[digit])
		added = append(added, more...)
	}
	return added, err
}

// find returns the entry of a car and the path of the node that holds it.
func (t *trees) find(ctx context.Context, user, car string) (entry Car, path string, found bool, err error) {
	full := pathOf(car)
	for depth := range len(full) {
		n, _, err := t.loadNode(ctx, user, full[:depth])
		if err != nil {
			return Car{}, "", false, err
		}
		if i := n.index(car); i >= 0 {
			return n.Cars[i], full[:depth], true, nil
		}
		if !n.Full {
			break
		}
	}
	return Car{}, "", false, nil
}

// take removes a car from the node at path. An empty node is deleted, unless there
// may be nodes below it.
func (t *trees) take(ctx context.Context, user, path, car string) error {
	empty := false
	n, err := t.changeNode(ctx, user, path, func(n *node) bool {
		i := n.index(car)
		if i < 0 {
			return false
		}
		n.Cars = slices.Delete(n.Cars, i, i+1)
		empty = len(n.Cars) == 0 && !n.Full
		return true
	})
	if err != nil || !empty || len(n.Cars) > 0 {
		return err
	}
	n, record, err := t.loadNode(ctx, user, path)
	if err != nil || record.Revision == "" || len(n.Cars) > 0 || n.Full {
		return err // another process has added a car
	}
	if err = t.records.Delete(ctx, carsKey(user, path), record.Revision); errors.Is(err, store.ErrConflict) {
		return nil
	}
	return err
}

// all returns the cars at a node and below.
func (t *trees) all(ctx context.Context, user, path string) ([]Car, error) {
	n, _, err := t.loadNode(ctx, user, path)
	if err != nil || !n.Full {
		return n.Cars, err
	}
	cars := n.Cars
	for _, digit := range digits {
		below, err := t.all(ctx, user, path+string(digit))
		if err != nil {
			return nil, err
		}
		cars = append(cars, below...)
	}
	return cars, nil
}

// edit changes entries at a node and below, wherever change returns true.
func (t *trees) edit(ctx context.Context, user, path string, change func(*Car) bool) error {
	n, err := t.changeNode(ctx, user, path, func(n *node) (write bool) {
		for i := range n.Cars {
			write = change(&n.Cars[i]) || write
		}
		return write
	})
	return t.below(n, err, func(digit string) error { return t.edit(ctx, user, path+digit, change) })
}

// rewrite stores those nodes again that the store has marked as outdated.
func (t *trees) rewrite(ctx context.Context, user, path string) error {
	n, record, err := t.loadNode(ctx, user, path)
	if err == nil && record.Outdated {
		_, err = t.changeNode(ctx, user, path, func(n *node) bool { return len(n.Cars) > 0 || n.Full })
	}
	return t.below(n, err, func(digit string) error { return t.rewrite(ctx, user, path+digit) })
}

// below visits the children of a node until one fails.
func (t *trees) below(n node, err error, visit func(digit string) error) error {
	if err != nil || !n.Full {
		return err
	}
	for _, digit := range digits {
		if err := visit(string(digit)); err != nil {
			return err
		}
	}
	return nil
}

// remove deletes a node and all below it. The children go first: if the process dies
// in between, the rest is still found from the root. An error of stillForgotten ends
// the removal. The order keeps the cars of a user who connects again:
//
//  1. The node is loaded, with its revision.
//  2. stillForgotten sees that the user is still marked.
//  3. The node is deleted at that revision. If the user connected again after step 2,
//     a new car has made another revision, and the deletion conflicts.
func (t *trees) remove(ctx context.Context, user, path string, stillForgotten func(context.Context) error) error {
	for {
		n, record, err := t.loadNode(ctx, user, path)
		if err != nil || record.Revision == "" {
			return err
		}
		err = t.below(n, nil, func(digit string) error { return t.remove(ctx, user, path+digit, stillForgotten) })
		if err != nil {
			return err
		}
		if err := stillForgotten(ctx); err != nil {
			return err
		}
		if err = t.records.Delete(ctx, carsKey(user, path), record.Revision); !errors.Is(err, store.ErrConflict) {
			return err
		}
	}
}
