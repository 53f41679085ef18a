package smartcar_test

import (
	"bufio"
	"bytes"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The most functions that one warm read of API v2.0 may pass on its way from
// vehicle.go to the transport and back: those of the root package without its
// decoders, and those of the packages below internal.
const (
	mostOfRoot     = 20
	mostOfInternal = 60
)

// decoding are the functions of the root package that turn the body of an answer
// into its result, beside those of the decode_*.go files.
var decoding = map[string]bool{
	"interpret": true, "errorInside": true, "decodePart": true, "decoded": true, "*Vehicle.decoded": true, "readingAs": true, "decodeObject": true,
	"isList": true, "isObject": true, "metaFrom": true, "*Meta.setMeta": true, "percent": true,
	"*operation.isAnswer": true, "wireV2.split": true, "wireV2.decode": true,
}

const (
	walkBegin = "<!-- walk -->\n"
	walkEnd   = "<!-- /walk -->\n"
)

var updateWalk = flag.Bool("walk", false, "rewrite the walk in docs/CONTRIBUTING.md")

// The way of one read is short enough to be followed, and CONTRIBUTING lists the
// functions that it passes.
func TestTheWalkOfOneRead(t *testing.T) {
	if testing.Short() {
		t.Skip("builds a program with coverage")
	}
	root, decoders, internal := walked(t)
	t.Logf("%d functions of the root package, %d decoders, %d functions of internal packages", len(root), len(decoders), len(internal))
	require.LessOrEqual(t, len(root), mostOfRoot, "the way of one read has become longer:\n%s", strings.Join(root, "\n"))
	require.LessOrEqual(t, len(internal), mostOfInternal, "the way of one read has become longer:\n%s", strings.Join(internal, "\n"))

	text, err := os.ReadFile("../docs/CONTRIBUTING.md")
	require.NoError(t, err)
	before, rest, ok := strings.Cut(string(text), walkBegin)
	require.True(t, ok, "the mark %q is missing", walkBegin)
	listed, after, ok := strings.Cut(rest, walkEnd)
	require.True(t, ok, "the mark %q is missing", walkEnd)
	if *updateWalk {
		require.NoError(t, os.WriteFile("../docs/CONTRIBUTING.md", []byte(before+walkBegin+walkTable(root)+walkEnd+after), 0o600))
		return
	}
	require.Equal(t, walkTable(root), listed, "run go test ./tests -run TestTheWalkOfOneRead -walk")
}

// walkTable lists the functions by their files, in the order of the alphabet.
func walkTable(functions []string) string {
	byFile := map[string][]string{}
	var files []string
	for _, f := range functions {
		file, name, _ := strings.Cut(f, " ")
		if byFile[file] == nil {
			files = append(files, file)
		}
		byFile[file] = append(byFile[file], "`"+name+"`")
	}
	var b strings.Builder
	fmt.Fprintf(&b, "The %d functions of the root package that a warm `Battery` passes, without its decoders:\n\n| file | functions |\n| --- | --- |\n", len(functions))
	for _, file := range files {
		fmt.Fprintf(&b, "| `%s` | %s |\n", file, strings.Join(byFile[file], ", "))
	}
	return b.String()
}

// walked runs the program of tests/walk and returns the functions that it has
// passed, each as its file and its name.
func walked(t *testing.T) (root, decoders, internal []string) {
	t.Helper()
	const module = "github.com/seed-498a1bc4/smartcar"
	dir := t.TempDir()
	const main = module + "/tests/walk" // without it among the packages, nothing is counted
	program := filepath.Join(dir, "walk")
	output(t, "go", "build", "-cover", "-covermode=atomic", "-coverpkg="+strings.Join([]string{module, module + "/internal/...", main}, ","), "-o", program, main)
	output(t, program, dir)
	line := regexp.MustCompile(`^` + module + `/(\S+?):\d+:\s+(\S+)\s+([0-9.]+)%$`)
	for scan := bufio.NewScanner(bytes.NewReader(output(t, "go", "tool", "covdata", "func", "-i", dir))); scan.Scan(); {
		m := line.FindStringSubmatch(scan.Text())
		if m == nil || m[3] == "0.0" || strings.HasPrefix(m[1], "tests/walk/") {
			continue
		}
		function := m[1] + " " + m[2]
		switch {
		case strings.Contains(m[1], "/"):
			internal = append(internal, function)
		case strings.HasPrefix(m[1], "decode_") || decoding[m[2]]:
			decoders = append(decoders, function)
		default:
			root = append(root, function)
		}
	}
	require.NotEmpty(t, root)
	slices.Sort(root)
	slices.Sort(internal)
	return root, decoders, internal
}

func output(t *testing.T, name string, args ...string) []byte {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	var failed bytes.Buffer
	cmd.Stderr = &failed
	out, err := cmd.Output()
	require.NoError(t, err, "%s", failed.String())
	return out
}
