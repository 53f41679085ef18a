package smartcar

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/seed-498a1bc4/smartcar/internal/lenient"
)

// The decoders of the reads of API v2.0, as the rows of operations name them.

// fromObject is the decoder of a JSON object that is read into a W.
func fromObject[W any, R reading](read func(W) R) decoder {
	return func(body json.RawMessage, _ UnitSystem) (reading, error) {
		w, err := decodeObject[W](body)
		if err != nil {
			return nil, err
		}
		return read(*w), nil
	}
}

// fromValue is the decoder of a JSON object that is read in place.
func fromValue[R reading](read func(lenient.Value) R) decoder {
	return func(body json.RawMessage, _ UnitSystem) (reading, error) {
		if body = bytes.TrimSpace(body); !isObject(body) || !json.Valid(body) {
			return nil, errNotObject
		}
		return read(lenient.Value(body)), nil
	}
}

type attributesV2 struct {
	ID    lenient.String `json:"id"`
	Make  lenient.String `json:"make"`
	Model lenient.String `json:"model"`
	Year  lenient.Int    `json:"year"`
}

func (w attributesV2) reading() *AttributesReading {
	return &AttributesReading{ID: string(w.ID), Make: string(w.Make), Model: string(w.Model), Year: int(w.Year)}
}

type vinV2 struct {
	VIN lenient.String `json:"vin"`
}

func (w vinV2) reading() *VINReading { return &VINReading{VIN: string(w.VIN)} }

type pagingV2 struct {
	Count  lenient.Int `json:"count"`
	Offset lenient.Int `json:"offset"`
}

type permissionsV2 struct {
	Paging      lenient.Object[pagingV2]     `json:"paging"`
	Permissions lenient.List[lenient.String] `json:"permissions"`
}

func (w permissionsV2) reading() *permissionsV2 { return &w }

func (w permissionsV2) list() []string {
	list := make([]string, 0, len(w.Permissions))
	for _, p := range w.Permissions {
		list = append(list, string(p))
	}
	return list
}

// setMeta does nothing: a page of permissions is not handed out as such.
func (*permissionsV2) setMeta(Meta) {}

type virtualKeyV2 struct {
	IsPaired lenient.Bool `json:"isPaired"`
}

func (w virtualKeyV2) reading() *virtualKeyReading {
	return &virtualKeyReading{Paired: w.IsPaired.Value}
}

func odometerV2(v lenient.Value) *OdometerReading {
	return &OdometerReading{Distance: v.Get("distance").Float()}
}

func locationV2(v lenient.Value) *LocationReading {
	var latitude, longitude lenient.Value
	v.Read(lenient.Field{Name: "latitude", To: &latitude}, lenient.Field{Name: "longitude", To: &longitude})
	return &LocationReading{Latitude: latitude.Float(), Longitude: longitude.Float()}
}

func fuelV2(v lenient.Value) *FuelReading {
	var amount, left, distance lenient.Value
	v.Read(
		lenient.Field{Name: "amountRemaining", To: &amount}, lenient.Field{Name: "percentRemaining", To: &left}, lenient.Field{Name: "range", To: &distance},
	)
	return &FuelReading{Amount: amount.Float(), Percent: percent(left.Float()), Range: distance.Float()}
}

func batteryV2(v lenient.Value) *BatteryReading {
	var left, distance lenient.Value
	v.Read(lenient.Field{Name: "percentRemaining", To: &left}, lenient.Field{Name: "range", To: &distance})
	return &BatteryReading{Percent: percent(left.Float()), Range: distance.Float()}
}

type capacityV2 struct {
	Capacity lenient.Float `json:"capacity"`
}

func (w capacityV2) reading() *BatteryCapacityReading {
	return &BatteryCapacityReading{Capacity: w.Capacity.Value}
}

