package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestPublished is a new user on the day of a release: a module proxy has the zips of
// all published modules, the programs of README and docs/ are built in fresh folders
// without any replace, and run.
func TestPublished(t *testing.T) {
	if testing.Short() {
		t.Skip("builds and runs the programs of README and docs/ against the module zips")
	}
	tree, err := openTree(t.Context(), ".")
	require.NoError(t, err)
	u := newUser(t, tree)

	t.Run("quick start", func(t *testing.T) {
		printed := u.run(t, t.TempDir(), "go", "run", tree.rootPath()+"/examples/quickstart@latest")
		require.Contains(t, readPage(t, tree, "README.md"), "```text\n"+printed+"```\n")
	})

	t.Run("README", func(t *testing.T) { readme(t, u) })

	programs := make(map[string]map[string]string) // the files of each page
	for page, block := range u.blocks(t, "package main\n") {
		if programs[page] == nil {
			programs[page] = make(map[string]string)
		}
		if strings.Contains(block, "\nfunc Test") {
			programs[page]["main_test.go"] = block
		} else {
			programs[page]["main.go"] = block
		}
	}
	require.Contains(t, programs, "docs/first-program.md")
	for page, files := range programs {
		t.Run("program of "+page, func(t *testing.T) {
			dir := u.module(t)
			for name, text := range files {
				write(t, dir, name, text)
			}
			u.run(t, dir, "go", "mod", "tidy")
			u.run(t, dir, "go", "test", ".") // compiles it, at least
			if page == "docs/first-program.md" {
				firstProgram(t, u, dir, files["main.go"])
			}
		})
	}

	t.Run("tests of docs", func(t *testing.T) {
		dir := u.module(t)
		tests := 0
		for page, block := range u.blocks(t, "func Test") {
			tests++
			write(t, dir, fmt.Sprintf("page%d_test.go", tests), "package app\n\n"+importsOf(block)+block)
			t.Log(page)
		}
		require.Positive(t, tests)
		u.run(t, dir, "go", "mod", "tidy")
		u.run(t, dir, "go", "test", ".")
	})

	// The one program that uses every published module.
	t.Run("fleet", func(t *testing.T) {
		dir := u.module(t)
		sources, err := filepath.Glob(tree.file("examples/fleet/*.go"))
		require.NoError(t, err)
		for _, path := range sources {
			if !strings.HasSuffix(path, "_test.go") {
				text, err := os.ReadFile(path)
				require.NoError(t, err)
				write(t, dir, filepath.Base(path), string(text))
			}
		}
		u.run(t, dir, "go", "mod", "tidy")
		require.Contains(t, u.run(t, dir, "go", "run", ".", "-duration", "5s"), "Windows broken:    0\n")
		version, err := tree.version()
		require.NoError(t, err)
		for _, m := range tree.modules {
			require.Contains(t, u.run(t, dir, "go", "list", "-m", "all"), m.path+" "+version+"\n")
		}
	})
}

// readme follows the README: its commands make the module, its snippets are the program.
func readme(t *testing.T, u *user) {
	text := readPage(t, u.tree, "README.md")
	_, using, ok := strings.Cut(text, "\n## Using the module\n")
	require.True(t, ok)
	commands := fenced("sh", using)
	require.NotEmpty(t, commands)
	snippets := fenced("go", text)
	require.Len(t, snippets, 2, "the program, and the fleet")

	dir := t.TempDir()
	u.run(t, dir, "sh", "-e", "-c", commands[0])
	main, err := os.ReadFile("testdata/readme.go")
	require.NoError(t, err)
	write(t, dir, "main.go", string(main))
	write(t, dir, "snippets.go", `package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/fleet"
	"github.com/seed-498a1bc4/smartcar/store"
)

type saveFunc = func(context.Context, *smartcar.Vehicle, *smartcar.Snapshot) error

func show(ctx context.Context, client *smartcar.Client, grant *smartcar.Grant) error {
`+snippets[0]+`	return nil
}

`+snippets[1])
	u.run(t, dir, "go", "mod", "tidy")
	printed := u.run(t, dir, "go", "run", ".")
	for _, want := range []string{"80 %\n", "open https://www.tesla.com/_ak/smartcar.com\n", "commands need the key\n", "saved\n"} {
		require.Contains(t, printed, want)
	}
}

