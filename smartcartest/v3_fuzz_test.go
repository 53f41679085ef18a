package smartcartest_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/seed-498a1bc4/smartcar/smartcartest"
)

// FuzzV3 sends anything to API v3 in the name of the application: whatever it
// is, the answer is JSON, nothing panics, and no 5xx comes but 501.
func FuzzV3(f *testing.F) {
	car := "vehicles/" + smartcartest.Model3
	for _, seed := range [][3]string{
		{"GET", car + "/signals", ""}, {"GET", "connections?page[size]=1&filter[vehicle.mode]=live", ""}, {"DELETE", "users/x", ""},
		{"POST", car + "/commands/charge/set-limit", `{"data":{"attributes":{"percent":80}}}`},
		{"POST", car + "/charge-schedules/weekly", `{"data":{"attributes":{"location":{"latitude":1,"longitude":2},"days":{"monday":null}}}}`},
		{"POST", car + "/charge-schedules/daily", `{"data":{"attributes":null}}`}, {"POST", "subscriptions", `{"data":{"attributes":[]}}`},
		{"GET", "/", ""}, {"GET", "vehicles//signals", ""}, {"DELETE", car + "/charge-schedules/", ""}, {"GET", "webhooks/%2F", ""},
	} {
		f.Add(seed[0], seed[1], seed[2])
	}
	f.Fuzz(func(t *testing.T, method, path, body string) {
		u, err := url.Parse("https://vehicle.api.smartcar.com/v3/" + path)
		if err != nil || !strings.HasPrefix(u.Path, "/v3/") || strings.ContainsAny(method, " \r\n") || method == "" {
			t.Skip()
		}
		a := v3(t)
		r := &http.Request{Method: method, URL: u, Host: u.Host, Header: http.Header{}, Body: httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body)).Body}
		r.Header.Set("Authorization", "Bearer "+a.token)
		r.Header.Set("sc-user-id", a.user)
		w := httptest.NewRecorder()
		a.sim.ServeHTTP(w, r)
		require.True(t, w.Code < 500 || w.Code == http.StatusNotImplemented, w.Code)
		if w.Code != http.StatusNoContent {
			require.Contains(t, w.Header().Get("Content-Type"), "application/json")
		}
	})
}
