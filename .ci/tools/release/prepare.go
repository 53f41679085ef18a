package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"golang.org/x/mod/modfile"
	"golang.org/x/mod/semver"
)

const changelog = "CHANGELOG.md"

// versionInSource is how the root package says its version, for the User-Agent.
var versionInSource = regexp.MustCompile(`(?m)^const Version = "(.*)"$`)

// untilFirstRelease is what pages say as long as nothing is published.
var untilFirstRelease = regexp.MustCompile(`(?s)\n?<!-- until the first release -->\n.*?<!-- /until the first release -->\n`)

// prepare writes a version into everything that names it. Nothing is committed.
func (t *tree) prepare(ctx context.Context, out io.Writer, version string, now time.Time) error {
	last, err := t.lastRelease(ctx)
	switch {
	case err != nil:
		return err
	case semver.Canonical(version) != version || version == "v0.0.0":
		return fmt.Errorf("%q is no version such as v1.2.3", version)
	case semver.Compare(version, last) <= 0:
		return fmt.Errorf("%s does not come after the last release, %s", version, last)
	}
	for _, m := range t.all() {
		if err := t.requireVersion(m, version); err != nil {
			return err
		}
	}
	source, _, err := t.sourceVersion()
	if err != nil {
		return err
	}
	err = t.edit(source, func(text string) (string, error) {
		return versionInSource.ReplaceAllString(text, fmt.Sprintf("const Version = %q", strings.TrimPrefix(version, "v"))), nil
	})
	if err != nil {
		return err
	}
	if err := t.edit(changelog, func(text string) (string, error) { return begunSection(text, version, now) }); err != nil {
		return err
	}
	pages, err := t.pages(ctx)
	if err != nil {
		return err
	}
	for _, page := range pages {
		err := t.edit(page, func(text string) (string, error) { return untilFirstRelease.ReplaceAllString(text, ""), nil })
		if err != nil {
			return err
		}
	}
	fmt.Fprintf(out, "Look at it (git diff), run bash .ci/run, commit, and then: go run ./release tag %s\n", version)
	return nil
}

// requireVersion makes a module require the others at a version.
func (t *tree) requireVersion(m *module, version string) error {
	ours := t.ours(m)
	if len(ours) == 0 {
		return nil
	}
	for _, r := range ours {
		if err := m.file.AddRequire(r.Mod.Path, version); err != nil {
			return err
		}
	}
	m.file.Cleanup()
	text := modfile.Format(m.file.Syntax)
	return os.WriteFile(t.file(path.Join(m.dir, "go.mod")), text, 0o644)
}

// sourceVersion is the version that the root package says, and the file where it does.
func (t *tree) sourceVersion() (name, version string, err error) {
	sources, err := filepath.Glob(filepath.Join(t.root, "*.go"))
	if err != nil {
		return "", "", err
	}
	for _, path := range sources {
		text, err := os.ReadFile(path)
		if err != nil {
			return "", "", err
		}
		if m := versionInSource.FindSubmatch(text); m != nil {
			return filepath.Base(path), "v" + string(m[1]), nil
		}
	}
	return "", "", errors.New("no file of the root package says: const Version")
}

// begunSection makes what is not released yet the section of a version.
func begunSection(text, version string, now time.Time) (string, error) {
	const unreleased = "## [Unreleased]\n"
	if strings.TrimSpace(sectionOf(text, "Unreleased")) == "" {
		return "", fmt.Errorf("%s: nothing stands under Unreleased", changelog)
	}
	section := fmt.Sprintf("%s\n## [%s] - %s\n", unreleased, strings.TrimPrefix(version, "v"), now.UTC().Format(time.DateOnly))
	return strings.Replace(text, unreleased, section, 1), nil
}

// sectionOf returns what stands in the changelog under a version.
func sectionOf(text, version string) string {
	_, section, ok := strings.Cut(text, "\n## ["+version+"]")
	if !ok {
		return ""
	}
	_, section, _ = strings.Cut(section, "\n") // behind the brackets is the date
	section, _, _ = strings.Cut(section, "\n## [")
	return section
}

