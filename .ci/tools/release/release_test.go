package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/mod/modfile"
)

var releaseDay = time.Date(2026, time.November, 28, 12, 0, 0, 0, time.UTC)

// A repository is a small one of the same shape: a root, two stores of which one needs
// the other, and a program that is not published.
type repository struct {
	t   *testing.T
	dir string
}

func newRepository(t *testing.T) repository {
	t.Setenv("GIT_CONFIG_GLOBAL", os.DevNull)
	for _, who := range []string{"AUTHOR", "COMMITTER"} {
		t.Setenv("GIT_"+who+"_NAME", "someone")
		t.Setenv("GIT_"+who+"_EMAIL", "someone@example.com")
	}
	r := repository{t, t.TempDir()}
	r.git("init", "--quiet")
	r.write("go.mod", "module example.com/cars\n\ngo 1.26.0\n")
	r.write("LICENSE", "as you like\n")
	r.write("cars.go", "package cars\n\nfunc Lock(id string) error { return nil }\n")
	r.write("version.go", "package cars\n\nconst Version = \"0.1.0\"\n")
	r.write("internal/wheels/wheels.go", "package wheels\n\nfunc Turn() {}\n")
	r.write("a/go.mod", "module example.com/cars/a\n\ngo 1.26.0\n\nrequire (\n\texample.com/cars v0.1.0\n\texample.com/cars/sql v0.1.0\n)\n\n"+
		"replace (\n\texample.com/cars => ..\n\texample.com/cars/sql => ../sql\n)\n")
	r.write("a/a.go", "package a\n\nimport (\n\t_ \"example.com/cars\"\n\t_ \"example.com/cars/sql\"\n)\n\nconst Name = \"a\"\n")
	r.write("sql/go.mod", "module example.com/cars/sql\n\ngo 1.26.0\n\nrequire example.com/cars v0.1.0\n\nreplace example.com/cars => ..\n")
	r.write("sql/sql.go", "package sql\n\nimport _ \"example.com/cars\"\n\nfunc Open() {}\n")
	r.write("examples/go.mod", "module example.com/cars/examples\n\ngo 1.26.0\n\nrequire example.com/cars v0.1.0\n\nreplace example.com/cars => ..\n")
	r.write("examples/main.go", "package main\n\nimport _ \"example.com/cars\"\n\nfunc main() {}\n")
	r.write("README.md", "Get it.\n\n<!-- until the first release -->\nNot yet.\n<!-- /until the first release -->\n\nUse it.\n")
	r.write("CHANGELOG.md", "# Changelog\n\n## [Unreleased]\n\nThe first version.\n")
	r.commit()
	return r
}

