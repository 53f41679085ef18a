package fleet_test

import (
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/fleet"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
	"github.com/stretchr/testify/require"
)

// A month in which cars fall asleep, get the key and lose it, owners leave, are forgotten
// and come back, the store and Smartcar fail, and the fleet is restarted and crashes: no
// window and no budget is broken, no car is stuck and nothing is missed for longer than a
// pace and the back-off in force. FLEET_SEEDS is how many months there are on either API:
// 100 take eight minutes of a core.
func TestAMonthOfChanges(t *testing.T) {
	if testing.Short() {
		t.Skip("follows seven cars for a month, on both APIs")
	}
	seeds, err := strconv.ParseUint(cmp.Or(os.Getenv("FLEET_SEEDS"), "1"), 10, 32)
	require.NoError(t, err)
	for seed := range seeds {
		for _, api := range []smartcar.API{smartcar.V2, smartcar.V3} {
			t.Run(fmt.Sprintf("%s seed %d", api, seed), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { newMonth(t, api, seed).run() })
			})
		}
	}
}

const (
	monthEvery = 2 * time.Hour
	// blockLost is how many calls of a car a crash costs at most: a block of ten reads.
	blockLost = 20
)

// span is a time in which a car cannot be read, or need not be.
type span struct{ from, to time.Time }

// month is a fleet of one owner, and what happens to it.
type month struct {
	*testing.T
	random *rand.Rand
	api    smartcar.API
	seed   uint64
	sim    *smartcartest.Server
	db     *flaky
	cars   []smartcartest.Car
	plan   smartcar.Budget

	client *smartcar.Client
	user   *smartcar.User
	fleet  running
	inbox  *inbox

	paired  map[string]time.Time // since when the key is there, and may be known
	away    map[string]time.Time // since when a car cannot be reached
	excused map[string][]span
	outages []span // of the store
	crashes []time.Time
	events  []event
}

// event is what happened when, by the number of its case.
type event struct {
	at   time.Time
	what int
	car  string
}

func newMonth(t *testing.T, api smartcar.API, seed uint64) *month {
	cars := slices.Concat(garage(2, "paired", paired()), garage(3, "keyless", keyless()), garage(1, "legacy", legacy()), garage(1, "other", other()))
	m := &month{
		T: t, random: rand.New(rand.NewPCG(seed, 13)), api: api, seed: seed, db: newFlaky(seed), cars: cars,
		sim:    smartcartest.New(smartcartest.WithCars(cars...), smartcartest.WithSeed(seed)),
		plan:   smartcar.Budget{PerVehicle: 500, Reserve: 50, ApplicationLimit: smartcar.ApplicationLimit{Requests: -1}},
		paired: make(map[string]time.Time), away: make(map[string]time.Time), excused: make(map[string][]span),
	}
	if api == smartcar.V3 { // a list counts once, and less than every two hours must be left
		m.plan.PerVehicle = 300
	}
	for _, car := range cars {
		if car.Paired {
			m.paired[car.ID] = time.Time{}
		}
	}
	m.start()
	m.user = connect(t, m.sim, m.client, "")
	m.inbox = newInbox()
	m.fleet = run(t, m.client, m.inbox, m.config)
	return m
}

func (m *month) config(c *fleet.Config) { c.Every = monthEvery }

func (m *month) start() {
	m.client = newClient(m.T, m.sim, m.api, smartcar.WithStore(m.db), smartcar.WithBudget(m.plan))
}

