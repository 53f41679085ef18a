// Package catalog generates code of the root package: the codes and accessors of
// the signals of API v3, of which it has the one table, and the methods of reads,
// from the table of operations.
package catalog

import "strings"

// A Shape says what the body of a signal holds, and so which function of the
// root package reads it.
type Shape string

// The shapes of bodies.
const (
	Number          Shape = "NumberSignal"
	Bool            Shape = "BoolSignal"
	Text            Shape = "TextSignal"
	Word            Shape = "WordSignal" // a Text whose words are compared without case
	Diagnostic      Shape = "DiagnosticSignal"
	List            Shape = "ListSignal"
	Closure         Shape = "ClosureSignal"
	Closures        Shape = "ClosuresSignal"
	ChargeLimits    Shape = "ChargeLimitsSignal"
	ChargeRecords   Shape = "ChargeRecordsSignal"
	ChargeTimers    Shape = "ChargeTimersSignal"
	TroubleCodes    Shape = "TroubleCodesSignal"
	Location        Shape = "LocationSignal"
	ServiceRecords  Shape = "ServiceRecordsSignal"
	Range           Shape = "RangeSignal"
	NominalCapacity Shape = "NominalCapacitySignal"
	DriveMode       Shape = "DriveModeSignal"
	Tires           Shape = "TiresSignal"
)

// A Unit is what a number is counted in.
type Unit struct {
	Name  string // the constant of the root package, without "Unit"
	Words string // for people
	// Fixed units are the same in every unit system.
	Fixed bool
}

// A Signal is a row of the table.
type Signal struct {
	Group, Name string // as Smartcar writes them, with Go's initialisms
	Shape       Shape
	Unit        Unit
	Permission  string // the documented association; empty where there is none
	Doc         string // what it is: completes "it is"
}

// Code is how Smartcar names the signal.
func (s Signal) Code() string { return strings.ToLower(s.Group) + "-" + strings.ToLower(s.Name) }

// Accessor is the name of the method that reads the signal.
func (s Signal) Accessor() string { return s.Group + s.Name }

// Constant is the name of the signal's code.
func (s Signal) Constant() string { return s.Group + s.Name }

// Signals returns the table: group by group, in the order of Smartcar's pages.
func Signals() []Signal { return append([]Signal(nil), signals[:]...) }