type nominalCapacityV2 struct {
	Available lenient.List[struct {
		Capacity    lenient.Float  `json:"capacity"`
		Description lenient.String `json:"description"`
	}] `json:"availableCapacities"`
	Capacity json.RawMessage `json:"capacity"`
	URL      lenient.String  `json:"url"`
}

func (w nominalCapacityV2) reading() *NominalCapacityReading {
	var capacity struct {
		Nominal lenient.Float  `json:"nominal"`
		Source  lenient.String `json:"source"`
	}
	if isObject(w.Capacity) {
		_ = json.Unmarshal(w.Capacity, &capacity)
	} else {
		_ = capacity.Nominal.UnmarshalJSON(w.Capacity) // some documentation shows a bare number
	}
	r := &NominalCapacityReading{Nominal: capacity.Nominal.Value, Source: string(capacity.Source)}
	for _, a := range w.Available {
		r.Available = append(r.Available, CapacityOption{Capacity: a.Capacity.Value, Description: string(a.Description)})
	}
	if w.URL != "" {
		r.SelectURL = new(string(w.URL))
	}
	return r
}

type chargeV2 struct {
	PluggedIn lenient.Bool   `json:"isPluggedIn"`
	State     lenient.String `json:"state"`
}

func (w chargeV2) reading() *ChargeReading {
	return &ChargeReading{PluggedIn: w.PluggedIn.Value, State: enum(w.State)}
}

func chargeLimitV2(v lenient.Value) *ChargeLimitReading {
	return &ChargeLimitReading{Percent: percent(v.Get("limit").Float())}
}

type tiresV2 struct {
	FrontLeft  lenient.Float `json:"frontLeft"`
	FrontRight lenient.Float `json:"frontRight"`
	BackLeft   lenient.Float `json:"backLeft"`
	BackRight  lenient.Float `json:"backRight"`
}

// decodeTires believes a number only in a unit in which a tire can have it, as on API v3:
// makes send bar where kPa is meant.
func decodeTires(body json.RawMessage, units UnitSystem) (reading, error) {
	w, err := decodeObject[tiresV2](body)
	if err != nil {
		return nil, err
	}
	s := TiresSignal{Tires: []TireState{
		{Pressure: w.FrontLeft.Value}, {Pressure: w.FrontRight.Value}, {Pressure: w.BackLeft.Value}, {Pressure: w.BackRight.Value},
	}}
	if units == Imperial {
		s.Unit = UnitPSI
	}
	s.believe()
	pressure := func(tire int) *float64 { return inUnits(units, s.Tires[tire].Pressure, s.Unit) }
	return &TirePressureReading{FrontLeft: pressure(0), FrontRight: pressure(1), BackLeft: pressure(2), BackRight: pressure(3)}, nil
}

func oilV2(v lenient.Value) *EngineOilReading {
	return &EngineOilReading{LifePercent: percent(v.Get("lifeRemaining").Float())}
}

// enum folds the case in which makes spell an enumeration.
func enum(s lenient.String) string { return strings.ToUpper(string(s)) }

// word is a text that makes spell in either case.
func word(v lenient.Value) string { return strings.ToUpper(v.Text()) }

type openingV2 struct {
	Type   lenient.String `json:"type"`
	Status lenient.String `json:"status"`
}

func openings(list lenient.List[openingV2]) []Opening {
	out := make([]Opening, 0, len(list))
	for _, o := range list {
		out = append(out, Opening{Type: string(o.Type), Status: enum(o.Status)})
	}
	return out
}

type lockStatusV2 struct {
	IsLocked     lenient.Bool            `json:"isLocked"`
	Doors        lenient.List[openingV2] `json:"doors"`
	Windows      lenient.List[openingV2] `json:"windows"`
	Sunroof      lenient.List[openingV2] `json:"sunroof"`
	Storage      lenient.List[openingV2] `json:"storage"`
	ChargingPort lenient.List[openingV2] `json:"chargingPort"`
}

