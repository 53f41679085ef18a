package smartcar

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"net/http"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed-498a1bc4/smartcar/internal/catalog"
	"github.com/seed-498a1bc4/smartcar/internal/lenient"
	"github.com/stretchr/testify/require"
)

// Everything that a row needs is there. All that is missing is named in one run.
func TestEveryOperationIsComplete(t *testing.T) {
	seen := map[Operation]bool{}
	for i := range operations {
		r := rowCheck{t, &operations[i]}
		if seen[r.op.name] {
			r.lacks("a name of its own: two rows have this one")
		}
		seen[r.op.name] = true
		r.checkRow()
		if r.op.isRead() {
			r.checkRead()
		} else {
			r.checkCommand()
		}
		r.checkMethods()
		if !strings.Contains(readTable(t), operationRow(r.op)) {
			r.lacks("its row in the table of docs/operations.md: run go generate .")
		}
	}
	generated := generatedFiles(t)
	for _, name := range slices.Sorted(maps.Keys(generated)) {
		if got, err := os.ReadFile(name); err != nil || !bytes.Equal(got, generated[name]) {
			t.Errorf("%s is out of date: run go generate .", name)
		}
	}
}

func generatedFiles(t *testing.T) map[string][]byte {
	t.Helper()
	table, err := os.ReadFile("operations.go")
	require.NoError(t, err)
	files, err := catalog.Files(table)
	require.NoError(t, err)
	return files
}

// rowCheck reports what one row lacks, and goes on.
type rowCheck struct {
	*testing.T
	op *operation
}

func (r rowCheck) lacks(format string, args ...any) {
	r.Helper()
	r.Errorf("%s lacks %s", r.op.name, fmt.Sprintf(format, args...))
}

// checkRow looks at what every row holds.
func (r rowCheck) checkRow() {
	op := r.op
	if op.name == "" || op.call == "" || op.method == "" || op.kind == KindDefault {
		r.lacks("a name, a call, a method or a kind")
	}
	if (op.kind == KindCommand) != (op.method != http.MethodGet && op.name != opDisconnect) {
		r.lacks("a kind that goes with its method")
	}
	if (op.v2 == "") != (op.on == onlyV3) {
		r.lacks("v2, its path on API v2.0, or on: onlyV3 if there is none")
	}
	if (wireV3{}).supports(op) == (op.on == onlyV2) {
		r.lacks("signals or v3, what it is on API v3, or on: onlyV2 if that does not have it")
	}
	if op.permission == "" && exemption(op.name) == "" {
		r.lacks("permission; if it needs none, say why in exemption")
	}
}

// exemption says why an operation needs no permission of its own.
func exemption(op Operation) string {
	switch op {
	case Permissions, opDisconnect:
		return "any token may ask what it was granted, and give it back"
	case TeslaUserAccess:
		return "none is documented"
	case AllSignals:
		return "each signal has its own"
	}
	return ""
}

// checkRead looks at what reads hold beside.
func (r rowCheck) checkRead() {
	op := r.op
	if op.place == placeNotMarked {
		r.lacks("place: tellsPlace if the answer may tell where the car is, tellsNoPlace if not")
	}
	if !op.byHand && (op.does == "" || op.page == "") {
		r.lacks("does or page, which the comment of its method is made of")
	}
	name := "v2/reads/" + string(op.name)
	f, ok := r.fixture(name)
	if op.on != onlyV3 {
		if op.own == "" {
			r.lacks("own, the fields of its answer on API v2.0")
		}
		if op.decodeV2 == nil {
			r.lacks("decodeV2, its decoder for API v2.0")
		}
		if ok {
			r.checkV2(name, f)
		}
	}
	if op.on != onlyV2 {
		if op.decodeV3 == nil {
			r.lacks("decodeV3, its decoder for API v3")
		}
		if a := r.answerV3(); a != nil && op.decodeV3 != nil && (ok || op.on == onlyV3) {
			r.checkV3(name, f, a)
		}
	}
}

// fixture returns a file of testdata by its path there.
func (r rowCheck) fixture(path string) (fixtureFile, bool) {
	raw, err := os.ReadFile("testdata/" + path + ".json")
	if err != nil {
		if r.op.on != onlyV3 || !strings.HasPrefix(path, "v2/") {
			r.lacks("the fixture testdata/%s.json", path)
		}
		return fixtureFile{}, false
	}
	var f fixtureFile
	if err := json.Unmarshal(raw, &f); err != nil {
		r.lacks("a fixture that is JSON: testdata/%s.json: %v", path, err)
		return f, false
	}
	return f, true
}

