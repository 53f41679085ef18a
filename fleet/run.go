package fleet

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/store"
)

const (
	// firstVisits is over how much time the first visits of cars are spread, as far as
	// Config.Rate allows.
	firstVisits = 10 * time.Minute
	// leastRate is how many requests a second are made for cars that are due, however few
	// they are.
	leastRate = 10
	// catchUp: with each catchUp that the cars are late, the rate grows by as much as it was.
	catchUp = 5 * time.Minute
	// listPause follows a listing that failed.
	listPause = time.Minute
	// longestWait is more than any Next asks for.
	longestWait = 7 * 24 * time.Hour
	// cutOff is how long a handler may take to heed the end of its context.
	cutOff = time.Second
	// logEvery is how often the statistics are logged.
	logEvery = time.Hour
)

// engine is the schedule of Run: the cars by when they are due, and one timer.
// A sleeping car has no goroutine.
type engine struct {
	fleet *Fleet
	do    func(context.Context, *entry) (smartcar.Visit, error) // visits a car
	epoch time.Time
	nudge chan struct{} // has an element when the loop has to look again

	mu      sync.Mutex
	started bool
	cars    map[string]*entry
	queue   queue
	woken   []*entry      // to be visited at once, in this order
	running int           // visits under way
	fresh   int           // cars that were not visited yet
	wanted  float64       // visits a second, by the gaps of all cars
	asked   float64       // requests a second, by the same
	held    time.Duration // no car but the woken ones is visited before
	ready   time.Duration // when the next visit may begin, by the rate
	pause   time.Duration // from the last visit to ready, for each of its requests
	retired int
	rules   []smartcar.Rule // see entry.rule
	waiting []int           // cars, by rule
	warned  bool            // see warn
	visits  sync.WaitGroup
}

func (g *engine) init(f *Fleet) {
	g.fleet, g.do, g.epoch = f, f.visitIDs, time.Now()
	g.nudge, g.cars, g.queue = make(chan struct{}, 1), make(map[string]*entry), newQueue()
	g.ruleIndex(smartcar.RuleNone)
}

// since is the present. It does not jump when the clock of the machine is set.
func (g *engine) since() time.Duration { return time.Since(g.epoch) }

// Run visits the cars until ctx ends. It visits each when it is due, as evenly over time
// as their pace allows. While more are due than may be visited, the one comes first whose
// last visit is longest ago: so each has its turn as often as the others. Before its first
// visit a car waits for at most 10 minutes or what [Config.Rate] makes necessary: what is
// known of it is in the store, so a restart asks nobody too early.
//
// Cars is listed when Run begins, and again each [Config.Relist]: cars that come twice
// count once, and one that is not listed again stays. Nil lists none; then all come by
// [Fleet.Wake]. A car whose user was forgotten goes.
//
// When ctx ends, Run begins no more visits, waits for those under way for
// [Config.Drain], then ends their context and returns. It returns nil if all have ended
// by themselves, store.ErrCannotList if the store cannot list, and an error that matches
// context.DeadlineExceeded if visits were cut off: what they have read is handed over at
// the next start. Failures to list otherwise are logged and repeated. Call
// smartcar.Client.Drain afterwards. Run can be called again, but not twice at a time.
func (f *Fleet) Run(ctx context.Context, cars iter.Seq2[*smartcar.Vehicle, error]) error {
	if err := f.ready(); err != nil {
		return err
	}
	if ctx == nil {
		return argumentError("Run ctx", "is nil")
	}
	g := &f.engine
	if !g.start() {
		return argumentError("Run", "is running already")
	}
	defer g.stop()
	visiting, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	listed := make(chan error, 1)
	listing, endListing := context.WithCancel(ctx)
	go func() {
		defer close(listed)
		listed <- f.list(listing, cars)
	}()
	err := g.loop(ctx, visiting, listed)
	endListing()
	for range listed { // until it is closed
	}
	return errors.Join(err, g.drain(cancel))
}

func (g *engine) start() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	was := g.started
	g.started = true
	return !was
}

func (g *engine) stop() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.started = false
}

