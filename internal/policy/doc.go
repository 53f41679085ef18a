// Package policy decides when a vehicle may be asked for data and commanded.
//
// It is a pure state machine: Step takes what is known of one car (State), what
// happened (Event) and the time, and returns what is known then (State) and what
// may be done (Decision). It does no I/O, reads no clock and keeps nothing
// between two calls. Whoever applies it loads the state from a store, steps, and
// stores the result by compare-and-swap.
//
// testdata/policy.golden shows the result for every pair of state and event.
package policy
