package smartcar

import (
	"cmp"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/seed-498a1bc4/smartcar/internal/lenient"
	"github.com/seed-498a1bc4/smartcar/signals"
)

// The decoders of the reads of API v3, as the rows of operations name them.

type vehicleV3 struct {
	Data lenient.Object[struct {
		ID         lenient.String  `json:"id"`
		Attributes json.RawMessage `json:"attributes"`
	}] `json:"data"`
}

// decodeVehicleV3 reads the vehicle itself, which is no signal.
func decodeVehicleV3(body json.RawMessage, _ *signalSet, _ UnitSystem) (reading, error) {
	w, err := decodeObject[vehicleV3](body)
	if err != nil {
		return nil, err
	}
	attributes, err := decodeObject[attributesV2](w.Data.Value.Attributes)
	if err != nil || !lenient.HasField(w.Data.Value.Attributes, "make model year") {
		return nil, errForeign
	}
	r := attributes.reading()
	r.ID = string(w.Data.Value.ID)
	return r, nil
}

// A decoderV3 turns the body of an answer of API v3 into the typed result of its row, or,
// where there is one, the list of signals that was read of it.
type decoderV3 func(body json.RawMessage, list *signalSet, units UnitSystem) (reading, error)

// listOf is the list of signals of a body, unless it has been read.
func listOf(body json.RawMessage, list *signalSet) (*signalSet, error) {
	if list != nil {
		return list, nil
	}
	return readSignals(&answer{status: http.StatusOK, body: body, header: http.Header{}})
}

func decodeAllSignals(body json.RawMessage, list *signalSet, _ UnitSystem) (reading, error) {
	list, err := listOf(body, list)
	if err != nil {
		return nil, err
	}
	return newSignals(Meta{}, list), nil
}

// fromSignals is the decoder of a reading that is made of signals. It fails if
// not one of them can be read.
func fromSignals[R reading](read func(*signalValues) R) decoderV3 {
	return func(body json.RawMessage, list *signalSet, units UnitSystem) (reading, error) {
		list, err := listOf(body, list)
		if err != nil {
			return nil, err
		}
		v := &signalValues{set: *list, units: units}
		v.set.onlyUsable = true
		r := read(v)
		if !v.read {
			return nil, cmp.Or(v.err, errNoSignals)
		}
		return r, nil
	}
}

// signalValues hands the signals of one reading to its decoder. A signal that is
// missing, or that failed beside others, leaves its fields unknown.
type signalValues struct {
	set   signalSet
	units UnitSystem // that numbers are converted to
	read  bool       // a signal could be read
	err   error      // why one could not be read
}

// valueOf reads a signal; one that cannot be read is empty, and not ok.
func valueOf[S any](v *signalValues, read func(*signalSet, signals.Code) (*S, error), code signals.Code) (s *S, ok bool) {
	s, err := read(&v.set, code)
	if err != nil {
		if v.err == nil || errors.Is(v.err, ErrNotFound) { // what is there and cannot be read says more
			v.err = err
		}
		return new(S), false
	}
	v.read = true
	return s, true
}

// number is in the unit system that was asked for.
func (v *signalValues) number(code signals.Code) *float64 {
	s, _ := valueOf(v, numberSignal, code)
	return inUnits(v.units, s.Value, s.Unit)
}

func (v *signalValues) flag(code signals.Code) *bool {
	s, _ := valueOf(v, boolSignal, code)
	return s.Value
}

// text is empty if it is not known.
func (v *signalValues) text(code signals.Code) string {
	s, _ := valueOf(v, textSignal, code)
	return deref(s.Value)
}

// word is a text in upper case.
func (v *signalValues) word(code signals.Code) string { return strings.ToUpper(v.text(code)) }

func deref[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}

func vinV3(v *signalValues) *VINReading {
	return &VINReading{VIN: v.text(signals.VehicleIdentificationVIN)}
}

func odometerV3(v *signalValues) *OdometerReading {
	return &OdometerReading{Distance: v.number(signals.OdometerTraveledDistance)}
}

func locationV3(v *signalValues) *LocationReading {
	s, _ := valueOf(v, locationSignal, signals.LocationPreciseLocation)
	return &LocationReading{Latitude: s.Latitude, Longitude: s.Longitude}
}

func fuelV3(v *signalValues) *FuelReading {
	return &FuelReading{
		Amount:  v.number(signals.InternalCombustionEngineAmountRemaining),
		Percent: v.number(signals.InternalCombustionEngineFuelLevel),
		Range:   v.number(signals.InternalCombustionEngineRange),
	}
}

