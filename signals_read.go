package smartcar

import (
	"cmp"
	"strings"

	"github.com/seed-498a1bc4/smartcar/internal/lenient"
	"github.com/seed-498a1bc4/smartcar/signals"
)

// The plain shapes of signals, as the generated accessors use them.

func numberSignal(set *signalSet, code signals.Code) (*NumberSignal, error) {
	return readSignal(set, code, func(body lenient.Value, m SignalMeta) *NumberSignal {
		var value, named lenient.Value
		body.Read(lenient.Field{Name: "value", To: &value}, lenient.Field{Name: "unit", To: &named})
		return &NumberSignal{SignalMeta: m, Value: value.Float(), Unit: unitOf(named, documentedUnit(code))}
	})
}

func boolSignal(set *signalSet, code signals.Code) (*BoolSignal, error) {
	return readSignal(set, code, func(body lenient.Value, m SignalMeta) *BoolSignal {
		var value, isOpen lenient.Value // isOpen: of the flap of a charge port, as one client reads it
		body.Read(lenient.Field{Name: "value", To: &value}, lenient.Field{Name: "isOpen", To: &isOpen})
		return &BoolSignal{SignalMeta: m, Value: cmp.Or(value.Bool(), isOpen.Bool())}
	})
}

func textSignal(set *signalSet, code signals.Code) (*TextSignal, error) {
	return readSignal(set, code, func(body lenient.Value, m SignalMeta) *TextSignal {
		value := body.Get("value")
		t := &TextSignal{SignalMeta: m}
		if value.IsNull() || value.IsObject() || value.IsList() {
			return t
		}
		text := value.Text() // may be empty
		if code == signals.VehicleIdentificationNickname || !isNoWord(text) {
			t.Value = &text
		}
		return t
	})
}

// isNoWord reports whether a text is "invalid" or "<invalid>", which some makes send for
// no value, such as for the connector of a car that is not plugged in.
func isNoWord(text string) bool { return strings.EqualFold(strings.Trim(text, "<> "), "invalid") }

// wordSignal is a text that makes spell in either case.
func wordSignal(set *signalSet, code signals.Code) (*TextSignal, error) {
	t, err := textSignal(set, code)
	if err == nil && t.Value != nil {
		*t.Value = enum(lenient.String(*t.Value))
	}
	return t, err
}

func listSignal(set *signalSet, code signals.Code) (*ListSignal, error) {
	return readSignal(set, code, func(body lenient.Value, m SignalMeta) *ListSignal {
		values := body.Get("values")
		r := &ListSignal{SignalMeta: m, Values: make([]string, 0, values.Len())}
		for v := range values.Elements() {
			if text := v.Text(); text != "" {
				r.Values = append(r.Values, text)
			}
		}
		return r
	})
}

func diagnosticSignal(set *signalSet, code signals.Code) (*DiagnosticSignal, error) {
	return readSignal(set, code, func(body lenient.Value, m SignalMeta) *DiagnosticSignal {
		var status, description lenient.Value
		body.Read(lenient.Field{Name: "status", To: &status}, lenient.Field{Name: "description", To: &description})
		return &DiagnosticSignal{SignalMeta: m, State: word(status), Description: description.Text()}
	})
}

func troubleCodesSignal(set *signalSet, code signals.Code) (*TroubleCodesSignal, error) {
	type body struct {
		Values lenient.List[struct {
			Code      lenient.String `json:"code"`
			Timestamp lenient.Time   `json:"timestamp"`
		}] `json:"values"`
	}
	return readSignalInto(set, code, func(w *body, m SignalMeta) *TroubleCodesSignal {
		r := &TroubleCodesSignal{SignalMeta: m, Codes: make([]TroubleCode, 0, len(w.Values))}
		for _, v := range w.Values {
			r.Codes = append(r.Codes, TroubleCode{Code: string(v.Code), At: v.Timestamp.Time})
		}
		return r
	})
}

func closureSignal(set *signalSet, code signals.Code) (*ClosureSignal, error) {
	return readSignal(set, code, func(body lenient.Value, m SignalMeta) *ClosureSignal {
		var isOpen, value, isLocked lenient.Value // value: as other signals have it
		body.Read(
			lenient.Field{Name: "isOpen", To: &isOpen}, lenient.Field{Name: "value", To: &value}, lenient.Field{Name: "isLocked", To: &isLocked},
		)
		return &ClosureSignal{SignalMeta: m, Open: cmp.Or(isOpen.Bool(), value.Bool()), Locked: isLocked.Bool()}
	})
}

// gridV3 is the place of a door, window or tire in the rows and columns of the car.
type gridV3 struct {
	Row    lenient.Float `json:"row"`
	Column lenient.Float `json:"column"`
}

