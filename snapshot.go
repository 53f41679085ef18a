package smartcar

import (
	"context"
	"fmt"
	"io"
	"iter"
	"slices"
)

// A Snapshot is the answer to many reads in one request: for each operation a
// result or an error of its own. Its methods are those of [Vehicle]. It is
// safe for concurrent use.
type Snapshot struct {
	core  *core
	parts func() []part // a function, so that no verb of fmt prints them
}

// Snapshot reads several things in one request, which is one turn of a keyless
// car; each of them still counts against the plan's monthly allowance. It
// returns an error only if the request as a whole failed; what one operation
// met is in the snapshot. Operations named twice are asked for once.
//
// https://smartcar.com/docs/api-reference/batch
func (v *Vehicle) Snapshot(ctx context.Context, want ...Operation) (*Snapshot, error) {
	if len(want) == 0 {
		return nil, argumentError("Snapshot", "needs at least one operation, such as smartcar.Battery")
	}
	ops := make([]operation, 0, len(want))
	for i, op := range want {
		row := lookup(op)
		if len(row) == 0 || !row[0].isRead() {
			return nil, argumentError("Snapshot", notARead(op))
		}
		if !slices.Contains(want[:i], op) {
			ops = append(ops, row[0])
		}
	}
	parts, err := v.read(ctx, opSnapshot, ops, nil)
	if err != nil {
		return nil, err
	}
	return &Snapshot{core: v.core, parts: func() []part { return parts }}, nil
}

// notARead names what is asked for if it is known: else it could be anything.
func notARead(op Operation) string {
	if len(lookup(op)) == 0 {
		return "takes reads such as smartcar.Battery, and one of the operations is unknown"
	}
	return "takes reads such as smartcar.Battery; " + string(op) + " is a command and has a method of its own"
}

// Operations yields what was asked for, with the error each met, if any.
func (s *Snapshot) Operations() iter.Seq2[Operation, error] {
	return func(yield func(Operation, error) bool) {
		for _, p := range s.all() {
			if !yield(p.op.name, p.refused) {
				return
			}
		}
	}
}

// Format names the operations and nothing of what they said.
func (s *Snapshot) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, "smartcar.Snapshot[")
	for i, p := range s.all() {
		if i > 0 {
			_, _ = io.WriteString(f, " ")
		}
		_, _ = io.WriteString(f, string(p.op.name))
	}
	_, _ = io.WriteString(f, "]")
}

func (s *Snapshot) all() []part {
	if s == nil || s.parts == nil {
		return nil
	}
	return s.parts()
}

func fromSnapshot[T any](s *Snapshot, op Operation) (*T, error) {
	for _, p := range s.all() {
		if p.op.name == op {
			p.value = nil // decoded anew: callers must not see each other's changes
			return result[T](s.core, &p)
		}
	}
	return nil, fmt.Errorf("%w: %s", ErrNotRequested, op)
}

// Attributes returns what [Vehicle.Attributes] would.
func (s *Snapshot) Attributes() (*AttributesReading, error) {
	return fromSnapshot[AttributesReading](s, Attributes)
}

// VIN returns what [Vehicle.VIN] would.
func (s *Snapshot) VIN() (*VINReading, error) { return fromSnapshot[VINReading](s, VIN) }

// Permissions returns the first page of what [Vehicle.Permissions] would.
func (s *Snapshot) Permissions() ([]string, error) {
	page, err := fromSnapshot[permissionsV2](s, Permissions)
	if err != nil {
		return nil, err
	}
	return page.list(), nil
}

// Odometer returns what [Vehicle.Odometer] would.
func (s *Snapshot) Odometer() (*OdometerReading, error) {
	return fromSnapshot[OdometerReading](s, Odometer)
}

// Location returns what [Vehicle.Location] would.
func (s *Snapshot) Location() (*LocationReading, error) {
	return fromSnapshot[LocationReading](s, Location)
}

// Fuel returns what [Vehicle.Fuel] would.
func (s *Snapshot) Fuel() (*FuelReading, error) { return fromSnapshot[FuelReading](s, Fuel) }

// Battery returns what [Vehicle.Battery] would.
func (s *Snapshot) Battery() (*BatteryReading, error) {
	return fromSnapshot[BatteryReading](s, Battery)
}

// BatteryCapacity returns what [Vehicle.BatteryCapacity] would.
func (s *Snapshot) BatteryCapacity() (*BatteryCapacityReading, error) {
	return fromSnapshot[BatteryCapacityReading](s, BatteryCapacity)
}

// NominalCapacity returns what [Vehicle.NominalCapacity] would.
func (s *Snapshot) NominalCapacity() (*NominalCapacityReading, error) {
	return fromSnapshot[NominalCapacityReading](s, NominalCapacity)
}

// Charge returns what [Vehicle.Charge] would.
func (s *Snapshot) Charge() (*ChargeReading, error) { return fromSnapshot[ChargeReading](s, Charge) }

// ChargeLimit returns what [Vehicle.ChargeLimit] would.
func (s *Snapshot) ChargeLimit() (*ChargeLimitReading, error) {
	return fromSnapshot[ChargeLimitReading](s, ChargeLimit)
}

// TirePressure returns what [Vehicle.TirePressure] would.
func (s *Snapshot) TirePressure() (*TirePressureReading, error) {
	return fromSnapshot[TirePressureReading](s, TirePressure)
}

// EngineOil returns what [Vehicle.EngineOil] would.
func (s *Snapshot) EngineOil() (*EngineOilReading, error) {
	return fromSnapshot[EngineOilReading](s, EngineOil)
}

// LockStatus returns what [Vehicle.LockStatus] would.
func (s *Snapshot) LockStatus() (*LockStatusReading, error) {
	return fromSnapshot[LockStatusReading](s, LockStatus)
}

// ServiceHistory returns what [Vehicle.ServiceHistory] would, for the last year.
func (s *Snapshot) ServiceHistory() (*ServiceHistoryReading, error) {
	return fromSnapshot[ServiceHistoryReading](s, ServiceHistory)
}

// SystemStatus returns what [Vehicle.SystemStatus] would.
func (s *Snapshot) SystemStatus() (*SystemStatusReading, error) {
	return fromSnapshot[SystemStatusReading](s, SystemStatus)
}

// TroubleCodes returns what [Vehicle.TroubleCodes] would.
func (s *Snapshot) TroubleCodes() (*TroubleCodesReading, error) {
	return fromSnapshot[TroubleCodesReading](s, TroubleCodes)
}

// TeslaStatus returns what [Vehicle.TeslaStatus] would.
func (s *Snapshot) TeslaStatus() (*TeslaStatusReading, error) {
	return fromSnapshot[TeslaStatusReading](s, TeslaStatus)
}

// TeslaAttributes returns what [Vehicle.TeslaAttributes] would.
func (s *Snapshot) TeslaAttributes() (*TeslaAttributesReading, error) {
	return fromSnapshot[TeslaAttributesReading](s, TeslaAttributes)
}

// TeslaUserAccess returns what [Vehicle.TeslaUserAccess] would.
func (s *Snapshot) TeslaUserAccess() (*TeslaUserAccessReading, error) {
	return fromSnapshot[TeslaUserAccessReading](s, TeslaUserAccess)
}
