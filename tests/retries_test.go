package smartcar_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
	"github.com/stretchr/testify/require"
)

func TestTimeoutBoundsARequest(t *testing.T) {
	for name, tt := range map[string]struct {
		opts func(*smartcartest.Server) []smartcar.Option
		want time.Duration
	}{
		"default": {func(*smartcartest.Server) []smartcar.Option { return nil }, 310 * time.Second},
		"option": {func(*smartcartest.Server) []smartcar.Option {
			return []smartcar.Option{smartcar.WithTimeout(7 * time.Second)}
		}, 7 * time.Second},
		"client's, shorter": {func(sim *smartcartest.Server) []smartcar.Option {
			return []smartcar.Option{smartcar.WithHTTPClient(&http.Client{Transport: sim.Transport(), Timeout: 5 * time.Second})}
		}, 5 * time.Second},
		"client's, longer": {func(sim *smartcartest.Server) []smartcar.Option {
			return []smartcar.Option{
				smartcar.WithHTTPClient(&http.Client{Transport: sim.Transport(), Timeout: time.Hour}), smartcar.WithTimeout(7 * time.Second),
			}
		}, 7 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sim := smartcartest.New()
				v := metCar(t, sim, tt.opts(sim)...)
				sim.Inject(smartcartest.Fault{Path: "/odometer", LatencyAfter: 2 * time.Hour, Times: -1})
				began := time.Now()
				_, err := v.Odometer(t.Context())
				require.ErrorIs(t, err, context.DeadlineExceeded)
				require.ErrorIs(t, err, smartcar.ErrUnavailable)
				require.Equal(t, tt.want, time.Since(began))
			})
		})
	}
}

// A caller who allows a request two seconds means the token endpoint, too.
func TestTimeoutBoundsATokenRequest(t *testing.T) {
	for name, opts := range map[string]func(*smartcartest.Server) smartcar.Option{
		"option": func(*smartcartest.Server) smartcar.Option { return smartcar.WithTimeout(2 * time.Second) },
		"client's": func(sim *smartcartest.Server) smartcar.Option {
			return smartcar.WithHTTPClient(&http.Client{Transport: sim.Transport(), Timeout: 2 * time.Second})
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sim := smartcartest.New()
				v := metCar(t, sim, opts(sim))
				time.Sleep(3 * time.Hour)
				sim.Inject(smartcartest.Fault{Path: "/oauth/token", LatencyAfter: time.Hour, Times: -1})
				began := time.Now()
				_, err := v.Odometer(t.Context())
				require.ErrorIs(t, err, context.DeadlineExceeded)
				require.LessOrEqual(t, time.Since(began), 3*2*time.Second+10*time.Second)
			})
		})
	}
}

func TestAttemptsOfARead(t *testing.T) {
	fail := smartcartest.Fault{ErrorType: "UPSTREAM", ErrorCode: "NO_RESPONSE"}
	for _, tt := range []struct {
		policy   *smartcar.RetryPolicy
		failures int
		sent     int
		works    bool
	}{
		{nil, 2, 3, true},
		{nil, 9, 3, false},
		{&smartcar.RetryPolicy{MaxAttempts: 1}, 1, 1, false},
		{&smartcar.RetryPolicy{MaxAttempts: 10}, 9, 10, true},
		{&smartcar.RetryPolicy{MaxAttempts: 5, BaseDelay: time.Second, MaxDelay: time.Second}, 9, 5, false},
	} {
		t.Run(fmt.Sprintf("%+v, %d failures", tt.policy, tt.failures), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sim := smartcartest.New()
				var opts []smartcar.Option
				if tt.policy != nil {
					opts = append(opts, smartcar.WithRetry(*tt.policy))
				}
				v := metCar(t, sim, opts...)
				fail.Path, fail.Times = "/odometer", tt.failures
				sim.Inject(fail)
				_, err := v.Odometer(t.Context())
				if tt.works {
					require.NoError(t, err)
				} else {
					require.ErrorIs(t, err, smartcar.ErrUnavailable)
				}
				require.Equal(t, tt.sent, countPath(sim, "/odometer"))
			})
		})
	}
}

func TestPausesBetweenAttemptsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		v := metCar(t, sim, smartcar.WithRetry(smartcar.RetryPolicy{MaxAttempts: 10, BaseDelay: time.Second, MaxDelay: 4 * time.Second}))
		sim.Inject(smartcartest.Fault{Path: "/odometer", Status: 502, Times: -1})
		_, err := v.Odometer(t.Context())
		require.Error(t, err)
		var last time.Time
		for _, r := range sim.Requests() {
			if r.Status != 502 {
				continue
			}
			if !last.IsZero() {
				require.LessOrEqual(t, r.Time.Sub(last), 4*time.Second)
				require.GreaterOrEqual(t, r.Time.Sub(last), 500*time.Millisecond)
			}
			last = r.Time
		}
	})
}