func (w lockStatusV2) reading() *LockStatusReading {
	return &LockStatusReading{
		Locked: w.IsLocked.Value,
		Doors:  openings(w.Doors), Windows: openings(w.Windows), Sunroof: openings(w.Sunroof),
		Storage: openings(w.Storage), ChargingPort: openings(w.ChargingPort),
	}
}

type serviceRecordV2 struct {
	ID       lenient.String `json:"serviceId"`
	Odometer lenient.Float  `json:"odometerDistance"`
	Date     lenient.Time   `json:"serviceDate"`
	Tasks    lenient.List[struct {
		ID          lenient.String `json:"taskId"`
		Description lenient.String `json:"taskDescription"`
	}] `json:"serviceTasks"`
	Details lenient.List[struct {
		Type  lenient.String `json:"type"`
		Value lenient.String `json:"value"`
	}] `json:"serviceDetails"`
	Cost lenient.Object[struct {
		Total    lenient.Float  `json:"totalCost"`
		Currency lenient.String `json:"currency"`
	}] `json:"serviceCost"`
}

// decodeServiceHistory takes a list, which SDKs see, or the single object that
// the documentation prints.
func decodeServiceHistory(body json.RawMessage, _ UnitSystem) (reading, error) {
	var list lenient.List[serviceRecordV2]
	body = bytes.TrimSpace(body)
	if !json.Valid(body) || body[0] != '[' && body[0] != '{' {
		return nil, errNotObject
	}
	_ = list.UnmarshalJSON(body)
	r := &ServiceHistoryReading{Records: make([]ServiceRecord, 0, len(list))}
	for _, w := range list {
		record := ServiceRecord{
			ID: string(w.ID), Odometer: w.Odometer.Value, Date: w.Date.Time,
			Cost: w.Cost.Value.Total.Value, Currency: string(w.Cost.Value.Currency),
		}
		for _, t := range w.Tasks {
			record.Tasks = append(record.Tasks, ServiceTask{ID: string(t.ID), Description: string(t.Description)})
		}
		for _, d := range w.Details {
			record.Details = append(record.Details, ServiceDetail{Type: string(d.Type), Value: string(d.Value)})
		}
		r.Records = append(r.Records, record)
	}
	return r, nil
}

type systemStatusV2 struct {
	Systems lenient.List[struct {
		ID          lenient.String `json:"systemId"`
		Status      lenient.String `json:"status"`
		Description lenient.String `json:"description"`
	}] `json:"systems"`
}

func (w systemStatusV2) reading() *SystemStatusReading {
	r := &SystemStatusReading{Systems: make([]SystemState, 0, len(w.Systems))}
	for _, s := range w.Systems {
		r.Systems = append(r.Systems, SystemState{SystemID: string(s.ID), Status: enum(s.Status), Description: string(s.Description)})
	}
	return r
}

type troubleCodesV2 struct {
	Active lenient.List[struct {
		Code      lenient.String `json:"code"`
		Timestamp lenient.Time   `json:"timestamp"`
	}] `json:"activeCodes"`
}

func (w troubleCodesV2) reading() *TroubleCodesReading {
	r := &TroubleCodesReading{Active: make([]TroubleCode, 0, len(w.Active))}
	for _, c := range w.Active {
		r.Active = append(r.Active, TroubleCode{Code: string(c.Code), At: c.Timestamp.Time})
	}
	return r
}

type teslaStatusV2 struct {
	Status    lenient.String `json:"status"`
	InService lenient.Bool   `json:"inService"`
	Gear      lenient.String `json:"gear"`
}

func (w teslaStatusV2) reading() *TeslaStatusReading {
	return &TeslaStatusReading{Status: enum(w.Status), InService: w.InService.Value, Gear: enum(w.Gear)}
}

