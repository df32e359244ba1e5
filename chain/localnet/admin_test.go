package localnet

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"
)

// adminClient speaks to a node's admin interface.
type adminClient struct {
	t   *testing.T
	url string
}

// do posts a command and returns its result, or the error's words.
func (a adminClient) do(command string) (result json.RawMessage, refused string) {
	a.t.Helper()
	res, err := http.Post(a.url+"/admin", "application/json", strings.NewReader(command))
	if err != nil {
		a.t.Fatal(err)
	}
	defer res.Body.Close()
	var answer struct {
		Result json.RawMessage
		Error  string
	}
	if err := json.NewDecoder(res.Body).Decode(&answer); err != nil {
		a.t.Fatal(err)
	}
	if (res.StatusCode == 200) != (answer.Error == "") {
		a.t.Errorf("status %d with error %q", res.StatusCode, answer.Error)
	}
	return answer.Result, answer.Error
}

func (a adminClient) must(command string) json.RawMessage {
	a.t.Helper()
	result, refused := a.do(command)
	if refused != "" {
		a.t.Fatalf("%s: %s", command, refused)
	}
	return result
}

func (a adminClient) state() (s State) {
	a.t.Helper()
	res, err := http.Get(a.url + "/admin")
	if err != nil {
		a.t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil || json.Unmarshal(b, &s) != nil {
		a.t.Fatalf("%s: %v", b, err)
	}
	return s
}

// TestAdminCommands gives every command once over HTTP and looks at what it did.
func TestAdminCommands(t *testing.T) {
	n := ownNode(t, Config{SlotTime: -1, Admin: true, Seed: 9})
	a := adminClient{t, n.URL()}
	n.Advance(10)
	key := newKey(t).PublicKey()
	lamports := func() uint64 {
		if at := n.Account(key); at != nil {
			return at.Lamports
		}
		return 0
	}
	slot := n.Slot()
	given := map[string]bool{}
	for _, c := range []struct {
		do    string
		check func(result string) bool
	}{
		{`{"do":"advance","slots":5}`, func(string) bool { return n.Slot() == slot+5 }},
		{`{"do":"account","key":"KEY","account":{"lamports":5,"data":"AQI="}}`, func(string) bool { return lamports() == 5 && len(n.Account(key).Data) == 2 }},
		{`{"do":"lamports","key":"KEY","lamports":6}`, func(string) bool { return lamports() == 6 && len(n.Account(key).Data) == 2 }},
		{`{"do":"snapshot","name":"one"}`, func(string) bool { return len(a.state().Snapshots) == 1 }},
		{`{"do":"lamports","key":"KEY"}`, func(string) bool { return lamports() == 0 }},
		{`{"do":"restore","name":"one"}`, func(string) bool { return lamports() == 6 }},
		{`{"do":"airdrop","key":"KEY","lamports":1000000}`, func(sig string) bool { return lamports() == 1_000_006 && len(sig) > 80 }},
		{`{"do":"fork","fork":{"slots":1}}`, func(string) bool { return lamports() == 0 }},
		{`{"do":"time","unix":1900000000}`, func(string) bool { n.Advance(1); return a.state().Time >= 1_900_000_000 }},
		{`{"do":"front"}`, func(r string) bool { return strings.Contains(r, `"front":1`) && len(a.state().Fronts) == 2 }},
		{`{"do":"view","front":1,"view":{"lags":[3],"lies":{"accounts":{"KEY":null}}}}`, func(string) bool {
			v := a.state().Fronts[1].View
			_, lied := v.Lies.Accounts[key]
			return len(v.Lags) == 1 && lied && a.state().Fronts[0].View.Lags == nil
		}},
		{`{"do":"fault","front":-1,"fault":{"methods":["getSlot"],"count":3,"answer":"429"}}`, func(id string) bool {
			return id == "1" && len(a.state().Fronts[0].Faults) == 1 && len(a.state().Fronts[1].Faults) == 1
		}},
		{`{"do":"remove","id":1}`, func(string) bool { return len(a.state().Fronts[0].Faults) == 0 && len(a.state().Fronts[1].Faults) == 1 }},
		{`{"do":"notices","front":1,"notices":{"lose":50}}`, func(string) bool { return a.state().Fronts[1].Notices.Lose == 50 }},
		{`{"do":"down","front":1}`, func(string) bool { return a.state().Fronts[1].Down }},
		{`{"do":"up","front":1}`, func(string) bool { return !a.state().Fronts[1].Down }},
		{`{"do":"heal","front":1}`, func(string) bool {
			f := a.state().Fronts[1]
			return f.View.Lags == nil && len(f.Faults) == 0 && f.Notices == Notices{}
		}},
		{`{"do":"script","script":[{"after_slots":2,"command":{"do":"pause"}}]}`, func(string) bool { return len(a.state().Script) == 1 }},
		{`{"do":"chaos","chaos":{"seed":4,"every":1000}}`, func(string) bool { return a.state().Chaos.Seed == 4 }},
		{`{"do":"calm"}`, func(string) bool { s := a.state(); return s.Chaos == nil && len(s.Script) == 0 }},
		{`{"do":"release"}`, func(string) bool { return len(a.state().Held) == 0 }},
		{`{"do":"rate","ms":1}`, func(string) bool { return a.state().SlotMS == 1 && moves(n) }},
		{`{"do":"pause"}`, func(string) bool { return a.state().SlotMS == 0 && stands(n) }},
		{`{"do":"resume"}`, func(string) bool { return a.state().SlotMS == 1 && moves(n) }},
	} {
		text := strings.ReplaceAll(c.do, "KEY", key.String())
		result := a.must(text)
		if !c.check(string(result)) {
			t.Errorf("%s: answered %s; now %s", text, result, encode(a.state()))
		}
		command, err := ParseCommand([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		given[command.Do] = true
	}
	for name := range commands() {
		if !given[name] {
			t.Errorf("command %s is not tested", name)
		}
	}
}

// moves reports whether slots go on by themselves, stands whether they do not.
func moves(n *Node) bool {
	begin := n.Slot()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if n.Slot() > begin+3 {
			return true
		}
	}
	return false
}

func stands(n *Node) bool {
	time.Sleep(20 * time.Millisecond) // a slot may be under way
	begin := n.Slot()
	time.Sleep(20 * time.Millisecond)
	return n.Slot() == begin
}

func TestAdminRefuses(t *testing.T) {
	n := ownNode(t, Config{SlotTime: -1, Admin: true})
	a := adminClient{t, n.URL()}
	for _, c := range [][2]string{
		{``, "EOF"},
		{`{}`, "unknown command"},
		{`{"do":"nothing"}`, "expected one of account, advance, airdrop"},
		{`{"do":"pause"} {}`, "follows its end"},
		{`{"do":"pause","really":true}`, "unknown field"},
		{`{"do":"pause","slots":1}`, "it does not take: slots"},
		{`{"do":"advance"}`, "a field is missing: slots"},
		{`{"do":"airdrop","ms":1}`, "a field is missing: key, lamports"},
		{`{"do":"down"}`, "front 0 serves /admin"},
		{`{"do":"down","front":-1}`, "front 0 serves /admin"},
		{`{"do":"fault","fault":{"do":"lose"}}`, "run, skip, drop, hold, hold-last, fail, stale, broke, twice"},
		{`{"do":"fault","fault":{"answer":"429","delay_ms":-1}}`, "delay_ms is -1"},
		{`{"do":"notices","notices":{"late":101}}`, "late is 101"},
		{`{"do":"advance","slots":-1}`, "-1 slots"},
		{`{"do":"rate","ms":-5}`, "-5 ms"},
		{`{"do":"fork","fork":{"slots":1000}}`, "above the finalized one"},
		{`{"do":"fork","fork":{"slots":1,"then":"perhaps"}}`, "perhaps"},
		{`{"do":"fault","fault":{"answer":"none"}}`, "expected none or one of 429, status, html"},
		{`{"do":"fault","fault":{"do":"fail","error":"Oops"}}`, "expected one of AccountInUse"},
		{`{"do":"fault","fault":{"do":"fail","error":{"InstructionError":[0,"Oops"]}}}`, "one of GenericError"},
		{`{"do":"fault","fault":{"methods":["sendTx"]}}`, "getAccountInfo, getAgGenesisCert"},
		{`{"do":"fault","front":7,"fault":{"answer":"429"}}`, "no front 7"},
		{`{"do":"view","view":{"lags":[1000]}}`, "1000 slots"},
		{`{"do":"chaos","chaos":{"seed":1,"only":["rain"]}}`, "expected some of 429, status, html"},
		{`{"do":"chaos","chaos":{"seed":1,"every":-1}}`, "every is -1"},
		{`{"do":"restore","name":"none"}`, "no snapshot"},
		{`{"do":"script","script":[{"command":{"do":"pause"}}]}`, "step 0"},
		{`{"do":"script","script":[{"at_slot":1,"after_ms":1,"command":{"do":"pause"}}]}`, "step 0"},
		{`{"do":"script","script":[{"at_slot":1,"command":{"do":"advance","slots":1}}]}`, "no command for a script"},
	} {
		if _, refused := a.do(c[0]); !strings.Contains(refused, c[1]) {
			t.Errorf("%s: got %q, want %q", c[0], refused, c[1])
		}
	}
}

// Only who asks for it has the interface, and no page of a browser.
func TestAdminIsClosed(t *testing.T) {
	n, closed := ownNode(t, Config{SlotTime: -1, Admin: true}), sharedNode(t)
	other, _ := front(t, n)
	for url, want := range map[string]int{closed.URL(): http.StatusMethodNotAllowed, other.URL(): http.StatusMethodNotAllowed, n.URL(): http.StatusOK} {
		res, err := http.Get(url + "/admin")
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != want {
			t.Errorf("%s: got %d, want %d", url, res.StatusCode, want)
		}
	}
	req, err := http.NewRequest(http.MethodPost, n.URL()+"/admin", strings.NewReader(`{"do":"pause"}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Origin", "https://page.example")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusForbidden {
		t.Errorf("a page: got %d", res.StatusCode)
	}
}

// TestReadmeListsEveryFault holds README.md's table of faults to the code: each command,
// deed, answer and chaos kind is in it, and each test that it names exists.
func TestReadmeListsEveryFault(t *testing.T) {
	b, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	var want []string
	for name := range commands() {
		want = append(want, `"do":"`+name+`"`)
	}
	for _, d := range deeds {
		if d != Default {
			want = append(want, `"do":"`+string(d)+`"`)
		}
	}
	for _, a := range answers {
		if a != Truth {
			want = append(want, `"answer":"`+string(a)+`"`)
		}
	}
	for _, k := range ChaosKinds() {
		want = append(want, "`"+k+"`")
	}
	for _, w := range want {
		if !strings.Contains(text, w) {
			t.Errorf("README.md does not show %s", w)
		}
	}
	for _, m := range regexp.MustCompile("`(\\{\"[a-z_]+\":.*?\\})`").FindAllStringSubmatch(text, -1) {
		if strings.Contains(m[1], "...") {
			continue // a pattern, not an example
		}
		_, command := ParseCommand([]byte(m[1]))
		_, rule := ParseCommand([]byte(`{"do":"fault","fault":` + m[1] + `}`))
		if command != nil && rule != nil {
			t.Errorf("README.md: %s: %v; as a rule: %v", m[1], command, rule)
		}
	}
	tests := sources(t)
	for _, m := range regexp.MustCompile(`\bTest[A-Z]\w+`).FindAllString(text, -1) {
		if !strings.Contains(tests, "func "+m+"(") {
			t.Errorf("README.md names %s, which does not exist", m)
		}
	}
}

// sources is the text of this package's tests.
func sources(t *testing.T) string {
	t.Helper()
	entries, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), "_test.go") {
			b, err := os.ReadFile(e.Name())
			if err != nil {
				t.Fatal(err)
			}
			all.Write(b)
		}
	}
	return all.String()
}
