package smartcar

import (
	"encoding/json"
	"github.com/seed-498a1bc4/smartcar/signals"
	"net/http"
	"slices"
	"strings"
)

// decode turns the signals of a part into the neutral results. A signal that
// is missing, or that failed beside others, leaves its fields unknown.
func (wireV3) decode(op *operation, body json.RawMessage, units UnitSystem) (any, error) {
	if op.name == Attributes {
		return decodeAs(body, vehicleV3.reading)
	}
	read, err := decodeSignals(&answer{status: http.StatusOK, body: body, header: http.Header{}})
	if err != nil {
		return nil, err
	}
	if op.name == AllSignals {
		return read, nil
	}
	if len(op.signals) == 0 {
		return nil, &NotSupportedError{Operation: op.name, API: string(V3)}
	}
	if err := read.content().readable(op.signals); err != nil {
		return nil, err
	}
	v := neutralV3{read, units}
	switch op.name {
	case VIN:
		return &VINReading{VIN: deref(v.text(read.VehicleIdentificationVIN()))}, nil
	case Odometer:
		return &OdometerReading{Distance: v.number(read.OdometerTraveledDistance())}, nil
	case Location:
		return v.location()
	case Fuel:
		return &FuelReading{
			Amount:  v.number(read.InternalCombustionEngineAmountRemaining()),
			Percent: v.number(read.InternalCombustionEngineFuelLevel()),
			Range:   v.number(read.InternalCombustionEngineRange()),
		}, nil
	case Battery:
		return v.battery()
	case BatteryCapacity, NominalCapacity:
		return v.capacity(op.name)
	case Charge:
		return v.charge()
	case ChargeLimit:
		return v.chargeLimit()
	case TirePressure:
		return v.tires()
	case EngineOil:
		return &EngineOilReading{LifePercent: v.number(read.InternalCombustionEngineOilLife())}, nil
	case LockStatus:
		return v.lockStatus()
	}
	return v.rest(op)
}

// neutralV3 maps signals to the results that both APIs share.
type neutralV3 struct {
	*Signals
	units UnitSystem
}

func (v neutralV3) rest(op *operation) (any, error) {
	switch op.name {
	case ServiceHistory:
		s, err := v.ServiceRecords()
		if err != nil {
			return nil, err
		}
		return &ServiceHistoryReading{Records: s.Records}, nil
	case SystemStatus:
		return v.systems()
	case TroubleCodes:
		s, err := v.DiagnosticsDTCList()
		if err != nil {
			return nil, err
		}
		return &TroubleCodesReading{Active: s.Codes}, nil
	case TeslaStatus:
		return v.teslaStatus()
	case TeslaAttributes:
		return v.teslaAttributes()
	case TeslaUserAccess:
		r := &TeslaUserAccessReading{AccessType: strings.ToUpper(deref(v.text(v.VehicleUserAccountRole())))}
		if s, err := v.VehicleUserAccountPermissions(); err == nil {
			r.Permissions = s.Values
		}
		return r, nil
	}
	return nil, &NotSupportedError{Operation: op.name, API: string(V3)}
}

func deref[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}

func (v neutralV3) text(s *TextSignal, err error) *string {
	if err != nil {
		return nil
	}
	return s.Value
}

func (v neutralV3) flag(s *BoolSignal, err error) *bool {
	if err != nil {
		return nil
	}
	return s.Value
}

// number is a value in the unit system that was asked for.
func (v neutralV3) number(s *NumberSignal, err error) *float64 {
	if err != nil {
		return nil
	}
	return inUnits(v.units, s.Value, s.Unit)
}

func (v neutralV3) location() (any, error) {
	s, err := v.LocationPreciseLocation()
	if err != nil {
		return nil, err
	}
	return &LocationReading{Latitude: s.Latitude, Longitude: s.Longitude}, nil
}

func (v neutralV3) battery() (any, error) {
	r := &BatteryReading{Percent: v.number(v.TractionBatteryStateOfCharge())}
	if s, err := v.TractionBatteryRange(); err == nil {
		r.Range = inUnits(v.units, s.Value, s.Unit)
	}
	return r, nil
}

func (v neutralV3) capacity(op Operation) (any, error) {
	s, err := v.TractionBatteryNominalCapacity()
	if err != nil {
		return nil, err
	}
	if op == BatteryCapacity {
		return &BatteryCapacityReading{Capacity: s.Capacity}, nil
	}
	return &NominalCapacityReading{Nominal: s.Capacity, Source: s.Source, Available: s.Available}, nil
}

func (v neutralV3) charge() (any, error) {
	r := &ChargeReading{PluggedIn: v.flag(v.ChargeIsChargingCableConnected())}
	is, isErr := v.ChargeIsCharging()
	status, statusErr := v.ChargeDetailedChargingStatus()
	charging, detailed := v.flag(is, isErr), strings.ToUpper(deref(v.text(status, statusErr)))
	if charging != nil && detailed != "" && *charging != (detailed == ChargeStateCharging) &&
		!status.OEMUpdatedAt.IsZero() && status.OEMUpdatedAt.Before(is.OEMUpdatedAt) {
		detailed = "" // outdated: they do not agree, and the other one is newer
	}
	switch {
	case detailed != "":
		r.State = detailed
	case charging != nil && *charging:
		r.State = ChargeStateCharging
	case charging != nil:
		r.State = ChargeStateNotCharging
	}
	return r, nil
}

