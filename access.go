package smartcar

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
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
	NextRead time.Time `json:",omitzero"`
	Rule     Rule      // what NextRead follows from; RuleNone for now
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
	c, err := v.calls().learned(ctx)
	if err != nil {
		return nil, err
	}
	return v.handle.core.gate.describe(ctx, v.handle.car, &c), nil
}

// KnownAccess is [Vehicle.Access] without asking Smartcar for anything: it says what
// the store knows, for pages that list many cars. What nobody has looked at yet is
// unknown. Errors: [ErrStore].
func (v *Vehicle) KnownAccess(ctx context.Context) (*Access, error) {
	if _, err := v.calls().unauthorized(ctx, opAccess); err != nil {
		return nil, err
	}
	c, err := v.handle.core.cars.load(ctx, v.handle.car)
	if err != nil {
		return nil, err
	}
	a := v.handle.core.gate.describe(ctx, v.handle.car, &c)
	if c.revision == "" {
		a.Why = "nobody has asked about this car yet: treated as if the key were missing"
	}
	return a, nil
}

// A Diagnosis answers, for the person on call, why a car is silent. It holds no secret and
// says nothing of where the car is. See [Vehicle.Diagnosis].
type Diagnosis struct {
	VehicleID, UserID string
	At                time.Time // of the diagnosis
	// Connected says that the user is stored. Without that, nothing of the user's cars can
	// be read.
	Connected bool
	// Access has the class, the key and since when, the next useful read and the rule for
	// it, and what is left of the month.
	Access      Access
	ClassSource ClassSource
	// LastTurn is when the car was last asked as far as a rule counts it, and Gave what the
	// last turn of a car without its key brought. With TurnGivenBack there is no time.
	LastTurn time.Time
	Gave     TurnResult
	// RecordedAt and ReceivedAt are of the newest answer that is kept: when the car
	// recorded it, and when this client, or with [WithStoredAnswers] any, had it.
	RecordedAt, ReceivedAt time.Time
	// Webhook is the webhook that [Vehicle.Subscribe] has last subscribed the car to; empty
	// after [Vehicle.Unsubscribe], and if another program did it.
	Webhook string
	// Delivery is the last event of a webhook of version 4.0 about the car, and how it was
	// answered. It is zero if none came within 90 days.
	Delivery WebhookDelivery
	// Failure is why a visit last failed, see [Vehicle.Visit], and FailedAt when. Retired
	// says that visits have given the car up until its owner connects again.
	Failure  Failure
	FailedAt time.Time
	Retired  bool
	// BackOff is until when visits wait after what has failed, whatever the rule permits;
	// zero if they do not.
	BackOff time.Time
}

// A WebhookDelivery is how an event of a webhook was answered.
type WebhookDelivery struct {
	// At is when it came. If another process got it, and answered those before it alike,
	// At is up to an hour earlier.
	At      time.Time
	Type    EventType
	Verdict WebhookVerdict
	Reason  WebhookReason // of VerdictRefused
}

// A ClassSource says what a [VehicleClass] was learned from. It is a short code that does
// not change.
type ClassSource string

// The sources of a class.
const (
	ClassSourceNone     ClassSource = ""
	ClassFromAttributes ClassSource = "attributes" // make, model and year
	ClassFromVIN        ClassSource = "vin"
	ClassFromAnswers    ClassSource = "answers" // what Smartcar answered proves it
)

// A TurnResult says what a turn has brought. It is a short code that does not change.
type TurnResult string

// The results of a turn.
const (
	TurnNone      TurnResult = ""
	TurnData      TurnResult = "data"
	TurnError     TurnResult = "error"   // an error that may have been counted as a read
	TurnUnclear   TurnResult = "unclear" // it was sent, and no answer came
	TurnLimited   TurnResult = "limited" // Smartcar's own limit
	TurnAsleep    TurnResult = "asleep"
	TurnGivenBack TurnResult = "given-back" // it was not sent, or refused before the car was asked
)

// Diagnosis says all that is stored of the car and explains its silence. It makes no
// request. Errors: [ErrStore].
func (v *Vehicle) Diagnosis(ctx context.Context) (*Diagnosis, error) {
	access, err := v.KnownAccess(ctx)
	if err != nil {
		return nil, err
	}
	h := &v.handle
	c, err := h.core.cars.load(ctx, h.car)
	if err != nil {
		return nil, err
	}
	mark, stored, err := h.core.visits.load(ctx, h.car)
	if err != nil {
		return nil, err
	}
	user, known := h.core.accounts.stored(ctx, h.car.user)
	if errors.Is(known, ErrStore) {
		return nil, known
	}
	now := h.core.opts.now()
	ours := func(at time.Time) time.Time {
		if at.IsZero() {
			return at
		}
		return at.Add(now.Sub(stored)).UTC()
	}
	at, gave := c.state.LastTurn(c.now())
	mark.Heard.At = ours(mark.Heard.At)
	heard := mark.Heard
	if known == nil {
		heard = h.core.visits.lastHeard(h.car, heard)
	}
	d := &Diagnosis{
		VehicleID: h.car.id, UserID: h.car.user, At: now, Connected: known == nil, Access: *access, ClassSource: classSource(&c.state),
		LastTurn: c.ours(at), Gave: turnResults[gave], Webhook: mark.Webhook,
		Delivery: WebhookDelivery(heard),
		Failure:  mark.Failure, FailedAt: ours(mark.FailedAt), Retired: known == nil && mark.RetiredUntil.After(stored) && mark.Connect == user.Connect,
	}
	if until := later(mark.Handling.Until, mark.Reading.Until); until.After(stored) {
		d.BackOff = ours(until)
	}
	d.RecordedAt, d.ReceivedAt = h.core.answers.newest(ctx, h.car)
	return d, nil
}