func (r repository) write(name, text string) {
	r.t.Helper()
	path := filepath.Join(r.dir, name)
	require.NoError(r.t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(r.t, os.WriteFile(path, []byte(text), 0o644))
}

func (r repository) read(name string) string {
	r.t.Helper()
	text, err := os.ReadFile(filepath.Join(r.dir, name))
	require.NoError(r.t, err)
	return string(text)
}

func (r repository) git(args ...string) string {
	r.t.Helper()
	out, err := git(r.t.Context(), r.dir, args...)
	require.NoError(r.t, err)
	return out
}

func (r repository) commit() {
	r.t.Helper()
	r.git("add", "--all")
	r.git("commit", "--quiet", "--message", "change")
}

func (r repository) tree() *tree {
	r.t.Helper()
	tree, err := openTree(r.t.Context(), r.dir)
	require.NoError(r.t, err)
	return tree
}

// release prepares a version, commits and tags it, and returns what was said.
func (r repository) release(version string) (said string, err error) {
	r.t.Helper()
	var out bytes.Buffer
	require.NoError(r.t, r.tree().prepare(r.t.Context(), &out, version, releaseDay))
	r.commit()
	err = r.tree().tag(r.t.Context(), &out, version)
	return out.String(), err
}

func TestPrepareWritesTheVersion(t *testing.T) {
	r := newRepository(t)
	require.NoError(t, r.tree().prepare(t.Context(), new(bytes.Buffer), "v0.2.0", releaseDay))
	require.Equal(t, "# Changelog\n\n## [Unreleased]\n\n## [0.2.0] - 2026-11-28\n\nThe first version.\n", r.read("CHANGELOG.md"))
	require.Equal(t, "Get it.\n\nUse it.\n", r.read("README.md"))
	require.Equal(t, "package cars\n\nconst Version = \"0.2.0\"\n", r.read("version.go"))
	for _, name := range []string{"a/go.mod", "sql/go.mod", "examples/go.mod"} {
		file, err := modfile.Parse(name, []byte(r.read(name)), nil)
		require.NoError(t, err)
		for _, required := range file.Require {
			require.Equal(t, "v0.2.0", required.Mod.Version, name)
		}
	}
	version, err := r.tree().version()
	require.NoError(t, err)
	require.Equal(t, "v0.2.0", version)
	require.Empty(t, r.git("tag"))
	require.NotEmpty(t, r.git("status", "--porcelain"), "a person looks at it, and commits")
}

func TestPrepareRefuses(t *testing.T) {
	r := newRepository(t)
	for _, version := range []string{"0.2.0", "v0.2", "v0.0.0", "new"} {
		require.ErrorContains(t, r.tree().prepare(t.Context(), new(bytes.Buffer), version, releaseDay), "no version", version)
	}
	r.git("tag", "v0.3.0")
	for _, version := range []string{"v0.2.0", "v0.3.0", "v0.3.0-rc.1"} {
		require.ErrorContains(t, r.tree().prepare(t.Context(), new(bytes.Buffer), version, releaseDay), "last release, v0.3.0", version)
	}
	r.write("CHANGELOG.md", "# Changelog\n\n## [Unreleased]\n\n## [0.3.0]\n\nThe first version.\n")
	require.ErrorContains(t, r.tree().prepare(t.Context(), new(bytes.Buffer), "v0.4.0", releaseDay), "nothing stands under Unreleased")
}

// The tags are those that the go command looks for, in the order of the requirements,
// and only in this clone.
func TestTagsAreMadeInOrderAndNotPushed(t *testing.T) {
	r := newRepository(t)
	elsewhere := t.TempDir()
	r.git("init", "--quiet", "--bare", elsewhere)
	r.git("remote", "add", "origin", elsewhere)
	said, err := r.release("v0.1.0")
	require.NoError(t, err)
	require.Contains(t, said, "there is no release yet to compare with")
	require.Equal(t, "a/v0.1.0\nsql/v0.1.0\nv0.1.0\n", r.git("tag"))
	require.Empty(t, r.git("ls-remote", "origin"))
	root, sql, a := strings.Index(said, "refs/tags/v0.1.0 "), strings.Index(said, "refs/tags/sql/v0.1.0 "), strings.Index(said, "refs/tags/a/v0.1.0 ")
	require.Positive(t, root)
	require.Less(t, root, sql)
	require.Less(t, sql, a)
	require.NotContains(t, said, "examples/")
	for _, tag := range []string{"v0.1.0", "a/v0.1.0", "sql/v0.1.0"} {
		require.Equal(t, "tag\n", r.git("cat-file", "-t", tag), "annotated")
	}
}

func TestCheckNamesEverythingThatIsWrong(t *testing.T) {
	r := newRepository(t)
	r.git("tag", "sql/v0.2.0")
	r.write("new.go", "package cars\n")
	err := r.tree().check(t.Context(), new(bytes.Buffer), "v0.2.0")
	for _, want := range []string{
		"name v0.1.0 of each other", "version.go says that this is v0.1.0", "not everything is committed", "new.go", "the tag sql/v0.2.0 is there already",
		"CHANGELOG.md has nothing under the version", "README.md says that nothing is released yet",
	} {
		require.ErrorContains(t, err, want)
	}
	r.write("sql/go.mod", strings.Replace(r.read("sql/go.mod"), "v0.1.0", "v0.1.1", 1))
	require.ErrorContains(t, r.tree().check(t.Context(), new(bytes.Buffer), "v0.2.0"), "at v0.1.0, others v0.1.1")
	r.write("sql/go.mod", strings.Replace(r.read("sql/go.mod"), "v0.1.1", "v0.0.0", 1))
	require.ErrorContains(t, r.tree().check(t.Context(), new(bytes.Buffer), "v0.2.0"), "no version of a release")
}

// A version says what the API of any of the modules may do.
func TestCheckComparesTheAPI(t *testing.T) {
	const (
		same    = "package cars\n\nfunc Lock(id string) error { return nil }\n"
		more    = same + "\nfunc Unlock(id string) error { return nil }\n"
		changed = "package cars\n\nfunc Lock(id int) error { return nil }\n"
	)
	for name, test := range map[string]struct {
		before, source, version, want string
	}{
		"a fix":               {"v0.1.0", same, "v0.1.1", ""},
		"more, in a patch":    {"v0.1.0", more, "v0.1.1", "more than that of v0.1.0"},
		"more":                {"v0.1.0", more, "v0.2.0", ""},
		"changed, in a patch": {"v0.1.0", changed, "v0.1.1", "breaks programs written for v0.1.0"},
		"changed":             {"v0.1.0", changed, "v0.2.0", ""},
		"changed after v1":    {"v1.1.0", changed, "v1.2.0", "breaks programs written for v1.1.0"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRepository(t)
			_, err := r.release(test.before)
			require.NoError(t, err)
			r.write("cars.go", test.source)
			r.write("internal/wheels/wheels.go", "package wheels\n\nfunc Brake() {}\n") // nobody can import it
			r.write("CHANGELOG.md", strings.Replace(r.read("CHANGELOG.md"), "## [Unreleased]\n", "## [Unreleased]\n\nA change.\n", 1))
			said, err := r.release(test.version)
			if test.want == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, test.want)
			require.Contains(t, said, "ock: ") // Lock or Unlock
			require.NotContains(t, r.git("tag"), test.version)
		})
	}
}