// checkV2 decodes the fixture as an answer of API v2.0.
func (r rowCheck) checkV2(name string, f fixtureFile) {
	op, a := r.op, f.answer()
	r.checkRequest(name, f, "/v2.0/vehicles/{id}"+op.v2)
	record := a.body
	if isList(record) {
		record = bytes.TrimSuffix(bytes.TrimPrefix(bytes.TrimSpace(record), []byte("[")), []byte("]"))
	}
	for field := range strings.FieldsSeq(op.own) {
		if field != aList && !lenient.HasShape(record, field) {
			r.lacks("the field %q, which is in own, in testdata/%s.json", field, name)
		}
	}
	if op.decodeV2 == nil || op.own == "" {
		return
	}
	value, err := wireV2{}.decode(op, a.body, Metric)
	if err != nil {
		r.lacks("a decoder for API v2.0 that can read testdata/%s.json: %v", name, err)
		return
	}
	r.checkReading(name, "reading", f.Reading, value)
}

// answerV3 is an answer of API v3: the fixtures of the row's signals in one list.
func (r rowCheck) answerV3() *answer {
	if r.op.v3 != "" {
		f, ok := r.fixture(map[string]string{"/": "v3/vehicle", signalsPath: "v3/signals"}[r.op.v3])
		if !ok {
			return nil
		}
		return f.answer()
	}
	var a *answer
	var list struct {
		Data []json.RawMessage `json:"data"`
	}
	for _, code := range r.op.signals {
		f, ok := r.fixture("v3/signals/" + string(code))
		if !ok {
			return nil
		}
		a = f.answer()
		var body struct {
			Data json.RawMessage `json:"data"`
		}
		require.NoError(r, json.Unmarshal(a.body, &body))
		list.Data = append(list.Data, body.Data)
	}
	if a != nil {
		a.body, _ = json.Marshal(list)
	}
	return a
}

func (r rowCheck) checkV3(name string, f fixtureFile, a *answer) {
	parts, err := wireV3{}.split([]operation{*r.op}, a)
	require.NoError(r, err)
	require.Nil(r, parts[0].err)
	parts[0].meta.UnitSystem = Metric
	value, err := parts[0].decode(wireV3{})
	if err != nil {
		r.lacks("a decoder for API v3 that can read the fixtures of its signals: %v", err)
		return
	}
	if r.op.on != onlyV3 {
		r.checkReading(name, "readingV3", f.ReadingV3, value)
	}
}

// checkReading compares what a decoder made of a fixture with what the fixture
// says, if that is what the method of Vehicle returns.
func (r rowCheck) checkReading(name, field string, want json.RawMessage, got reading) {
	method, ok := reflect.TypeFor[*Vehicle]().MethodByName(r.op.call)
	if !ok || method.Type.Out(0) != reflect.TypeOf(got) {
		return
	}
	if want == nil {
		r.lacks("%q in testdata/%s.json, what the decoder makes of it", field, name)
		return
	}
	wanted := reflect.New(reflect.TypeOf(got).Elem()).Interface()
	decoder := json.NewDecoder(bytes.NewReader(want))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(wanted); err != nil {
		r.lacks("a type %T that has what %q in testdata/%s.json says: %v", got, field, name, err)
		return
	}
	if !reflect.DeepEqual(wanted, got) {
		made, _ := json.Marshal(got)
		r.lacks("a decoder that makes of its fixtures what %q in testdata/%s.json says: it makes %s", field, name, made)
	}
}

// checkCommand looks at what commands hold beside.
func (r rowCheck) checkCommand() {
	op := r.op
	if op.on != onlyV3 {
		name := "v2/commands/" + string(op.name)
		if f, ok := r.fixture(name); ok {
			r.checkRequest(name, f, "/v2.0/vehicles/{id}"+op.v2)
		}
	}
	if op.on == onlyV2 {
		return
	}
	name := "v3/command." + string(op.name)
	f, ok := r.fixture(name)
	if !ok {
		return
	}
	if f.Request.Method != op.method || !strings.HasPrefix(f.Request.Path, "/v3/vehicles/{id}"+op.v3) {
		r.lacks("a request of its own in testdata/%s.json: %s %s", name, f.Request.Method, f.Request.Path)
	}
	result, err := wireV3{}.commandResult(op, f.answer())
	if err != nil || result.ExecutionID == "" {
		r.lacks("a result in testdata/%s.json: %v", name, err)
	}
}

