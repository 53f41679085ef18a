package smartcar

import (
	"github.com/seed-498a1bc4/smartcar/internal/lenient"
	"github.com/seed-498a1bc4/smartcar/signals"
)

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

func chargeLimitsSignal(s *Signals, code signals.Code) (*ChargeLimitsSignal, error) {
	type body struct {
		Values lenient.List[struct {
			Type      lenient.String                    `json:"type"`
			Limit     lenient.Float                     `json:"limit"`
			Condition lenient.Object[chargeConditionV3] `json:"condition"`
		}] `json:"values"`
		Active lenient.Float  `json:"activeLimit"`
		Unit   lenient.String `json:"unit"`
	}
	return readSignal(s, code, func(w *body, m SignalMeta) *ChargeLimitsSignal {
		r := &ChargeLimitsSignal{SignalMeta: m, Active: w.Active.Value, Unit: unit(w.Unit, UnitPercent)}
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

func chargeRecordsSignal(s *Signals, code signals.Code) (*ChargeRecordsSignal, error) {
	type body struct {
		Values lenient.List[chargeRecordV3] `json:"values"`
	}
	return readSignal(s, code, func(w *body, m SignalMeta) *ChargeRecordsSignal {
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

func chargeTimersSignal(s *Signals, code signals.Code) (*ChargeTimersSignal, error) {
	type body struct {
		Values lenient.List[chargeTimerV3] `json:"values"`
	}
	return readSignal(s, code, func(w *body, m SignalMeta) *ChargeTimersSignal {
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

func serviceRecordsSignal(s *Signals, code signals.Code) (*ServiceRecordsSignal, error) {
	type body struct {
		Values lenient.List[serviceRecordV3] `json:"values"`
	}
	return readSignal(s, code, func(w *body, m SignalMeta) *ServiceRecordsSignal {
		r := &ServiceRecordsSignal{SignalMeta: m, Records: make([]ServiceRecord, 0, len(w.Values))}
		for _, v := range w.Values {
			r.Records = append(r.Records, v.record())
		}
		return r
	})
}
