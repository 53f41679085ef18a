package policy

import "time"

// A Class says which of Smartcar's rules apply to a car. The numbers are stored.
type Class uint8

// The classes.
const (
	ClassUnresolved Class = iota // nobody has asked yet, or asking failed for the moment
	ClassUnknown                 // asked, and it cannot be told
	ClassStreaming               // a Tesla that needs the virtual key
	ClassLegacy                  // a Model S or X from before the 2021 refresh
	ClassOther                   // any other make
)

// classKnown is what is known of a car's class.
type classKnown struct {
	is      Class
	proven  bool      // the server's answers showed it; an inference does not change it
	byVIN   bool      // the VIN showed it; make, model and year do not change it
	checkAt time.Time // when what tells the class may be read next
}

func (c classKnown) wanted(now time.Time) bool { return c.is <= ClassUnknown && due(c.checkAt, now) }

// infer takes an inference from the VIN, or from make, model and year. A class
// that cannot be told is asked for again once a day.
func (c classKnown) infer(is Class, byVIN bool, now time.Time) classKnown {
	if c.proven || c.byVIN && !byVIN {
		return c
	}
	if is == ClassUnknown {
		c.checkAt = now.Add(unavailableCheck)
	}
	c.is, c.byVIN = is, byVIN
	return c
}

// prove takes what the server's answers show.
func (c classKnown) prove(is Class) classKnown {
	c.is, c.proven = is, true
	return c
}