func batteryV3(v *signalValues) *BatteryReading {
	s, _ := valueOf(v, rangeSignal, signals.TractionBatteryRange)
	return &BatteryReading{Percent: v.number(signals.TractionBatteryStateOfCharge), Range: inUnits(v.units, s.Value, s.Unit)}
}

func capacityV3(v *signalValues) *BatteryCapacityReading {
	s, _ := valueOf(v, nominalCapacitySignal, signals.TractionBatteryNominalCapacity)
	return &BatteryCapacityReading{Capacity: s.Capacity}
}

func nominalCapacityV3(v *signalValues) *NominalCapacityReading {
	s, _ := valueOf(v, nominalCapacitySignal, signals.TractionBatteryNominalCapacity)
	return &NominalCapacityReading{Nominal: s.Capacity, Source: s.Source, Available: s.Available}
}

func chargeV3(v *signalValues) *ChargeReading {
	r := &ChargeReading{PluggedIn: v.flag(signals.ChargeIsChargingCableConnected)}
	is, _ := valueOf(v, boolSignal, signals.ChargeIsCharging)
	status, _ := valueOf(v, wordSignal, signals.ChargeDetailedChargingStatus)
	charging, detailed := is.Value, deref(status.Value)
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
	return r
}

// chargeLimitV3 is the limit in force; a car that is not plugged in names none,
// but will follow the one that holds everywhere.
func chargeLimitV3(v *signalValues) *ChargeLimitReading {
	s, _ := valueOf(v, chargeLimitsSignal, signals.ChargeChargeLimits)
	r := &ChargeLimitReading{Percent: s.Active}
	for _, limit := range s.Limits {
		if r.Percent == nil && limit.Type == ChargeRuleGlobal {
			r.Percent = limit.Limit
		}
	}
	return r
}

func tiresV3(v *signalValues) *TirePressureReading {
	s, _ := valueOf(v, tiresSignal, signals.WheelTires)
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
	return r
}

// cornerOf names a place in the grid as API v2.0 does; empty for others.
func cornerOf(row, column int) string {
	if row < 0 || row > 1 || column < 0 || column > 1 {
		return ""
	}
	return [...][2]string{{"frontLeft", "frontRight"}, {"backLeft", "backRight"}}[row][column]
}

func oilV3(v *signalValues) *EngineOilReading {
	return &EngineOilReading{LifePercent: v.number(signals.InternalCombustionEngineOilLife)}
}

