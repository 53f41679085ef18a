package users

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/seed-498a1bc4/smartcar/internal/records"
	"github.com/seed-498a1bc4/smartcar/store"
)

// grantIndex holds which grants a user has given, a second time and under a key that
// follows from the user's id: so they are found, and their tokens with them, when the
// user's own record cannot be read. A grant is filed in the user's record first, and
// here then; where that fails, Rewrite makes up for it.
type grantIndex struct {
	Grants []string `json:"grants"`
}

func grantsKey(user string) string { return "usergrants/" + user }

// index adds grants to the index. The user may have been forgotten since the grants were
// filed: then they are taken out again, so that nothing is left of a user who is gone.
func (u *Users) index(ctx context.Context, id string, grants ...string) {
	added := false
	_, err := records.Repair(ctx, u.records, grantsKey(id), 0, grantIndex{}, func(x *grantIndex, _ bool, _ time.Time) error {
		added = false
		for _, grant := range grants {
			if !slices.Contains(x.Grants, grant) {
				x.Grants, added = append(x.Grants, grant), true
			}
		}
		if !added {
			return records.ErrUnchanged
		}
		return nil
	})
	if err != nil || !added {
		return
	}
	if _, err = u.Connected(ctx, id); errors.Is(err, ErrNotConnected) {
		_ = u.unindex(ctx, id, grants...)
	}
}

// indexAll adds the grants of a user whose record is stored.
func (u *Users) indexAll(ctx context.Context, id string, record []byte) {
	r, err := records.Decode[Record](record)
	if err != nil || r.Forgotten || len(r.Grants) == 0 {
		return
	}
	ids := make([]string, len(r.Grants))
	for i, g := range r.Grants {
		ids[i] = g.ID
	}
	u.index(ctx, id, ids...)
}

// unindex takes grants out of the index, which goes with the last of them.
func (u *Users) unindex(ctx context.Context, id string, grants ...string) error {
	x, err := records.Repair(ctx, u.records, grantsKey(id), 0, grantIndex{}, func(x *grantIndex, _ bool, _ time.Time) error {
		before := len(x.Grants)
		x.Grants = slices.DeleteFunc(x.Grants, func(grant string) bool { return slices.Contains(grants, grant) })
		if len(x.Grants) == before {
			return records.ErrUnchanged
		}
		return nil
	})
	if err != nil || len(x.Grants) > 0 {
		return err
	}
	record, err := u.records.Load(ctx, grantsKey(id))
	if err == nil {
		if x, err = records.Decode[grantIndex](record.Value); err == nil && len(x.Grants) == 0 {
			err = u.records.Delete(ctx, grantsKey(id), record.Revision)
		}
	}
	if errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrConflict) {
		return nil // gone, or somebody has added another
	}
	return err
}

// GrantsOf returns the ids of all grants that are known to be a user's, each once: of
// the record, and of the index beside it.
func (u *Users) GrantsOf(ctx context.Context, id string, r *Record) ([]string, error) {
	var ids []string
	for _, g := range r.Grants {
		ids = append(ids, g.ID)
	}
	x, err := records.Read[grantIndex](ctx, u.records, grantsKey(id))
	switch {
	case errors.Is(err, store.ErrNotFound) || errors.Is(err, records.ErrUnreadable):
		return ids, nil
	case err != nil:
		return nil, err
	}
	for _, grant := range x.Grants {
		if !slices.Contains(ids, grant) {
			ids = append(ids, grant)
		}
	}
	return ids, nil
}

// dropIndex deletes the index of a user who is being forgotten, at a revision that was
// loaded before the user was seen to be forgotten still: see trees.remove.
func (u *Users) dropIndex(ctx context.Context, id string) error {
	for {
		record, err := u.records.Load(ctx, grantsKey(id))
		if errors.Is(err, store.ErrNotFound) {
			return nil
		}
		if err == nil {
			err = u.stillForgotten(ctx, id)
		}
		if err == nil {
			err = u.records.Delete(ctx, grantsKey(id), record.Revision)
		}
		if !errors.Is(err, store.ErrConflict) {
			return err
		}
	}
}