func (w gridV3) position() (row, column int) { return gridIndex(w.Row), gridIndex(w.Column) }

// gridIndex is -1 for what is not known: 0 would be the front left.
func gridIndex(f lenient.Float) int {
	if f.Value == nil || *f.Value < 0 || *f.Value > 1000 {
		return -1
	}
	return int(*f.Value)
}

type gridSizeV3 struct {
	RowCount    lenient.Int `json:"rowCount"`
	ColumnCount lenient.Int `json:"columnCount"`
}

type closureStateV3 struct {
	gridV3
	IsOpen   lenient.Bool `json:"isOpen"`
	IsLocked lenient.Bool `json:"isLocked"`
}

func closuresSignal(set *signalSet, code signals.Code) (*ClosuresSignal, error) {
	type body struct {
		gridSizeV3
		Values  lenient.List[closureStateV3] `json:"values"`
		Doors   lenient.List[closureStateV3] `json:"doors"` // in examples of the specification
		Windows lenient.List[closureStateV3] `json:"windows"`
	}
	return readSignalInto(set, code, func(w *body, m SignalMeta) *ClosuresSignal {
		r := &ClosuresSignal{SignalMeta: m, Rows: int(w.RowCount), Columns: int(w.ColumnCount)}
		for _, list := range []lenient.List[closureStateV3]{w.Values, w.Doors, w.Windows} {
			for _, v := range list {
				row, column := v.position()
				r.Closures = append(r.Closures, ClosureState{Row: row, Column: column, Open: v.IsOpen.Value, Locked: v.IsLocked.Value})
			}
		}
		return r
	})
}

func tiresSignal(set *signalSet, code signals.Code) (*TiresSignal, error) {
	type tire struct {
		gridV3
		Pressure lenient.Float `json:"tirePressure"`
	}
	type body struct {
		gridSizeV3
		Values lenient.List[tire] `json:"values"`
		Unit   lenient.String     `json:"unit"`
	}
	return readSignalInto(set, code, func(w *body, m SignalMeta) *TiresSignal {
		r := &TiresSignal{SignalMeta: m, Rows: int(w.RowCount), Columns: int(w.ColumnCount), Unit: unit(w.Unit, documentedUnit(code))}
		for _, v := range w.Values {
			row, column := v.position()
			r.Tires = append(r.Tires, TireState{Row: row, Column: column, Pressure: v.Pressure.Value})
		}
		r.believe()
		return r
	})
}

func locationSignal(set *signalSet, code signals.Code) (*LocationSignal, error) {
	return readSignal(set, code, func(body lenient.Value, m SignalMeta) *LocationSignal {
		var latitude, longitude, heading, direction, kind lenient.Value
		body.Read(
			lenient.Field{Name: "latitude", To: &latitude}, lenient.Field{Name: "longitude", To: &longitude},
			lenient.Field{Name: "heading", To: &heading}, lenient.Field{Name: "direction", To: &direction}, lenient.Field{Name: "locationType", To: &kind},
		)
		return &LocationSignal{
			SignalMeta: m, Latitude: latitude.Float(), Longitude: longitude.Float(), Heading: heading.Float(),
			Direction: word(direction), Type: word(kind),
		}
	})
}

func driveModeSignal(set *signalSet, code signals.Code) (*DriveModeSignal, error) {
	return readSignal(set, code, func(body lenient.Value, m SignalMeta) *DriveModeSignal {
		var canonical, name lenient.Value
		body.Read(lenient.Field{Name: "canonical", To: &canonical}, lenient.Field{Name: "oemDisplayName", To: &name})
		return &DriveModeSignal{SignalMeta: m, Canonical: word(canonical), OEMName: name.Text()}
	})
}

func rangeSignal(set *signalSet, code signals.Code) (*RangeSignal, error) {
	type body struct {
		Value      lenient.Float  `json:"value"`
		Type       lenient.String `json:"type"`
		Unit       lenient.String `json:"unit"`
		Additional lenient.List[struct {
			Type  lenient.String `json:"type"`
			Value lenient.Float  `json:"value"`
		}] `json:"additionalValues"`
	}
	return readSignalInto(set, code, func(w *body, m SignalMeta) *RangeSignal {
		r := &RangeSignal{SignalMeta: m, Value: w.Value.Value, Type: enum(w.Type), Unit: unit(w.Unit, documentedUnit(code))}
		for _, v := range w.Additional {
			r.Additional = append(r.Additional, RangeEstimate{Type: enum(v.Type), Value: v.Value.Value})
		}
		return r
	})
}