// firstProgram is run as its page says, beside the simulator, and looked at in a browser.
func firstProgram(t *testing.T, u *user, dir, source string) {
	app, sim := freeAddress(t), freeAddress(t)
	write(t, dir, "main.go", strings.ReplaceAll(source, "localhost:8080", app))
	u.run(t, dir, "go", "build", "-o", "cars", ".")
	u.run(t, dir, "go", "build", "-o", "simulator", u.tree.rootPath()+"/smartcartest/simulator")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	command := exec.CommandContext(ctx, "./simulator", "-listen", sim, "-redirect", "http://"+app+"/callback",
		"-webhook", "http://"+app+"/webhooks/smartcar", "./cars")
	command.Dir, command.Env = dir, append(os.Environ(), "STATE_KEY="+strings.Repeat("k", 32))
	command.Cancel = func() error { return command.Process.Signal(os.Interrupt) }
	var said bytes.Buffer
	command.Stdout, command.Stderr = &said, &said
	require.NoError(t, command.Start())
	defer func() {
		cancel()
		_ = command.Wait()
	}()

	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	browser := &http.Client{Jar: jar, Timeout: 30 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse
	}}
	var started *http.Response
	require.Eventually(t, func() bool {
		started, err = browser.Get("http://" + app + "/")
		return err == nil
	}, 30*time.Second, 50*time.Millisecond)
	_ = started.Body.Close()
	granted, err := browser.PostForm(started.Header.Get("Location"), url.Values{"decision": {"grant"}})
	require.NoError(t, err)
	_ = granted.Body.Close()
	page, err := browser.Get(granted.Header.Get("Location"))
	require.NoError(t, err)
	defer page.Body.Close()
	text, err := io.ReadAll(page.Body)
	require.NoError(t, err)
	for _, want := range []string{" 80 %\n", " locked\n", " add the key: https://www.tesla.com/_ak/smartcar.com\n"} {
		require.Contains(t, string(text), want)
	}
}

// A user has a module proxy, and nothing else of ours.
type user struct {
	tree *tree
	env  []string
}

func newUser(t *testing.T, tree *tree) *user {
	proxy, cache := t.TempDir(), t.TempDir()
	require.NoError(t, tree.writeProxy(t.Context(), proxy))
	told, err := exec.CommandContext(t.Context(), "go", "env", "GOMODCACHE", "GOPROXY").Output()
	require.NoError(t, err)
	known, usual, ok := strings.Cut(strings.TrimSpace(string(told)), "\n")
	require.True(t, ok)
	// What this machine has downloaded already is asked before the network. A cache of
	// its own, because the same version of ours is another one tomorrow; -trimpath, so
	// that what is compiled does not depend on the place of that cache.
	return &user{tree, append(os.Environ(),
		"GOPROXY=file://"+proxy+",file://"+filepath.Join(known, "cache", "download")+","+usual,
		"GOSUMDB=off", "GOMODCACHE="+cache, "GOFLAGS=-trimpath -modcacherw -buildvcs=false", "GOWORK=off", "GOTOOLCHAIN=local",
	)}
}

// run returns what a command prints; what it says beside that is for failures.
func (u *user) run(t *testing.T, dir, name string, args ...string) string {
	t.Helper()
	var printed, said bytes.Buffer
	command := exec.CommandContext(t.Context(), name, args...)
	command.Dir, command.Env, command.Stdout, command.Stderr = dir, u.env, &printed, &said
	require.NoError(t, command.Run(), "%s %s\n%s%s", name, strings.Join(args, " "), &printed, &said)
	return printed.String()
}

// module makes a folder with an empty module.
func (u *user) module(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	u.run(t, dir, "go", "mod", "init", "example.com/app")
	return dir
}

// blocks yields those of README and docs/ that begin in a way.
func (u *user) blocks(t *testing.T, beginning string) func(yield func(page, block string) bool) {
	t.Helper()
	pages, err := u.tree.pages(t.Context())
	require.NoError(t, err)
	return func(yield func(page, block string) bool) {
		for _, page := range pages {
			if page != "README.md" && filepath.Dir(page) != "docs" {
				continue
			}
			for _, block := range fenced("go", readPage(t, u.tree, page)) {
				if strings.HasPrefix(block, beginning) && !yield(page, block) {
					return
				}
			}
		}
	}
}

func readPage(t *testing.T, tree *tree, name string) string {
	t.Helper()
	text, err := os.ReadFile(tree.file(name))
	require.NoError(t, err)
	return string(text)
}

// fenced returns the blocks of a language.
func fenced(language, text string) []string {
	var blocks []string
	for _, m := range regexp.MustCompile("(?ms)^```"+language+"\n(.*?)^```$").FindAllStringSubmatch(text, -1) {
		blocks = append(blocks, m[1])
	}
	return blocks
}

// importsOf spares the pages the imports that an editor adds by itself.
func importsOf(code string) string {
	var imports strings.Builder
	for _, path := range []string{
		"net/http", "testing", "time", "github.com/jarcoal/httpmock", "github.com/seed-498a1bc4/smartcar",
	} {
		if regexp.MustCompile(`\b` + filepath.Base(path) + `\.[A-Z]`).MatchString(code) {
			fmt.Fprintf(&imports, "import %q\n", path)
		}
	}
	return imports.String() + "\n"
}

func write(t *testing.T, dir, name, text string) {
	t.Helper()
	require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}
