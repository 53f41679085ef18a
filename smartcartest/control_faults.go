package smartcartest

import (
	"net/http"
	"time"
)

// faultOrder is a Fault as JSON, without ErrorShape. Method stands for Match.
type faultOrder struct {
	Path            string            `json:"path"`
	Method          string            `json:"method"`
	Times           int               `json:"times"`
	Probability     float64           `json:"probability"`
	Latency         duration          `json:"latency"`
	LatencyAfter    duration          `json:"latencyAfter"`
	Status          int               `json:"status"`
	Body            string            `json:"body"`
	Header          map[string]string `json:"header"`
	ErrorType       string            `json:"errorType"`
	ErrorCode       string            `json:"errorCode"`
	AfterProcessing bool              `json:"afterProcessing"`
	Accepted        bool              `json:"accepted"`
	DropBefore      bool              `json:"dropBefore"`
	DropAfter       bool              `json:"dropAfter"`
	Malformed       bool              `json:"malformed"`
}

func (o faultOrder) fault() Fault {
	f := Fault{
		Path: o.Path, Times: o.Times, Probability: o.Probability,
		Latency: time.Duration(o.Latency), LatencyAfter: time.Duration(o.LatencyAfter),
		Status: o.Status, Body: o.Body, Header: http.Header{}, ErrorType: o.ErrorType, ErrorCode: o.ErrorCode,
		AfterProcessing: o.AfterProcessing, Accepted: o.Accepted, DropBefore: o.DropBefore, DropAfter: o.DropAfter, Malformed: o.Malformed,
	}
	for name, value := range o.Header {
		f.Header.Set(name, value)
	}
	if o.Method != "" {
		f.Match = func(r *http.Request) bool { return r.Method == o.Method }
	}
	return f
}
