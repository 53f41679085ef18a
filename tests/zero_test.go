package smartcar_test

import (
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/fleet"
	"github.com/seed-498a1bc4/smartcar/keypage"
	"github.com/seed-498a1bc4/smartcar/signals"
	"github.com/seed-498a1bc4/smartcar/store"
	"github.com/stretchr/testify/require"
)

// zeroValues has, by package, a value of each exported type that has methods.
var zeroValues = map[string][]any{
	".": {
		smartcar.ArgumentError{}, smartcar.Callback{}, smartcar.CallbackError{}, smartcar.ChargeCondition{}, smartcar.ChargeLimitRule{},
		smartcar.ChargePlace{}, smartcar.ChargeRecord{}, smartcar.ChargeSchedule{}, smartcar.ChargeTimer{}, smartcar.Client{}, smartcar.Config{},
		smartcar.Connect{}, smartcar.ConnectError{}, smartcar.ConnectOptions{}, smartcar.Error{}, smartcar.EventError{}, smartcar.Expected{},
		smartcar.Grant{}, smartcar.KeyNotNeededError{}, smartcar.KeyState(""), smartcar.Kind(0), smartcar.LocationReading{},
		smartcar.LocationSignal{}, smartcar.NotSupportedError{}, smartcar.PendingGrantError{}, smartcar.RateLimitError{}, smartcar.RawSignal{},
		smartcar.Request{}, smartcar.Response{}, smartcar.Signals{}, smartcar.Snapshot{}, smartcar.Tokens{}, smartcar.User{}, smartcar.Vehicle{},
		smartcar.VehicleIdentity{}, smartcar.VirtualKeyRequiredError{}, smartcar.VirtualKeyURL{}, smartcar.VirtualKeyURLError{},
		smartcar.WebhookError{}, smartcar.WebhookEvent{}, smartcar.WebhookReceiver{}, smartcar.WebhookVehicle{}, smartcar.WebhookVerifier{},
		smartcar.API(""), smartcar.Rule(""), smartcar.KeySource(""), smartcar.VehicleClass(""), smartcar.KeyNeed(""), smartcar.WebhookReason(""), smartcar.Meta{}, smartcar.Operation(""), smartcar.WebhookOptions{}, smartcar.CompatibilityOptions{}, smartcar.CompatibleModel{}, smartcar.VINReading{}, smartcar.Webhook{}, smartcar.About{}, smartcar.Diagnosis{},
	},
	"store":   {store.Memory{}, store.Sealed{}, store.Record{}},
	"keypage": {keypage.Handler{}, keypage.Texts{}},
	"signals": {signals.Code("")},
	"fleet":   {fleet.Fleet{}, fleet.Stats{}},
}

// Case 20: a zero value that somebody declared by mistake says so, and does not
// panic. Every exported method of every exported type is called.
func TestZeroValuesOfEveryTypeReturnErrors(t *testing.T) {
	t.Parallel()
	for folder, values := range zeroValues {
		covered := map[string]bool{}
		for _, value := range values {
			zero := reflect.New(reflect.TypeOf(value))
			name := zero.Type().Elem().Name()
			covered[name] = true
			t.Run(folder+" "+name, func(t *testing.T) {
				t.Parallel()
				requireCalm(t, name, func() { // all verbs, and logs
					_ = fmt.Sprintf("%v %+v %#v %s %v", zero.Interface(), zero.Interface(), zero.Interface(), zero.Interface(), zero.Elem().Interface())
					slog.New(slog.DiscardHandler).Info("zero", "value", zero.Interface())
				})
				for i := range zero.NumMethod() {
					callZero(t, name+"."+zero.Type().Method(i).Name, zero.Type().Method(i), zero.Method(i))
				}
			})
		}
		for _, name := range typesWithMethods(t, folder) {
			require.True(t, covered[name], "%s %s has methods: add its zero value above", folder, name)
		}
	}
}