func (r rowCheck) checkRequest(name string, f fixtureFile, path string) {
	if f.Request.Method != r.op.method || f.Request.Path != strings.TrimSuffix(path, "/") {
		r.lacks("its own request in testdata/%s.json: %s %s", name, f.Request.Method, f.Request.Path)
	}
}

func (r rowCheck) checkMethods() {
	const generate = ": run go generate . unless it is written by hand"
	method, ok := reflect.TypeFor[*Vehicle]().MethodByName(r.op.call)
	if !ok {
		r.lacks("the method Vehicle.%s%s", r.op.call, generate)
		return
	}
	if method.Type.In(1).String() != "context.Context" || method.Type.Out(method.Type.NumOut()-1).String() != "error" {
		r.lacks("a context and an error in Vehicle.%s", r.op.call)
	}
	inSnapshot, ok := reflect.TypeFor[*Snapshot]().MethodByName(r.op.call)
	switch {
	case !r.op.isRead() || r.op.name == opKeyStatus:
		if ok {
			r.Errorf("%s: a snapshot cannot hold it", r.op.name)
		}
	case !ok:
		r.lacks("the method Snapshot.%s%s", r.op.call, generate)
	case inSnapshot.Type.NumIn() != 1 || inSnapshot.Type.Out(0) != method.Type.Out(0):
		r.lacks("the same result from Snapshot.%s as from Vehicle.%s", r.op.call, r.op.call)
	}
}

// Every fixture of a read or a command belongs to a row.
func TestEveryFixtureHasAnOperation(t *testing.T) {
	elsewhere := map[string]bool{"user": true, "vehicles": true} // of the account, not of a vehicle
	for _, folder := range []string{"reads", "commands"} {
		for name := range fixtureFiles(t, "v2/"+folder+"/*.json") {
			operation, _, _ := strings.Cut(name, ".")
			if elsewhere[operation] {
				continue
			}
			require.Len(t, lookup(Operation(operation)), 1, "%s/%s has no operation", folder, name)
		}
	}
}

// Nothing is found under a name that no row has.
func TestLookupOfNothing(t *testing.T) {
	require.Empty(t, lookup(""))
	require.Empty(t, lookup("teleport"))
}

var update = flag.Bool("update", false, "rewrite golden files")

const (
	tableBegin = "<!-- Generated from operations.go: go generate . -->\n"
	tableEnd   = "<!-- End of the generated part -->\n"
)

// tablePage is the page of the manual that has the table.
const tablePage = "docs/operations.md"

func readTable(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(tablePage)
	require.NoError(t, err)
	return string(text)
}

func TestOperationsTable(t *testing.T) {
	text := readTable(t)
	before, rest, ok := strings.Cut(text, tableBegin)
	require.True(t, ok, "the mark %q is missing", tableBegin)
	got, after, ok := strings.Cut(rest, tableEnd)
	require.True(t, ok, "the mark %q is missing", tableEnd)
	want := "\n" + operationsTable() + "\n"
	if *update {
		require.NoError(t, os.WriteFile(tablePage, []byte(before+tableBegin+want+tableEnd+after), 0o600))
		return
	}
	require.Equal(t, want, got, "run go generate .")
}

func operationsTable() string {
	var b strings.Builder
	b.WriteString("| Method of `Vehicle` | Kind | Permission | API v2.0, below `/vehicles/{id}` | API v3 |\n| --- | --- | --- | --- | --- |\n")
	for i := range operations {
		b.WriteString(operationRow(&operations[i]))
	}
	b.WriteString("\n*Metadata* is answered by Smartcar itself and not limited; *data* reads the car and takes its turn;\na *command* changes it. On v3 a VIN is data, too: all signals come in one answer, which is one turn.\n")
	b.WriteString("\n| What is read | Fields, beside those of `Meta` |\n| --- | --- |\n")
	for i := range operations {
		if operations[i].kind != KindCommand {
			b.WriteString(readingRow(&operations[i]))
		}
	}
	return b.String()
}

