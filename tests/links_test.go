package smartcar_test

import (
	"io/fs"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// allPages are the texts of the repository, as paths from its root.
func allPages(t *testing.T) []string {
	t.Helper()
	var pages []string
	require.NoError(t, filepath.WalkDir("..", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == "node_modules" || d.Name() == ".git"):
			return filepath.SkipDir
		case !d.IsDir() && filepath.Ext(name) == ".md":
			pages = append(pages, strings.TrimPrefix(filepath.ToSlash(name), "../"))
		}
		return nil
	}))
	for _, page := range []string{"README.md", "docs/CONTRIBUTING.md", "docs/testing.md", ".github/CODE_OF_CONDUCT.md"} {
		require.Contains(t, pages, page)
	}
	return pages
}

var (
	pageLink  = regexp.MustCompile(`\]\(([^)\s]*)\)`)
	namedFile = regexp.MustCompile("`([A-Za-z0-9_./*-]+\\.(?:go|md|json|yml|golden))`")
	bareURL   = regexp.MustCompile(`https?://[^\s<>()"'\x60|\\]+`)
	codeBlock = regexp.MustCompile("(?ms)^```.*?^```$")
)

// Every link of a page leads to a file or a section that is there, or has the form of
// an address on the web. Every file that a page names is there.
func TestLinksLeadSomewhere(t *testing.T) {
	links := 0
	for _, page := range allPages(t) {
		text := codeBlock.ReplaceAllString(readPage(t, page), "")
		for _, m := range pageLink.FindAllStringSubmatch(text, -1) {
			links++
			if strings.Contains(m[1], "://") {
				requireAddress(t, m[1], page)
			} else {
				requireTarget(t, m[1], page)
			}
		}
		for _, m := range namedFile.FindAllStringSubmatch(text, -1) {
			require.True(t, isInTree(t, page, m[1]), "%s names %s", page, m[1])
		}
	}
	require.Greater(t, links, 50)
}

// The addresses in the comments of the manual have the form of one, too.
func TestAddressesInComments(t *testing.T) {
	sources, err := filepath.Glob("../*.go")
	require.NoError(t, err)
	for _, name := range sources {
		text, err := os.ReadFile(name)
		require.NoError(t, err)
		for _, line := range strings.Split(string(text), "\n") {
			comment, ok := strings.CutPrefix(strings.TrimSpace(line), "//")
			if !ok {
				continue
			}
			for _, address := range bareURL.FindAllString(comment, -1) {
				requireAddress(t, strings.TrimRight(address, ".,:;"), name)
			}
		}
	}
}

func requireAddress(t *testing.T, address, page string) {
	t.Helper()
	u, err := url.Parse(address)
	require.NoError(t, err, "a link of %s", page)
	local := u.Hostname() == "localhost" || u.Hostname() == "127.0.0.1"
	require.True(t, u.Scheme == "https" || u.Scheme == "http" && local, "%s has the link %s", page, address)
	require.True(t, local || strings.Contains(u.Host, "."), "%s has the link %s", page, address)
	require.Nil(t, u.User, "%s has the link %s", page, address)
}

// requireTarget wants a file or a section of one in the repository.
func requireTarget(t *testing.T, link, page string) {
	t.Helper()
	file, section, _ := strings.Cut(link, "#")
	target := page
	if file != "" {
		target = path.Join(path.Dir(page), file)
	}
	_, err := os.Stat("../" + target)
	require.NoError(t, err, "a link of %s", page)
	if section != "" {
		require.Contains(t, sectionsOf(readPage(t, target)), section, "a link of %s", page)
	}
}

// isInTree looks for a file that a page names from its own place, from the root, or by
// its last part.
func isInTree(t *testing.T, page, name string) bool {
	t.Helper()
	for _, dir := range []string{path.Dir(page), "."} {
		found, err := filepath.Glob("../" + path.Join(dir, name))
		require.NoError(t, err)
		if len(found) > 0 {
			return true
		}
	}
	return slices.ContainsFunc(treeFiles(t), func(file string) bool {
		match, err := path.Match(name, path.Base(file))
		return err == nil && match || strings.HasSuffix(file, "/"+name)
	})
}

func treeFiles(t *testing.T) []string {
	t.Helper()
	var files []string
	require.NoError(t, filepath.WalkDir("..", func(name string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && (d.Name() == "node_modules" || d.Name() == ".git") {
			return filepath.SkipDir
		}
		if err == nil && !d.IsDir() {
			files = append(files, filepath.ToSlash(name))
		}
		return err
	}))
	return files
}

// sectionsOf returns the headings of a page as GitHub names them in links.
func sectionsOf(text string) (sections []string) {
	times := make(map[string]int)
	for _, m := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(codeBlock.ReplaceAllString(text, ""), -1) {
		name := regexp.MustCompile(`[^a-z0-9 _-]`).ReplaceAllString(strings.ToLower(m[1]), "")
		name = strings.ReplaceAll(name, " ", "-")
		sections = append(sections, name)
		if n := times[name]; n > 0 {
			sections[len(sections)-1] += "-" + string(rune('0'+n))
		}
		times[name]++
	}
	return sections
}
