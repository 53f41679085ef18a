package smartcar_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"text/tabwriter"
	"time"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
	"github.com/stretchr/testify/require"
)

// A kind of car in a month that is simulated minute by minute.
type monthKind struct {
	order int // in the table
	name  string
	id    string
	// beat is how far apart the values are that Smartcar has of the car in the best case:
	// the window of a keyless one, the refresh of a legacy one.
	beat time.Duration
	// awake is for how long of a day the car records; zero is all day.
	awake time.Duration
	// least is the share of the permitted values, in percent, that a program has to get
	// which asks once a minute.
	least float64
	// These bound the requests for the car: so many for each poll, so many on each day, and
	// so many beside.
	eachPoll, perDay, once int
}

// monthKinds are the cars of the default garage, and a refreshed Model S.
//
// A keyless car costs 3 reads a day; on API v2 also its attributes and 11 looks at the key
// in a month. An installed key costs one look a day. Of the car that sleeps for 22 hours a
// day, nobody tells when it wakes: it is asked once an hour, and up to an hour of the two
// in which it is awake has passed then.
func monthKinds() []monthKind {
	return []monthKind{
		{order: 1, name: "Model 3, key installed", id: smartcartest.Model3, beat: time.Minute, least: 99.9, perDay: 1, once: 2, eachPoll: 1},
		{order: 2, name: "Model Y, keyless", id: smartcartest.ModelY, beat: window, least: 99, perDay: 3, once: 12},
		{order: 3, name: "Cybertruck, keyless", id: smartcartest.Cybertruck, beat: window, least: 99, perDay: 3, once: 12},
		{order: 4, name: "Model S 2021, refreshed, keyless", id: refreshedS().ID, beat: window, least: 99, perDay: 3, once: 13},
		{order: 5, name: "Model S 2018, legacy", id: smartcartest.ModelS2018, beat: 5 * time.Minute, least: 99, perDay: 289, once: 3},
		{order: 6, name: "Model S 2021, legacy", id: smartcartest.ModelS2021, beat: 5 * time.Minute, least: 99, perDay: 289, once: 3},
		{order: 7, name: "Model X 2020, legacy, awake 2 h a day", id: smartcartest.ModelX2020, beat: 5 * time.Minute, awake: 2 * time.Hour, least: 60, perDay: 30 + 24, once: 5},
		{order: 8, name: "Mach-E, another make", id: smartcartest.MachE, beat: time.Minute, least: 99.9, once: 2, eachPoll: 1},
	}
}

// permitted is how many values a program can have of a car in that time.
func (k monthKind) permitted(polls []time.Time) int {
	began, end := polls[0], polls[len(polls)-1]
	switch {
	case k.beat == time.Minute: // the polls are not exactly a minute apart
		n := 0
		for i := range polls {
			if i == 0 || polls[i].Truncate(k.beat).After(polls[i-1].Truncate(k.beat)) {
				n++
			}
		}
		return n
	case k.beat == window:
		return 1 + int(end.Sub(began)/k.beat)
	case k.awake > 0:
		return 1 + int(end.Sub(began).Round(day)/day)*(1+int(k.awake/k.beat)) // it records when it falls asleep, too
	}
	return 2 + int(end.Truncate(k.beat).Sub(began.Truncate(k.beat))/k.beat)
}

// monthOf is what happened to one car.
type monthOf struct {
	heard
	broken   []smartcartest.Broken // the windows that were broken although the client was told in time
	hears    []hearing             // when the word about the key changed
	polls    []time.Time
	deaf     bool      // its key plays no role
	requests int       // of all kinds that are for the car
	values   int       // recordings that the program got, each once
	newest   time.Time // of them
	failed   error     // the first error that is no refusal by a rule
	unheard  int       // undetected: broken windows that nobody could know of
}

// hearing is since when the client has been told that the key is missing, or has not.
type hearing struct {
	at   time.Time
	told bool
}

// ledgers is a transport that counts the requests for each car, and notes what the
// answers tell of its key.
type ledgers struct {
	http.RoundTripper
	mu   sync.Mutex
	cars map[string]*monthOf
}

func (l *ledgers) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := l.RoundTripper.RoundTrip(r)
	_, path, _ := strings.Cut(r.URL.Path, "/vehicles/")
	id, _, _ := strings.Cut(path, "/")
	l.mu.Lock()
	defer l.mu.Unlock()
	car := l.cars[id]
	if car == nil {
		return resp, err
	}
	car.requests++
	if err != nil {
		return resp, err
	}
	body, err := io.ReadAll(resp.Body)
	resp.Body = io.NopCloser(bytes.NewReader(body))
	if !car.deaf && json.Valid(body) {
		before := !car.told.IsZero()
		if car.note(r, resp, body, nil); before == car.told.IsZero() {
			car.hears = append(car.hears, hearing{time.Now(), !before})
		}
	}
	return resp, err
}

