package e2e_test

import (
	"os"
	"sync"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"
)

var axeSource = sync.OnceValue(func() string {
	source, err := os.ReadFile("node_modules/axe-core/axe.min.js")
	if err != nil {
		return ""
	}
	return string(source)
})

// accessible runs axe-core over what the page shows, with everything unfolded,
// in light and dark, and takes no serious violation.
func (b *tab) accessible(t *testing.T, step string) {
	t.Helper()
	if axeSource() == "" {
		missing(t, "axe-core: npm ci in e2e")
	}
	for _, scheme := range []string{"light", "dark"} {
		b.colors(scheme)
		find(b, chromedp.Evaluate[bool](axeSource()+`; for (const d of document.querySelectorAll("details")) d.open = true; true`))
		found := find(b, chromedp.Evaluate[[]violation](`axe.run(document, {resultTypes: ["violations"]}).then(r => r.violations.map(v => ({
			ID: v.id, Impact: v.impact, Help: v.help, Nodes: v.nodes.map(n => n.html + ": " + n.failureSummary)})))`, chromedp.EvalAwaitPromise))
		for _, v := range found {
			if v.Impact == "serious" || v.Impact == "critical" {
				b.show("axe-" + step)
				require.Failf(t, "axe-core", "%s, %s, %s: %s: %+v", step, scheme, v.Impact, v.Help, v.Nodes)
			}
			t.Logf("axe-core: %s, %s: %s: %v", step, v.Impact, v.Help, v.Nodes)
		}
	}
	b.colors("light")
	find(b, chromedp.Evaluate[bool](`for (const d of document.querySelectorAll("details")) d.open = false; true`))
}

type violation struct {
	ID, Impact, Help string
	Nodes            []string
}

// colors chooses between light and dark.
func (b *tab) colors(scheme string) {
	b.t.Helper()
	call(b, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
	})
}
