package smartcar

import (
	"cmp"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/seed-498a1bc4/smartcar/internal/lenient"
	"github.com/seed-498a1bc4/smartcar/signals"
)

// signalEntry is an entry of a list of signals. In webhooks, and in answers from before
// API v3 was released, the fields of attributes stand beside it.
type signalEntry struct {
	id, outerCode, meta             lenient.Value
	code, name, group, status, body lenient.Value
	wrapped                         bool // the last five stood in attributes
}

func readEntry(v lenient.Value) (e signalEntry) {
	var attributes lenient.Value
	v.Read(
		lenient.Field{Name: "id", To: &e.id}, lenient.Field{Name: "attributes", To: &attributes}, lenient.Field{Name: "meta", To: &e.meta},
		lenient.Field{Name: "code", To: &e.code}, lenient.Field{Name: "name", To: &e.name}, lenient.Field{Name: "group", To: &e.group},
		lenient.Field{Name: "status", To: &e.status}, lenient.Field{Name: "body", To: &e.body},
	)
	e.outerCode = e.code
	if !attributes.IsObject() {
		return e
	}
	e.wrapped = true
	e.code, e.name, e.group, e.status, e.body = nil, nil, nil, nil, nil
	attributes.Read(
		lenient.Field{Name: "code", To: &e.code}, lenient.Field{Name: "name", To: &e.name}, lenient.Field{Name: "group", To: &e.group},
		lenient.Field{Name: "status", To: &e.status}, lenient.Field{Name: "body", To: &e.body},
	)
	return e
}

// plainCode returns the code where it is sent as documented, in lower-case letters and
// with a hyphen, and otherwise reports false.
func (e *signalEntry) plainCode() (code []byte, ok bool) {
	if code, ok = e.code.Plain(); !ok {
		return code, false
	}
	for _, c := range code {
		if c == '.' || c == '_' || 'A' <= c && c <= 'Z' || c >= utf8.RuneSelf {
			return code, false
		}
	}
	return code, len(code) > 0
}

// oddCode is the code where it is not sent as documented.
func (e *signalEntry) oddCode() signals.Code {
	code := e.code.Text()
	if code == "" {
		code = e.id.Text()
	}
	return signalRefV3{code, e.name.Text(), e.group.Text()}.signalCode()
}

func (e *signalEntry) hasCode() bool {
	_, ok := e.plainCode()
	return ok || e.oddCode() != ""
}

// isSignal reports whether an entry without an envelope is a signal and not an error:
// both have a code.
func (e *signalEntry) isSignal() bool {
	return (e.wrapped || e.body.IsObject() || e.status.IsObject()) && e.hasCode()
}

// isEntry reports whether an entry is a signal and not that of another list of API v3:
// all have an id.
func (e *signalEntry) isEntry() bool {
	return e.code.HasText() || e.outerCode.HasText() || len(e.body)+len(e.status) > 0 && e.hasCode()
}

// readStatus takes the status of a signal or a command apart: an object, or a text.
func readStatus(v lenient.Value) (word string, failure lenient.Value) {
	value := v
	if v.IsObject() {
		value = nil
		v.Read(lenient.Field{Name: "value", To: &value}, lenient.Field{Name: "error", To: &failure})
	}
	switch plain, _ := value.Plain(); string(plain) {
	case SignalStatusSuccess: // nearly each: spares an allocation
		return SignalStatusSuccess, failure
	default:
		return value.Text(), failure
	}
}

