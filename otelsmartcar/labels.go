package otelsmartcar

import (
	"sync"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// most is how many sets of attributes one instrument keeps ready. The SDK counts no more
// than 2,000 of them apart.
const most = 2000

// labels are the attributes of one series, in the form that each kind of instrument takes.
type labels struct {
	add    []metric.AddOption
	record []metric.RecordOption
}

func newLabels(attributes []attribute.KeyValue) *labels {
	set := metric.WithAttributeSet(attribute.NewSet(attributes...))
	return &labels{add: []metric.AddOption{set}, record: []metric.RecordOption{set}}
}

// series makes the labels of each key once, because making them takes longer than counting.
type series[K comparable] struct {
	attributes func(K) []attribute.KeyValue

	mu    sync.RWMutex
	known map[K]*labels
}

func newSeries[K comparable](attributes func(K) []attribute.KeyValue) *series[K] {
	return &series[K]{attributes: attributes, known: make(map[K]*labels)}
}

func (s *series[K]) of(k K) *labels {
	s.mu.RLock()
	l, ok := s.known[k]
	s.mu.RUnlock()
	if ok {
		return l
	}
	l = newLabels(s.attributes(k))
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.known) < most {
		s.known[k] = l
	}
	return l
}