// loop starts visits until ctx ends, which is no error.
func (g *engine) loop(ctx, visiting context.Context, listed <-chan error) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	logAt := g.since() + logEvery
	for {
		wait := g.begin(visiting)
		g.warn(ctx)
		if now := g.since(); now >= logAt {
			logAt = now + logEvery
			g.fleet.config.Logger.LogAttrs(ctx, slog.LevelInfo, "smartcar fleet", slog.Any("stats", g.fleet.Stats()))
		}
		timer.Reset(min(wait, logEvery))
		select {
		case <-ctx.Done():
			return nil
		case err := <-listed:
			return err
		case <-timer.C:
		case <-g.nudge:
		}
	}
}

// begin starts the visits that may begin now, and returns how long to wait.
func (g *engine) begin(ctx context.Context) time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.since()
	for g.running < g.fleet.config.Concurrency {
		e := g.take(now)
		if e == nil {
			break
		}
		e.running, e.woken = true, false
		g.running++
		g.visits.Go(func() { g.visit(ctx, e) })
	}
	next, ok := g.queue.next(now)
	switch {
	case g.running >= g.fleet.config.Concurrency || len(g.woken) == 0 && !ok:
		return logEvery // until a visit has ended, or a car comes
	case len(g.woken) > 0:
		return max(g.ready-now, 0)
	}
	return max(max(next, g.held, g.ready)-now, 0)
}

// take returns the next car that may be visited now; nil if there is none. Woken cars
// are bound by Config.Rate alone.
func (g *engine) take(now time.Duration) *entry {
	if now < g.ready {
		return nil
	}
	if len(g.woken) > 0 {
		e := g.woken[0]
		g.woken[0], g.woken = nil, g.woken[1:]
		g.queue.remove(e)
		g.rest(now, g.fleet.config.Rate)
		return e
	}
	if now < g.held {
		return nil
	}
	e := g.queue.first(now)
	if e == nil {
		return nil
	}
	g.queue.remove(e)
	g.rest(now, g.rate(now-e.due))
	return e
}

// rest has the next visit begin later by the pause that belongs to a rate. After a visit
// of two requests the pause comes twice: see visit.
func (g *engine) rest(now time.Duration, rate float64) {
	g.pause = time.Duration(min(float64(time.Second)/rate, float64(longestWait)))
	g.ready = now + g.pause
}

// rate is how many requests are made in a second: half as many again as the pace of the
// cars needs, so that no second has many more than another, and more as they get late.
func (g *engine) rate(late time.Duration) float64 {
	rate := max(leastRate, 1.5*g.asked) * (1 + float64(late)/float64(catchUp))
	return min(max(rate, float64(g.fresh)/firstVisits.Seconds()), g.fleet.config.Rate)
}

// visit visits one car and puts it back.
func (g *engine) visit(ctx context.Context, e *entry) {
	visit, err := g.do(ctx, e)
	g.mu.Lock()
	defer g.mu.Unlock()
	defer g.look()
	g.running--
	e.running = false
	if visit.Asked && visit.KeyAsked { // two requests
		g.ready = max(g.ready, g.since()) + g.pause
	}
	if e.removed {
		return
	}
	g.forget(e)
	if visit.Next.IsZero() && err != nil {
		delete(g.cars, e.key)
		return
	}
	now := g.since()
	if !visit.HeldUntil.IsZero() { // it keeps its place
		g.held = max(g.held, now+min(time.Until(visit.HeldUntil), longestWait))
		e.due = min(e.due, now)
	} else {
		wait := min(max(time.Until(visit.Next), time.Second), longestWait)
		e.due, e.gap = now+wait, float32(wait.Seconds())
	}
	e.rule, e.retired, e.look = g.ruleIndex(visit.Rule), visit.Retired, float32(visit.KeyLookEvery.Seconds())
	g.count(e, 1)
	g.queue.add(e)
	if e.woken {
		g.woken = append(g.woken, e)
	}
}

// visitIDs is Visit for a car of the engine.
func (f *Fleet) visitIDs(ctx context.Context, e *entry) (smartcar.Visit, error) {
	user, vehicle := e.ids()
	return f.Visit(ctx, f.client.User(user).Vehicle(vehicle))
}

// forget takes a car out of the counts.
func (g *engine) forget(e *entry) { g.count(e, -1) }

func (g *engine) count(e *entry, n int) {
	g.waiting[e.rule] += n
	if e.retired {
		g.retired += n
	}
	if e.gap > 0 {
		g.wanted = max(g.wanted+float64(n)/float64(e.gap), 0)
		g.asked = max(g.asked+float64(n)*g.asks(e), 0)
	} else {
		g.fresh += n
	}
}

