package smartcar_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func readREADME(t *testing.T) string {
	t.Helper()
	return readPage(t, "README.md")
}

func readPage(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile("../" + name)
	require.NoError(t, err)
	return string(text)
}

// manualPages are the README and the pages that it leads to.
func manualPages(t *testing.T) []string {
	t.Helper()
	docs, err := filepath.Glob("../docs/*.md")
	require.NoError(t, err)
	require.NotEmpty(t, docs)
	pages := []string{"README.md"}
	for _, path := range docs {
		pages = append(pages, "docs/"+filepath.Base(path))
	}
	return pages
}

// The entrance is short, and leads to every page of docs/.
func TestREADMEIsShortAndLeadsOn(t *testing.T) {
	readme := readREADME(t)
	require.LessOrEqual(t, len(readme), 9_000, "bytes")
	for _, page := range manualPages(t)[1:] {
		require.Contains(t, readme, "("+page+")")
	}
}

// blocks returns the fenced blocks of a language, in order.
func blocks(text, language string) []string {
	var found []string
	for _, m := range regexp.MustCompile("(?ms)^```"+language+"\n(.*?)^```$").FindAllStringSubmatch(text, -1) {
		found = append(found, m[1])
	}
	return found
}

func TestREADMEQuickStart(t *testing.T) {
	_, section, ok := strings.Cut(readREADME(t), "\n## Quick start\n")
	require.True(t, ok)
	commands := blocks(section, "sh")
	require.NotEmpty(t, commands)
	require.Equal(t, "go run ./examples/quickstart\ngo test ./...\n", commands[0])
}

// exampleFiles are tests, of the root package and of modules that have what this
// one must not require, which compile and run what the manual shows in parts.
var exampleFiles = [...]string{
	"example_test.go", "example_more_test.go", "docs/examples_test.go",
	"keypage/example_test.go", "store/example_test.go", "examples/fleet/stores_test.go",
	"examples/fleet/core.go", "examples/fleet/observe.go",
}

func readExamples(t *testing.T) string {
	t.Helper()
	var examples strings.Builder
	for _, path := range exampleFiles {
		examples.WriteString(readPage(t, path))
	}
	return examples.String()
}

// TestREADMESnippets: a program or a test, in the README or in docs/, is compiled,
// and run if it is a test, in a module of its own as a user would have it. Any other
// block is a part of one of the exampleFiles.
func TestREADMESnippets(t *testing.T) {
	examples := unindented(readExamples(t))
	files := make(map[string]string)
	for _, page := range manualPages(t) {
		for i, block := range blocks(readPage(t, page), "go") {
			dir := strings.TrimSuffix(filepath.Base(page), ".md")
			switch {
			case strings.HasPrefix(block, "package main") && strings.Contains(block, "\nfunc Test"):
				files[dir+"/main_test.go"] = block
			case strings.HasPrefix(block, "package main"):
				files[dir+"/main.go"] = block
			case strings.HasPrefix(block, "func Test"):
				files[fmt.Sprintf("%s%d/app_test.go", dir, i)] = "package app_test\n\n" + importsOf(block) + block
			default:
				require.Contains(t, examples, unindented(block), "%s shows what is not in %v", page, exampleFiles)
			}
		}
	}
	require.NotEmpty(t, files)
	if testing.Short() {
		t.Skip("does not compile the programs of README and docs")
	}
	compileOutside(t, files)
}

// The last column of the tables for those who come from another library is Go.
func TestCallsBesideOtherLibrariesCompile(t *testing.T) {
	examples, rows := readExamples(t), 0
	for _, row := range regexp.MustCompile(`(?m)^\|.*\| ([^|]*) \|$`).FindAllStringSubmatch(readPage(t, "docs/official-sdks.md"), -1) {
		for _, code := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(row[1], -1) {
			require.Contains(t, examples, code[1])
			rows++
		}
	}
	require.Greater(t, rows, 30)
}