func TestPauseEndsWithTheContext(t *testing.T) {
	errGone := errors.New("the browser is gone")
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		v := metCar(t, sim, smartcar.WithRetry(smartcar.RetryPolicy{MaxAttempts: 3, BaseDelay: time.Minute, MaxDelay: time.Minute}))
		sim.Inject(smartcartest.Fault{Path: "/odometer", ErrorType: "UPSTREAM", ErrorCode: "NO_RESPONSE", Times: -1})
		ctx, cancel := context.WithCancelCause(t.Context())
		began := time.Now()
		time.AfterFunc(time.Second, func() { cancel(errGone) })
		_, err := v.Odometer(ctx)
		require.Equal(t, time.Second, time.Since(began))
		require.ErrorIs(t, err, context.Canceled)
		require.ErrorIs(t, err, errGone)
		var answer *smartcar.Error
		require.ErrorAs(t, err, &answer, "what it waited for is told, too")
		require.Equal(t, "NO_RESPONSE", answer.Code)
		require.Equal(t, 1, countPath(sim, "/odometer"))
	})
}

func TestRequestEndsWithTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		v := metCar(t, sim)
		sim.Inject(smartcartest.Fault{Path: "/odometer", Latency: time.Minute})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		_, err := v.Odometer(ctx)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.NotErrorIs(t, err, smartcar.ErrUnavailable, "it was the caller's patience that ended")
		require.Equal(t, time.Second, time.Since(began))
		require.Equal(t, 1, countPath(sim, "/odometer"))
	})
}

func TestRetryAfterIsWaitedForOnlyIfShort(t *testing.T) {
	for _, tt := range []struct {
		fault  smartcartest.Fault
		after  string
		waited time.Duration // 0: not at all
	}{
		{smartcartest.Fault{ErrorType: "RATE_LIMIT", ErrorCode: "SMARTCAR_API"}, "10", 10 * time.Second},
		{smartcartest.Fault{ErrorType: "RATE_LIMIT", ErrorCode: "SMARTCAR_API"}, "11", 0},
		{smartcartest.Fault{ErrorType: "RATE_LIMIT", ErrorCode: "SMARTCAR_API"}, "3600", 0},
		{smartcartest.Fault{Status: 503}, "5", 5 * time.Second},
		{smartcartest.Fault{Status: 503}, "60", 0},
		{smartcartest.Fault{ErrorType: "RATE_LIMIT", ErrorCode: "VEHICLE"}, "1", 0},
	} {
		t.Run(fmt.Sprint(tt.fault.Status, tt.fault.ErrorCode, tt.after), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sim := smartcartest.New()
				v := metCar(t, sim)
				tt.fault.Path, tt.fault.Header = "/odometer", http.Header{"Retry-After": {tt.after}}
				sim.Inject(tt.fault)
				began := time.Now()
				_, err := v.Odometer(t.Context())
				if tt.waited > 0 {
					require.NoError(t, err)
					require.GreaterOrEqual(t, time.Since(began), tt.waited)
					require.Less(t, time.Since(began), tt.waited+time.Second)
					return
				}
				require.Error(t, err)
				require.Zero(t, time.Since(began))
				require.Equal(t, 1, countPath(sim, "/odometer"))
				if at, ok := smartcar.NextAllowed(err); tt.fault.ErrorType != "" {
					require.True(t, ok)
					require.True(t, at.After(began))
				}
			})
		})
	}
}

// The application's limit is the server's word on every call, until it ends.
func TestApplicationLimitHoldsForEveryCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		v := metCar(t, sim)
		sim.Inject(smartcartest.Fault{Path: "/odometer", ErrorType: "RATE_LIMIT", ErrorCode: "SMARTCAR_API", Header: http.Header{"Retry-After": {"60"}}})
		_, err := v.Odometer(t.Context())
		require.ErrorIs(t, err, smartcar.ErrRateLimited)
		before := len(sim.Requests())
		_, err = v.Lock(t.Context())
		var limited *smartcar.RateLimitError
		require.ErrorAs(t, err, &limited)
		require.Equal(t, smartcar.RuleApplication, limited.Rule)
		require.True(t, limited.Local)
		require.Len(t, sim.Requests(), before)
		time.Sleep(time.Minute)
		_, err = v.Lock(t.Context())
		require.NoError(t, err)
	})
}

// A proxy does not speak for Smartcar, and cannot switch the application off.
func TestProxysLimitPausesForAMinuteAtMost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		v := metCar(t, sim)
		sim.Inject(smartcartest.Fault{Path: "/odometer", Status: http.StatusTooManyRequests, Header: http.Header{"Retry-After": {"9999999"}}, Body: "<html>proxy"})
		_, err := v.Odometer(t.Context())
		var limited *smartcar.RateLimitError
		require.ErrorAs(t, err, &limited)
		require.Equal(t, smartcar.RuleApplication, limited.Rule)
		require.LessOrEqual(t, time.Until(limited.NextAllowed), time.Minute)
		_, err = v.Odometer(t.Context())
		require.ErrorAs(t, err, &limited)
		require.True(t, limited.Local)
		_, err = v.With(smartcar.IgnorePolicy()).Odometer(t.Context())
		require.NoError(t, err)
		time.Sleep(time.Minute)
		_, err = v.Odometer(t.Context())
		require.NoError(t, err)
	})
}

func TestWaitKnowsTheApplicationsPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		v := metCar(t, sim)
		sim.Inject(smartcartest.Fault{Path: "/odometer", ErrorType: "RATE_LIMIT", ErrorCode: "SMARTCAR_API", Header: http.Header{"Retry-After": {"600"}}})
		_, err := v.Odometer(t.Context())
		require.ErrorIs(t, err, smartcar.ErrRateLimited)
		began := time.Now()
		access, err := v.Access(t.Context())
		require.NoError(t, err)
		require.Equal(t, smartcar.RuleApplication, access.Rule)
		require.True(t, began.Add(10*time.Minute).Equal(access.NextRead))
		require.NoError(t, v.Wait(t.Context()))
		require.Equal(t, 10*time.Minute, time.Since(began))
		_, err = v.Odometer(t.Context())
		require.NoError(t, err)
	})
}

func TestApplicationLimitInsideABatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		v := metCar(t, sim)
		sim.Inject(smartcartest.Fault{Path: "/batch", Status: 200, Body: `{"responses":[
			{"path":"/battery","code":429,"body":{"type":"RATE_LIMIT","code":"SMARTCAR_API","description":"x"}},
			{"path":"/odometer","code":200,"body":{"distance":5}}]}`})
		s, err := v.Snapshot(t.Context(), smartcar.Battery, smartcar.Odometer)
		require.NoError(t, err)
		_, err = s.Odometer()
		require.NoError(t, err)
		_, err = s.Battery()
		var limited *smartcar.RateLimitError
		require.ErrorAs(t, err, &limited)
		require.Equal(t, smartcar.Battery, limited.Operation)
		require.Equal(t, smartcar.RuleApplication, limited.Rule)
		require.True(t, limited.NextAllowed.After(time.Now()))
		var answer *smartcar.Error
		require.ErrorAs(t, err, &answer)
		require.Equal(t, "SMARTCAR_API", answer.Code)
	})
}

// The application's own limit is one for all calls, those without a car, too.
func TestTheApplicationsLimitOnV3(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New(smartcartest.WithAppRateLimit(6, 2))
		client := apiClient(t, sim, smartcar.V3, smartcar.WithRetry(smartcar.RetryPolicy{MaxAttempts: 1}))
		v := client.User(connect(t, sim, client).UserID).Vehicle(smartcartest.MachE)
		var limit *smartcar.RateLimitError
		for range 10 {
			if _, err := v.Odometer(t.Context()); err != nil {
				require.ErrorAs(t, err, &limit)
			}
		}
		require.Equal(t, smartcar.RuleApplication, limit.Rule)
		before := len(sim.Requests())
		for _, err := range client.Connections(t.Context(), smartcar.ConnectionFilter{}) {
			require.ErrorAs(t, err, &limit)
			require.True(t, limit.Local)
		}
		_, err := v.Lock(t.Context())
		require.ErrorAs(t, err, &limit)
		require.False(t, smartcar.MayHaveSucceeded(err))
		require.Len(t, sim.Requests(), before)
		time.Sleep(time.Until(limit.NextAllowed))
		_, err = v.Odometer(t.Context())
		require.NoError(t, err)
	})
}

// A limit of the application is not cut short by an answer to a request that was under
// way when it began.
func TestAnApplicationLimitNeverEndsEarlier(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		var n atomic.Int32
		transport := roundTripFunc(func(r *http.Request) (*http.Response, error) {
			if !strings.Contains(r.URL.Path, "/vehicles/"+smartcartest.MachE) {
				return sim.Transport().RoundTrip(r)
			}
			if n.Add(1) == 1 {
				long := jsonReply(429, `{"type":"RATE_LIMIT","code":"SMARTCAR_API"}`)
				long.headers = map[string]string{"Content-Type": "application/json", "Retry-After": "600"}
				time.Sleep(time.Second)
				return long.response(r)
			}
			time.Sleep(2 * time.Second)
			return jsonReply(429, `{}`).response(r)
		})
		client := newClientOver(t, sim, transport, smartcar.WithRetry(smartcar.RetryPolicy{MaxAttempts: 1}))
		v := client.User(connect(t, sim, client).UserID).Vehicle(smartcartest.MachE)
		began := time.Now()
		allOf(2, func(int) error { _, err := v.Permissions(t.Context()); return err })
		require.EqualValues(t, 2, n.Load())
		time.Sleep(5 * time.Minute)
		_, err := v.Permissions(t.Context())
		var limit *smartcar.RateLimitError
		require.ErrorAs(t, err, &limit)
		require.True(t, limit.Local)
		require.WithinDuration(t, began.Add(10*time.Minute), limit.NextAllowed, 2*time.Second)
	})
}