// A module that is new is more, and one that changes breaks, like the root.
func TestCheckComparesNestedModules(t *testing.T) {
	r := newRepository(t)
	_, err := r.release("v0.1.0")
	require.NoError(t, err)
	r.write("b/go.mod", "module example.com/cars/b\n\ngo 1.26.0\n")
	r.write("b/b.go", "package b\n")
	r.commit()
	var out bytes.Buffer
	found, err := r.tree().compareAPI(t.Context(), &out)
	require.NoError(t, err)
	require.Equal(t, compatible, found)
	require.Contains(t, out.String(), "example.com/cars/b: new since v0.1.0")
	r.write("sql/sql.go", "package sql\n\nimport _ \"example.com/cars\"\n")
	found, err = r.tree().compareAPI(t.Context(), &out)
	require.NoError(t, err)
	require.Equal(t, breaking, found)
	require.Contains(t, out.String(), "Open: removed")
}

func TestRunSaysHowItIsUsed(t *testing.T) {
	r := newRepository(t)
	t.Chdir(r.dir)
	for _, args := range [][]string{nil, {"tag"}, {"push", "v0.1.0"}, {"api", "v0.1.0"}} {
		require.ErrorIs(t, run(t.Context(), args, new(bytes.Buffer)), errUsage, args)
	}
	require.NoError(t, run(t.Context(), []string{"proxy", t.TempDir()}, new(bytes.Buffer)))
	require.NoError(t, run(t.Context(), []string{"api"}, new(bytes.Buffer)))
}

// The zips leave out what belongs to other modules, and have a license.
func TestZips(t *testing.T) {
	r := newRepository(t)
	tree := r.tree()
	files, err := tree.files(t.Context())
	require.NoError(t, err)
	zipped := func(m *module) (names []string) {
		for _, f := range tree.zipped(m, files) {
			names = append(names, f.Path())
		}
		return names
	}
	require.Equal(t, []string{"CHANGELOG.md", "LICENSE", "README.md", "cars.go", "go.mod", "internal/wheels/wheels.go", "version.go"}, zipped(tree.modules[0]))
	require.Equal(t, []string{"go.mod", "sql.go", "LICENSE"}, zipped(tree.modules[1]))
}
