package otelsmartcar

import (
	"sync"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// most is how many sets of attributes are kept ready for one instrument. The SDK counts
// no more than 2,000 of them apart.
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

// ready has the values of keys, each made once: making them takes longer than counting.
type ready[K comparable, V any] struct {
	make func(K) V

	mu    sync.RWMutex
	known map[K]V
}

func newReady[K comparable, V any](value func(K) V) *ready[K, V] {
	return &ready[K, V]{make: value, known: make(map[K]V)}
}

func (r *ready[K, V]) of(k K) V {
	r.mu.RLock()
	v, ok := r.known[k]
	r.mu.RUnlock()
	if ok {
		return v
	}
	v = r.make(k)
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.known) < most {
		r.known[k] = v
	}
	return v
}

// series are the labels of what one instrument counts apart.
type series[K comparable] = ready[K, *labels]

func newSeries[K comparable](attributes func(K) []attribute.KeyValue) *series[K] {
	return newReady(func(k K) *labels { return newLabels(attributes(k)) })
}