type teslaAttributesV2 struct {
	attributesV2
	Nickname            lenient.String `json:"nickname"`
	FirmwareVersion     lenient.String `json:"firmwareVersion"`
	TrimBadging         lenient.String `json:"trimBadging"`
	EfficiencyPackage   lenient.String `json:"efficiencyPackage"`
	PerformancePackage  lenient.String `json:"performancePackage"`
	DriverAssistVersion lenient.String `json:"driverAssistVersion"`
	AtHome              lenient.Bool   `json:"atHome"`
	SentryMode          lenient.Object[struct {
		Available lenient.Bool `json:"available"`
		Enabled   lenient.Bool `json:"enabled"`
	}] `json:"sentryMode"`
	Style lenient.Object[struct {
		ExteriorColor lenient.String `json:"exteriorColor"`
		ExteriorTrim  lenient.String `json:"exteriorTrim"`
		InteriorTrim  lenient.String `json:"interiorTrim"`
	}] `json:"style"`
	Wheel lenient.Object[struct {
		Style    lenient.String `json:"style"`
		Diameter lenient.Float  `json:"diameter"`
	}] `json:"wheel"`
	DriveUnit lenient.Object[struct {
		Front lenient.String `json:"front"`
		Rear  lenient.String `json:"rear"`
	}] `json:"driveUnit"`
}

func (w teslaAttributesV2) reading() *TeslaAttributesReading {
	style, wheel, unit, sentry := w.Style.Value, w.Wheel.Value, w.DriveUnit.Value, w.SentryMode.Value
	return &TeslaAttributesReading{
		ID: string(w.ID), Make: string(w.Make), Model: string(w.Model), Year: int(w.Year),
		Nickname: string(w.Nickname), FirmwareVersion: string(w.FirmwareVersion), TrimBadging: string(w.TrimBadging),
		EfficiencyPackage: string(w.EfficiencyPackage), PerformancePackage: string(w.PerformancePackage),
		DriverAssistVersion: string(w.DriverAssistVersion), AtHome: w.AtHome.Value,
		SentryAvailable: sentry.Available.Value, SentryEnabled: sentry.Enabled.Value,
		ExteriorColor: string(style.ExteriorColor), ExteriorTrim: string(style.ExteriorTrim), InteriorTrim: string(style.InteriorTrim),
		WheelStyle: string(wheel.Style), WheelDiameter: wheel.Diameter.Value,
		DriveUnitFront: string(unit.Front), DriveUnitRear: string(unit.Rear),
	}
}

type teslaAccessV2 struct {
	AccessType  lenient.String               `json:"accessType"`
	Permissions lenient.List[lenient.String] `json:"permissions"`
}

func (w teslaAccessV2) reading() *TeslaUserAccessReading {
	r := &TeslaUserAccessReading{AccessType: enum(w.AccessType)}
	for _, p := range w.Permissions {
		r.Permissions = append(r.Permissions, string(p))
	}
	return r
}

type teslaChargeV2 struct {
	PluggedIn        lenient.Bool   `json:"isPluggedIn"`
	State            lenient.String `json:"state"`
	Limit            lenient.Float  `json:"socLimit"`
	Amperage         lenient.Float  `json:"amperage"`
	AmperesRequested lenient.Float  `json:"amperageRequested"`
	AmperesMax       lenient.Float  `json:"amperageMaxVehicle"`
	Voltage          lenient.Float  `json:"voltage"`
	Wattage          lenient.Float  `json:"wattage"` // kW
	EnergyAdded      lenient.Float  `json:"energyAdded"`
	RangeAdded       lenient.Float  `json:"rangeAddedRated"`
	ChargeRate       lenient.Float  `json:"chargeRate"`
	CompletionTime   lenient.Time   `json:"completionTime"`
	Phases           lenient.Float  `json:"chargerPhases"`
	Connector        lenient.String `json:"connector"`
	FastCharger      lenient.Bool   `json:"fastChargerPresent"`
	FastChargerType  lenient.String `json:"fastChargerType"`
	PortOpen         lenient.Bool   `json:"chargePortOpen"`
	PortLatch        lenient.String `json:"chargePortLatch"`
	PortColor        lenient.String `json:"chargePortColor"`
}

