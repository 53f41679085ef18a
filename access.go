package smartcar

import (
	"context"
	"errors"
	"time"

	"github.com/seed-498a1bc4/smartcar/internal/policy"
)

// Wakefulness says whether a car is awake.
type Wakefulness string

// The states of wakefulness. Asking for it never wakes a car.
const (
	WakeUnknown Wakefulness = "unknown"
	Awake       Wakefulness = "awake"
	Asleep      Wakefulness = "asleep"
)

// Access is what the policy knows about a car: whether it needs the key,
// whether it has it, and when asking it for data is useful again.
type Access struct {
	Class VehicleClass
	// KeyNeed says whether cars of this class take the key at all.
	KeyNeed KeyNeed
	Key     KeyStatus
	// NeedsKey is true when the owner should be asked for the key: the class
	// needs one and it is missing, or could not be read for the moment. Never
	// true for a legacy car, nor where the status can never be read.
	NeedsKey bool
	// VirtualKeyURL is where the owner adds it; zero unless NeedsKey. On API v3 it
	// is there too while nobody has said yet whether the key is on the car.
	VirtualKeyURL VirtualKeyURL
	// NextRead is when a data request is allowed and brings something new;
	// zero means now.
	NextRead time.Time
	Rule     Rule // what NextRead follows from; RuleNone for now
	// Wake is inferred from the age of the newest data, or from an answer that
	// the car sleeps.
	Wake Wakefulness
	// NothingStored: Smartcar holds no data of this car, which on API v3 is so
	// until it is subscribed to a webhook: see [Vehicle.Subscribe].
	NothingStored bool
	// Spent and Left are the calls of this calendar month, UTC, the reserve for commands
	// included in Left. Both are zero without [WithBudget], and while the store is away.
	// What other processes have taken to spend it soon counts as spent.
	Spent, Left int
	// Why says all this in one sentence, for people.
	Why string
}

// Access explains how the policy treats the car right now. It learns the class
// and the key status if they are not known, which takes no turn of the car,
// and never asks for data.
//
// Errors: [ErrNotConnected], [ErrStore] when the store fails, or an [*Error]
// when the car can no longer be reached. What Smartcar does not tell for the
// moment is no error: the Class is ClassUnknown, or the key's state KeyUnknown.
func (v *Vehicle) Access(ctx context.Context) (*Access, error) {
	c, err := v.learned(ctx)
	if err != nil {
		return nil, err
	}
	return v.core.gate.describe(ctx, v.car, c), nil
}

// KnownAccess is [Vehicle.Access] without asking Smartcar for anything: it says what
// the store knows, for pages that list many cars. What nobody has looked at yet is
// unknown. Errors: [ErrStore].
func (v *Vehicle) KnownAccess(ctx context.Context) (*Access, error) {
	if _, err := v.unauthorized(ctx, opAccess); err != nil {
		return nil, err
	}
	c, err := v.core.cars.load(ctx, v.car)
	if err != nil {
		return nil, err
	}
	a := v.core.gate.describe(ctx, v.car, c)
	if c.revision == "" {
		a.Why = "nobody has asked about this car yet: treated as if the key were missing"
	}
	return a, nil
}

// learned loads the record of the car, after learning what can be learned without a turn.
func (v *Vehicle) learned(ctx context.Context) (car, error) {
	r, err := v.newRequest(ctx, opAccess)
	if err != nil {
		return car{}, err
	}
	return v.core.gate.learned(ctx, r)
}

// lookAt is when a loop that sleeps until the next read has to look again: an owner who
// adds the key opens the window early.
func (g *gate) lookAt(c car) time.Time {
	at := g.opts.now().Add(lookAgain)
	if c.state.MayNeedKey() && g.probe.keyIsFree {
		at = earlier(at, c.ours(c.state.NextKeyLook()))
	}
	return at
}

