package smartcar_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Since 2026-06-16 "required:" keeps an owner from unticking a permission, and no
// car out: nothing that is read here says otherwise.
func TestNoWordSaysThatRequiredKeepsCarsOut(t *testing.T) {
	t.Parallel()
	root := moduleRoot(t)
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == "smartcartest" || strings.HasPrefix(d.Name(), ".") && path != root):
			return filepath.SkipDir // a simulator may tell of the years before
		case d.IsDir() || strings.HasSuffix(path, "_test.go") || filepath.Ext(path) != ".go" && filepath.Ext(path) != ".md":
			return nil
		}
		text, err := os.ReadFile(path)
		for _, wrong := range []string{"counts as incompatible", "keeps cars away", "by [Required] cannot be connected"} {
			require.NotContains(t, strings.ReplaceAll(string(text), "\n// ", " "), wrong, path)
		}
		return err
	})
	require.NoError(t, err)
	for _, name := range []string{"docs/connect.md", "doc.go"} {
		text, err := os.ReadFile(filepath.Join(root, name))
		require.NoError(t, err)
		require.Contains(t, string(text), "read_vehicle_info", name)
		require.Contains(t, string(text), "2026-06-16", name)
	}
}

// moduleRoot is the folder of the go.mod above this test.
func moduleRoot(t *testing.T) string {
	t.Helper()
	dir, err := os.Getwd()
	require.NoError(t, err)
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		require.NotEqual(t, filepath.Dir(dir), dir)
		dir = filepath.Dir(dir)
	}
}