func nominalCapacitySignal(set *signalSet, code signals.Code) (*NominalCapacitySignal, error) {
	type body struct {
		Capacity  lenient.Float  `json:"capacity"`
		Source    lenient.String `json:"source"`
		Unit      lenient.String `json:"unit"`
		Available lenient.List[struct {
			Capacity    lenient.Float  `json:"capacity"`
			Description lenient.String `json:"description"`
		}] `json:"availableCapacities"`
	}
	return readSignalInto(set, code, func(w *body, m SignalMeta) *NominalCapacitySignal {
		r := &NominalCapacitySignal{SignalMeta: m, Capacity: w.Capacity.Value, Source: enum(w.Source), Unit: unit(w.Unit, documentedUnit(code))}
		for _, v := range w.Available {
			r.Available = append(r.Available, CapacityOption{Capacity: v.Capacity.Value, Description: string(v.Description)})
		}
		return r
	})
}

// The signals of charging and service that are lists of records.

type chargePlaceV3 struct {
	Name      textV3        `json:"name"`
	Address   textV3        `json:"address"`
	Latitude  lenient.Float `json:"latitude"`
	Longitude lenient.Float `json:"longitude"`
}

func (w chargePlaceV3) place() ChargePlace {
	return ChargePlace{Name: w.Name.Value, Address: w.Address.Value, Latitude: w.Latitude.Value, Longitude: w.Longitude.Value}
}

// textV3 is a text or nothing.
type textV3 struct{ Value *string }

// UnmarshalJSON never fails.
func (t *textV3) UnmarshalJSON(b []byte) error {
	var s lenient.String
	_ = s.UnmarshalJSON(b)
	t.Value = nil
	if s != "" {
		t.Value = new(string(s))
	}
	return nil
}

// connectorV3 is a connector, which newer answers call the type of charging.
type connectorV3 struct {
	ConnectorType lenient.String `json:"connectorType"`
	ChargingType  lenient.String `json:"chargingType"`
}

func (w connectorV3) connector() string {
	for _, text := range []lenient.String{w.ConnectorType, w.ChargingType} {
		if text != "" && !isNoWord(string(text)) {
			return string(text)
		}
	}
	return ""
}

type chargeConditionV3 struct {
	chargePlaceV3
	connectorV3
}

func chargeCondition(w lenient.Object[chargeConditionV3]) *ChargeCondition {
	if !w.Present {
		return nil
	}
	return &ChargeCondition{ChargePlace: w.Value.place(), ConnectorType: w.Value.connector()}
}

func chargeLimitsSignal(set *signalSet, code signals.Code) (*ChargeLimitsSignal, error) {
	type body struct {
		Values lenient.List[struct {
			Type      lenient.String                    `json:"type"`
			Limit     lenient.Float                     `json:"limit"`
			Condition lenient.Object[chargeConditionV3] `json:"condition"`
		}] `json:"values"`
		Active lenient.Float  `json:"activeLimit"`
		Unit   lenient.String `json:"unit"`
	}
	return readSignalInto(set, code, func(w *body, m SignalMeta) *ChargeLimitsSignal {
		r := &ChargeLimitsSignal{SignalMeta: m, Active: w.Active.Value, Unit: unit(w.Unit, documentedUnit(code))}
		for _, v := range w.Values {
			r.Limits = append(r.Limits, ChargeLimitRule{Type: enum(v.Type), Limit: v.Limit.Value, Condition: chargeCondition(v.Condition)})
		}
		return r
	})
}

type chargeRecordV3 struct {
	connectorV3
	ID              lenient.String `json:"id"`
	StartTime       lenient.Time   `json:"startTime"`
	EndTime         lenient.Time   `json:"endTime"`
	EnergyAdded     lenient.Float  `json:"energyAdded"`
	StartCharge     lenient.Float  `json:"startStateOfCharge"`
	EndCharge       lenient.Float  `json:"endStateOfCharge"`
	IsPublicCharger lenient.Bool   `json:"isPublicCharger"`
	Cost            lenient.Object[struct {
		Currency lenient.String `json:"currency"`
		Energy   lenient.Float  `json:"energyAmount"`
		Other    lenient.Float  `json:"otherAmount"`
	}] `json:"cost"`
	Location lenient.Object[chargePlaceV3] `json:"location"`
}

func (w chargeRecordV3) record() ChargeRecord {
	r := ChargeRecord{
		ID: string(w.ID), StartTime: w.StartTime.Time, EndTime: w.EndTime.Time, EnergyAdded: w.EnergyAdded.Value,
		StartPercent: w.StartCharge.Value, EndPercent: w.EndCharge.Value,
		ConnectorType: w.connector(), PublicCharger: w.IsPublicCharger.Value,
	}
	if c := w.Cost; c.Present {
		r.Cost = &ChargeCost{Currency: string(c.Value.Currency), Energy: c.Value.Energy.Value, Other: c.Value.Other.Value}
	}
	if w.Location.Present {
		r.Location = new(w.Location.Value.place())
	}
	return r
}