// lookAgain is the longest sleep of a loop that waits for a window: another replica, a
// webhook or a command may have shown that the key is there.
const lookAgain = 2 * time.Hour

// describe says what the policy makes of a car now.
func (g *gate) describe(ctx context.Context, ref carRef, c car) *Access {
	s := c.state
	a := &Access{Class: publicClass(s.Class()), KeyNeed: publicNeed(s.Class()), Key: keyStatus(s), Wake: publicWake(s.Wake())}
	next := s.NextUseful(c.now(), g.opts.policyRules())
	a.NextRead, a.Rule = c.ours(next.Next), publicRules[next.Rule]
	if until := g.pause.end(); until.After(a.NextRead) {
		a.NextRead, a.Rule = until, RuleApplication
	}
	if next := g.allowances.next(ref.id); next.After(a.NextRead) {
		a.NextRead, a.Rule = next, RuleBudget
	}
	a.Spent, a.Left = g.charge(ctx, ref, a)
	if s.MayNeedKey() {
		a.NeedsKey = s.NeedsKey() || g.probe.keyIsFree
		a.VirtualKeyURL = g.links.forCar(ctx, ref.user, "")
	}
	a.Why, a.NothingStored = why(s), s.NothingStored()
	if a.Rule == RuleAsleep {
		a.Why += "; it sleeps, or its data stands still"
	}
	if a.Rule == RuleBudget {
		a.Why += "; the calls of its month are used up"
	}
	if a.NothingStored {
		a.Why += "; Smartcar has stored none of its data yet: subscribe it to a webhook"
	}
	return a
}

// charge says what is left of the month, and puts the next read off if nothing is.
func (g *gate) charge(ctx context.Context, ref carRef, a *Access) (spent, left int) {
	spent, left, ok := g.budgets.spent(ctx, ref.id)
	if next := g.budgets.nextMonth(ref); ok && left <= g.budgets.budget.Reserve && next.After(a.NextRead) {
		a.NextRead, a.Rule = next, RuleBudget
	}
	return spent, left
}

func why(s policy.State) string {
	const untold = "; Smartcar's limits have shown that it answers one data request per window, as without the virtual key"
	switch s.Class() {
	case policy.ClassStreaming:
		switch s.Key() {
		case policy.KeyUnavailable, policy.KeyInstalled:
			if s.SaidKeyless() {
				return "a streaming-capable Tesla whose key status cannot be read" + untold
			}
		}
		switch s.Key() {
		case policy.KeyInstalled:
			return "a streaming-capable Tesla with the virtual key: no local limit, commands are sent"
		case policy.KeyMissing:
			return "a streaming-capable Tesla without the virtual key: one data request per window, which does not wake it; commands need the key"
		case policy.KeyUnavailable:
			return "a streaming-capable Tesla whose key status cannot be read with this connection: Smartcar's answers decide"
		}
		return "a streaming-capable Tesla whose key status is not known for the moment: treated as if the key were missing"
	case policy.ClassLegacy:
		if !s.Repeats() {
			return "a 2020-or-earlier Model S or X that streams: no local limit, commands are sent"
		}
		return "a 2020-or-earlier Model S or X needs no key: its data is refreshed at a fixed pace while it is awake; commands are sent"
	case policy.ClassOther:
		return "not a Tesla: no local limit, Smartcar's answers decide"
	case policy.ClassUnknown:
		if s.SaidKeyless() {
			return "it cannot be told whether this car needs a key" + untold
		}
		return "it cannot be told whether this car needs a key: no local limit, Smartcar's answers decide"
	}
	if s.AwaitsData() {
		return "whether this car needs a key shows with its first data: treated as if the key were missing until then"
	}
	return "make and model could not be read for the moment: treated as if the key were missing"
}

func publicClass(c policy.Class) VehicleClass {
	switch c {
	case policy.ClassStreaming:
		return ClassStreaming
	case policy.ClassLegacy:
		return ClassLegacy
	case policy.ClassOther:
		return ClassOther
	}
	return ClassUnknown
}

