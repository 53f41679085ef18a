package smartcar

import (
	"encoding/json"
	"time"

	"github.com/seed-498a1bc4/smartcar/signals"
)

// MarshalJSON gives every signal by its code: the body as Smartcar sent it, when the
// car recorded it, and the text of its error. Where the car is stands in it if that
// is among the signals.
func (s *Signals) MarshalJSON() ([]byte, error) {
	type signal struct {
		Body         json.RawMessage `json:"body,omitempty"`
		OEMUpdatedAt time.Time       `json:"oemUpdatedAt,omitzero"`
		Error        string          `json:"error,omitempty"`
	}
	out := make(map[signals.Code]signal, s.Len())
	for code, raw := range s.All() {
		one := signal{Body: raw.Body(), OEMUpdatedAt: raw.OEMUpdatedAt}
		if raw.Err != nil {
			one.Error = raw.Err.Error()
		}
		out[code] = one
	}
	return json.Marshal(out)
}