// stored reads an entry, and copies what is kept of it. The header and the time are
// those of the answer a.
func (e *signalEntry) stored(a *answer, copies *lenient.Copier) storedSignal {
	var recorded, retrieved, fetched, ingested lenient.Value
	e.meta.Read(
		lenient.Field{Name: "oemUpdatedAt", To: &recorded}, lenient.Field{Name: "retrievedAt", To: &retrieved},
		lenient.Field{Name: "fetchedAt", To: &fetched}, // what some pages call retrievedAt
		lenient.Field{Name: "ingestedAt", To: &ingested},
	)
	word, failure := readStatus(e.status)
	s := storedSignal{
		meta: SignalMeta{
			Status:       enum(lenient.String(word)),
			OEMUpdatedAt: recorded.Time(), RetrievedAt: retrieved.Time(), IngestedAt: ingested.Time(),
		},
		name: copies.Text(e.name), group: copies.Text(e.group), body: copies.Bytes(e.body),
	}
	if code, ok := e.plainCode(); ok {
		s.meta.Code = signals.Code(copies.String(code))
	} else {
		s.meta.Code = e.oddCode()
	}
	if s.meta.RetrievedAt.IsZero() {
		s.meta.RetrievedAt = fetched.Time()
	}
	if s.meta.Status == SignalStatusSuccess || s.meta.Status == "" && failure.IsNull() {
		return s
	}
	s.status = copies.Bytes(e.status)
	s.err = statusErrorV3(signalOperation(s.meta.Code), s.meta.Status, json.RawMessage(failure), a)
	if s.err.Type == "" && s.err.Code == "" {
		s.err.Code = s.meta.Status
	}
	return s
}

// absentFromList describes a signal that a whole list lacks.
const absentFromList = "Smartcar has not stored this signal yet"

var errNoSignals = errors.New("the body holds no signals")

// decodeSignals reads an answer of API v3: a list of signals, a single one, or
// one without an envelope, as answered before v3 was released.
func decodeSignals(a *answer) (*Signals, error) {
	set, err := readSignals(a)
	if err != nil {
		return nil, err
	}
	return newSignals(metaFrom(a.header, a.at), set), nil
}

// newSignals are signals with a set of their own.
func newSignals(m Meta, set *signalSet) *Signals {
	own := *set
	return &Signals{Meta: m, set: func() *signalSet { return &own }}
}

// readSignals reads what decodeSignals does, and puts the vehicle that an answer
// includes into a.vehicle.
func readSignals(a *answer) (*signalSet, error) {
	body, _ := lenient.Parse(a.body)
	if !body.IsObject() {
		return nil, errNotObject
	}
	var data, problems, meta, included lenient.Value
	body.Read(
		lenient.Field{Name: "data", To: &data}, lenient.Field{Name: "errors", To: &problems},
		lenient.Field{Name: "meta", To: &meta}, lenient.Field{Name: "included", To: &included},
	)
	switch {
	case data == nil && !problems.IsNull(), data != nil && data.IsNull():
		return nil, errNoSignals
	case data == nil:
		if bare := readEntry(body); !bare.isSignal() {
			return nil, errNoSignals
		}
		data = body
	}
	set := newSignalSet(data, meta.Get("totalCount").Int(), a)
	if len(set.signals) == 0 && !(data.IsList() && data.Len() == 0) {
		return nil, errNoSignals // a list of something else, or nothing at all
	}
	set.absent = absentFromList
	if vehicle := included.Get("vehicle"); vehicle.IsObject() {
		a.vehicle = json.RawMessage(vehicle)
	}
	return set, nil
}

// decodeEventSignals reads data.signals of a webhook's event, which arrived at
// the given time; count is the event's meta.signalCount, or 0. It never fails:
// what cannot be read is not there, and makes the set incomplete.
func decodeEventSignals(read lenient.Value, count int, at time.Time) *Signals {
	set := newSignalSet(read, count, &answer{status: http.StatusOK, header: http.Header{}, at: at})
	set.absent = "the event does not carry this signal: add it to the webhook's data in Smartcar's dashboard"
	return &Signals{Meta: Meta{ReceivedAt: at}, set: func() *signalSet { return set }}
}