func publicNeed(c policy.Class) KeyNeed {
	switch c {
	case policy.ClassStreaming:
		return KeyRequired
	case policy.ClassLegacy, policy.ClassOther:
		return KeyNotRequired
	}
	return KeyNeedUnknown
}

func publicWake(w policy.Wake) Wakefulness {
	switch w {
	case policy.WakeAwake:
		return Awake
	case policy.WakeAsleep:
		return Asleep
	}
	return WakeUnknown
}

var keySources = [...]KeySource{
	policy.FromNowhere: KeySourceNone, policy.FromEndpoint: KeyFromEndpoint, policy.FromSignal: KeyFromSignal, policy.FromError: KeyFromError,
	policy.FromCommand: KeyFromCommand, policy.FromWebhook: KeyFromWebhook, policy.FromApplication: KeyFromApplication,
}

// keyStatus is the status of the key as callers see it. For a car that needs no key it
// is unknown, so that nobody asks its owner to add one.
func keyStatus(s policy.State) KeyStatus {
	if s.Class() != policy.ClassStreaming {
		return KeyStatus{Reason: "the virtual key plays no role for this car, or that is not known yet"}
	}
	return knownKey(s)
}

// knownKey is what is known of the key, whatever the class of the car.
func knownKey(s policy.State) KeyStatus {
	k := KeyStatus{At: s.KeyAt(), Since: s.KeySince()}
	if int(s.KeySource()) < len(keySources) {
		k.Source = keySources[s.KeySource()]
	}
	switch s.Key() {
	case policy.KeyInstalled:
		k.State, k.Reason = KeyInstalled, "the key is on the car"
	case policy.KeyMissing:
		k.State, k.Reason = KeyMissing, "the owner has not added the key, or has removed it"
	case policy.KeyUnavailable:
		k.Reason = "the status cannot be read: the connected account is not the owner's, a permission is missing, or the integration is Tesla's retired one"
	default:
		k.Reason = "the status is not known for the moment: it could not be read, or, on API v3, comes with the next data"
	}
	return k
}

// KeyStatus asks Smartcar whether the virtual key is on the car, which takes no
// turn of it, and tells the policy. When the status can never be had with this
// connection, State is [KeyUnknown] and Reason says why. Permission
// read_vehicle_info.
//
// API v3 tells it with the car's data only: there it is what the policy has
// learned, from the last read, a webhook or another source, and nobody is asked.
//
// https://smartcar.com/docs/api-reference/tesla/get-virtual-key-status
func (v *Vehicle) KeyStatus(ctx context.Context) (KeyStatus, error) {
	r, err := v.newRequest(ctx, opKeyStatus)
	if err != nil {
		return KeyStatus{}, err
	}
	g := v.core.gate
	if g.probe.keyIsFree && !g.opts.ignoreKeyEndpoint {
		if err := v.askKeyStatus(ctx, r); err != nil {
			return KeyStatus{}, err
		}
	}
	c, err := g.cars.load(ctx, r.car)
	if err == nil && c.state.WantsClass(c.now()) {
		c, _, err = g.learn(ctx, r, r.car, c, true, nil)
	}
	return keyStatus(c.state), err
}

// askKeyStatus reads the status through the pipeline, which tells the policy. It is no
// error if the status can never be read: the policy is told that, too.
func (v *Vehicle) askKeyStatus(ctx context.Context, r *request) error {
	_, err := v.decoded(ctx, opKeyStatus, nil)
	if err == nil || !keyStatusNeverHad(err) {
		return err
	}
	_, err = v.core.cars.apply(ctx, r.car, car{}, evidenceOfKeyCheck(err, v.core.opts.now())...)
	return err
}

