package smartcar_test

import (
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-498a1bc4/smartcar/smartcartest"
	"github.com/stretchr/testify/require"
)

// RFC 6749, section 6: a new refresh token is optional. The old one goes on.
func TestRenewalThatLeavesTheRefreshTokenAsItIs(t *testing.T) {
	for _, kept := range []string{``, `,"refresh_token":null`, `,"refresh_token":""`} {
		synctest.Test(t, func(t *testing.T) {
			sim := smartcartest.New()
			tap := &wireTap{next: sim.Transport()}
			client := newClientOver(t, sim, tap)
			v := client.User(connect(t, sim, client).UserID).Vehicle(smartcartest.MachE)
			_, err := v.Odometer(t.Context())
			require.NoError(t, err)
			tap.instead = func(r sentRequest) *http.Response {
				switch {
				case strings.HasSuffix(r.path, "/token"):
					return respond(200, `{"access_token":"another-one","token_type":"Bearer","expires_in":7200`+kept+`}`)
				case r.header.Get("Authorization") == "Bearer another-one":
					return respond(200, `{"distance":5}`)
				}
				return nil
			}
			for range 3 {
				time.Sleep(3 * time.Hour)
				_, err = v.Odometer(t.Context())
				require.NoError(t, err, kept)
			}
			require.Len(t, tap.to("/token"), 1+3)
		})
	}
}
