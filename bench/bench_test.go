package main

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func BenchmarkStores(b *testing.B) {
	for _, p := range plans() {
		b.Run(p.name, func(b *testing.B) {
			for _, w := range p.open(b).works(b) {
				b.Run(w.name, w.run)
			}
		})
	}
}

// What the table says of round trips holds exactly, on every machine.
func TestRoundTrips(t *testing.T) {
	for _, p := range plans() {
		t.Run(p.name, func(t *testing.T) {
			for _, w := range p.open(t).works(t) {
				const times = 20
				require.NoError(t, w.do(t.Context())) // what was known may be older than a minute by now
				before := w.count()
				for range times {
					require.NoError(t, w.do(t.Context()))
				}
				switch made := w.count() - before; {
				case w.trips == nil:
				case w.name == turn, w.name == safeTurn:
					require.EqualValues(t, 2*times, made, "reserve and settle")
				default:
					require.Zero(t, made, "a refusal that is known here, and a read that takes no turn")
				}
			}
		})
	}
}