func (g *engine) ruleIndex(rule smartcar.Rule) uint8 {
	i := slices.Index(g.rules, rule)
	if i < 0 {
		i = len(g.rules)
		g.rules, g.waiting = append(g.rules, rule), append(g.waiting, 0)
	}
	return uint8(i)
}

// look makes the loop look again.
func (g *engine) look() {
	select {
	case g.nudge <- struct{}{}:
	default:
	}
}

// add adds a car that is not known yet; a retired one is looked at again. It is visited
// within firstVisits.
func (g *engine) add(key string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.since()
	e, ok := g.cars[key]
	switch {
	case !ok:
		e = &entry{key: key, due: now, at: -1}
		g.cars[key] = e
		g.count(e, 1)
	case !e.retired || e.running:
		return
	default:
		g.queue.remove(e)
		e.due = now
	}
	g.queue.add(e)
	g.look()
}

// Wake makes a car due now, because something has happened to it: a webhook event has
// come, a command was sent, its owner has connected. A car that Run does not know is
// added. It costs nothing if nothing can be learned yet, and one that is visited just now
// is visited once more, however often it is woken. Wake before Run is not lost; it is in
// this process.
func (f *Fleet) Wake(car *smartcar.Vehicle) {
	if f.ready() != nil || car == nil {
		return
	}
	g, key := &f.engine, keyOf(car)
	g.add(key)
	g.mu.Lock()
	defer g.mu.Unlock()
	e := g.cars[key]
	if e == nil || e.woken {
		return
	}
	e.woken = true
	if !e.running {
		g.woken = append(g.woken, e)
	}
	g.look()
}

// Remove takes a car out. A visit under way is finished. If the car is listed again, it
// comes back: User.Forget and Vehicle.Disconnect of package smartcar end that.
func (f *Fleet) Remove(car *smartcar.Vehicle) {
	if f.ready() != nil || car == nil {
		return
	}
	g := &f.engine
	g.mu.Lock()
	defer g.mu.Unlock()
	e := g.cars[keyOf(car)]
	if e == nil {
		return
	}
	delete(g.cars, e.key)
	g.queue.remove(e)
	g.woken = slices.DeleteFunc(g.woken, func(o *entry) bool { return o == e })
	g.forget(e)
	e.removed = true
}

// list adds the cars, again and again, until ctx ends or the store cannot list.
func (f *Fleet) list(ctx context.Context, cars iter.Seq2[*smartcar.Vehicle, error]) error {
	for cars != nil {
		pause := f.config.Relist + rand.N(f.config.Relist/10)
		for v, err := range cars {
			switch {
			case ctx.Err() != nil:
				return nil
			case errors.Is(err, store.ErrCannotList) || errors.Is(err, smartcar.ErrInvalidArgument):
				return err
			case err != nil:
				pause = listPause
				f.config.Logger.LogAttrs(ctx, slog.LevelWarn, "smartcar fleet: the cars could not be listed", slog.Any("error", err))
			case v != nil:
				f.engine.add(keyOf(v))
			}
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		}
	}
	<-ctx.Done()
	return nil
}

// drain waits for the visits under way, and cuts them off when the time is over.
func (g *engine) drain(cancel func()) error {
	done := make(chan struct{})
	go func() {
		g.visits.Wait()
		close(done)
	}()
	timer := time.NewTimer(g.fleet.config.Drain)
	defer timer.Stop()
	select {
	case <-done:
		return nil
	case <-timer.C:
	}
	g.mu.Lock()
	cut := g.running
	g.mu.Unlock()
	cancel()
	timer.Reset(cutOff)
	select {
	case <-done:
	case <-timer.C: // a handler that does not heed its context
	}
	return fmt.Errorf("fleet: %d visits were cut off: %w", cut, context.DeadlineExceeded)
}

func (g *engine) stats() Stats {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.since()
	s := Stats{
		Cars: len(g.cars), Running: g.running, Retired: g.retired, Wanted: g.wanted,
		Waiting: make(map[smartcar.Rule]int),
	}
	for i, n := range g.waiting {
		if n > 0 {
			s.Waiting[g.rules[i]] = n
		}
	}
	s.Late = g.queue.late(now)
	s.Pace = g.pace()
	if g.held > now {
		s.HeldUntil = time.Now().Add(g.held - now)
	}
	return s
}