// chargeLimit is the limit in force; a car that is not plugged in names none,
// but will follow the one that holds everywhere.
func (v neutralV3) chargeLimit() (any, error) {
	s, err := v.ChargeChargeLimits()
	if err != nil {
		return nil, err
	}
	r := &ChargeLimitReading{Percent: s.Active}
	for _, limit := range s.Limits {
		if r.Percent == nil && limit.Type == ChargeRuleGlobal {
			r.Percent = limit.Limit
		}
	}
	return r, nil
}

func (v neutralV3) tires() (any, error) {
	s, err := v.WheelTires()
	if err != nil {
		return nil, err
	}
	r := &TirePressureReading{}
	for _, t := range s.Tires {
		pressure := inUnits(v.units, t.Pressure, s.Unit)
		switch cornerOf(t.Row, t.Column) {
		case "frontLeft":
			r.FrontLeft = pressure
		case "frontRight":
			r.FrontRight = pressure
		case "backLeft":
			r.BackLeft = pressure
		case "backRight":
			r.BackRight = pressure
		}
	}
	return r, nil
}

// cornerOf names a place in the grid as API v2.0 does; empty for others.
func cornerOf(row, column int) string {
	if row < 0 || row > 1 || column < 0 || column > 1 {
		return ""
	}
	return [...][2]string{{"frontLeft", "frontRight"}, {"backLeft", "backRight"}}[row][column]
}

func (v neutralV3) lockStatus() (any, error) {
	r := &LockStatusReading{Locked: v.flag(v.ClosureIsLocked())}
	if s, err := v.ClosureDoors(); err == nil {
		r.Doors = grid(s.Closures)
	}
	if s, err := v.ClosureWindows(); err == nil {
		r.Windows = grid(s.Closures)
	}
	lid := func(list *[]Opening, name string, s *ClosureSignal, err error) {
		if err == nil && !slices.ContainsFunc(*list, func(o Opening) bool { return o.Type == name }) {
			*list = append(*list, Opening{Type: name, Status: openingStatus(s.Open, s.Locked)})
		}
	}
	sunroof, err := v.ClosureSunroof()
	lid(&r.Sunroof, "sunroof", sunroof, err)
	front, err := v.ClosureFrontTrunk()
	lid(&r.Storage, "front", front, err)
	rear, err := v.ClosureRearTrunk()
	lid(&r.Storage, "rear", rear, err)
	tailgate, err := v.ClosureTailgate()
	lid(&r.Storage, "rear", tailgate, err)
	if open := v.flag(v.ChargeIsChargingPortFlapOpen()); open != nil {
		r.ChargingPort = []Opening{{Type: "chargingPort", Status: openingStatus(open, nil)}}
	}
	return r, nil
}

func grid(closures []ClosureState) []Opening {
	list := make([]Opening, 0, len(closures))
	for _, c := range closures {
		list = append(list, Opening{Type: cornerOf(c.Row, c.Column), Status: openingStatus(c.Open, c.Locked)})
	}
	return list
}

func openingStatus(open, locked *bool) string {
	switch {
	case open != nil && *open:
		return OpeningOpen
	case locked != nil && *locked:
		return OpeningLocked
	case open != nil || locked != nil:
		return OpeningClosed
	}
	return OpeningUnknown
}

// systems names each as API v2.0 does: SYSTEM_TPMS stays the one odd name.
func (v neutralV3) systems() (any, error) {
	r := &SystemStatusReading{}
	for _, code := range systemSignals {
		s, err := diagnosticSignal(v.content(), code)
		if err != nil {
			continue
		}
		id := strings.ToUpper(strings.TrimPrefix(string(code), "diagnostics-"))
		if code == signals.DiagnosticsTirePressureMonitoring {
			id = "TPMS"
		}
		r.Systems = append(r.Systems, SystemState{SystemID: "SYSTEM_" + id, Status: s.State, Description: s.Description})
	}
	return r, nil
}

func (v neutralV3) teslaStatus() (any, error) {
	r := &TeslaStatusReading{
		InService: v.flag(v.ServiceIsInService()), Gear: deref(v.text(v.TransmissionGearState())),
	}
	asleep, online := v.flag(v.ConnectivityStatusIsAsleep()), v.flag(v.ConnectivityStatusIsOnline())
	switch {
	case asleep != nil && *asleep:
		r.Status = "ASLEEP"
	case online != nil && *online:
		r.Status = "ONLINE"
	case online != nil:
		r.Status = "OFFLINE"
	}
	return r, nil
}

func (v neutralV3) teslaAttributes() (any, error) {
	return &TeslaAttributesReading{
		Nickname:        deref(v.text(v.VehicleIdentificationNickname())),
		FirmwareVersion: deref(v.text(v.ConnectivitySoftwareCurrentFirmwareVersion())),
		TrimBadging:     deref(v.text(v.VehicleIdentificationTrim())),
		ExteriorColor:   deref(v.text(v.VehicleIdentificationExteriorColor())),
		WheelStyle:      deref(v.text(v.WheelStyle())),
		AtHome:          v.flag(v.LocationIsAtHome()),
		SentryEnabled:   v.flag(v.SurveillanceIsEnabled()),
	}, nil
}