func chargeRecordsSignal(set *signalSet, code signals.Code) (*ChargeRecordsSignal, error) {
	type body struct {
		Values lenient.List[chargeRecordV3] `json:"values"`
	}
	return readSignalInto(set, code, func(w *body, m SignalMeta) *ChargeRecordsSignal {
		r := &ChargeRecordsSignal{SignalMeta: m, Records: make([]ChargeRecord, 0, len(w.Values))}
		for _, v := range w.Values {
			r.Records = append(r.Records, v.record())
		}
		return r
	})
}

type chargeTimerV3 struct {
	Type         lenient.String                    `json:"type"`
	ScheduleType lenient.String                    `json:"scheduleType"`
	ScheduleID   lenient.String                    `json:"scheduleId"`
	Condition    lenient.Object[chargeConditionV3] `json:"condition"`
	Schedules    lenient.List[struct {
		Start lenient.String               `json:"start"`
		End   lenient.String               `json:"end"`
		Days  lenient.List[lenient.String] `json:"days"`
	}] `json:"schedules"`
	DepartureTimers lenient.List[struct {
		Time lenient.String               `json:"time"`
		Days lenient.List[lenient.String] `json:"days"`
	}] `json:"departureTimers"`
	Optimized lenient.Bool `json:"isOEMOptimizationEnabled"`
}

func (w chargeTimerV3) timer() ChargeTimer {
	t := ChargeTimer{
		Type: enum(w.Type), ScheduleType: enum(w.ScheduleType), ScheduleID: string(w.ScheduleID),
		Condition: chargeCondition(w.Condition), OEMOptimized: w.Optimized.Value,
	}
	for _, v := range w.Schedules {
		t.Schedules = append(t.Schedules, ChargeWindow{Start: string(v.Start), End: string(v.End), Days: weekdays(v.Days)})
	}
	for _, v := range w.DepartureTimers {
		t.DepartureTimers = append(t.DepartureTimers, DepartureTimer{Time: string(v.Time), Days: weekdays(v.Days)})
	}
	return t
}

func weekdays(list lenient.List[lenient.String]) (days []string) {
	for _, d := range list {
		days = append(days, enum(d))
	}
	return days
}

func chargeTimersSignal(set *signalSet, code signals.Code) (*ChargeTimersSignal, error) {
	type body struct {
		Values lenient.List[chargeTimerV3] `json:"values"`
	}
	return readSignalInto(set, code, func(w *body, m SignalMeta) *ChargeTimersSignal {
		r := &ChargeTimersSignal{SignalMeta: m, Timers: make([]ChargeTimer, 0, len(w.Values))}
		for _, v := range w.Values {
			r.Timers = append(r.Timers, v.timer())
		}
		return r
	})
}

type noteV3 struct {
	ID          lenient.String `json:"id"`
	Description lenient.String `json:"description"`
}

type serviceRecordV3 struct {
	ID       lenient.String       `json:"id"`
	Time     lenient.Time         `json:"time"`
	Odometer lenient.Float        `json:"odometer"`
	Tasks    lenient.List[noteV3] `json:"tasks"`
	Details  lenient.List[noteV3] `json:"details"`
	Cost     lenient.Object[struct {
		Amount   lenient.Float  `json:"amount"`
		Currency lenient.String `json:"currency"`
	}] `json:"cost"`
}

func (w serviceRecordV3) record() ServiceRecord {
	r := ServiceRecord{
		ID: string(w.ID), Odometer: w.Odometer.Value, Date: w.Time.Time,
		Cost: w.Cost.Value.Amount.Value, Currency: string(w.Cost.Value.Currency),
	}
	for _, t := range w.Tasks {
		r.Tasks = append(r.Tasks, ServiceTask{ID: string(t.ID), Description: string(t.Description)})
	}
	for _, d := range w.Details {
		r.Details = append(r.Details, ServiceDetail{Type: string(d.ID), Value: string(d.Description)})
	}
	return r
}

func serviceRecordsSignal(set *signalSet, code signals.Code) (*ServiceRecordsSignal, error) {
	type body struct {
		Values lenient.List[serviceRecordV3] `json:"values"`
	}
	return readSignalInto(set, code, func(w *body, m SignalMeta) *ServiceRecordsSignal {
		r := &ServiceRecordsSignal{SignalMeta: m, Records: make([]ServiceRecord, 0, len(w.Values))}
		for _, v := range w.Values {
			r.Records = append(r.Records, v.record())
		}
		return r
	})
}
