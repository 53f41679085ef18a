package otelsmartcar_test

import (
	"strconv"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"
	"github.com/stretchr/testify/require"
)

// What Prometheus scrapes is what the reader in memory has: every series, its labels,
// its value and, of a histogram, its sum and its buckets.
func TestScrapeIsWhatTheReaderHas(t *testing.T) {
	l := newLab(t)
	for _, api := range apis {
		tell(t, l, api, func(t *testing.T, _ *story) {
			_, families := l.scrape(t)
			series := 0
			for _, p := range l.read(t) {
				metric := find(t, families, p)
				requireSame(t, p, metric)
				series++
			}
			for name, family := range families {
				if name != "target_info" {
					series -= len(family.GetMetric())
				}
			}
			require.Zero(t, series, "as many series in both")
		})
	}
}

// find looks for the series of a point among those of a scrape.
func find(t *testing.T, families map[string]*dto.MetricFamily, p point) *dto.Metric {
	t.Helper()
	for _, suffix := range []string{"", "_seconds", "_total"} {
		family, ok := families[underscored(p.name)+suffix]
		if !ok {
			continue
		}
		for _, m := range family.GetMetric() {
			if labeled(m, p) {
				return m
			}
		}
	}
	require.Failf(t, "not in the scrape", "%s %v", p.name, p.attributes.ToSlice())
	return nil
}

func underscored(name string) string { return strings.ReplaceAll(name, ".", "_") }

// labeled says whether a series has the attributes of a point and no other ones.
func labeled(m *dto.Metric, p point) bool {
	want := map[string]string{}
	for _, a := range p.attributes.ToSlice() {
		want[underscored(string(a.Key))] = a.Value.String()
	}
	for _, label := range m.GetLabel() {
		if strings.HasPrefix(label.GetName(), "otel_scope_") {
			continue
		}
		if want[label.GetName()] != label.GetValue() {
			return false
		}
		delete(want, label.GetName())
	}
	return len(want) == 0
}

func requireSame(t *testing.T, p point, m *dto.Metric) {
	t.Helper()
	switch {
	case m.Counter != nil:
		require.InDelta(t, p.value, m.GetCounter().GetValue(), 0, p.name)
	case m.Gauge != nil:
		require.InDelta(t, p.value, m.GetGauge().GetValue(), 0, p.name)
	default:
		h := m.GetHistogram()
		require.InDelta(t, p.value, float64(h.GetSampleCount()), 0, p.name)
		require.InDelta(t, p.sum, h.GetSampleSum(), 1e-9, p.name)
		below := map[string]uint64{}
		for _, b := range h.GetBucket() {
			below[format(b.GetUpperBound())] = b.GetCumulativeCount()
		}
		var sum uint64
		for i, limit := range p.limits {
			sum += p.buckets[i]
			got, ok := below[format(limit)]
			require.True(t, ok, "%s has no bucket %v", p.name, limit)
			require.Equal(t, sum, got, "%s up to %v", p.name, limit)
		}
	}
}

func format(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }
