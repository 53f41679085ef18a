package storetest

import (
	"context"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed-498a1bc4/smartcar/store"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// fake is a store with a clock that keeps the contract, but for its faults.
type fake struct {
	faults
	mu      sync.Mutex
	records map[string]fakeRecord
	deleted []string
	writes  int
	now     time.Time // of the clock that goes backward
}

type fakeRecord struct {
	store.Record
	expires time.Time
}

// faults are what can be wrong with a fake. Each is tried alone.
type faults struct {
	noCompare          bool // swaps whatever the revision
	createOverwrites   bool // the zero revision matches everything
	updateCreates      bool // any revision matches an absent record
	torn               bool // reads, then writes
	revisionPerKey     bool // counts from one in each life of a key
	revisionOfValue    bool // the same value has the same revision
	lazyRevision       bool // a write of the same value is skipped
	conflictBare       bool // ErrConflict without the record
	conflictForAbsent  bool // ErrConflict with a record where there is none
	notFoundIsNil      bool // an absent record is no error
	returnsOldRecord   bool // a swap returns what it replaced
	conflictWrites     bool // ErrConflict, and written all the same
	deleteAny          bool // deletes whatever the revision
	deleteAbsentFails  bool // absent is an error
	deleteDoesNothing  bool
	noTTL              bool // nothing expires
	ttlToSeconds       bool // a ttl below a second means for ever
	ttlTooShort        bool // everything expires at half time
	ttlKept            bool // a swap leaves the ttl as it was
	ttl32              bool // milliseconds in 32 bits
	ttlBeforeCompare   bool // a refused swap still changes the ttl
	expiresOnlyForLoad bool // a swap still sees the expired record
	givenAliased       bool // keeps the caller's slice
	loadedAliased      bool // hands out its own slice
	cutAtZero          bool // values end at a zero byte
	cutAt64K           bool // values are cut
	trimsKeys          bool
	foldsKeys          bool
	shortKeys          bool // keys are cut at 255 bytes
	ignoresContext     bool
	writesThenContext  bool // the context is looked at after the write
	anyContextError    bool // every ended context is "canceled"
	loadHasNoClock     bool
	absentHasNoClock   bool
	clockGoesBack      bool
	clockIsOff         bool
	clockStands        bool
	cachesLoads        bool // handles remember what they loaded
	listsOnePage       bool // and says that it is the last one
	listsAnyPrefix     bool
	listsDeleted       bool
	listsByPlace       bool // counts the keys of the pages before, of which some may be gone
	cannotList         bool
}

// handle is one of several on a fake.
type handle struct {
	*fake
	mu     sync.Mutex
	cached map[string]store.Record
}

func newFake(f faults) *fake { return &fake{faults: f, records: make(map[string]fakeRecord)} }

func (f *fake) handle() store.Store {
	return &handle{fake: f, cached: make(map[string]store.Record)}
}

func (h *handle) Load(ctx context.Context, key string) (store.Record, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if r, ok := h.cached[key]; ok && h.cachesLoads {
		return r, nil
	}
	r, err := h.fake.Load(ctx, key)
	if err == nil {
		h.cached[key] = r
	}
	return r, err
}

func (f *fake) ended(ctx context.Context) error {
	switch err := ctx.Err(); {
	case err == nil || f.ignoresContext:
		return nil
	case f.anyContextError:
		return context.Canceled
	default:
		return err
	}
}

func (f *fake) key(key string) string {
	if f.trimsKeys {
		key = strings.TrimSpace(key)
	}
	if f.foldsKeys {
		key = strings.ToLower(key)
	}
	if f.shortKeys && len(key) > 255 {
		key = key[:255]
	}
	return key
}

func (f *fake) clock() time.Time {
	switch {
	case f.clockGoesBack:
		if f.now.IsZero() {
			f.now = time.Now()
		}
		f.now = f.now.Add(-time.Millisecond)
		return f.now
	case f.clockIsOff:
		return time.Now().Add(-24 * time.Hour)
	case f.clockStands:
		if f.now.IsZero() {
			f.now = time.Now()
		}
		return f.now
	}
	return time.Now()
}

func (f *fake) absent() store.Record {
	if f.absentHasNoClock {
		return store.Record{}
	}
	return store.Record{Now: f.clock()}
}

// out is a stored record as it is given away.
func (f *fake) out(r fakeRecord) store.Record {
	out := r.Record
	if !f.loadedAliased {
		out.Value = slices.Clone(out.Value)
	}
	out.Now = f.clock()
	return out
}

func (f *fake) live(key string) (fakeRecord, bool) {
	r, ok := f.records[key]
	if ok && !r.expires.IsZero() && time.Now().After(r.expires) && !f.noTTL {
		return fakeRecord{}, false
	}
	return r, ok
}

func (f *fake) Load(ctx context.Context, key string) (store.Record, error) {
	if err := f.ended(ctx); err != nil {
		return store.Record{}, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	r, ok := f.live(f.key(key))
	if !ok && f.notFoundIsNil {
		return store.Record{}, nil
	}
	if !ok {
		return f.absent(), store.ErrNotFound
	}
	out := f.out(r)
	if f.loadHasNoClock {
		out.Now = time.Time{}
	}
	return out, nil
}

func (f *fake) CompareAndSwap(ctx context.Context, key string, old store.Revision, value []byte, ttl time.Duration) (store.Record, error) {
	if err := f.ended(ctx); err != nil && !f.writesThenContext {
		return store.Record{}, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	key = f.key(key)
	current, ok := f.live(key)
	if f.expiresOnlyForLoad {
		current, ok = f.records[key]
	}
	if f.torn {
		f.mu.Unlock()
		runtime.Gosched()
		f.mu.Lock()
	}
	matches := ok && current.Revision == old || !ok && old == "" ||
		f.noCompare || f.createOverwrites && old == "" || f.updateCreates && !ok
	if !matches {
		if f.ttlBeforeCompare && ok {
			current.expires = f.expiry(ttl)
			f.records[key] = current
		}
		if f.conflictWrites {
			f.put(key, current, value, ttl)
		}
		switch {
		case !ok && f.conflictForAbsent:
			return store.Record{Revision: old, Now: f.clock()}, store.ErrConflict
		case !ok || f.conflictBare:
			return f.absent(), store.ErrConflict
		}
		return f.out(current), store.ErrConflict
	}
	if f.lazyRevision && ok && string(current.Value) == string(value) {
		return f.out(current), nil
	}
	written := f.put(key, current, value, ttl)
	if err := f.ended(ctx); err != nil {
		return store.Record{}, err
	}
	if f.returnsOldRecord && ok {
		return f.out(current), nil
	}
	return f.out(written), nil
}

func (f *fake) expiry(ttl time.Duration) time.Time {
	switch {
	case f.ttl32:
		ttl = time.Duration(int32(ttl.Milliseconds())) * time.Millisecond
	case f.ttlTooShort:
		ttl /= 10
	case f.ttlToSeconds:
		ttl = ttl.Truncate(time.Second)
	}
	if ttl == 0 {
		return time.Time{}
	}
	return time.Now().Add(ttl)
}

func (f *fake) put(key string, current fakeRecord, value []byte, ttl time.Duration) fakeRecord {
	f.writes++
	if !f.givenAliased {
		value = slices.Clone(value)
	}
	if i := slices.Index(value, 0); f.cutAtZero && i >= 0 {
		value = value[:i]
	}
	if f.cutAt64K && len(value) > 1<<16 {
		value = value[:1<<16]
	}
	r := fakeRecord{Record: store.Record{Value: value}, expires: f.expiry(ttl)}
	switch {
	case f.revisionPerKey:
		var n int
		_, _ = fmt.Sscan(string(current.Revision), &n)
		r.Revision = store.Revision(fmt.Sprint(n + 1))
	case f.revisionOfValue:
		r.Revision = store.Revision("r" + string(value))
	default:
		r.Revision = store.Revision(fmt.Sprint("write ", f.writes))
	}
	if f.ttlKept && current.Revision != "" {
		r.expires = current.expires
	}
	f.records[key] = r
	return r
}

func (f *fake) Delete(ctx context.Context, key string, old store.Revision) error {
	if err := f.ended(ctx); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	key = f.key(key)
	r, ok := f.live(key)
	switch {
	case !ok && f.deleteAbsentFails:
		return store.ErrNotFound
	case !ok || f.deleteDoesNothing && r.Revision == old:
		return nil
	case r.Revision != old && !f.deleteAny:
		return store.ErrConflict
	}
	delete(f.records, key)
	f.deleted = append(f.deleted, key)
	return nil
}

func (f *fake) List(ctx context.Context, prefix, cursor string) (keys []string, next string, err error) {
	if err := f.ended(ctx); err != nil {
		return nil, "", err
	}
	if f.cannotList {
		return nil, "", store.ErrCannotList
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	place, _ := strconv.Atoi(cursor)
	candidates := slices.Collect(maps.Keys(f.records))
	if f.listsDeleted {
		candidates = append(candidates, f.deleted...)
	}
	slices.Sort(candidates)
	for _, key := range candidates {
		if (f.listsAnyPrefix || strings.HasPrefix(key, prefix)) && (f.listsByPlace || key > cursor) {
			keys = append(keys, key)
		}
	}
	if f.listsByPlace {
		keys = keys[min(place, len(keys)):]
	}
	const page = 10
	if len(keys) <= page {
		return keys, "", nil
	}
	keys, next = keys[:page], keys[page-1]
	switch {
	case f.listsOnePage:
		next = ""
	case f.listsByPlace:
		next = strconv.Itoa(place + page)
	}
	return keys, next, nil
}

// recorder is a reporter that only remembers.
type recorder struct {
	mu       sync.Mutex
	messages []string
}

func (*recorder) Helper() {}

func (r *recorder) Errorf(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.messages = append(r.messages, fmt.Sprintf(format, args...))
}

func (*recorder) FailNow() { runtime.Goexit() }

// reported runs the named check and returns what it says.
func reported(ctx context.Context, o options, open func() store.Store, name string) []string {
	var r recorder
	var wg sync.WaitGroup
	for _, c := range checks() {
		if c.name == name {
			wg.Go(func() { runCheck(ctx, &r, c, o, open) }) // FailNow ends the goroutine
		}
	}
	wg.Wait()
	return r.messages
}

func slow(name string) bool {
	return slices.ContainsFunc(checks(), func(c check) bool { return c.slow && c.name == name })
}

func TestBrokenStoresAreReported(t *testing.T) {
	t.Parallel()
	var waiting []func()
	for name, test := range map[string]struct {
		broken faults
		checks []string // each has to fail
	}{
		"swap without compare":              {faults{noCompare: true}, []string{"create", "conflict", "conflict without a record", "one winner", "chain of swaps"}},
		"create overwrites":                 {faults{createOverwrites: true}, []string{"create", "conflict", "values", "one winner"}},
		"update creates":                    {faults{updateCreates: true}, []string{"conflict without a record", "ttl"}},
		"torn swap":                         {faults{torn: true}, []string{"chain of swaps"}},
		"revisions restart":                 {faults{revisionPerKey: true}, []string{"revisions never repeat", "ttl"}},
		"revisions made from values":        {faults{revisionOfValue: true}, []string{"revisions never repeat"}},
		"unchanged values are not written":  {faults{lazyRevision: true}, []string{"revisions never repeat"}},
		"conflict without the record":       {faults{conflictBare: true}, []string{"create", "conflict", "one winner", "chain of swaps"}},
		"conflict with an invented record":  {faults{conflictForAbsent: true}, []string{"conflict without a record"}},
		"absent is no error":                {faults{notFoundIsNil: true}, []string{"create", "delete"}},
		"swap returns what it replaced":     {faults{returnsOldRecord: true}, []string{"update", "chain of swaps"}},
		"conflict writes":                   {faults{conflictWrites: true}, []string{"create", "conflict", "conflict without a record"}},
		"delete without compare":            {faults{deleteAny: true}, []string{"delete", "swap against delete"}},
		"delete of nothing fails":           {faults{deleteAbsentFails: true}, []string{"delete", "ttl"}},
		"delete does nothing":               {faults{deleteDoesNothing: true}, []string{"delete", "conflict without a record"}},
		"nothing expires":                   {faults{noTTL: true}, []string{"ttl", "ttl of next to nothing", "swap sets and clears the ttl"}},
		"less than a second is for ever":    {faults{ttlToSeconds: true}, []string{"ttl of next to nothing"}},
		"expires too soon":                  {faults{ttlTooShort: true}, []string{"ttl"}},
		"swap keeps the ttl":                {faults{ttlKept: true}, []string{"swap renews the ttl", "swap sets and clears the ttl"}},
		"ttl of 32 bits":                    {faults{ttl32: true}, []string{"ttl of zero"}},
		"refused swap changes the ttl":      {faults{ttlBeforeCompare: true}, []string{"conflict keeps the ttl"}},
		"swap sees what has expired":        {faults{expiresOnlyForLoad: true}, []string{"ttl", "ttl of next to nothing"}},
		"argument is kept":                  {faults{givenAliased: true}, []string{"values are copies"}},
		"store's slice is given away":       {faults{loadedAliased: true}, []string{"values are copies"}},
		"values end at a zero byte":         {faults{cutAtZero: true}, []string{"values"}},
		"large values are cut":              {faults{cutAt64K: true}, []string{"values"}},
		"keys are trimmed":                  {faults{trimsKeys: true}, []string{"keys"}},
		"keys have no case":                 {faults{foldsKeys: true}, []string{"keys"}},
		"long keys are cut":                 {faults{shortKeys: true}, []string{"keys"}},
		"context is ignored":                {faults{ignoresContext: true}, []string{"context ended before"}},
		"context is looked at afterwards":   {faults{writesThenContext: true}, []string{"context ended before"}},
		"deadlines are cancellations":       {faults{anyContextError: true}, []string{"context ended before"}},
		"clock with some answers":           {faults{loadHasNoClock: true}, []string{"clock"}},
		"no clock where there is no record": {faults{absentHasNoClock: true}, []string{"clock"}},
		"clock goes back":                   {faults{clockGoesBack: true}, []string{"clock"}},
		"clock is a day off":                {faults{clockIsOff: true}, []string{"clock"}},
		"clock stands still":                {faults{clockStands: true}, []string{"clock"}},
		"only the first page is listed":     {faults{listsOnePage: true}, []string{"list"}},
		"other prefixes are listed":         {faults{listsAnyPrefix: true}, []string{"list"}},
		"deleted records are listed":        {faults{listsDeleted: true}, []string{"list"}},
		"pages are counted":                 {faults{listsByPlace: true}, []string{"list while records come and go"}},
		"handles remember":                  {faults{cachesLoads: true}, []string{"handles share the data"}},
	} {
		for _, check := range test.checks {
			prove := func() {
				var messages []string
				// A race that is open need not be hit at the first try.
				for try := 0; len(messages) == 0 && try < 50; try++ {
					messages = reported(t.Context(), options{shared: true}, newFake(test.broken).handle, check)
				}
				assert.NotEmptyf(t, messages, "%s: the check %q let it pass", name, check)
			}
			if slow(check) {
				waiting = append(waiting, prove)
			} else {
				prove()
			}
		}
	}
	var wg sync.WaitGroup
	for _, prove := range waiting {
		wg.Go(prove)
	}
	wg.Wait()
}

func TestHandlesOnDifferentDataAreReported(t *testing.T) {
	open := func() store.Store { return store.NewMemory() }
	require.NotEmpty(t, reported(t.Context(), options{shared: true}, open, "handles share the data"))
	require.NotEmpty(t, reported(t.Context(), options{shared: true}, open, "one winner"))
	require.NotEmpty(t, reported(t.Context(), options{shared: true}, open, "chain of swaps"))
}

func TestNoStoreIsReported(t *testing.T) {
	require.NotEmpty(t, reported(t.Context(), options{}, func() store.Store { return nil }, "create"))
}

// A store that cannot list is a store all the same.
func TestListingIsOptional(t *testing.T) {
	f := newFake(faults{cannotList: true})
	require.Empty(t, reported(t.Context(), options{}, f.handle, "list"))
	require.Empty(t, f.records)
}

// What is broken above is only what it says: the fake without faults passes.
func TestFakeWithoutFaults(t *testing.T) {
	t.Parallel()
	db := newFake(faults{})
	Run(t, func(*testing.T) store.Store { return db.handle() }, Shared())
	for key := range db.records {
		_, ok := db.live(key)
		require.Falsef(t, ok, "the suite left %q behind", key)
	}
}
