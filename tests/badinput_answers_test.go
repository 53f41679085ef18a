package smartcar_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
	"github.com/stretchr/testify/require"
)

// endless is a body of 1 GB, made as it is read.
type endless struct{ read, left int }

func (e *endless) Read(b []byte) (int, error) {
	if e.left <= 0 {
		return 0, io.EOF
	}
	n := min(len(b), e.left)
	for i := range n {
		b[i] = ' '
	}
	e.left -= n
	e.read += n
	return n, nil
}

func (*endless) Close() error { return nil }

func TestHugeBodiesAreNotRead(t *testing.T) {
	const gigabyte, most = 1 << 30, 16 << 20
	for _, path := range []string{"/odometer", "/oauth/token", "/user", "/security"} {
		for _, status := range []int{200, 302, 500} {
			var body *endless
			transport := roundTripper(func(req *http.Request) (*http.Response, error) {
				if !strings.HasSuffix(req.URL.Path, path) {
					return newCanned(t).RoundTrip(req)
				}
				body = &endless{left: gigabyte}
				return &http.Response{StatusCode: status, Header: http.Header{"Content-Type": {"application/json"}}, Body: body, ContentLength: -1, Request: req}, nil
			})
			client := cannedClient(t, transport)
			tokens := smartcar.Tokens{AccessToken: "access-token", RefreshToken: "refresh-token", Expires: fixtureTime.Add(time.Hour)}
			if path == "/oauth/token" {
				tokens.Expires = time.Time{}
			}
			_, err := client.ImportTokens(t.Context(), tokens)
			switch path {
			case "/odometer":
				_, err = client.User(fixtureUser).Vehicle(fixtureVehicle).Odometer(t.Context())
				if status == 200 {
					require.ErrorIs(t, err, smartcar.ErrUnexpectedAnswer)
				}
			case "/security":
				_, err = client.User(fixtureUser).Vehicle(fixtureVehicle).Lock(t.Context())
				require.True(t, smartcar.MayHaveSucceeded(err))
			}
			var e *smartcar.Error
			require.ErrorAs(t, err, &e, "%s %d", path, status)
			require.NotNil(t, body)
			require.LessOrEqual(t, body.read, most, "%s %d", path, status)
		}
	}
}

// Half a body is no answer: an error that says so, and the reading is nil.
func TestBodiesCutInHalf(t *testing.T) {
	whole := readFixture(t, "v2/reads/battery").reply()
	half := whole
	half.body, half.length = whole.body[:len(whole.body)/2], int64(len(whole.body))
	silent := whole // the length was not announced
	silent.body = half.body
	for name, r := range map[string]reply{"announced": half, "not announced": silent} {
		t.Run(name, func(t *testing.T) {
			battery, err := cannedVehicle(t, newCanned(t).on(batteryPath, r)).Battery(t.Context())
			require.Nil(t, battery)
			require.ErrorIs(t, err, smartcar.ErrUnexpectedAnswer)
			var e *smartcar.Error
			require.ErrorAs(t, err, &e)
			require.Equal(t, whole.headers["SC-Request-Id"], e.RequestID)
			require.NotContains(t, err.Error(), "percentRemaining", "the body is not repeated")
		})
	}
	require.True(t, smartcar.Retryable(func() error {
		_, err := cannedVehicle(t, newCanned(t).on(batteryPath, half)).Battery(t.Context())
		return err
	}()), "a read that broke off may be repeated")

	sim := smartcartest.New()
	_, user := connected(t, sim)
	sim.Inject(smartcartest.Fault{Path: "/security", Malformed: true})
	_, err := user.Vehicle(smartcartest.MachE).Lock(t.Context())
	require.ErrorIs(t, err, smartcar.ErrUnexpectedAnswer)
	require.True(t, smartcar.MayHaveSucceeded(err))
}