// readingRow has the fields of what a read returns; it is empty if that is no struct of ours.
func readingRow(op *operation) string {
	method, ok := reflect.TypeFor[*Vehicle]().MethodByName(op.call)
	if !ok || method.Type.Out(0).Kind() != reflect.Pointer || op.name == AllSignals {
		return ""
	}
	result := method.Type.Out(0).Elem()
	var fields []string
	for f := range result.Fields() {
		if f.IsExported() && !f.Anonymous {
			fields = append(fields, fmt.Sprintf("`%s %s`", f.Name, strings.ReplaceAll(f.Type.String(), "smartcar.", "")))
		}
	}
	return fmt.Sprintf("| `%s` | %s |\n", op.call, strings.Join(fields, ", "))
}

func operationRow(op *operation) string {
	permission := "–"
	if op.permission != "" {
		permission = "`" + op.permission + "`"
	}
	v2 := "–"
	if op.v2 != "" {
		v2 = "`" + op.method + " " + op.v2 + "`"
	}
	kind := map[Kind]string{KindMetadata: "metadata", KindData: "data", KindCommand: "command"}[op.kind]
	return fmt.Sprintf("| `%s` | %s | %s | %s | %s |\n", op.call, kind, permission, v2, placeOnV3(op))
}

// placeOnV3 is where API v3 has an operation: at a path, in signals, or beside the vehicle.
func placeOnV3(op *operation) string {
	switch {
	case op.v3 != "":
		return "`" + op.method + " " + op.v3 + "`"
	case len(op.signals) > 3:
		return fmt.Sprintf("%d signals", len(op.signals))
	case len(op.signals) > 0:
		list := make([]string, len(op.signals))
		for i, code := range op.signals {
			list[i] = "`" + string(code) + "`"
		}
		return strings.Join(list, ", ")
	case op.name == opKeyStatus:
		return "known from the last read"
	case op.kind == KindCommand:
		return "–"
	}
	return "of the connection"
}

// filled sets every field of a value to something, those of embedded structs included.
func filled(v reflect.Value) {
	for i := range v.NumField() {
		switch f := v.Field(i); f.Kind() {
		case reflect.Struct:
			if f.Type() == reflect.TypeFor[time.Time]() {
				f.Set(reflect.ValueOf(time.Unix(1, 0)))
				continue
			}
			filled(f)
		case reflect.String:
			f.SetString("x")
		case reflect.Bool:
			f.SetBool(true)
		case reflect.Uint8:
			f.SetUint(1)
		default:
			f.SetInt(1)
		}
	}
}

// The package documentation lists the lines of the log: what every event is logged as,
// with all of its keys.
func TestDocumentationListsTheLog(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("doc.go")
	require.NoError(t, err)
	type line struct{ level, keys string }
	listed := map[string]line{}
	for _, m := range regexp.MustCompile(`(?m)^//\t(smartcar [a-z ]+?)  +(debug|info|warn) +([a-z_ ]+?)(?:;.*)?$`).FindAllStringSubmatch(string(text), -1) {
		listed[m[1]] = line{m[2], m[3]}
	}
	delete(listed, "smartcar client") // no event
	logged := map[string]line{}
	for _, event := range []Event{
		OperationEnded{}, AttemptEnded{}, Refused{}, Retried{}, CachedAnswer{}, TokenRefreshed{}, KeyChanged{}, ClassChanged{},
		WebhookReceived{Verdict: VerdictAccepted}, WebhookReceived{Verdict: VerdictRefused}, Visited{}, BudgetSpent{},
	} {
		full := reflect.New(reflect.TypeOf(event)).Elem()
		full.Set(reflect.ValueOf(event))
		filled(full)
		if w, ok := event.(WebhookReceived); ok {
			full.FieldByName("Verdict").SetString(string(w.Verdict))
		}
		if token, ok := full.Addr().Interface().(*TokenRefreshed); ok {
			token.Outcome, token.VehicleID = OutcomeOK, "" // it is of no vehicle
		}
		event = full.Interface().(Event)
		level, message := headOf(event)
		var attrs logAttrs
		attrs.of(event)
		var keys []string
		for _, a := range attrs {
			keys = append(keys, a.Key)
		}
		if message == "smartcar webhook" { // has no reason
			keys = slices.DeleteFunc(keys, func(k string) bool { return k == "reason" })
		}
		if strings.HasPrefix(message, "smartcar refused") {
			keys = append(keys, "count")
		}
		logged[message] = line{strings.ToLower(level.String()), strings.Join(keys, " ")}
	}
	require.Equal(t, logged, listed)
}
