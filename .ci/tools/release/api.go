package main

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/exp/apidiff"
	"golang.org/x/tools/go/packages"
)

// A change is what has become of the public API since the last release, all modules
// together.
type change int

const (
	firstRelease change = iota
	unchanged
	compatible
	breaking
)

// compareAPI prints what has changed of the public API of all modules since the last
// release.
func (t *tree) compareAPI(ctx context.Context, out io.Writer) (change, error) {
	last, err := t.lastRelease(ctx)
	if err != nil {
		return 0, err
	}
	if last == "" {
		fmt.Fprintln(out, "API: there is no release yet to compare with")
		return firstRelease, nil
	}
	before, err := os.MkdirTemp("", "release")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(before)
	if err := t.extract(ctx, last, before); err != nil {
		return 0, err
	}
	found := unchanged
	for _, m := range t.modules {
		if _, err := os.Stat(filepath.Join(before, filepath.FromSlash(m.dir), "go.mod")); err != nil {
			fmt.Fprintf(out, "API of %s: new since %s\n", m.path, last)
			found = max(found, compatible)
			continue
		}
		report, err := compareModule(ctx, m, before, t.root)
		if err != nil {
			return 0, err
		}
		if len(report.Changes) == 0 {
			continue
		}
		fmt.Fprintf(out, "API of %s since %s:\n%s\n", m.path, last, strings.TrimSpace(report.String()))
		for _, c := range report.Changes {
			if c.Compatible {
				found = max(found, compatible)
			} else {
				found = breaking
			}
		}
	}
	if found == unchanged {
		fmt.Fprintln(out, "API: as in", last)
	}
	return found, nil
}

func compareModule(ctx context.Context, m *module, before, after string) (apidiff.Report, error) {
	old, err := loadAPI(ctx, m, before)
	if err != nil {
		return apidiff.Report{}, fmt.Errorf("the last release: %w", err)
	}
	now, err := loadAPI(ctx, m, after)
	if err != nil {
		return apidiff.Report{}, err
	}
	report := apidiff.ModuleChanges(old, now)
	report.Changes = slices.DeleteFunc(report.Changes, func(c apidiff.Change) bool { // each release has its own
		return strings.Contains(c.Message, "Version: value changed from ")
	})
	return report, nil
}

// loadAPI loads the packages of a module that others can import.
func loadAPI(ctx context.Context, m *module, root string) (*apidiff.Module, error) {
	loaded, err := packages.Load(&packages.Config{
		Context: ctx,
		Mode:    packages.NeedName | packages.NeedTypes | packages.NeedModule,
		Dir:     filepath.Join(root, filepath.FromSlash(m.dir)),
		Env:     append(os.Environ(), "GOWORK=off"),
	}, "./...")
	if err != nil {
		return nil, err
	}
	api := &apidiff.Module{Path: m.path}
	for _, p := range loaded {
		for _, problem := range p.Errors {
			return nil, problem
		}
		if p.Name != "main" && !slices.Contains(strings.Split(p.PkgPath, "/"), "internal") && !isUnpublished(m, p.Types) {
			api.Packages = append(api.Packages, p.Types)
		}
	}
	return api, nil
}

// isUnpublished tells packages that belong to the root only because the go command
// wants them to, such as those with tests alone.
func isUnpublished(m *module, p *types.Package) bool {
	within := strings.TrimPrefix(p.Path(), m.path+"/") + "/"
	return slices.ContainsFunc(unpublished[:], func(dir string) bool { return strings.HasPrefix(within, dir) })
}

// extract writes the files of a commit into a folder.
func (t *tree) extract(ctx context.Context, commit, dir string) error {
	var archive, problem bytes.Buffer
	command := exec.CommandContext(ctx, "git", "archive", "--format=tar", commit)
	command.Dir, command.Stdout, command.Stderr = t.root, &archive, &problem
	if err := command.Run(); err != nil {
		return fmt.Errorf("git archive %s: %w: %s", commit, err, problem.String())
	}
	for files := tar.NewReader(&archive); ; {
		header, err := files.Next()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		case header.Typeflag != tar.TypeReg:
			continue
		case !filepath.IsLocal(header.Name):
			return fmt.Errorf("%s leads out of the tree", header.Name)
		}
		text, err := io.ReadAll(files)
		if err != nil {
			return err
		}
		name := filepath.Join(dir, filepath.FromSlash(header.Name))
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(name, text, 0o644); err != nil {
			return err
		}
	}
}
