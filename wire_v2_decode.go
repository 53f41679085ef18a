package smartcar

import (
	"encoding/json"

	"github.com/seed-498a1bc4/smartcar/internal/lenient"
)

// decode turns v2.0's JSON into the neutral results.
func (wireV2) decode(op *operation, body json.RawMessage, _ UnitSystem) (any, error) {
	switch op.name {
	case Attributes:
		return decodeAs(body, attributesV2.reading)
	case VIN:
		return decodeAs(body, vinV2.reading)
	case Permissions:
		return decodeAs(body, permissionsV2.reading)
	case TeslaVirtualKey:
		return decodeAs(body, virtualKeyV2.reading)
	case Odometer:
		return decodeAs(body, odometerV2.reading)
	case Location:
		return decodeAs(body, locationV2.reading)
	case Fuel:
		return decodeAs(body, fuelV2.reading)
	case Battery:
		return decodeAs(body, batteryV2.reading)
	case BatteryCapacity:
		return decodeAs(body, capacityV2.reading)
	case NominalCapacity:
		return decodeAs(body, nominalCapacityV2.reading)
	case Charge:
		return decodeAs(body, chargeV2.reading)
	case ChargeLimit:
		return decodeAs(body, chargeLimitV2.reading)
	case TirePressure:
		return decodeAs(body, tiresV2.reading)
	case EngineOil:
		return decodeAs(body, oilV2.reading)
	case LockStatus:
		return decodeAs(body, lockStatusV2.reading)
	case ServiceHistory:
		return decodeServiceHistory(body)
	case SystemStatus:
		return decodeAs(body, systemStatusV2.reading)
	case TroubleCodes:
		return decodeAs(body, troubleCodesV2.reading)
	case TeslaStatus:
		return decodeAs(body, teslaStatusV2.reading)
	case TeslaAttributes:
		return decodeAs(body, teslaAttributesV2.reading)
	case TeslaUserAccess:
		return decodeAs(body, teslaAccessV2.reading)
	}
	return nil, &NotSupportedError{Operation: op.name, API: "v2.0"}
}

func decodeAs[W, R any](body json.RawMessage, reading func(W) *R) (any, error) {
	w, err := decodeObject[W](body)
	if err != nil {
		return nil, err
	}
	return reading(*w), nil
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

type odometerV2 struct {
	Distance lenient.Float `json:"distance"`
}

func (w odometerV2) reading() *OdometerReading {
	return &OdometerReading{Distance: w.Distance.Value}
}

type locationV2 struct {
	Latitude  lenient.Float `json:"latitude"`
	Longitude lenient.Float `json:"longitude"`
}

func (w locationV2) reading() *LocationReading {
	return &LocationReading{Latitude: w.Latitude.Value, Longitude: w.Longitude.Value}
}

type fuelV2 struct {
	Amount  lenient.Float `json:"amountRemaining"`
	Percent lenient.Float `json:"percentRemaining"`
	Range   lenient.Float `json:"range"`
}

func (w fuelV2) reading() *FuelReading {
	return &FuelReading{Amount: w.Amount.Value, Percent: percent(w.Percent), Range: w.Range.Value}
}

type batteryV2 struct {
	Percent lenient.Float `json:"percentRemaining"`
	Range   lenient.Float `json:"range"`
}

func (w batteryV2) reading() *BatteryReading {
	return &BatteryReading{Percent: percent(w.Percent), Range: w.Range.Value}
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

type chargeLimitV2 struct {
	Limit lenient.Float `json:"limit"`
}

func (w chargeLimitV2) reading() *ChargeLimitReading {
	return &ChargeLimitReading{Percent: percent(w.Limit)}
}

type tiresV2 struct {
	FrontLeft  lenient.Float `json:"frontLeft"`
	FrontRight lenient.Float `json:"frontRight"`
	BackLeft   lenient.Float `json:"backLeft"`
	BackRight  lenient.Float `json:"backRight"`
}

func (w tiresV2) reading() *TirePressureReading {
	return &TirePressureReading{
		FrontLeft: notSentinel(w.FrontLeft.Value), FrontRight: notSentinel(w.FrontRight.Value),
		BackLeft: notSentinel(w.BackLeft.Value), BackRight: notSentinel(w.BackRight.Value),
	}
}

type oilV2 struct {
	LifeRemaining lenient.Float `json:"lifeRemaining"`
}

func (w oilV2) reading() *EngineOilReading {
	return &EngineOilReading{LifePercent: percent(w.LifeRemaining)}
}