// SetKeyState is the application's own word about the key, such as an owner
// pressing "done". The policy takes it at once; later evidence beats it. It takes
// KeyInstalled and KeyMissing; errors are an [*ArgumentError] and [ErrStore].
func (v *Vehicle) SetKeyState(ctx context.Context, state KeyState) error {
	if _, err := v.newRequest(ctx, opKeyStatus); err != nil {
		return err
	}
	events := evidenceOfApplication(state, v.core.opts.now())
	if len(events) == 0 {
		return argumentError("SetKeyState", "takes smartcar.KeyInstalled or smartcar.KeyMissing")
	}
	_, err := v.core.cars.apply(ctx, v.car, car{}, events...)
	return err
}

// ResetCar is the operator's way out when what is known of the car is wrong: its class,
// its key, whether it sleeps and how often it was asked in vain are dropped, and learned
// again. What protects the car stays: its open window, Smartcar's own limits, and a
// pause. Errors: [ErrStore].
func (v *Vehicle) ResetCar(ctx context.Context) error {
	if _, err := v.newRequest(ctx, opKeyStatus); err != nil {
		return err
	}
	v.core.gate.allowances.forget(v.car.id)
	return v.tell(ctx, policy.Reset())
}

// Pause refuses reads of the car's data until the given time, in all processes that
// share the store, as [RulePaused]; a [Vehicle.Watch] sleeps as long. The zero time ends
// it. Commands are sent all the same, and kept answers handed out. Errors: [ErrStore].
func (v *Vehicle) Pause(ctx context.Context, until time.Time) error {
	if _, err := v.newRequest(ctx, opKeyStatus); err != nil {
		return err
	}
	return v.tell(ctx, policy.Paused(until))
}

// tell applies what the operator says of the car.
func (v *Vehicle) tell(ctx context.Context, e policy.Event) error {
	c, err := v.core.cars.apply(ctx, v.car, car{}, e)
	if err == nil {
		v.core.answers.of(v.car.id).setClass(c.state)
	}
	return err
}

// Wait returns when a data request to the car is allowed and brings something
// new. It may take hours: it is the only call, beside [Vehicle.Watch], that
// ever waits for a window. The turn is not reserved: another caller may be
// faster, and the read is refused then.
//
// Errors: that of ctx when it ends, and those of [Vehicle.Access].
func (v *Vehicle) Wait(ctx context.Context) error {
	for {
		c, err := v.learned(ctx)
		if err != nil {
			return err
		}
		next, now := v.core.gate.describe(ctx, v.car, c).NextRead, v.core.opts.now()
		if !next.After(now) {
			return nil
		}
		if err := v.core.opts.clock.Sleep(ctx, max(earlier(next, v.core.gate.lookAt(c)).Sub(now), time.Second)); err != nil {
			return err
		}
	}
}

// terminal reports whether a loop that watches a car should end with this error.
func terminal(err error) bool {
	if isBudget(err) {
		return false // there is another month
	}
	for _, target := range []error{
		ErrInvalidArgument, ErrNotConnected, ErrReconnectRequired, ErrReauthenticate,
		ErrPermission, ErrUnauthorized, ErrNotSupported, ErrNotFound, ErrValidation, ErrBilling, ErrKeyNotNeeded,
	} {
		if errors.Is(err, target) {
			return true
		}
	}
	return false
}

// wants reports whether the class of the car, or its key, must be learned before
// its data is asked for.
func (g *gate) wants(c car) bool { return c.state.Unlearned(c.now(), g.probe.keyIsFree) }

// learned loads the record of a car, after learning what can be learned without
// taking a turn.
func (g *gate) learned(ctx context.Context, r *request) (car, error) {
	c, err := g.cars.load(ctx, r.car)
	if err == nil && g.wants(c) {
		c, _, err = g.learn(ctx, r, r.car, c, true, nil)
	}
	return c, err
}