func (m *month) run() {
	for end := time.Now().Add(30 * day); time.Now().Before(end); {
		time.Sleep(time.Duration(m.random.Int64N(int64(12 * time.Hour))))
		m.event(m.cars[m.random.IntN(len(m.cars))].ID)
	}
	// What has failed is over, and all are back.
	m.sim.ClearFaults()
	for _, c := range m.cars {
		_ = m.sim.Wake(c.ID)
	}
	m.connect()
	before := time.Now()
	time.Sleep(3 * day) // a window after a day of RetiredUntil or a pause, or the first day of a month
	for _, c := range m.cars {
		require.Empty(m, m.sim.BrokenWindows(c.ID), "seed %d %s: %s", m.seed, m.api, c.ID)
		at := m.inbox.of(c.ID)
		require.NotEmpty(m, at, "seed %d %s: %s", m.seed, m.api, c.ID)
		require.True(m, at[len(at)-1].After(before), "seed %d %s: %s is stuck: %s\n%s", m.seed, m.api, c.ID, m.fleet.Stats(), m.story(c, time.Now()))
		m.requireBudget(c)
		m.requireReads(c)
	}
	require.NoError(m, m.fleet.stop())
}

func (m *month) event(id string) {
	what := m.random.IntN(14)
	m.events = append(m.events, event{time.Now(), what, id})
	switch v := m.user.Vehicle(id); what {
	case 0:
		_ = m.sim.Sleep(id)
	case 1:
		_ = m.sim.Wake(id)
	case 2:
		if m.sim.Pair(id) == nil && m.paired[id].IsZero() {
			m.paired[id] = time.Now()
		}
		m.fleet.Wake(v)
	case 3:
		if m.sim.Unpair(id) == nil { // and an event of a webhook says so
			delete(m.paired, id)
			_ = v.SetKeyState(m.Context(), smartcar.KeyMissing)
		}
	case 4:
		m.sim.Disconnect(id)
		m.leave(id)
	case 5, 6:
		m.connect()
	case 7:
		m.sim.Inject(smartcartest.Fault{Path: "/vehicles/", Status: http.StatusServiceUnavailable, Probability: 0.5, Times: 20})
	case 8:
		began := time.Now()
		m.db.fail(0.2)
		time.Sleep(time.Hour)
		m.db.fail(0)
		m.outages = append(m.outages, span{began, time.Now()})
	case 9:
		until := time.Now().Add(6 * time.Hour)
		if err := v.Pause(m.Context(), until); !errors.Is(err, smartcar.ErrNotConnected) { // forgotten
			require.NoError(m, err)
		}
		m.excused[id] = append(m.excused[id], span{time.Now(), until})
	case 10: // a new version is deployed
		_ = m.fleet.stop()
		require.NoError(m, m.client.Drain(m.Context()))
		m.restart()
	case 11:
		_ = m.fleet.stop()
		m.crashes = append(m.crashes, time.Now())
		m.restart()
	case 12:
		_, _ = v.Battery(m.Context()) // somebody else is faster
	case 13:
		if m.random.IntN(3) == 0 {
			require.NoError(m, m.user.Forget(m.Context()))
			for _, c := range m.cars {
				m.leave(c.ID)
			}
		}
	}
}

// leave: a car cannot be reached from now on, and what was known of its key is not trusted
// when it is back.
func (m *month) leave(id string) {
	if _, ok := m.paired[id]; ok {
		m.paired[id] = time.Now()
	}
	if _, ok := m.away[id]; !ok {
		m.away[id] = time.Now()
	}
}

// connect brings all cars back: those that were out with the next list.
func (m *month) connect() {
	m.user = connect(m.T, m.sim, m.client, "")
	for id, from := range m.away {
		m.excused[id] = append(m.excused[id], span{from, time.Now().Add(66 * minute)})
	}
	clear(m.away)
}

func (m *month) restart() {
	m.start()
	m.user = m.client.User(m.user.ID())
	m.fleet = run(m.T, m.client, m.inbox, m.config)
}

