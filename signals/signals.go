// Package signals has the codes of the signals of Smartcar's API v3.
package signals

// A Code names a signal of API v3, as in "tractionbattery-stateofcharge". There
// is a constant for each documented signal, but expect others. The permission
// that the comment of a constant names is the documented association; Smartcar
// does not confirm it signal by signal.
//
// https://smartcar.com/docs/api-reference/signals/schema
type Code string
