package smartcar

import (
	"cmp"
	"encoding/json"
	"strings"

	"github.com/seed-498a1bc4/smartcar/internal/lenient"
	"github.com/seed-498a1bc4/smartcar/signals"
)

// The plain shapes of signals, as the generated accessors use them.

func numberSignal(s *Signals, code signals.Code, assumed Unit) (*NumberSignal, error) {
	type body struct {
		Value lenient.Float  `json:"value"`
		Unit  lenient.String `json:"unit"`
	}
	return readSignal(s, code, func(w *body, m SignalMeta) *NumberSignal {
		return &NumberSignal{SignalMeta: m, Value: w.Value.Value, Unit: unit(w.Unit, assumed)}
	})
}

func boolSignal(s *Signals, code signals.Code) (*BoolSignal, error) {
	type body struct {
		Value  lenient.Bool `json:"value"`
		IsOpen lenient.Bool `json:"isOpen"` // of the flap of a charge port, as one client reads it
	}
	return readSignal(s, code, func(w *body, m SignalMeta) *BoolSignal {
		return &BoolSignal{SignalMeta: m, Value: cmp.Or(w.Value.Value, w.IsOpen.Value)}
	})
}

type textBodyV3 struct {
	Value json.RawMessage `json:"value"`
}

// text is nil for null and for what is no scalar, but not for an empty text.
func (w *textBodyV3) text() *string {
	if isNull(w.Value) || w.Value[0] == '{' || w.Value[0] == '[' {
		return nil
	}
	var s lenient.String
	_ = s.UnmarshalJSON(w.Value)
	return new(string(s))
}

func textSignal(s *Signals, code signals.Code) (*TextSignal, error) {
	return readSignal(s, code, func(w *textBodyV3, m SignalMeta) *TextSignal {
		value := w.text()
		if value != nil && code != signals.VehicleIdentificationNickname && isNoWord(*value) {
			value = nil
		}
		return &TextSignal{SignalMeta: m, Value: value}
	})
}

// isNoWord: some makes say "invalid" or "<invalid>" where there is nothing to say,
// as for the connector of a car that is not plugged in.
func isNoWord(text string) bool { return strings.EqualFold(strings.Trim(text, "<> "), "invalid") }

// wordSignal is a text that makes spell in either case.
func wordSignal(s *Signals, code signals.Code) (*TextSignal, error) {
	t, err := textSignal(s, code)
	if err == nil && t.Value != nil {
		*t.Value = enum(lenient.String(*t.Value))
	}
	return t, err
}

func listSignal(s *Signals, code signals.Code) (*ListSignal, error) {
	type body struct {
		Values lenient.List[lenient.String] `json:"values"`
	}
	return readSignal(s, code, func(w *body, m SignalMeta) *ListSignal {
		r := &ListSignal{SignalMeta: m, Values: make([]string, 0, len(w.Values))}
		for _, v := range w.Values {
			if v != "" {
				r.Values = append(r.Values, string(v))
			}
		}
		return r
	})
}

func diagnosticSignal(s *Signals, code signals.Code) (*DiagnosticSignal, error) {
	type body struct {
		Status      lenient.String `json:"status"`
		Description lenient.String `json:"description"`
	}
	return readSignal(s, code, func(w *body, m SignalMeta) *DiagnosticSignal {
		return &DiagnosticSignal{SignalMeta: m, State: enum(w.Status), Description: string(w.Description)}
	})
}

func troubleCodesSignal(s *Signals, code signals.Code) (*TroubleCodesSignal, error) {
	type body struct {
		Values lenient.List[struct {
			Code      lenient.String `json:"code"`
			Timestamp lenient.Time   `json:"timestamp"`
		}] `json:"values"`
	}
	return readSignal(s, code, func(w *body, m SignalMeta) *TroubleCodesSignal {
		r := &TroubleCodesSignal{SignalMeta: m, Codes: make([]TroubleCode, 0, len(w.Values))}
		for _, v := range w.Values {
			r.Codes = append(r.Codes, TroubleCode{Code: string(v.Code), At: v.Timestamp.Time})
		}
		return r
	})
}

func closureSignal(s *Signals, code signals.Code) (*ClosureSignal, error) {
	type body struct {
		IsOpen   lenient.Bool `json:"isOpen"`
		Value    lenient.Bool `json:"value"` // as other signals have it
		IsLocked lenient.Bool `json:"isLocked"`
	}
	return readSignal(s, code, func(w *body, m SignalMeta) *ClosureSignal {
		return &ClosureSignal{SignalMeta: m, Open: cmp.Or(w.IsOpen.Value, w.Value.Value), Locked: w.IsLocked.Value}
	})
}

