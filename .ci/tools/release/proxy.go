package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	modmodule "golang.org/x/mod/module"
	"golang.org/x/mod/zip"
)

// writeProxy writes all published modules as a module proxy, whose address is
// file:// and the folder. Their version is the one that they name of each other.
func (t *tree) writeProxy(ctx context.Context, dir string) error {
	version, err := t.version()
	if err != nil {
		return err
	}
	files, err := t.files(ctx)
	if err != nil {
		return err
	}
	for _, m := range t.modules {
		if err := t.writeModule(m, version, files, dir); err != nil {
			return fmt.Errorf("%s: %w", m.path, err)
		}
	}
	return nil
}

func (t *tree) writeModule(m *module, version string, files []string, dir string) error {
	escaped, err := modmodule.EscapePath(m.path)
	if err != nil {
		return err
	}
	versions := filepath.Join(dir, filepath.FromSlash(escaped), "@v")
	if err := os.MkdirAll(versions, 0o755); err != nil {
		return err
	}
	goMod, err := os.ReadFile(t.file(path.Join(m.dir, "go.mod")))
	if err != nil {
		return err
	}
	info, err := json.Marshal(struct {
		Version string
		Time    time.Time
	}{version, time.Now().UTC()})
	if err != nil {
		return err
	}
	for name, text := range map[string][]byte{
		"list":            []byte(version + "\n"),
		version + ".info": info,
		version + ".mod":  goMod,
	} {
		if err := os.WriteFile(filepath.Join(versions, name), text, 0o644); err != nil {
			return err
		}
	}
	archive, err := os.Create(filepath.Join(versions, version+".zip"))
	if err != nil {
		return err
	}
	defer archive.Close()
	if err := zip.Create(archive, modmodule.Version{Path: m.path, Version: version}, t.zipped(m, files)); err != nil {
		return err
	}
	return archive.Close()
}

// zipped are the files of a module. The go command leaves out those of nested
// modules, and gives a module without a license that of the repository.
func (t *tree) zipped(m *module, files []string) []zip.File {
	nested := map[string]bool{}
	for _, name := range files {
		if path.Base(name) == "go.mod" {
			nested[path.Dir(name)] = true
		}
	}
	var zipped []zip.File
	licensed := false
	for _, name := range files {
		inside := name
		if m.dir != "." {
			var ok bool
			if inside, ok = strings.CutPrefix(name, m.dir+"/"); !ok {
				continue
			}
		}
		if owner(nested, name) == m.dir {
			zipped = append(zipped, treeFile{inside, t.file(name)})
			licensed = licensed || inside == "LICENSE"
		}
	}
	if !licensed {
		if _, err := os.Stat(t.file("LICENSE")); err == nil {
			zipped = append(zipped, treeFile{"LICENSE", t.file("LICENSE")})
		}
	}
	return zipped
}

// owner is the folder of the module that a file belongs to.
func owner(modules map[string]bool, name string) string {
	dir := path.Dir(name)
	for dir != "." && !modules[dir] {
		dir = path.Dir(dir)
	}
	return dir
}

// A treeFile is a file of the tree under its name in a module.
type treeFile struct{ name, place string }

func (f treeFile) Path() string                 { return f.name }
func (f treeFile) Lstat() (os.FileInfo, error)  { return os.Lstat(f.place) }
func (f treeFile) Open() (io.ReadCloser, error) { return os.Open(f.place) }