// newSignalSet reads a list of entries, or one, in one pass. Of two with the same code
// the last one counts. Total is what was announced, if anything was.
func newSignalSet(list lenient.Value, total int, a *answer) *signalSet {
	const (
		many  = 128 // more than are documented
		block = 1 << 10
	)
	elements := make([]lenient.Value, 0, many)
	for element := range list.Elements() {
		elements = append(elements, element)
	}
	set := &signalSet{requestID: a.header.Get(headerRequestID)}
	copies := lenient.NewCopier(min(block, len(list)))
	ordered := true
	for _, element := range elements {
		entry := readEntry(element)
		if !entry.isEntry() {
			continue
		}
		if set.signals == nil {
			set.signals = make([]storedSignal, 0, len(elements))
		}
		s := entry.stored(a, copies)
		ordered = ordered && (len(set.signals) == 0 || set.signals[len(set.signals)-1].meta.Code < s.meta.Code)
		set.signals = append(set.signals, s)
	}
	set.incomplete = max(total, len(elements)) > len(set.signals)
	if !ordered {
		set.order()
	}
	return set
}

// order sorts by code, and leaves of each code the last.
func (set *signalSet) order() {
	slices.SortStableFunc(set.signals, func(a, b storedSignal) int {
		return strings.Compare(string(a.meta.Code), string(b.meta.Code))
	})
	kept := set.signals[:0]
	for i, s := range set.signals {
		if i+1 == len(set.signals) || set.signals[i+1].meta.Code != s.meta.Code {
			kept = append(kept, s)
		}
	}
	set.signals = kept
}

// statusErrorV3 reads the error beside a status that is not SUCCESS.
func statusErrorV3(op Operation, status string, body json.RawMessage, a *answer) *Error {
	if !isObject(body) {
		body = []byte("{}")
	}
	e := decodeError(op, a.status, a.header, body, a.at)
	if e.Description == "" {
		e.Description = "the status is " + cmp.Or(status, "not given")
	}
	return e
}

func isNull(raw json.RawMessage) bool { return len(raw) == 0 || string(raw) == "null" }

// readSignal makes a T of the body of a signal.
func readSignal[T any](set *signalSet, code signals.Code, build func(body lenient.Value, m SignalMeta) *T) (*T, error) {
	stored, err := set.usable(code)
	if err != nil {
		return nil, err
	}
	if !stored.body.IsObject() {
		return nil, set.unreadable(code)
	}
	return build(stored.body, stored.meta), nil
}

// readSignalInto makes a T of the body of a signal that is decoded into a W.
func readSignalInto[W, T any](set *signalSet, code signals.Code, build func(*W, SignalMeta) *T) (*T, error) {
	return readSignal(set, code, func(body lenient.Value, m SignalMeta) *T {
		w := new(W)
		_ = json.Unmarshal(body, w) // an object, and the fields of W are lenient: cannot fail
		return build(w, m)
	})
}

func (set *signalSet) unreadable(code signals.Code) error {
	return &Error{
		Operation: signalOperation(code), StatusCode: http.StatusOK, RequestID: set.requestID,
		Description: "the body of the signal is not a JSON object",
	}
}

// What a tire can hold, in kPa: 10 kPa is flat, and no truck's has 20 bar.
const (
	leastPressure = 10
	mostPressure  = 2000
	// noPressure is what some cars send in place of a pressure that is not known.
	noPressure = 699.9
)

// notSentinel is nil for noPressure, and otherwise the pressure.
func notSentinel(pressure *float64) *float64 {
	if pressure == nil || *pressure == noPressure || *pressure < 0 {
		return nil
	}
	return pressure
}

// inKilopascals is a pressure in kPa; u is kPa where none is named.
func inKilopascals(pressure float64, u Unit) float64 {
	return *inUnits(Metric, &pressure, u)
}

// canBe reports whether a tire can have the pressure. Zero, which is the same in
// every unit, it can.
func canBe(pressure float64, u Unit) bool {
	kPa := inKilopascals(pressure, u)
	return pressure == 0 || leastPressure <= kPa && kPa <= mostPressure
}