// judge tells the broken windows that the client was told of in time from the others.
func (m *monthOf) judge(all []smartcartest.Broken) {
	for _, b := range all {
		told := false
		for _, h := range m.hears {
			if h.at.Before(b.Second.Time) {
				told = h.told
			}
		}
		if told {
			m.broken = append(m.broken, b)
		} else {
			m.unheard++
		}
	}
}

// monthDays is how many days the simulated months have: one, or SMARTCAR_MONTH. CI asks for
// a week, and 31 take some seven minutes.
func monthDays(t *testing.T) int {
	t.Helper()
	text := os.Getenv("SMARTCAR_MONTH")
	if text == "" {
		return 1
	}
	var days int
	_, err := fmt.Sscan(text, &days)
	require.NoError(t, err)
	require.Positive(t, days)
	return days
}

// aMonth is some cars whose battery is read once a minute, or so.
type aMonth struct {
	sim  *smartcartest.Server
	api  smartcar.API
	ids  []string
	days int
	// seldom reports that a car is read every fifth minute only.
	seldom  func(id string) bool
	happens func(since time.Duration) // before the reads of each minute
}

func (m aMonth) live(t *testing.T) map[string]*monthOf {
	t.Helper()
	l := &ledgers{RoundTripper: m.sim.Transport(), cars: map[string]*monthOf{}}
	for _, id := range m.ids {
		l.cars[id] = &monthOf{deaf: !slices.Contains([]string{smartcartest.Model3, smartcartest.ModelY, smartcartest.Cybertruck, refreshedS().ID}, id)}
	}
	client := apiClient(t, m.sim, m.api, smartcar.WithHTTPClient(&http.Client{Transport: l}))
	user := client.User(connect(t, m.sim, client).UserID)
	random := rand.New(rand.NewPCG(11, uint64(m.days)))
	began := time.Now()
	for minute := 0; time.Since(began) < time.Duration(m.days)*day; minute++ {
		if m.happens != nil {
			m.happens(time.Since(began))
		}
		var reads sync.WaitGroup
		for id, car := range l.cars {
			if minute%5 == 0 || !m.seldom(id) {
				reads.Go(func() { car.read(t.Context(), user.Vehicle(id)) })
			}
		}
		reads.Wait()
		time.Sleep(time.Minute + time.Duration(random.IntN(7)-3)*time.Second)
	}
	for id, car := range l.cars {
		car.judge(m.sim.BrokenWindows(id))
	}
	return l.cars
}

func (m *monthOf) read(ctx context.Context, v *smartcar.Vehicle) {
	m.polls = append(m.polls, time.Now())
	got, err := v.Battery(ctx)
	var limited *smartcar.RateLimitError
	switch {
	case err == nil && got.RecordedAt.After(m.newest):
		m.newest = got.RecordedAt
		m.values++
	case err != nil && !errors.As(err, &limited) && !errors.Is(err, smartcar.ErrVirtualKeyRequired) && m.failed == nil:
		m.failed = err
	}
}

// monthTable prints how months went.
type monthTable struct {
	mu   sync.Mutex
	rows map[string]string // by what they are sorted by
}

func (m *monthTable) row(order, name string, car *monthOf, permitted int) (percent float64) {
	percent = 100 * float64(car.values) / float64(permitted)
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.rows == nil {
		m.rows = map[string]string{}
	}
	m.rows[order] = fmt.Sprintf("%s\t%d\t%d\t%d\t%d\t%d\t%.1f", name, car.requests, len(car.broken), car.unheard, car.values, permitted, percent)
	return percent
}

func (m *monthTable) print(t *testing.T, days int) {
	t.Helper()
	table := new(strings.Builder)
	w := tabwriter.NewWriter(table, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintf(w, "%d days\trequests\tbroken\tundetected\tvalues\tpermitted\tpercent\n", days)
	for _, order := range slices.Sorted(maps.Keys(m.rows)) {
		_, _ = fmt.Fprintln(w, m.rows[order])
	}
	require.NoError(t, w.Flush())
	t.Log("\n" + table.String())
}

// TestMonthOfAGarage polls one car of each kind for a month, on both APIs, and prints what
// that costs and brings. On API v3, where each read brings the whole list, the garage is
// polled by two programs that know nothing of each other.
func TestMonthOfAGarage(t *testing.T) {
	days, table := monthDays(t), new(monthTable)
	kinds := monthKinds()
	t.Run("month", func(t *testing.T) {
		for name, run := range map[string]struct {
			api   smartcar.API
			kinds []monthKind
		}{
			"v2":           {smartcar.V2, kinds},
			"v3":           {smartcar.V3, kinds[:5]},
			"v3, the rest": {smartcar.V3, kinds[5:]},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) { monthOfAGarage(t, run.api, run.kinds, days, table) })
			})
		}
	})
	table.print(t, days)
}