// story is what happened to a car in the two days before.
func (m *month) story(c smartcartest.Car, until time.Time) string {
	var b strings.Builder
	for _, e := range m.events {
		if age := until.Sub(e.at); age >= 0 && age < 2*day {
			fmt.Fprintln(&b, e.at.Format(time.DateTime), "event", e.what, e.car)
		}
	}
	for _, e := range m.sim.Ledger(c.ID) {
		if age := until.Sub(e.Time); age >= 0 && age < 2*day {
			fmt.Fprintln(&b, e.Time.Format(time.DateTime), e.Kind, e.Path, e.Items, e.Status, e.Keyless)
		}
	}
	return b.String()
}

// during reports whether the store was failing.
func (m *month) during(at time.Time) bool {
	return slices.ContainsFunc(m.outages, func(o span) bool { return !at.Before(o.from) && !at.After(o.to) })
}

// callsOf is how many calls of a car's month a request takes by the plan. The ledger does
// not say what a batch was to read that has failed.
func callsOf(e *smartcartest.Entry) int {
	if strings.HasSuffix(e.Path, "/batch") {
		return max(len(e.Items), len(reads))
	}
	return 1
}

// requireBudget: in no month has a car more calls than the plan leaves for reads. While
// the store fails, calls are not counted.
func (m *month) requireBudget(c smartcartest.Car) {
	spent := make(map[time.Month]int)
	for _, e := range m.sim.Ledger(c.ID) {
		if !m.during(e.Time) {
			spent[e.Time.UTC().Month()] += callsOf(&e)
		}
	}
	for in, calls := range spent {
		require.LessOrEqual(m, calls, m.plan.PerVehicle-m.plan.Reserve, "seed %d %s: %s in %s", m.seed, m.api, c.ID, in)
	}
}

// requireReads: between two reads of a car, or tries, there is at most its pace and an
// hour of back-off.
func (m *month) requireReads(c smartcartest.Car) {
	spans := slices.Concat(m.excused[c.ID], m.outages)
	for _, e := range m.sim.Ledger(c.ID) {
		if e.Kind == smartcartest.Data {
			spans = append(spans, span{e.Time, e.Time})
		}
	}
	for _, r := range m.sim.Requests() {
		if r.Status >= http.StatusInternalServerError && strings.Contains(r.Path, c.ID) {
			spans = append(spans, span{r.Time, r.Time})
		}
	}
	slices.SortFunc(spans, func(a, b span) int { return a.from.Compare(b.from) })
	for i := 1; i < len(spans); i++ {
		if last := spans[i-1]; last.to.After(spans[i].to) {
			spans[i].to = last.to
		}
		from, to := spans[i-1].to, spans[i].from
		pace := m.pace(c, from)
		require.LessOrEqual(m, to.Sub(from), pace+75*minute, "seed %d %s: %s was not read from %s to %s, at a pace of %s\n%s",
			m.seed, m.api, c.ID, from.Format(time.DateTime), to.Format(time.DateTime), pace, m.story(c, to))
	}
}

// pace is that of a car, by its rule, what was asked for, and what is left of its month.
func (m *month) pace(c smartcartest.Car, at time.Time) time.Duration {
	pace := monthEvery + monthEvery/20
	since, isPaired := m.paired[c.ID]
	if c.Integration == smartcartest.Streaming && (!isPaired || at.Before(since.Add(5*day))) {
		pace = 8*time.Hour + time.Minute // on v2 a key is looked for each 4 days, unless an event tells
	}
	spent, cost := 0, 1
	for _, e := range m.sim.Ledger(c.ID) {
		if e.Time.UTC().Month() == at.UTC().Month() && !e.Time.After(at) {
			spent += callsOf(&e)
		}
		cost = max(cost, callsOf(&e))
	}
	for _, crash := range m.crashes {
		if !crash.After(at) {
			spent += blockLost
		}
	}
	month := time.Date(at.Year(), at.Month()+1, 1, 0, 0, 0, 0, time.UTC)
	left := m.plan.PerVehicle - m.plan.Reserve - spent
	if left < cost {
		return month.Sub(at) + day
	}
	return max(pace, month.Sub(at)/time.Duration(left/cost+1))
}
