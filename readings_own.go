package smartcar

// ownReading is a copy of a small result for a caller, who may change it, in two
// allocations at most. It is nil for a result that is decoded anew for each caller.
func ownReading(r reading) reading {
	switch r := r.(type) {
	case *VINReading:
		return new(*r)
	case *AttributesReading:
		return new(*r)
	case *OdometerReading:
		own, n := *r, new(numbers)
		own.Distance = n.copy(0, r.Distance)
		return &own
	case *LocationReading:
		own, n := *r, new(numbers)
		own.Latitude, own.Longitude = n.copy(0, r.Latitude), n.copy(1, r.Longitude)
		return &own
	case *FuelReading:
		own, n := *r, new(numbers)
		own.Amount, own.Percent, own.Range = n.copy(0, r.Amount), n.copy(1, r.Percent), n.copy(2, r.Range)
		return &own
	case *BatteryReading:
		own, n := *r, new(numbers)
		own.Percent, own.Range = n.copy(0, r.Percent), n.copy(1, r.Range)
		return &own
	case *BatteryCapacityReading:
		own, n := *r, new(numbers)
		own.Capacity = n.copy(0, r.Capacity)
		return &own
	case *ChargeLimitReading:
		own, n := *r, new(numbers)
		own.Percent = n.copy(0, r.Percent)
		return &own
	case *TirePressureReading:
		own, n := *r, new(numbers)
		own.FrontLeft, own.FrontRight = n.copy(0, r.FrontLeft), n.copy(1, r.FrontRight)
		own.BackLeft, own.BackRight = n.copy(2, r.BackLeft), n.copy(3, r.BackRight)
		return &own
	case *EngineOilReading:
		own, n := *r, new(numbers)
		own.LifePercent = n.copy(0, r.LifePercent)
		return &own
	case *ChargeReading:
		own := *r
		if r.PluggedIn != nil {
			own.PluggedIn = new(*r.PluggedIn)
		}
		return &own
	}
	return nil
}

// numbers is where the copies of one result stand together.
type numbers [4]float64

func (n *numbers) copy(i int, from *float64) *float64 {
	if from == nil {
		return nil
	}
	n[i] = *from
	return &n[i]
}
