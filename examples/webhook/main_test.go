package main

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestRun(t *testing.T) {
	var out bytes.Buffer
	require.NoError(t, run(t.Context(), &out))
	const want = `1. Smartcar verifies the webhook, and the Model Y is subscribed to it. Each event is sent twice.
   -> VEHICLE_ERROR: VIRTUAL_KEY_REQUIRED is ERROR
   2 deliveries, all answered with 200.

2. It is 9:00 UTC. The key is missing: the car may be read once in 8 hours, and takes no command.
   Battery: 80 %, live. Asked again: not before 17:00.
   Lock: needs the key: www.tesla.com/_ak/smartcar.com.

3. At 9:10 the owner adds the key, somewhere in the Tesla app. Nobody calls back, but the webhook does.
   -> VEHICLE_ERROR: VIRTUAL_KEY_REQUIRED is RESOLVED
   -> VEHICLE_STATE: 10 signals; the battery is at 80 %
   4 deliveries, all answered with 200.
   The key is installed, known from a webhook event. Battery: 80 %, live. Lock: sent.

4. Somebody else posts to the same URL.
   The answer is 401 Unauthorized, and nobody is handed the event.

5. At 10:00 the owner removes the key.
   -> VEHICLE_ERROR: VIRTUAL_KEY_REQUIRED is ERROR
   2 deliveries, all answered with 200.
   The key is missing, known from a webhook event. Lock: needs the key: www.tesla.com/_ak/smartcar.com.

Requests that reached Smartcar and were wasted: 0.
`
	require.Equal(t, want, out.String())
}