// String says the diagnosis for people, a line for each thing. The text may change.
func (d *Diagnosis) String() string {
	if d == nil {
		return "no diagnosis"
	}
	var b strings.Builder
	line := func(name, text string) {
		if text != "" {
			fmt.Fprintf(&b, "%-13s %s\n", name, text)
		}
	}
	at := func(t time.Time) string {
		if t.IsZero() {
			return ""
		}
		return t.UTC().Format(time.RFC3339)
	}
	code := func(what string, more ...string) string {
		for _, m := range more {
			if m != "" && what != "" {
				what += ", " + m
			}
		}
		return what
	}
	a := &d.Access
	line("vehicle", d.VehicleID)
	if !d.Connected {
		line("user", d.UserID+" is not connected: nothing can be read")
	} else {
		line("user", d.UserID)
	}
	line("why", a.Why)
	line("class", code(a.Class.String(), string(d.ClassSource)))
	if a.KeyNeed != KeyNotRequired {
		line("key", code(a.Key.State.String(), a.Key.Source.String(), at(a.Key.Since)))
	}
	next := at(a.NextRead)
	if next == "" {
		next = "now"
	}
	line("next read", code(next, string(a.Rule)))
	line("last turn", code(at(d.LastTurn), string(d.Gave)))
	if !d.ReceivedAt.IsZero() {
		line("last answer", code(at(d.ReceivedAt), "recorded "+cmp.Or(at(d.RecordedAt), "at an unknown time")))
	}
	if a.Spent != 0 || a.Left != 0 {
		line("budget", fmt.Sprintf("%d calls spent, %d left", a.Spent, a.Left))
	}
	line("webhook", d.Webhook)
	line("last event", code(at(d.Delivery.At), string(d.Delivery.Type), string(d.Delivery.Verdict), string(d.Delivery.Reason)))
	line("last failure", code(at(d.FailedAt), string(d.Failure)))
	line("visits wait", at(d.BackOff))
	if d.Retired {
		line("visits", "have given the car up until its owner connects again")
	}
	return b.String()
}

var turnResults = [...]TurnResult{
	policy.OutcomeNone: TurnNone, policy.OutcomeReleased: TurnGivenBack, policy.OutcomeAsleep: TurnAsleep, policy.OutcomeLimited: TurnLimited,
	policy.OutcomeUnclear: TurnUnclear, policy.OutcomeAnswered: TurnError, policy.OutcomeOK: TurnData,
}

func classSource(s *policy.State) ClassSource {
	switch {
	case publicClass(s.Class()) == ClassUnknown:
		return ClassSourceNone
	case s.ClassProven():
		return ClassFromAnswers
	case s.ClassByVIN():
		return ClassFromVIN
	}
	return ClassFromAttributes
}

// learned loads the record of the car, after learning what can be learned without a turn
// and as far as limits let anybody ask.
func (h *handle) learned(ctx context.Context) (car, error) {
	r, err := h.newRequest(ctx, opAccess)
	if err != nil {
		return car{}, err
	}
	c, err := h.core.gate.learned(ctx, r)
	if notAsked(err) {
		err = nil
	}
	return c, err
}

// lookAt is when a loop that sleeps until the next read has to look again: an owner who
// adds the key opens the window early.
func (g *gate) lookAt(c *car) time.Time {
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
func (g *gate) describe(ctx context.Context, ref carRef, c *car) *Access {
	s := &c.state
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

func why(s *policy.State) string {
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

// ResetCar is the operator's way out when what is known of the car is wrong: its class,
// its key, whether it sleeps and how often it was asked in vain are dropped, and learned
// again. What protects the car stays: its running window, Smartcar's own limits, and a
// pause. The window ends early if the car turns out to have none, or to have its key; it
// stays if that cannot be told any more. Errors: [ErrStore].
func (v *Vehicle) ResetCar(ctx context.Context) error {
	if _, err := v.calls().newRequest(ctx, opKeyStatus); err != nil {
		return err
	}
	v.handle.core.gate.allowances.forget(v.handle.car.id)
	return v.calls().tell(ctx, policy.Reset())
}

// Pause refuses reads of the car's data until the given time, in all processes that
// share the store, as [RulePaused]; a [Vehicle.Watch] sleeps as long. The zero time ends
// it. Commands are sent all the same, and kept answers handed out. Errors: [ErrStore].
func (v *Vehicle) Pause(ctx context.Context, until time.Time) error {
	if _, err := v.calls().newRequest(ctx, opKeyStatus); err != nil {
		return err
	}
	return v.calls().tell(ctx, policy.Paused(until))
}

// tell applies what the operator says of the car.
func (h *handle) tell(ctx context.Context, e policy.Event) error {
	c, err := h.core.cars.apply(ctx, h.car, nil, e)
	if err == nil {
		h.core.answers.of(h.car.id).setClass(&c.state)
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
		c, err := v.calls().learned(ctx)
		if err != nil {
			return err
		}
		next, now := v.handle.core.gate.describe(ctx, v.handle.car, &c).NextRead, v.handle.core.opts.now()
		if !next.After(now) {
			return nil
		}
		if err := v.handle.core.opts.clock.Sleep(ctx, max(earlier(next, v.handle.core.gate.lookAt(&c)).Sub(now), time.Second)); err != nil {
			return err
		}
	}
}

// terminal reports whether a loop that watches a car should end with this error.
func terminal(err error) bool {
	if isBudget(err) || errors.Is(err, ErrUnexpectedAnswer) {
		return false // there is another month; and what is not Smartcar's says nothing of the car
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
