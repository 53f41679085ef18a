package smartcar

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestWhichAnswerIsNewer(t *testing.T) {
	at := func(recorded, received int, pushed bool, sequence int64) part {
		p := part{pushed: pushed, sequence: sequence}
		if recorded != 0 {
			p.meta.RecordedAt = fuzzTime.Add(time.Duration(recorded) * time.Second)
		}
		p.meta.ReceivedAt = fuzzTime.Add(time.Duration(received) * time.Second)
		return p
	}
	for name, tt := range map[string]struct {
		old, new part
		newer    bool
	}{
		"recorded later, said earlier": {at(1, 9, true, 0), at(2, 8, true, 0), true},
		"recorded earlier, said later": {at(2, 8, true, 0), at(1, 9, true, 0), false},
		"the same, a higher sequence":  {at(1, 9, true, 1), at(1, 8, true, 2), true},
		"the same, a lower sequence":   {at(1, 8, true, 2), at(1, 9, true, 1), false},
		"the same, no sequence, later": {at(1, 8, true, 0), at(1, 9, true, 0), true},
		"the same event":               {at(1, 8, true, 1), at(1, 8, true, 1), false},
		"than a read":                  {at(1, 8, false, 0), at(2, 8, true, 1), true},
		"not than a later read":        {at(3, 9, false, 0), at(2, 8, true, 1), false},
		"undated":                      {at(0, 8, true, 0), at(2, 9, true, 0), true},
		"than one with a clock ahead":  {at(99999, 8, false, 0), at(9, 10, true, 0), true},
		"a read goes by when it came":  {at(2, 8, true, 5), at(1, 9, false, 0), true},
		"a read does not by its clock": {at(1, 9, false, 0), at(2, 8, false, 0), false},
	} {
		require.Equal(t, tt.newer, tt.new.outdates(tt.old), name)
	}
}