// A page of a hotel's network is no answer either, and it is not kept as one.
func TestSuccessThatIsNoJSON(t *testing.T) {
	portal := reply{status: 200, body: "<html>Welcome, room 101</html>", headers: map[string]string{"Content-Type": "text/html"}}
	transport := newCanned(t).on(odometerPath, portal, readFixture(t, "v2/reads/odometer").reply()).
		on(attributesPath, jsonReply(200, `{"make":"TESLA","model":"Model S","year":2015}`))
	v := cannedVehicle(t, transport)
	odometer, err := v.Odometer(t.Context())
	require.ErrorIs(t, err, smartcar.ErrUnexpectedAnswer)
	require.Nil(t, odometer)
	require.NotContains(t, err.Error(), "room 101")
	odometer, err = v.Odometer(t.Context())
	require.NoError(t, err, "the page must not be kept as what the car said")
	require.Equal(t, new(104.32), odometer.Distance)

	for _, body := range []string{"null", "[]", "42", `"text"`, "true"} {
		battery, err := cannedVehicle(t, newCanned(t).on(batteryPath, jsonReply(200, body))).Battery(t.Context())
		require.ErrorIs(t, err, smartcar.ErrUnexpectedAnswer, body)
		require.Nil(t, battery, body)
	}
}

// A car whose clock is wrong is not believed to be current until then.
func TestDataFromTheFuture(t *testing.T) {
	for _, age := range []string{"2026-11-24T09:15:04Z", "2036-11-23T09:15:04Z", "9999-12-31T23:59:59Z"} {
		r := readFixture(t, "v2/reads/odometer").reply()
		r.headers = map[string]string{"SC-Data-Age": age}
		transport := newCanned(t).on(odometerPath, r).on(attributesPath, jsonReply(200, `{"make":"TESLA","model":"Model S","year":2015}`))
		clock := &standingClock{now: fixtureTime}
		v := cannedVehicle(t, transport, smartcar.WithClock(clock))
		_, err := v.Odometer(t.Context())
		require.NoError(t, err)
		access, err := v.Access(t.Context())
		require.NoError(t, err)
		require.False(t, access.NextRead.After(fixtureTime.Add(11*time.Minute)), "%s: next read at %v", age, access.NextRead)
		clock.now = fixtureTime.Add(11 * time.Minute)
		odometer, err := v.Odometer(t.Context())
		require.NoError(t, err)
		require.Equal(t, smartcar.SourceLive, odometer.Source, age)
		require.Len(t, transport.requests(odometerPath), 2, age)
	}
}

// Simple transports in tests leave things out.
func TestTransportsThatLeaveThingsOut(t *testing.T) {
	for name, answer := range map[string]*http.Response{
		"header":          {StatusCode: 200, Body: http.NoBody},
		"body":            {StatusCode: 200, Header: http.Header{}},
		"header and body": {StatusCode: 500},
		"everything":      {},
		"the answer":      nil,
	} {
		t.Run(name, func(t *testing.T) {
			whole := newCanned(t)
			broken := false
			client := cannedClient(t, roundTripper(func(r *http.Request) (*http.Response, error) {
				if !broken {
					return whole.RoundTrip(r)
				}
				if answer == nil {
					return nil, nil //nolint:nilnil // what is tested
				}
				left := *answer
				return &left, nil
			}))
			tokens := smartcar.Tokens{AccessToken: "a", RefreshToken: "r", Expires: fixtureTime.Add(time.Hour)}
			grant, err := client.ImportTokens(t.Context(), tokens)
			require.NoError(t, err)
			v := client.User(grant.UserID).Vehicle(fixtureVehicle)
			_, err = v.Attributes(t.Context())
			require.NoError(t, err)

			broken = true
			_, err = v.Odometer(t.Context())
			require.Error(t, err)
			_, err = v.Snapshot(t.Context(), smartcar.Odometer, smartcar.Battery)
			require.Error(t, err)
			_, err = client.ImportTokens(t.Context(), tokens)
			require.Error(t, err)
			_, err = client.ImportTokens(t.Context(), smartcar.Tokens{RefreshToken: "r"})
			require.Error(t, err)
			_, err = collectConnections(t.Context(), client, smartcar.ConnectionFilter{})
			if answer == nil || answer.StatusCode != 200 {
				require.Error(t, err)
				_, err = v.Lock(t.Context())
				require.Error(t, err)
			}
		})
	}
}
