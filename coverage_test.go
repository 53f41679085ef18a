package smartcar

import (
	"reflect"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Every row of the table has what a row needs: adding an endpoint is one row,
// one type and one fixture.
func TestEveryOperationIsComplete(t *testing.T) {
	folders := map[string]map[string]fixtureFile{
		"GET":    fixtureFiles(t, "v2/reads/*.json"),
		"POST":   fixtureFiles(t, "v2/commands/*.json"),
		"DELETE": fixtureFiles(t, "v2/commands/*.json"),
	}
	v3 := map[string]fixtureFile{}
	for name, f := range fixtureFiles(t, "v3/command.*.json") {
		v3[strings.TrimPrefix(name, "command.")] = f
	}
	stored := fixtureFiles(t, "v3/signals/*.json")
	vehicle := reflect.TypeFor[*Vehicle]()
	snapshot := reflect.TypeFor[*Snapshot]()
	seen := map[Operation]bool{}
	for i := range operations {
		op := &operations[i]
		t.Run(string(op.name), func(t *testing.T) {
			require.False(t, seen[op.name], "two rows of one name")
			seen[op.name] = true

			f, ok := folders[op.method][string(op.name)]
			require.Equal(t, wireV2{}.supports(op), ok, "a fixture of this name for what API v2.0 can do")
			if ok {
				require.Equal(t, op.method, f.Request.Method)
				require.Equal(t, strings.TrimSuffix("/v2.0/vehicles/{id}"+op.v2, "/"), f.Request.Path)
			}
			if op.kind == KindCommand {
				f, ok := v3[string(op.name)]
				require.True(t, ok, "no fixture for API v3")
				require.Equal(t, op.method, f.Request.Method)
				require.True(t, strings.HasPrefix(f.Request.Path, "/v3/vehicles/{id}"+op.v3), f.Request.Path)
				result, err := wireV3{}.commandResult(op, f.answer())
				require.NoError(t, err)
				require.NotEmpty(t, result.ExecutionID)
			}
			for _, code := range op.signals {
				require.Contains(t, stored, string(code))
			}

			method, ok := vehicle.MethodByName(op.call)
			require.True(t, ok, "Vehicle has no method %s", op.call)
			require.Equal(t, "context.Context", method.Type.In(1).String())
			require.Equal(t, "error", method.Type.Out(method.Type.NumOut()-1).String())

			require.NotEqual(t, KindDefault, op.kind)
			require.Equal(t, op.method != "GET" && op.kind == KindCommand, op.kind == KindCommand)
			require.True(t, wireV2{}.supports(op) || wireV3{}.supports(op))
			require.NotEmpty(t, op.permission+exemption(op.name), "a permission")

			inSnapshot, ok := snapshot.MethodByName(op.call)
			if op.isRead() && op.name != opKeyStatus {
				require.True(t, ok, "Snapshot has no method %s", op.call)
				require.Equal(t, method.Type.Out(0), inSnapshot.Type.Out(0), "the same result from both")
				require.Equal(t, 1, inSnapshot.Type.NumIn())
			} else {
				require.False(t, ok, "a snapshot cannot hold %s", op.call)
			}
			if op.isRead() && (wireV2{}).supports(op) {
				value, err := wireV2{}.decode(op, f.answer().body, Metric)
				require.NoError(t, err)
				require.NotNil(t, value)
			}
		})
	}
}

// exemption says why an operation needs no permission of its own.
func exemption(op Operation) string {
	switch op {
	case Permissions, opDisconnect:
		return "any token may ask what it was granted, and give it back"
	case TeslaUserAccess:
		return "none is documented"
	case AllSignals:
		return "each signal has its own"
	}
	return ""
}

// Every fixture of a read or a command belongs to a row.
func TestEveryFixtureHasAnOperation(t *testing.T) {
	elsewhere := map[string]bool{"user": true, "vehicles": true} // of the account, not of a vehicle
	for _, folder := range []string{"reads", "commands"} {
		for name := range fixtureFiles(t, "v2/"+folder+"/*.json") {
			operation, _, _ := strings.Cut(name, ".")
			if elsewhere[operation] {
				continue
			}
			require.Len(t, lookup(Operation(operation)), 1, "%s/%s has no operation", folder, name)
		}
	}
}

// Nothing is found under a name that no row has.
func TestLookupOfNothing(t *testing.T) {
	require.Empty(t, lookup(""))
	require.Empty(t, lookup("teleport"))
}