func monthOfAGarage(t *testing.T, api smartcar.API, kinds []monthKind, days int, table *monthTable) {
	sim := smartcartest.New(smartcartest.WithCars(append(smartcartest.DefaultGarage(), refreshedS())...))
	require.NoError(t, sim.FollowSchedule(smartcartest.ModelX2020))
	ids := make([]string, len(kinds))
	for i, k := range kinds {
		ids[i] = k.id
	}
	// On v3, where each answer is the whole list, cars without a rule are read every fifth
	// minute: there is nothing to decide about them.
	cars := aMonth{sim, api, ids, days, func(id string) bool {
		return api == smartcar.V3 && (id == smartcartest.Model3 || id == smartcartest.MachE)
	}, nil}.live(t)
	for _, k := range kinds {
		car := cars[k.id]
		permitted := k.permitted(car.polls)
		percent := table.row(fmt.Sprint(api, k.order), fmt.Sprint(api, ": ", k.name), car, permitted)
		require.NoError(t, car.failed, k.name)
		require.Empty(t, car.broken, k.name)
		require.Zero(t, car.unheard, k.name)
		require.LessOrEqual(t, car.values, permitted, k.name)
		require.GreaterOrEqual(t, percent, k.least, k.name)
		require.LessOrEqual(t, car.requests, len(car.polls)*k.eachPoll+days*k.perDay+k.once, k.name)
	}
}

// TestMonthOfAKeyThatIsRemoved polls a car for a month whose owner removes the key after a
// third of it, and adds it again after another third, under each of the answers that
// Smartcar may give. Nobody tells the client of either.
//
// The requests that go out before anything has told it are undetected: one where the
// answer tells it; where Smartcar repeats old answers on API v2, those until the first
// look, an hour after the data stands still. That the key is there again shows on API v2
// with the next look, on v3 with the next answer.
func TestMonthOfAKeyThatIsRemoved(t *testing.T) {
	days, table := monthDays(t), new(monthTable)
	t.Run("month", func(t *testing.T) {
		for _, api := range []smartcar.API{smartcar.V2, smartcar.V3} {
			for name, answer := range keylessAnswers() {
				t.Run(fmt.Sprint(api, " ", name), func(t *testing.T) {
					t.Parallel()
					synctest.Test(t, func(t *testing.T) {
						sim := smartcartest.New(smartcartest.WithKeylessAnswer(answer))
						id := smartcartest.Model3
						var gone, back time.Time
						whole := time.Duration(days) * day
						quiet := true // nothing has happened for a day
						car := aMonth{sim, api, []string{id}, days, func(string) bool { return api == smartcar.V3 && quiet }, func(since time.Duration) {
							switch {
							case gone.IsZero() && since >= whole/3+97*time.Minute: // the daily look at the key was some while ago
								gone = time.Now()
								require.NoError(t, sim.Unpair(id))
							case back.IsZero() && since >= whole*2/3+97*time.Minute:
								back = time.Now()
								require.NoError(t, sim.Pair(id))
							}
							quiet = gone.IsZero() || time.Since(gone) > day && back.IsZero() || !back.IsZero() && time.Since(back) > day
						}}.live(t)[id]
						permitted := 0
						for _, k := range [...]struct {
							from, to time.Time
							beat     time.Duration
						}{{time.Time{}, gone, time.Minute}, {gone, back, window}, {back, time.Now(), time.Minute}} {
							between := slices.DeleteFunc(slices.Clone(car.polls), func(at time.Time) bool { return at.Before(k.from) || !at.Before(k.to) })
							permitted += monthKind{beat: k.beat}.permitted(between)
						}
						table.row(fmt.Sprint(api, name), fmt.Sprint(api, ": ", name), car, permitted)
						require.NoError(t, car.failed)
						require.Empty(t, car.broken)
						undetected := 1
						if api == smartcar.V2 && answer == smartcartest.StaleData {
							undetected = 76 // since when the data stands still is known to a quarter of an hour
						}
						require.LessOrEqual(t, car.unheard, undetected)
					})
				})
			}
		}
	})
	table.print(t, days)
}