func lockStatusV3(v *signalValues) *LockStatusReading {
	r := &LockStatusReading{Locked: v.flag(signals.ClosureIsLocked)}
	if s, ok := valueOf(v, closuresSignal, signals.ClosureDoors); ok {
		r.Doors = grid(s.Closures)
	}
	if s, ok := valueOf(v, closuresSignal, signals.ClosureWindows); ok {
		r.Windows = grid(s.Closures)
	}
	lid := func(list *[]Opening, name string, code signals.Code) {
		s, ok := valueOf(v, closureSignal, code)
		if ok && !slices.ContainsFunc(*list, func(o Opening) bool { return o.Type == name }) {
			*list = append(*list, Opening{Type: name, Status: openingStatus(s.Open, s.Locked)})
		}
	}
	lid(&r.Sunroof, "sunroof", signals.ClosureSunroof)
	lid(&r.Storage, "front", signals.ClosureFrontTrunk)
	lid(&r.Storage, "rear", signals.ClosureRearTrunk)
	lid(&r.Storage, "rear", signals.ClosureTailgate)
	if open := v.flag(signals.ChargeIsChargingPortFlapOpen); open != nil {
		r.ChargingPort = []Opening{{Type: "chargingPort", Status: openingStatus(open, nil)}}
	}
	return r
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

func serviceHistoryV3(v *signalValues) *ServiceHistoryReading {
	s, _ := valueOf(v, serviceRecordsSignal, signals.ServiceRecords)
	return &ServiceHistoryReading{Records: s.Records}
}

// systemStatusV3 names each system as API v2.0 does: SYSTEM_TPMS stays the one
// odd name.
func systemStatusV3(v *signalValues) *SystemStatusReading {
	r := &SystemStatusReading{}
	for _, code := range systemSignals {
		s, ok := valueOf(v, diagnosticSignal, code)
		if !ok {
			continue
		}
		id := strings.ToUpper(strings.TrimPrefix(string(code), "diagnostics-"))
		if code == signals.DiagnosticsTirePressureMonitoring {
			id = "TPMS"
		}
		r.Systems = append(r.Systems, SystemState{SystemID: "SYSTEM_" + id, Status: s.State, Description: s.Description})
	}
	return r
}

func troubleCodesV3(v *signalValues) *TroubleCodesReading {
	s, _ := valueOf(v, troubleCodesSignal, signals.DiagnosticsDTCList)
	return &TroubleCodesReading{Active: s.Codes}
}

func teslaStatusV3(v *signalValues) *TeslaStatusReading {
	r := &TeslaStatusReading{InService: v.flag(signals.ServiceIsInService), Gear: v.word(signals.TransmissionGearState)}
	asleep, online := v.flag(signals.ConnectivityStatusIsAsleep), v.flag(signals.ConnectivityStatusIsOnline)
	switch {
	case asleep != nil && *asleep:
		r.Status = "ASLEEP"
	case online != nil && *online:
		r.Status = "ONLINE"
	case online != nil:
		r.Status = "OFFLINE"
	}
	return r
}

func teslaAttributesV3(v *signalValues) *TeslaAttributesReading {
	return &TeslaAttributesReading{
		Nickname:        v.text(signals.VehicleIdentificationNickname),
		FirmwareVersion: v.text(signals.ConnectivitySoftwareCurrentFirmwareVersion),
		TrimBadging:     v.text(signals.VehicleIdentificationTrim),
		ExteriorColor:   v.text(signals.VehicleIdentificationExteriorColor),
		WheelStyle:      v.text(signals.WheelStyle),
		AtHome:          v.flag(signals.LocationIsAtHome),
		SentryEnabled:   v.flag(signals.SurveillanceIsEnabled),
	}
}

func teslaAccessV3(v *signalValues) *TeslaUserAccessReading {
	s, _ := valueOf(v, listSignal, signals.VehicleUserAccountPermissions)
	return &TeslaUserAccessReading{AccessType: v.word(signals.VehicleUserAccountRole), Permissions: s.Values}
}

func teslaChargeV3(v *signalValues) *TeslaChargeReading {
	charge := chargeV3(v)
	power, _ := valueOf(v, numberSignal, signals.ChargeWattage)
	if power.Value != nil && power.Unit == UnitWatts {
		power.Value = new(*power.Value / 1000)
	}
	return &TeslaChargeReading{
		PluggedIn: charge.PluggedIn, State: charge.State, LimitPercent: chargeLimitV3(v).Percent,
		Amperes: v.number(signals.ChargeAmperage), AmperesRequested: v.number(signals.ChargeAmperageRequested), AmperesMax: v.number(signals.ChargeAmperageMax),
		Volts: v.number(signals.ChargeVoltage), Kilowatts: power.Value, EnergyAdded: v.number(signals.ChargeEnergyAdded),
		ChargeRate: v.number(signals.ChargeChargeRate), CompleteAt: completeAtV3(v), Phases: v.number(signals.ChargeChargerPhases),
		Connector: v.text(signals.ChargeChargingConnectorType), FastCharger: v.flag(signals.ChargeIsFastChargerPresent),
		FastChargerType: v.text(signals.ChargeFastChargerType), PortOpen: v.flag(signals.ChargeIsChargingPortFlapOpen),
		PortLatched: v.flag(signals.ChargeIsChargingCableLatched), PortColor: v.word(signals.ChargeChargePortStatusColor),
	}
}

// completeAtV3 counts from when the car recorded how long charging still takes.
func completeAtV3(v *signalValues) time.Time {
	left, _ := valueOf(v, numberSignal, signals.ChargeTimeToComplete)
	each := map[Unit]time.Duration{UnitSeconds: time.Second, UnitMinutes: time.Minute, UnitHours: time.Hour}[left.Unit]
	if left.Value == nil || each == 0 || left.OEMUpdatedAt.IsZero() || *left.Value <= 0 || *left.Value > 1e6 {
		return time.Time{}
	}
	return left.OEMUpdatedAt.Add(time.Duration(*left.Value * float64(each)))
}

func teslaClimateV3(v *signalValues) *TeslaClimateReading {
	return &TeslaClimateReading{On: v.flag(signals.HVACIsCabinHVACActive), Temperature: v.number(signals.HVACCabinTargetTemperature)}
}
