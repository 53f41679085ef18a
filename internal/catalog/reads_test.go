package catalog

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// tableOf is the source of a table with one row beside a good one.
func tableOf(row string) []byte {
	return []byte("package smartcar\n\nvar operations = [...]operation{\n" +
		`	{name: "battery", call: "Battery", kind: KindData, method: "GET", does: "reads the battery", page: "evs/get-battery-level", v2: "/battery"},` +
		"\n	{" + row + "},\n}\n")
}

// What a row lacks is said with the line, the row and what to write, and all of it at once.
func TestReadsNameWhatARowLacks(t *testing.T) {
	const good = `name: "odometer", call: "Odometer", kind: KindData, method: "GET", does: "reads", page: "get-odometer", v2: "/odometer"`
	reads, err := Reads(tableOf(good))
	require.NoError(t, err)
	require.Len(t, reads, 2)
	require.Equal(t, Read{Name: "odometer", Call: "Odometer", Does: "reads", Page: "get-odometer"}, reads[1])
	for part, want := range map[string][2]string{
		"no call":           {`call: "Odometer", `, "call is missing"},
		"no name":           {`name: "odometer", `, "name is missing"},
		"no kind":           {`kind: KindData, `, "kind is missing"},
		"no method":         {`method: "GET", `, "method is missing"},
		"no does":           {`does: "reads", `, "does is missing"},
		"no page":           {`page: "get-odometer", `, "page is missing"},
		"call of the kind":  {`call: "Odometer"=call: "odometer"`, "call must be an exported Go name"},
		"name as constant":  {`name: "odometer"=name: Odometer`, "name must be a text in lower case"},
		"name of another":   {`name: "odometer"=name: "battery"`, "name is that of another row"},
		"call of another":   {`call: "Odometer"=call: "Battery"`, "call is that of another row"},
		"period":            {`does: "reads"=does: "reads."`, "must not end with a period"},
		"the whole address": {`page: "get-odometer"=page: "https://smartcar.com/docs/api-reference/get-odometer"`, "page must be the part"},
		"kind of its own":   {`kind: KindData=kind: KindWrong`, "kind is missing or unknown"},
	} {
		old, replacement, _ := strings.Cut(want[0], "=")
		_, err := Reads(tableOf(strings.Replace(good, old, replacement, 1)))
		require.ErrorContains(t, err, want[1], part)
		require.ErrorContains(t, err, "operations.go:5:2: the row of ", part)
	}
	_, err = Reads(tableOf(`v2: "/odometer", method: "GET"`))
	require.ErrorContains(t, err, "the row of /odometer: kind is missing")
	require.ErrorContains(t, err, "the row of /odometer: page is missing")
}

// Rows that are written by hand, and commands, are left to the compiler and the tests.
func TestReadsLeaveOtherRows(t *testing.T) {
	for _, row := range []string{
		`name: ServiceHistory, kind: KindData, method: "GET", byHand: true`,
		`name: Lock, kind: KindCommand, method: "POST"`,
		`name: Lock, kind: KindCommand`,
		`name: opDisconnect, kind: KindMetadata, method: "DELETE"`,
	} {
		reads, err := Reads(tableOf(row))
		require.NoError(t, err)
		require.Len(t, reads, 1)
	}
	_, err := Reads([]byte("package smartcar\n"))
	require.ErrorContains(t, err, "no table")
}