func (t *tree) edit(name string, change func(string) (string, error)) error {
	text, err := os.ReadFile(t.file(name))
	if err != nil {
		return err
	}
	changed, err := change(string(text))
	if err != nil || changed == string(text) {
		return err
	}
	return os.WriteFile(t.file(name), []byte(changed), 0o644)
}

// pages are the texts for readers.
func (t *tree) pages(ctx context.Context) ([]string, error) {
	files, err := t.files(ctx)
	var pages []string
	for _, name := range files {
		if path.Ext(name) == ".md" {
			pages = append(pages, name)
		}
	}
	return pages, err
}

// check says what stands against releasing this commit as a version.
func (t *tree) check(ctx context.Context, out io.Writer, version string) error {
	var problems []error
	problem := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }

	switch named, err := t.version(); {
	case err != nil:
		problem("%w", err)
	case named != version:
		problem("the modules name %s of each other: go run ./release prepare %s", named, version)
	default:
		if err := t.checkZips(ctx); err != nil {
			problem("%w", err)
		}
	}
	if name, said, err := t.sourceVersion(); err != nil {
		problem("%w", err)
	} else if said != version {
		problem("%s says that this is %s", name, said)
	}
	if changes, err := git(ctx, t.root, "status", "--porcelain"); err != nil {
		return err
	} else if changes != "" {
		problem("not everything is committed:\n%s", strings.TrimRight(changes, "\n"))
	}
	for _, m := range t.modules {
		if tags, err := git(ctx, t.root, "tag", "--list", m.tagOf(version)); err != nil {
			return err
		} else if tags != "" {
			problem("the tag %s is there already", m.tagOf(version))
		}
	}
	text, err := os.ReadFile(t.file(changelog))
	if err != nil {
		return err
	}
	if strings.TrimSpace(sectionOf(string(text), strings.TrimPrefix(version, "v"))) == "" {
		problem("%s has nothing under the version", changelog)
	}
	pages, err := t.pages(ctx)
	if err != nil {
		return err
	}
	for _, page := range pages {
		if text, err := os.ReadFile(t.file(page)); err != nil {
			return err
		} else if untilFirstRelease.Match(text) {
			problem("%s says that nothing is released yet", page)
		}
	}
	if err := t.checkAPI(ctx, out, version); err != nil {
		problem("%w", err)
	}
	return errors.Join(problems...)
}

// checkAPI says whether a version promises what the API keeps. Before v1.0.0 a new
// minor version may break what came before it, afterwards a new major version.
func (t *tree) checkAPI(ctx context.Context, out io.Writer, version string) error {
	last, err := t.lastRelease(ctx)
	if err != nil {
		return err
	}
	found, err := t.compareAPI(ctx, out)
	if err != nil || found == firstRelease {
		return err
	}
	minor := semver.MajorMinor(version) != semver.MajorMinor(last)
	major := semver.Major(version) != semver.Major(last)
	switch {
	case semver.Compare(version, last) <= 0:
		return fmt.Errorf("%s does not come after the last release, %s", version, last)
	case found == breaking && !major && (!minor || semver.Major(version) != "v0"):
		return fmt.Errorf("the API breaks programs written for %s: %s promises that it does not", last, version)
	case found == compatible && !minor:
		return fmt.Errorf("the API has more than that of %s: that is a new minor version, not %s", last, version)
	}
	return nil
}

func (t *tree) checkZips(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "release")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	return t.writeProxy(ctx, dir)
}

// tag makes the tags of a version in this clone. It pushes nothing.
func (t *tree) tag(ctx context.Context, out io.Writer, version string) error {
	if err := t.check(ctx, out, version); err != nil {
		return err
	}
	for _, m := range t.modules {
		if _, err := git(ctx, t.root, "tag", "--annotate", "--message", m.path+" "+version, m.tagOf(version)); err != nil {
			return err
		}
	}
	fmt.Fprintln(out, "The tags are here. Nothing was pushed. Push the commit, and then, one after the other:")
	for _, m := range t.modules {
		fmt.Fprintf(out, "  git push origin refs/tags/%s && GOPROXY=proxy.golang.org go list -m %s@%s\n", m.tagOf(version), m.path, version)
	}
	return nil
}