// importsOf spares the README the imports that an editor adds by itself.
func importsOf(code string) string {
	var imports strings.Builder
	for _, path := range []string{
		"errors", "net/http", "testing", "time", "github.com/jarcoal/httpmock",
		"github.com/seed-498a1bc4/smartcar", "github.com/seed-498a1bc4/smartcar/smartcartest",
	} {
		if regexp.MustCompile(`\b` + filepath.Base(path) + `\.[A-Z]`).MatchString(code) {
			fmt.Fprintf(&imports, "import %q\n", path)
		}
	}
	return imports.String() + "\n"
}

func unindented(code string) string {
	return regexp.MustCompile(`(?m)^\t+`).ReplaceAllString(code, "")
}

func compileOutside(t *testing.T, files map[string]string) {
	t.Helper()
	root, err := filepath.Abs("..")
	require.NoError(t, err)
	goMod, err := os.ReadFile("../go.mod")
	require.NoError(t, err)
	goSum, err := os.ReadFile("../go.sum")
	require.NoError(t, err)

	const module = "github.com/seed-498a1bc4/smartcar"
	dir := t.TempDir()
	write := func(name, text string) {
		path := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	}
	write("go.mod", strings.Replace(string(goMod), "module "+module, "module example.com/app", 1)+
		fmt.Sprintf("\nrequire %s v0.0.0\n\nreplace %s => %s\n", module, module, root))
	write("go.sum", string(goSum))
	for name, file := range files {
		write(name, file)
	}
	for _, args := range [][]string{{"vet", "./..."}, {"test", "./..."}} {
		cmd := exec.CommandContext(t.Context(), "go", args...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=-mod=mod -buildvcs=false")
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s", out)
	}
}

// The package documentation names every sentinel, and every type and code of
// Smartcar's errors that there is a fixture for.
func TestManualNamesEveryError(t *testing.T) {
	manual, err := os.ReadFile("../doc.go")
	require.NoError(t, err)
	fixtures, err := filepath.Glob("../testdata/v2/errors/*.json")
	require.NoError(t, err)
	require.NotEmpty(t, fixtures)
	for _, path := range fixtures {
		var fixture struct {
			Want struct{ Type, Code string }
		}
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		require.NoError(t, json.Unmarshal(text, &fixture), path)
		documented := strings.ReplaceAll(strings.ToLower(strings.Trim(fixture.Want.Type+"."+fixture.Want.Code, ".")), "_", "-")
		if !strings.HasPrefix(filepath.Base(path), documented) {
			continue // an odd shape, not a type or code of its own
		}
		require.True(t, bytes.Contains(manual, []byte(fixture.Want.Type)), path)
		require.True(t, bytes.Contains(manual, []byte(fixture.Want.Code)), path)
	}
	for _, code := range []string{ // of API v3 alone
		"UNAUTHORIZED", "ACCESS_DENIED", "INVALID_INPUT_FORMAT", "MISSING_PARAMETER", "INVALID_PATH", "VEHICLE_NOT_FOUND", "SIGNAL_NOT_FOUND",
	} {
		require.True(t, bytes.Contains(manual, []byte(code)), "%s is not in doc.go", code)
	}
	for _, name := range namesOfSentinels(t) {
		require.True(t, bytes.Contains(manual, []byte(name)), "%s is not in doc.go", name)
	}
}

// namesOfSentinels are the exported variables of the package, all of them errors.
func namesOfSentinels(t *testing.T) []string {
	t.Helper()
	sources, err := filepath.Glob("../*.go")
	require.NoError(t, err)
	var names []string
	for _, path := range sources {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		require.NoError(t, err)
		for _, decl := range file.Decls {
			group, ok := decl.(*ast.GenDecl)
			if !ok || group.Tok != token.VAR {
				continue
			}
			for _, spec := range group.Specs {
				for _, name := range spec.(*ast.ValueSpec).Names {
					if name.IsExported() {
						names = append(names, name.Name)
					}
				}
			}
		}
	}
	slices.Sort(names)
	require.NotEmpty(t, names)
	return names
}