// gridV3 is where something stands in the car.
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

func closuresSignal(s *Signals, code signals.Code) (*ClosuresSignal, error) {
	type body struct {
		gridSizeV3
		Values  lenient.List[closureStateV3] `json:"values"`
		Doors   lenient.List[closureStateV3] `json:"doors"` // in examples of the specification
		Windows lenient.List[closureStateV3] `json:"windows"`
	}
	return readSignal(s, code, func(w *body, m SignalMeta) *ClosuresSignal {
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

func tiresSignal(s *Signals, code signals.Code) (*TiresSignal, error) {
	type tire struct {
		gridV3
		Pressure lenient.Float `json:"tirePressure"`
	}
	type body struct {
		gridSizeV3
		Values lenient.List[tire] `json:"values"`
		Unit   lenient.String     `json:"unit"`
	}
	return readSignal(s, code, func(w *body, m SignalMeta) *TiresSignal {
		r := &TiresSignal{SignalMeta: m, Rows: int(w.RowCount), Columns: int(w.ColumnCount), Unit: unit(w.Unit, "")}
		for _, v := range w.Values {
			row, column := v.position()
			r.Tires = append(r.Tires, TireState{Row: row, Column: column, Pressure: v.Pressure.Value})
		}
		r.believe()
		return r
	})
}

func locationSignal(s *Signals, code signals.Code) (*LocationSignal, error) {
	type body struct {
		Latitude  lenient.Float  `json:"latitude"`
		Longitude lenient.Float  `json:"longitude"`
		Heading   lenient.Float  `json:"heading"`
		Direction lenient.String `json:"direction"`
		Type      lenient.String `json:"locationType"`
	}
	return readSignal(s, code, func(w *body, m SignalMeta) *LocationSignal {
		return &LocationSignal{
			SignalMeta: m, Latitude: w.Latitude.Value, Longitude: w.Longitude.Value, Heading: w.Heading.Value,
			Direction: enum(w.Direction), Type: enum(w.Type),
		}
	})
}

func driveModeSignal(s *Signals, code signals.Code) (*DriveModeSignal, error) {
	type body struct {
		Canonical lenient.String `json:"canonical"`
		OEMName   lenient.String `json:"oemDisplayName"`
	}
	return readSignal(s, code, func(w *body, m SignalMeta) *DriveModeSignal {
		return &DriveModeSignal{SignalMeta: m, Canonical: enum(w.Canonical), OEMName: string(w.OEMName)}
	})
}

func rangeSignal(s *Signals, code signals.Code) (*RangeSignal, error) {
	type body struct {
		Value      lenient.Float  `json:"value"`
		Type       lenient.String `json:"type"`
		Unit       lenient.String `json:"unit"`
		Additional lenient.List[struct {
			Type  lenient.String `json:"type"`
			Value lenient.Float  `json:"value"`
		}] `json:"additionalValues"`
	}
	return readSignal(s, code, func(w *body, m SignalMeta) *RangeSignal {
		r := &RangeSignal{SignalMeta: m, Value: w.Value.Value, Type: enum(w.Type), Unit: unit(w.Unit, "")}
		for _, v := range w.Additional {
			r.Additional = append(r.Additional, RangeEstimate{Type: enum(v.Type), Value: v.Value.Value})
		}
		return r
	})
}

func nominalCapacitySignal(s *Signals, code signals.Code) (*NominalCapacitySignal, error) {
	type body struct {
		Capacity  lenient.Float  `json:"capacity"`
		Source    lenient.String `json:"source"`
		Unit      lenient.String `json:"unit"`
		Available lenient.List[struct {
			Capacity    lenient.Float  `json:"capacity"`
			Description lenient.String `json:"description"`
		}] `json:"availableCapacities"`
	}
	return readSignal(s, code, func(w *body, m SignalMeta) *NominalCapacitySignal {
		r := &NominalCapacitySignal{SignalMeta: m, Capacity: w.Capacity.Value, Source: enum(w.Source), Unit: unit(w.Unit, UnitKilowattHours)}
		for _, v := range w.Available {
			r.Available = append(r.Available, CapacityOption{Capacity: v.Capacity.Value, Description: string(v.Description)})
		}
		return r
	})
}
