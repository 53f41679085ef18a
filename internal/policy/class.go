package policy

import "time"

// A Class says which of Smartcar's rules apply to a car. The numbers are stored.
type Class uint8

// The classes.
const (
	ClassUnresolved Class = iota // not known yet: a source that may tell it has not answered
	ClassUnknown                 // each source has answered, and it cannot be told
	ClassStreaming               // a Tesla that needs the virtual key
	ClassLegacy                  // a Model S or X from before the 2021 refresh
	ClassOther                   // any other make
)

// classKnown is what is known of a car's class.
type classKnown struct {
	is     Class
	proven bool // the server's answers showed it; an inference does not change it
	byVIN  bool // the VIN showed it; make, model and year do not change it
	// While the class is unresolved, which sources have answered without telling it:
	// silent are those that take no turn, dataSilent is the car's data.
	silent, dataSilent bool
	checkAt            time.Time // when the sources of the class may be read next
	failedSince        time.Time // since when the sources that take no turn could not be read

	// held: the car was keyless when the operator reset it. The window that runs since
	// then stays, also if the class cannot be told any more.
	held bool
}

func (c classKnown) wanted(now time.Time) bool {
	return c.is <= ClassUnknown && due(c.checkAt, now, unavailableCheck)
}

// infer takes an inference from the VIN, or from make, model and year. ClassUnknown
// does not change a class that is known; it is asked for again once a day.
func (c classKnown) infer(is Class, byVIN bool, now time.Time) classKnown {
	switch {
	case is == ClassUnknown && c.is > ClassUnknown:
		return c
	case is == ClassUnknown:
		return classKnown{is: is, checkAt: now.Add(unavailableCheck), held: c.held}
	case c.proven || c.byVIN && !byVIN:
		return c
	}
	return classKnown{is: is, byVIN: byVIN}
}

// notTold books that one of the two sources has answered without telling the class. If
// both have, the class cannot be told.
func (c classKnown) notTold(byData bool, now time.Time) classKnown {
	if c.is > ClassUnknown {
		return c
	}
	if byData {
		c.dataSilent = true
	} else {
		c.silent, c.failedSince, c.checkAt = true, time.Time{}, now.Add(unavailableCheck)
	}
	if c.is == ClassUnknown || c.silent && c.dataSilent {
		return classKnown{is: ClassUnknown, checkAt: c.checkAt, held: c.held}
	}
	return c
}

// failed books that the sources of the class could not be read for the moment. If that
// has lasted for a day, the class cannot be told.
func (c classKnown) failed(now time.Time) classKnown {
	if c.is > ClassUnknown {
		return c
	}
	if c.failedSince.IsZero() || c.failedSince.After(now) {
		c.failedSince = now
	}
	c.checkAt = now.Add(classCheck)
	if now.Sub(c.failedSince) >= classGivenUp {
		c.is, c.checkAt = ClassUnknown, now.Add(lateClassCheck)
	}
	return c
}

// askAgain lets the sources be read again at once.
func (c classKnown) askAgain() classKnown {
	c.checkAt, c.failedSince, c.silent = time.Time{}, time.Time{}, false
	return c
}

// prove takes what the server's answers show.
func (c classKnown) prove(is Class) classKnown {
	return classKnown{is: is, byVIN: c.byVIN, proven: true}
}