// What forgets to say that it is a zero value is found out by its first call.
func callZero(t *testing.T, name string, m reflect.Method, method reflect.Value) {
	t.Helper()
	if m.Name == "Format" {
		return // called by fmt above
	}
	kind := method.Type()
	asks := false // it may ask somebody: then it has to return an error
	args := make([]reflect.Value, kind.NumIn())
	for i := range args {
		args[i] = argumentFor(t, kind.In(i))
		asks = asks || kind.In(i) == reflect.TypeFor[context.Context]()
	}
	var results []reflect.Value
	requireCalm(t, name, func() {
		if kind.IsVariadic() {
			results = method.CallSlice(args)
		} else {
			results = method.Call(args)
		}
	})
	for i, in := range args {
		if w, ok := in.Interface().(*httptest.ResponseRecorder); ok && i == 0 && m.Name == "ServeHTTP" {
			require.GreaterOrEqual(t, w.Code, 400, name)
		}
	}
	failed := false
	for _, result := range results {
		switch {
		case result.Type() == reflect.TypeFor[error]():
			failed = failed || !result.IsNil()
		case result.Type().Implements(reflect.TypeFor[http.Handler]()) && !result.IsNil():
			w := httptest.NewRecorder()
			requireCalm(t, name+" of which the handler", func() {
				result.Interface().(http.Handler).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
			})
		case result.Kind() == reflect.Func && strings.HasPrefix(result.Type().String(), "iter.Seq2["):
			requireCalm(t, name+" in a loop", func() {
				for _, err := range result.Seq2() {
					failed = failed || err.Type() == reflect.TypeFor[error]() && !err.IsNil()
				}
			})
		}
	}
	if m.Type.In(0) != reflect.TypeFor[*store.Memory]() { // of which the zero value is empty and ready
		require.True(t, failed || !asks, "%s of a zero value has to fail", name)
	}
}

func requireCalm(t *testing.T, name string, f func()) {
	t.Helper()
	defer func() {
		if r := recover(); r != nil {
			require.Fail(t, "panic", "%s: %v", name, r)
		}
	}()
	f()
}

// argumentFor is something plausible of a type.
func argumentFor(t *testing.T, kind reflect.Type) reflect.Value {
	t.Helper()
	for _, v := range []any{
		t.Context(), httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/?state=a&code=b", nil), errors.New("target"),
		[]smartcar.Operation{smartcar.Battery}, time.Hour, time.Now(), "text", 80.0, []byte("{}"),
	} {
		if kind == reflect.TypeOf(v) || kind.Kind() == reflect.Interface && kind.NumMethod() > 0 && reflect.TypeOf(v).Implements(kind) {
			return reflect.ValueOf(v).Convert(kind)
		}
	}
	switch kind.Kind() {
	case reflect.Func:
		return reflect.MakeFunc(kind, func([]reflect.Value) []reflect.Value {
			results := make([]reflect.Value, kind.NumOut())
			for i := range results {
				results[i] = reflect.Zero(kind.Out(i))
			}
			return results
		})
	case reflect.Pointer:
		return reflect.New(kind.Elem())
	case reflect.String:
		return reflect.ValueOf("text").Convert(kind)
	default:
		return reflect.Zero(kind)
	}
}

// typesWithMethods are the exported types of a package that have exported methods.
func typesWithMethods(t *testing.T, folder string) []string {
	t.Helper()
	names := map[string]bool{}
	files, err := filepath.Glob(filepath.Join(moduleRoot(t), folder, "*.go"))
	require.NoError(t, err)
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		parsed, err := parser.ParseFile(token.NewFileSet(), file, text, parser.SkipObjectResolution)
		require.NoError(t, err)
		for _, declared := range parsed.Decls {
			f, ok := declared.(*ast.FuncDecl)
			if !ok || f.Recv == nil || !f.Name.IsExported() {
				continue
			}
			receiver := f.Recv.List[0].Type
			if star, ok := receiver.(*ast.StarExpr); ok {
				receiver = star.X
			}
			if name, ok := receiver.(*ast.Ident); ok && name.IsExported() {
				names[name.Name] = true
			}
		}
	}
	list := make([]string, 0, len(names))
	for name := range names {
		list = append(list, name)
	}
	return list
}

// A store that was declared and not made is found out when the client uses it.
func TestClientOverAStoreThatWasNotMade(t *testing.T) {
	t.Parallel()
	for _, s := range []store.Store{new(store.Sealed)} {
		client, err := smartcar.New(smartcar.Config{ClientID: "id", ClientSecret: "secret", RedirectURL: "https://example.com/"}, smartcar.WithStore(s))
		require.NoError(t, err)
		_, err = client.User("user").Vehicle("car").Battery(t.Context())
		require.ErrorIs(t, err, smartcar.ErrStore)
	}
}