// learn has the probe ask for what the policy needs to know about a car: its class,
// once, and the status of its key, with a back-off. Both are metadata, which cost a
// keyless car no turn. R is any request for the car; its credentials are used.
//
// It returns an error only if asking for data would fail for the same reason: the
// car is not this user's, or the connection has ended.
//
// With a wish, the write of what the status of the key shows also takes the turn.
func (g *gate) learn(ctx context.Context, r *request, ref carRef, c car, fresh bool, w *wish) (car, bool, error) {
	var err error
	began := g.cars.answers.Load()
	if !fresh { // another replica may have learned it
		if c, err = g.cars.load(ctx, ref); err != nil || !g.wants(c) {
			return c, true, err
		}
	}
	// Only callers for the same user wait for each other: if one user may not ask,
	// another may.
	err = g.learning.Do(ctx, ref.user+"\x00"+ref.key, func() error { return g.learnNow(ctx, r, ref, w) })
	if err != nil {
		return c, fresh, asErrorOf(r.op, err)
	}
	c, err = g.cars.after(ctx, ref, began)
	return c, true, err
}

// asErrorOf returns the error of a request of the probe as that of the operation
// which the caller has asked for. It is a copy: several callers may share the error.
func asErrorOf(op Operation, err error) error {
	e, ok := err.(*Error) //nolint:errorlint // an error that wraps one names its own operation
	if !ok {
		return err
	}
	named := *e
	named.Operation = op
	return &named
}

// A wish is a turn that is to be taken with what is learned of a key.
type wish struct {
	nonce  uint64
	flight *flight // announced when the turn is asked for
	asked  bool
	before car // as it was then
}

func (g *gate) learnNow(ctx context.Context, r *request, ref carRef, w *wish) error {
	ref, err := g.cars.register(ctx, ref)
	if err != nil {
		return err
	}
	// The caller before this one may have learned it. What is cached is from then, or from
	// when this caller loaded it.
	c, _, err := g.cars.lookUp(ctx, ref)
	if err != nil {
		return err
	}
	if c.state.WantsClass(c.now()) {
		if c, err = g.learnClass(ctx, r, ref); err != nil {
			return err
		}
	}
	if c.state.WantsKey(c.now()) && g.probe.keyIsFree {
		_ = g.learnKey(ctx, r, ref, w) // stored as evidence, too
	}
	return nil
}

func (g *gate) learnClass(ctx context.Context, r *request, ref carRef) (car, error) {
	events, found, err := g.probe.class(ctx, r)
	if err != nil {
		g.cars.unregisterUnknown(ctx, ref, err)
		return car{}, err
	}
	c, err := g.cars.load(ctx, ref)
	// "Asked, and it cannot be told" must not replace a class that somebody else has
	// learned meanwhile.
	if err == nil && (found || c.state.WantsClass(c.now())) {
		c, err = g.cars.apply(ctx, ref, c, events...)
	}
	if err != nil {
		return car{clock: g.opts.clock}, nil //nolint:nilerr // what could not be stored will be learned again
	}
	return c, nil
}

// askKey is learnKey, done once for all callers of this process who ask at the same
// time.
func (g *gate) askKey(ctx context.Context, r *request) error {
	return g.learning.Do(ctx, "wait/"+r.car.user+"\x00"+r.car.key, func() error { return g.learnKey(ctx, r, r.car, nil) })
}

// learnKey reads the status of the key and stores what it shows. A failure is
// stored, too, as a back-off: callers who only want the record may ignore the error.
func (g *gate) learnKey(ctx context.Context, r *request, ref carRef, w *wish) error {
	before, _, _ := g.cars.lookUp(ctx, ref)
	events, err := g.probe.key(ctx, r)
	events = knowing(before, events)
	if w != nil && err == nil && r.auth.ready() {
		if w.before, _, err = g.cars.lookUp(ctx, ref); err != nil {
			return err
		}
		g.underway.Announce(w.flight, false)
		w.asked, events = true, append(events, policy.AskDataAndLeave(w.nonce, g.lease))
	}
	_, _ = g.cars.apply(ctx, ref, car{}, events...)
	return err
}