func (w teslaChargeV2) reading() *TeslaChargeReading {
	text := func(s lenient.String) string { // Tesla's own cloud says "<invalid>" for nothing
		if isNoWord(string(s)) {
			return ""
		}
		return string(s)
	}
	return &TeslaChargeReading{
		PluggedIn: w.PluggedIn.Value, State: enum(w.State), LimitPercent: percent(w.Limit.Value),
		Amperes: w.Amperage.Value, AmperesRequested: w.AmperesRequested.Value, AmperesMax: w.AmperesMax.Value,
		Volts: w.Voltage.Value, Kilowatts: w.Wattage.Value, EnergyAdded: w.EnergyAdded.Value, RangeAdded: w.RangeAdded.Value,
		ChargeRate: w.ChargeRate.Value, CompleteAt: w.CompletionTime.Time, Phases: w.Phases.Value,
		Connector: text(w.Connector), FastCharger: w.FastCharger.Value, FastChargerType: text(w.FastChargerType),
		PortOpen: w.PortOpen.Value, PortLatched: eitherWord(w.PortLatch, "ENGAGED", "DISENGAGED"), PortColor: enum(lenient.String(text(w.PortColor))),
	}
}

// eitherWord is nil for a text that is neither of the two words.
func eitherWord(text lenient.String, yes, no string) *bool {
	switch enum(text) {
	case yes:
		return new(true)
	case no:
		return new(false)
	}
	return nil
}

type teslaClimateV2 struct {
	Status      lenient.String `json:"status"`
	Temperature lenient.Float  `json:"temperature"`
}

func (w teslaClimateV2) reading() *TeslaClimateReading {
	return &TeslaClimateReading{On: eitherWord(w.Status, "ON", "OFF"), Temperature: w.Temperature.Value}
}

// batchAnswer is HTTP 200 even when every item failed.
type batchAnswer struct {
	Responses lenient.List[batchItem] `json:"responses"`
}

// batchItem is the answer to one path of a batch. Webhooks of version 2.0 have
// such items, too.
type batchItem struct {
	Path    lenient.String                            `json:"path"`
	Code    lenient.Int                               `json:"code"`
	Body    json.RawMessage                           `json:"body"`
	Headers lenient.Object[map[string]lenient.String] `json:"headers"`
}

// header is that of the item, with the request id of the whole.
func (item batchItem) header(requestID string) http.Header {
	header := make(http.Header, len(item.Headers.Value)+1)
	header.Set(headerRequestID, requestID)
	for name, value := range item.Headers.Value {
		header.Set(name, string(value))
	}
	return header
}

// failure is nil for an item that succeeded.
func (item batchItem) failure(op Operation, header http.Header, at time.Time) *Error {
	if item.Code >= 200 && item.Code <= 299 {
		return errorInside(op, int(item.Code), header, item.Body, at)
	}
	return decodeError(op, int(item.Code), header, item.Body, at)
}

func splitBatch(ops []operation, a *answer) ([]part, error) {
	batch, err := decodeObject[batchAnswer](a.body)
	switch {
	case err != nil:
		return nil, err
	case !lenient.HasShape(a.body, "responses[].path"):
		return nil, errForeign
	}
	parts := make([]part, len(ops))
	for i := range ops {
		parts[i] = part{op: &ops[i], err: &Error{
			Operation: ops[i].name, StatusCode: a.status, RequestID: a.header.Get(headerRequestID),
			Description: "the batch answer holds no item for this path",
		}}
	}
	for _, item := range batch.Responses {
		i := indexOfPath(ops, string(item.Path))
		if i < 0 {
			continue
		}
		header := item.header(a.header.Get(headerRequestID))
		parts[i] = part{
			op: &ops[i], body: item.Body, meta: metaFrom(header, a.at), err: item.failure(ops[i].name, header, a.at),
		}
	}
	return parts, nil
}
