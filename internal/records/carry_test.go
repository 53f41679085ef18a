package records

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"github.com/seed-498a1bc4/smartcar/store"
	"github.com/stretchr/testify/require"
)

type entry struct {
	ID   string `json:"id"`
	Text string `json:"text,omitempty"`
}

func (e entry) RecordID() string { return e.ID }

type plainEntry struct {
	Text string `json:"text"`
}

type embedded struct {
	Inner string `json:"inner,omitempty"`
}

type ofThisVersion struct {
	Name    string       `json:"name"`
	Gone    string       `json:"gone,omitempty"`
	Entries []entry      `json:"entries,omitempty"`
	Plain   []plainEntry `json:"plain,omitempty"`
	Nested  *entry       `json:"nested,omitempty"`
	At      time.Time    `json:"at,omitzero"`
	embedded
}

// A record that a later version has written keeps what this one does not know.
func TestWhatALaterVersionAddedIsCarriedAlong(t *testing.T) {
	r := New(store.NewMemory(), noPauses{})
	_, err := r.store.CompareAndSwap(t.Context(), "k", "", []byte(`{"name":"a","gone":"x","new":{"deep":[1]},"inner":"i","at":"2026-01-02T03:04:05Z",
		"entries":[{"id":"1","text":"one","new":1},{"id":"2","new":2}],
		"plain":[{"text":"same","new":1},{"text":"changed","new":2}],
		"nested":{"id":"n","new":true}}`), 0)
	require.NoError(t, err)
	changed, err := Change(t.Context(), r, "k", 0, func(v *ofThisVersion, found bool, _ time.Time) error {
		require.True(t, found)
		v.Name, v.Gone, v.Inner = "b", "", "j"
		v.Entries = []entry{{"3", "three"}, {"1", "another"}}
		v.Plain[1].Text = "by this version"
		return nil
	})
	require.NoError(t, err)
	require.Equal(t, "b", changed.Name)
	stored, err := r.Load(t.Context(), "k")
	require.NoError(t, err)
	require.JSONEq(t, `{"name":"b","new":{"deep":[1]},"inner":"j","at":"2026-01-02T03:04:05Z",
		"entries":[{"id":"3","text":"three"},{"id":"1","text":"another","new":1}],
		"plain":[{"text":"same","new":1},{"text":"by this version"}],
		"nested":{"id":"n","new":true}}`, string(stored.Value))
}

func TestIsOurs(t *testing.T) {
	for value, want := range map[string]bool{
		`{"name":"a","entries":[{"id":"1"}],"inner":"i"}`: true,
		`{"name":"a","new":null}`:                         false,
		`{"name":"a","entries":[{"id":"1","x":0}]}`:       false,
		`{"name":"a", "inner":"i"}`:                       false, // by hand: nothing is lost by a second look
		`{`:                                               false,
	} {
		require.Equal(t, want, isOurs[ofThisVersion]([]byte(value)), value)
	}
}

func FuzzCarry(f *testing.F) {
	f.Add([]byte(`{"name":"a","new":1,"entries":[{"id":"1","x":2}]}`))
	f.Add([]byte(`{"ENTRIES":[{}],"nested":{"y":null},"name":null}`))
	f.Fuzz(func(t *testing.T, old []byte) {
		v, err := Decode[ofThisVersion](old)
		if err != nil {
			return
		}
		fresh, err := json.Marshal(v)
		require.NoError(t, err)
		written := carry(old, fresh, reflect.TypeFor[ofThisVersion]())
		again, err := Decode[ofThisVersion](written)
		require.NoError(t, err)
		second, err := json.Marshal(again)
		require.NoError(t, err)
		require.JSONEq(t, string(fresh), string(second), "what is known is as it was written")
	})
}