// believe corrects the unit of pressures that a tire cannot have. Some makes label kPa
// as bar, and the reverse; a tire's pressure is below 20 in bar and above 10 in kPa.
// So a number up to 10 is bar, and one from 20 on is kPa; from 10 to 20 the label
// counts. A pressure that a tire cannot have in either unit is dropped. A label that
// names no unit of pressure says nothing, as if there were none.
func (s *TiresSignal) believe() {
	if s.Unit != UnitBars && s.Unit != UnitPSI {
		s.Unit = UnitKilopascals
	}
	other, known := map[Unit]Unit{UnitBars: UnitKilopascals, UnitKilopascals: UnitBars}[s.Unit]
	as, unlike := 0, 0
	for i := range s.Tires {
		p := notSentinel(s.Tires[i].Pressure)
		s.Tires[i].Pressure = p
		switch {
		case p == nil || *p == 0:
		case canBe(*p, s.Unit):
			as++
		case known && canBe(*p, other):
			unlike++
		}
	}
	if unlike > as {
		s.Unit, other = other, s.Unit
	}
	for i := range s.Tires {
		p := s.Tires[i].Pressure
		switch {
		case p == nil || canBe(*p, s.Unit):
		case known && canBe(*p, other): // one tire's label alone is wrong
			s.Tires[i].Pressure = new(fromKilopascals(inKilopascals(*p, other), s.Unit))
		default:
			s.Tires[i].Pressure = nil
		}
	}
}

// fromKilopascals is a pressure in u, which is kPa or bar.
func fromKilopascals(kPa float64, u Unit) float64 {
	if u == UnitBars {
		return kPa / 100
	}
	return kPa
}

// ChargeLimitsSignal is how far the car will charge.
type ChargeLimitsSignal struct {
	SignalMeta
	Limits []ChargeLimitRule
	Active *float64 // the limit in force; nil while the car is not plugged in
	Unit   Unit     // percent, 0 to 100
}

// A ChargeLimitRule is a limit and when it applies.
type ChargeLimitRule struct {
	Type      string           // ChargeRuleGlobal, ...
	Limit     *float64         // in the Unit of the signal: percent, 0 to 100
	Condition *ChargeCondition // nil for one that always applies
}

// A ChargeCondition says where, or with which connector, a rule applies.
type ChargeCondition struct {
	ChargePlace
	ConnectorType string // empty if not known
}

// A ChargePlace is where cars are charged.
type ChargePlace struct {
	Name      *string
	Address   *string
	Latitude  *float64 // degrees, -90 to 90
	Longitude *float64 // degrees, -180 to 180
}

// ChargeRecordsSignal lists past charging.
type ChargeRecordsSignal struct {
	SignalMeta
	Records []ChargeRecord
}

// A ChargeRecord is one time that the car was charged.
type ChargeRecord struct {
	ID            string
	StartTime     time.Time    // zero if not known
	EndTime       time.Time    // zero if not known, or not over
	EnergyAdded   *float64     // kWh
	StartPercent  *float64     // 0 to 100
	EndPercent    *float64     // 0 to 100
	ConnectorType string       // empty if not known
	PublicCharger *bool        // whether anybody can charge there
	Cost          *ChargeCost  // nil if not known
	Location      *ChargePlace // nil if not known
}

// ChargeCost is what charging cost.
type ChargeCost struct {
	Currency string   // such as EUR
	Energy   *float64 // in Currency, for the energy
	Other    *float64 // in Currency, for anything else
}

// ChargeTimersSignal lists when the car is to charge.
type ChargeTimersSignal struct {
	SignalMeta
	Timers []ChargeTimer
}

// A ChargeTimer is when the car is to charge or to be ready.
type ChargeTimer struct {
	Type            string // ChargeRuleGlobal, ...
	ScheduleType    string // DAILY, WEEKLY, WORKWEEK; empty if not known
	ScheduleID      string // empty if not known
	Condition       *ChargeCondition
	Schedules       []ChargeWindow
	DepartureTimers []DepartureTimer
	OEMOptimized    *bool // whether the make moves charging to when it is cheaper
}

// A ChargeWindow is a time of day in which the car may charge.
type ChargeWindow struct {
	Start string   // "HH:MM:SS", the car's local time
	End   string   // the same; before Start it is on the next day
	Days  []string // MONDAY, ...; none means not known
}

// A DepartureTimer is when the car is to be ready.
type DepartureTimer struct {
	Time string   // "HH:MM:SS", the car's local time
	Days []string // MONDAY, ...; none means not known
}
