package smartcar

import (
	"net/http"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/seed-498a1bc4/smartcar/smartcartest"
	"github.com/stretchr/testify/require"
)

// An answer has at least one field of its own, and null is a value: the car did
// not say. What has none is somebody else's.
func TestWireV2KnowsItsAnswers(t *testing.T) {
	for i := range operations {
		op := &operations[i]
		if op.decodeV2 == nil {
			continue
		}
		t.Run(string(op.name), func(t *testing.T) {
			for _, foreign := range []string{`{"welcome":true}`, `{}`, `{"welcome":{"` + strings.ReplaceAll(op.own, " ", `":1,"`) + `":1}}`} {
				got, err := wireV2{}.decode(op, []byte(foreign), Metric)
				require.ErrorIs(t, err, errForeign, foreign)
				require.Nil(t, got)
			}
			for name := range strings.FieldsSeq(op.own) {
				body := `{"welcome":true,"` + name + `":null}`
				switch list, isList := strings.CutSuffix(name, "[text]"); {
				case name == aList:
					body = ` []`
				case isList:
					body = `{"welcome":true,"` + list + `":[]}`
				}
				got, err := wireV2{}.decode(op, []byte(body), Metric)
				require.NoError(t, err, body)
				require.NotNil(t, got)
			}
			if !strings.Contains(op.own, aList) {
				_, err := wireV2{}.decode(op, []byte(`[]`), Metric)
				require.ErrorIs(t, err, errNotObject)
			}
		})
	}
}

// A portal's page of JSON with status 200 is no answer of Smartcar's: nothing
// is read from it, and a keyless car's turn is gone with it all the same.
func TestForeignAnswers(t *testing.T) {
	for name, tt := range map[string]struct {
		api     API
		path    string
		body    string
		foreign bool
	}{
		"v2, a portal":         {V2, "/battery", `{"status":"welcome"}`, true},
		"v2, nothing":          {V2, "/battery", `{}`, true},
		"v2, a field below":    {V2, "/battery", `{"data":{"percentRemaining":0.3}}`, true},
		"v2, null":             {V2, "/battery", `{"percentRemaining":null}`, false},
		"v3, a portal":         {V3, "/signals", `{"status":"welcome"}`, true},
		"v3, nothing":          {V3, "/signals", `{"data":{}}`, true},
		"v3, no list":          {V3, "/signals", `{"data":"welcome"}`, true},
		"v3, another object":   {V3, "/signals", `{"data":{"status":"welcome"}}`, true},
		"v3, a body that is 1": {V3, "/signals", `{"data":[{"code":"tractionbattery-stateofcharge","body":1}]}`, true},
		"v3, null":             {V3, "/signals", `{"data":[{"code":"tractionbattery-stateofcharge","body":{"value":null}}]}`, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sim := smartcartest.New()
				v := connectedOver(t, sim, tt.api).Vehicle(smartcartest.ModelY)
				require.NoError(t, v.SetKeyState(t.Context(), KeyMissing))
				sim.Inject(smartcartest.Fault{Path: v.ID() + tt.path, Status: 200, Body: tt.body, Times: -1})
				got, err := v.Battery(t.Context())
				if tt.foreign {
					require.Nil(t, got)
					require.ErrorIs(t, err, ErrUnexpectedAnswer)
				} else {
					require.NoError(t, err)
					require.Nil(t, got.Percent)
				}
				_, err = v.Battery(t.Context())
				require.ErrorIs(t, err, ErrRateLimited)
			})
		})
	}
}

// The vehicle itself is told by its fields, too, on either version.
func TestForeignVehicles(t *testing.T) {
	for _, api := range []API{V2, V3} {
		for _, body := range []string{`{"status":"welcome"}`, `{"data":{}}`, `{"data":{"attributes":{"status":"welcome"}}}`} {
			synctest.Test(t, func(t *testing.T) {
				sim := smartcartest.New()
				v := connectedOver(t, sim, api).Vehicle(smartcartest.ModelY)
				sim.Inject(smartcartest.Fault{
					Status: 200, Body: body, Times: -1,
					Match: func(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, "/"+v.ID()) },
				})
				got, err := v.Attributes(t.Context())
				require.ErrorIs(t, err, ErrUnexpectedAnswer, body)
				require.Nil(t, got)
			})
		}
	}
}
