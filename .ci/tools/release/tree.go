package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/mod/modfile"
	"golang.org/x/mod/semver"
)

// A tree is a checkout of the repository.
type tree struct {
	root    string
	modules []*module // those that are published; what a module requires stands before it
	others  []*module // those that only this repository uses
}

// A module is a folder with a go.mod that others may require.
type module struct {
	path string
	dir  string // within the tree, with slashes; "." for the root
	file *modfile.File
}

// unpublished are the folders whose modules only this repository uses.
var unpublished = [...]string{".ci/", "bench/", "examples/", "tests/"}

// openTree finds the tree around a folder, and reads its published modules.
func openTree(ctx context.Context, dir string) (*tree, error) {
	top, err := git(ctx, dir, "rev-parse", "--show-toplevel")
	if err != nil {
		return nil, err
	}
	t := &tree{root: strings.TrimSpace(top)}
	files, err := t.files(ctx)
	if err != nil {
		return nil, err
	}
	for _, name := range files {
		if path.Base(name) != "go.mod" {
			continue
		}
		text, err := os.ReadFile(t.file(name))
		if err != nil {
			return nil, err
		}
		file, err := modfile.Parse(name, text, nil)
		if err != nil {
			return nil, err
		}
		m := &module{path: file.Module.Mod.Path, dir: path.Dir(name), file: file}
		if slices.ContainsFunc(unpublished[:], func(dir string) bool { return strings.HasPrefix(name, dir) }) {
			t.others = append(t.others, m)
		} else {
			t.modules = append(t.modules, m)
		}
	}
	return t, t.order()
}

// order puts what a module requires before it, and else sorts by path.
func (t *tree) order() error {
	slices.SortFunc(t.modules, func(a, b *module) int { return cmp.Compare(a.path, b.path) })
	var ordered []*module
	for len(ordered) < len(t.modules) {
		next := slices.IndexFunc(t.modules, func(m *module) bool {
			return !slices.Contains(ordered, m) && !slices.ContainsFunc(t.ours(m), func(r *modfile.Require) bool {
				return !slices.ContainsFunc(ordered, func(o *module) bool { return o.path == r.Mod.Path })
			})
		})
		if next < 0 {
			return errors.New("published modules require each other in a circle, or one that is not published")
		}
		ordered = append(ordered, t.modules[next])
	}
	t.modules = ordered
	return nil
}

// ours are the modules of this tree that m requires.
func (t *tree) ours(m *module) []*modfile.Require {
	root := t.rootPath()
	return slices.DeleteFunc(slices.Clone(m.file.Require), func(r *modfile.Require) bool {
		return r.Mod.Path != root && !strings.HasPrefix(r.Mod.Path, root+"/")
	})
}

func (t *tree) rootPath() string {
	for _, m := range t.modules {
		if m.dir == "." {
			return m.path
		}
	}
	return ""
}

// all are the published modules and the others, which have to name the same versions.
func (t *tree) all() []*module { return slices.Concat(t.modules, t.others) }

// version is the one that the modules name of each other.
func (t *tree) version() (string, error) {
	var version string
	for _, m := range t.all() {
		for _, r := range t.ours(m) {
			switch {
			case r.Mod.Version == "v0.0.0" || semver.Canonical(r.Mod.Version) != r.Mod.Version:
				return "", fmt.Errorf("%s requires %s at %s, which is no version of a release", m.path, r.Mod.Path, r.Mod.Version)
			case version != "" && version != r.Mod.Version:
				return "", fmt.Errorf("%s requires %s at %s, others %s", m.path, r.Mod.Path, r.Mod.Version, version)
			}
			version = r.Mod.Version
		}
	}
	if version == "" {
		return "", errors.New("no module requires another one")
	}
	return version, nil
}

// tagOf is the tag of a module's version, as the go command looks for it.
func (m *module) tagOf(version string) string {
	if m.dir == "." {
		return version
	}
	return m.dir + "/" + version
}

// file is the place of a file that git names.
func (t *tree) file(name string) string {
	return filepath.Join(t.root, filepath.FromSlash(name))
}

// files are those of the working tree that are committed or would be.
func (t *tree) files(ctx context.Context) ([]string, error) {
	out, err := git(ctx, t.root, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	if err != nil {
		return nil, err
	}
	names := strings.Split(strings.TrimSuffix(out, "\x00"), "\x00")
	slices.Sort(names)
	return slices.DeleteFunc(slices.Compact(names), func(name string) bool {
		info, err := os.Lstat(t.file(name))
		return err != nil || !info.Mode().IsRegular() // deleted, or a link, which no zip has
	}), nil
}

// lastRelease is the newest version that the root is tagged with on the way to this
// commit, empty if there is none.
func (t *tree) lastRelease(ctx context.Context) (string, error) {
	out, err := git(ctx, t.root, "tag", "--list", "v*", "--merged", "HEAD")
	if err != nil {
		return "", err
	}
	versions := slices.DeleteFunc(strings.Fields(out), func(tag string) bool { return semver.Canonical(tag) != tag })
	if len(versions) == 0 {
		return "", nil
	}
	return slices.MaxFunc(versions, semver.Compare), nil
}

// git runs a git command and returns what it printed.
func git(ctx context.Context, dir string, args ...string) (string, error) {
	var out, problem bytes.Buffer
	command := exec.CommandContext(ctx, "git", args...)
	command.Dir, command.Stdout, command.Stderr = dir, &out, &problem
	if err := command.Run(); err != nil {
		return "", fmt.Errorf("git %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(problem.String()))
	}
	return out.String(), nil
}
