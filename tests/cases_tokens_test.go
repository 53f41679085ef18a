package smartcar_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-498a1bc4/smartcar"
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

// The answer of a token endpoint is read as any other: a number may be a text, and the
// case of a name does not matter. An error is one whatever its status, and what is
// neither is no answer of Smartcar's.
func TestAnswersOfATokenEndpoint(t *testing.T) {
	ended, refused, foreign := smartcar.ErrReconnectRequired, smartcar.ErrUnauthorized, smartcar.ErrUnexpectedAnswer
	for body, want := range map[string]map[smartcar.API]error{
		`{"access_token":"another-one","token_type":5,"Expires_In":7200.0,"refresh_token":"r"}`:         {},
		`{"access_token":"another-one","Expires_In":"7.2e3","expires_in":"7200.0","refresh_token":"r"}`: {},
		`{"access_token":"another-one","refresh_token":"r","expires_in":null,"error":null}`:             {},
		`{"error":"invalid_grant","error_description":"gone","access_token":null}`:                      {smartcar.V2: ended},
		`{"error":"invalid_client"}`: {smartcar.V2: refused, smartcar.V3: refused},
		`{"status":"welcome"}`:       {smartcar.V2: foreign, smartcar.V3: foreign},
		`<html>welcome`:              {smartcar.V2: foreign, smartcar.V3: foreign},
	} {
		onEitherAPI(t, func(t *testing.T, sim *smartcartest.Server, api smartcar.API) {
			tap := &wireTap{next: sim.Transport()}
			client := borderClient(t, sim, api, tap)
			grant, err := borderConnect(t, sim, client)
			require.NoError(t, err)
			v := client.User(grant.UserID).Vehicle(smartcartest.MachE)
			_, err = v.Odometer(t.Context())
			require.NoError(t, err)
			time.Sleep(3 * time.Hour)
			asked := len(tap.to("/token"))
			tap.instead = func(r sentRequest) *http.Response {
				switch {
				case strings.HasSuffix(r.path, "/token"):
					answer := respond(200, body)
					answer.Header.Set("Content-Type", "text/plain")
					return answer
				case r.header.Get("Authorization") == "Bearer another-one":
					return respond(200, `{}`)
				}
				return nil
			}
			_, err = v.Request(t.Context(), smartcar.Request{Path: "another/read"})
			if len(want) == 0 {
				require.NoError(t, err, body)
				require.Len(t, tap.to("/token"), asked+1)
				return
			}
			require.Error(t, err, body)
			if sentinel := want[api]; sentinel != nil {
				require.ErrorIs(t, err, sentinel, body)
			}
			require.NotContains(t, err.Error(), "no answer", body)
			tap.instead = nil
			time.Sleep(time.Hour)
			_, err = v.Odometer(t.Context())
			require.Equal(t, errors.Is(want[api], ended), err != nil, "a portal ends no login: %v", err)
		})
	}
}

// Without a refresh token there is nothing to ask for. Nobody is asked, and it is not the
// network's fault.
func TestGrantWithoutARefreshToken(t *testing.T) {
	for _, stored := range []string{`{}`, `null`, `{"refresh_token":""}`} {
		synctest.Test(t, func(t *testing.T) {
			sim := smartcartest.New()
			db := newSpoiledStore()
			_, user := connected(t, sim, smartcar.WithStore(db))
			for key := range db.seenKeys {
				if strings.HasPrefix(key, "grant/") {
					record, err := db.Load(t.Context(), key)
					require.NoError(t, err)
					_, err = db.CompareAndSwap(t.Context(), key, record.Revision, []byte(stored), 0)
					require.NoError(t, err)
				}
			}
			time.Sleep(time.Hour)
			client := newClient(t, sim, smartcar.WithStore(db))
			asked := sim.TokenRequests()
			for range 2 {
				_, err := client.User(user.ID()).Vehicle(smartcartest.MachE).Odometer(t.Context())
				require.ErrorIs(t, err, smartcar.ErrReconnectRequired, stored)
				require.False(t, smartcar.Retryable(err))
			}
			require.Equal(t, asked, sim.TokenRequests())
			connect(t, sim, client)
			requireLoggedIn(t, client.User(user.ID()).Vehicle(smartcartest.MachE))
		})
	}
}
