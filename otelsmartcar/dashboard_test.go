package otelsmartcar_test

import (
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"
	"github.com/stretchr/testify/require"
)

// The dashboard and the alerts ask for metrics, labels and values that there are: each
// selector of their queries finds a series in the scrape after the story.
func TestDashboardAndAlertsAskForWhatThereIs(t *testing.T) {
	l := newLab(t)
	for _, api := range apis {
		tell(t, l, api, func(t *testing.T, _ *story) {
			if api != apis[len(apis)-1] {
				return
			}
			_, families := l.scrape(t)
			dashboard := dashboardQueries(t)
			require.Greater(t, len(dashboard), 15)
			alerts := alertQueries(t)
			require.Len(t, alerts, 5)
			for _, query := range append(dashboard, alerts...) {
				requireAnswerable(t, families, query)
			}
		})
	}
}

// A query that asks for what there is not has to be noticed.
func TestUnanswerableQueriesAreNoticed(t *testing.T) {
	l := newLab(t)
	tell(t, l, apis[0], func(t *testing.T, _ *story) {
		_, families := l.scrape(t)
		for _, query := range []string{
			`sum(smartcar_client_refusal_total)`, `sum by (smartcar_ruler) (smartcar_client_refusals_total)`,
			`smartcar_client_refusals_total{smartcar_rule="keyless"}`, `smartcar_client_refusals_total{rule="keyless-window"}`,
			`smartcar_client_refusals_total_bucket`, `smartcar_client_refusals_total{smartcar_rule=~"a|b"}`,
		} {
			require.NotEmpty(t, missing(families, query), query)
		}
		require.Empty(t, missing(families, `sum by (smartcar_rule) (rate(smartcar_client_refusals_total{smartcar_rule=~"none|keyless-window", smartcar_refusal_local="true"}[5m])) > 0`))
	})
}

func dashboardQueries(t *testing.T) (all []string) {
	t.Helper()
	text, err := os.ReadFile("../docs/grafana-dashboard.json")
	require.NoError(t, err)
	var dashboard struct {
		Panels []struct {
			Title, Description string
			Targets            []struct{ Expr, LegendFormat string }
		}
	}
	require.NoError(t, json.Unmarshal(text, &dashboard))
	titles := map[string]bool{}
	for _, p := range dashboard.Panels {
		titles[p.Title] = true
		require.NotEmpty(t, p.Description, p.Title)
		for _, target := range p.Targets {
			for _, label := range regexp.MustCompile(`\{\{(\w+)\}\}`).FindAllStringSubmatch(target.LegendFormat, -1) {
				require.Regexp(t, `by \([^)]*\b`+label[1]+`\b`, target.Expr, "%s: the legend names a label that the query does not leave", p.Title)
			}
			all = append(all, target.Expr)
		}
	}
	for _, title := range []string{"Refusals by rule", "Keyless cars waiting", "Key changes", "Budget left", "Age of data", "Webhook delay", "Token failures"} {
		require.True(t, titles[title], title)
	}
	return all
}

func alertQueries(t *testing.T) (all []string) {
	t.Helper()
	text, err := os.ReadFile("../docs/alerts.md")
	require.NoError(t, err)
	for _, block := range regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(string(text), -1) {
		_, query, ok := strings.Cut(block[1], "expr: ")
		require.True(t, ok, block[1])
		all = append(all, query[:regexp.MustCompile(`\n  (for|labels):`).FindStringIndex(query)[0]])
	}
	return all
}

func requireAnswerable(t *testing.T, families map[string]*dto.MetricFamily, query string) {
	t.Helper()
	require.Empty(t, missing(families, query), query)
}

var (
	selectors = regexp.MustCompile(`\b((?:smartcar|http)_\w+)(\{[^}]*\})?`)
	matchers  = regexp.MustCompile(`(\w+)\s*(=~|!=|!~|=)\s*"([^"]*)"`)
	kept      = regexp.MustCompile(`by \(([^)]*)\)`)
)

// missing is what a query asks for in vain; empty if there is all.
func missing(families map[string]*dto.MetricFamily, query string) string {
	var labels []string
	for _, by := range kept.FindAllStringSubmatch(query, -1) {
		labels = append(labels, strings.Split(strings.ReplaceAll(by[1], " ", ""), ",")...)
	}
	found := selectors.FindAllStringSubmatch(kept.ReplaceAllString(query, ""), -1)
	if len(found) == 0 {
		return "any metric"
	}
	for _, selector := range found {
		family, histogram := families[selector[1]], false
		for _, suffix := range []string{"_bucket", "_count", "_sum"} {
			if base, ok := strings.CutSuffix(selector[1], suffix); ok && family == nil {
				family, histogram = families[base], true
			}
		}
		if family == nil || histogram != (family.GetType() == dto.MetricType_HISTOGRAM) {
			return selector[1]
		}
		if !matches(family, matchers.FindAllStringSubmatch(selector[2], -1), labels) {
			return selector[0] + " by " + strings.Join(labels, ", ")
		}
	}
	return ""
}

// matches says whether a series of the family is selected, and each label is on one.
func matches(family *dto.MetricFamily, selected [][]string, labels []string) bool {
	seen := map[string]bool{"le": family.GetType() == dto.MetricType_HISTOGRAM}
	some := false
	for _, m := range family.GetMetric() {
		values := map[string]string{}
		for _, label := range m.GetLabel() {
			values[label.GetName()], seen[label.GetName()] = label.GetValue(), true
		}
		fits := true
		for _, s := range selected {
			value, known := values[s[1]]
			same := regexp.MustCompile(`^(?:` + s[3] + `)$`).MatchString(value)
			fits = fits && known && same == !strings.HasPrefix(s[2], "!")
		}
		some = some || fits
	}
	for _, label := range labels {
		some = some && seen[label]
	}
	return some
}
