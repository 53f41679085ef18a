package smartcar_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/seed-498a1bc4/smartcar/signals"
	"github.com/stretchr/testify/require"
)

var (
	testFunction = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz|Example)\w*)\(`)
	testName     = regexp.MustCompile("`((?:Test|Fuzz)[A-Z]\\w*)`")
)

// testFunctions are the names of all tests of this module and those below it.
func testFunctions(t *testing.T) map[string]bool {
	t.Helper()
	names := map[string]bool{}
	root := moduleRoot(t)
	require.NoError(t, filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != root && (strings.HasPrefix(d.Name(), ".") || d.Name() == "node_modules"):
			return filepath.SkipDir
		case d.IsDir() || !strings.HasSuffix(path, "_test.go"):
			return nil
		}
		source, err := os.ReadFile(path)
		for _, found := range testFunction.FindAllStringSubmatch(string(source), -1) {
			names[found[1]] = true
		}
		return err
	}))
	return names
}

// Every test that a document names exists, and every point that is uncertain names one.
func TestDocumentsNameTestsThatExist(t *testing.T) {
	t.Parallel()
	exists := testFunctions(t)
	for _, document := range []string{"docs/uncertain.md", "docs/CONTRIBUTING.md"} {
		text, err := os.ReadFile(filepath.Join(moduleRoot(t), document))
		require.NoError(t, err)
		named := testName.FindAllStringSubmatch(string(text), -1)
		require.NotEmpty(t, named, document)
		for _, name := range named {
			require.True(t, exists[name[1]], "%s names %s, which is no test", document, name[1])
		}
	}
	text, err := os.ReadFile(filepath.Join(moduleRoot(t), "docs", "uncertain.md"))
	require.NoError(t, err)
	rows := 0
	for line := range strings.Lines(string(text)) {
		if !strings.HasPrefix(line, "| ") || strings.HasPrefix(line, "| ---") || strings.HasPrefix(line, "| Nobody is sure") {
			continue
		}
		rows++
		cells := strings.Split(line, " | ")
		require.Len(t, cells, 3, line)
		require.Regexp(t, testName, cells[2], "a point without a test: %s", line)
	}
	require.Greater(t, rows, 40)
}

// A charger's phases are a number for most makes, and may be a word: that is no
// number, and is not lost.
func TestChargerPhasesAsAWord(t *testing.T) {
	t.Parallel()
	_, all := borderSignals(t, map[signals.Code]string{signals.ChargeChargerPhases: `{"value":"SINGLE_PHASE"}`, signals.ChargeVoltage: `{"value":230}`})
	phases, err := all.ChargeChargerPhases()
	require.NoError(t, err)
	require.Nil(t, phases.Value)
	raw, err := all.Raw(signals.ChargeChargerPhases)
	require.NoError(t, err)
	require.JSONEq(t, `{"value":"SINGLE_PHASE"}`, string(raw.Body()))
}
