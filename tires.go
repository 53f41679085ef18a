package smartcar

// What a tire can hold, in kPa: 10 kPa is flat, and no truck's has 20 bar.
const (
	leastPressure = 10
	mostPressure  = 2000
	// noPressure is what some cars send in place of a pressure that is not known.
	noPressure = 699.9
)

// notSentinel is nil for a number that stands for none.
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

// believe replaces a unit in which the pressures cannot be true by the one that
// was meant, and drops what can be true in neither. Of kPa and bar, 100 to 1, a
// number fits at most one: below 20 it is bar, from 20 on kPa, but for 10 to 20,
// which stays what it is said to be.
func (s *TiresSignal) believe() {
	other, known := map[Unit]Unit{UnitBars: UnitKilopascals, UnitKilopascals: UnitBars, "": UnitBars}[s.Unit]
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
		s.Unit, other = other, orUnit(s.Unit, UnitKilopascals)
	}
	for i := range s.Tires {
		p := s.Tires[i].Pressure
		switch {
		case p == nil || canBe(*p, s.Unit):
		case known && canBe(*p, other): // one tire's label alone is wrong
			s.Tires[i].Pressure = new(fromKilopascals(inKilopascals(*p, other), s.Unit))
		case known || s.Unit == UnitPSI:
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
