package commandline

import (
	"bytes"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"
)

type grammar struct {
	Send sendCmd `cmd:"" help:"Send."`
}

type sendCmd struct {
	File   string        `placeholder:"FILE" default:"here" env:"COMMANDLINE_TEST_FILE" help:"Where."`
	Many   []string      `placeholder:"TEXT" help:"Texts."`
	Days   int           `default:"3" range:"1..400" placeholder:"N" help:"How long."`
	Seed   uint64        `help:"Any."`
	Small  *uint16       `range:"2.." help:"Small."`
	Change int64         `help:"Any sign."`
	Wait   time.Duration `default:"1m" help:"Before that."`
	Dry    bool          `help:"Nothing."`
	Where  string        `arg:"" optional:"" help:"Where to."`
}

func parse(args ...string) (grammar, string, error) {
	var g grammar
	var out, diagnostics bytes.Buffer
	_, err := Program{Name: "post", Help: "Posts.", Stdout: &out, Stderr: &diagnostics}.Parse(&g, args)
	return g, out.String() + diagnostics.String(), err
}

func TestErrors(t *testing.T) {
	const see = "; see post send --help"
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"send", "--file", ""}, "--file is given with an empty value: give one, or leave the flag out" + see},
		{[]string{"send", "--file="}, "--file is given with an empty value: give one, or leave the flag out" + see},
		{[]string{"send", "--many", "a", "--many", ""}, "--many is given with an empty value: give one, or leave the flag out" + see},
		{[]string{"send", "--many", ""}, "--many is given with an empty value: give one, or leave the flag out" + see},
		{[]string{"send", ""}, "[<where>] is given as an empty value" + see},
		{[]string{"send", "--days", "0"}, `--days: want a whole number, 1..400, not "0"` + see},
		{[]string{"send", "--days", "-1"}, `--days: want a whole number, 1..400, not "-1"` + see},
		{[]string{"send", "--days", "401"}, `--days: want a whole number, 1..400, not "401"` + see},
		{[]string{"send", "--days", "0x10"}, `--days: want a whole number, 1..400, not "0x10"` + see},
		{[]string{"send", "--seed", "-1"}, `--seed: want a whole number from 0 on, not "-1"` + see},
		{[]string{"send", "--seed", "18446744073709551616"}, `--seed: want a whole number from 0 on, not "18446744073709551616"` + see},
		{[]string{"send", "--small", "65536"}, `--small: want a whole number from 2 on, not "65536"` + see},
		{[]string{"send", "--small", "1"}, `--small: want a whole number from 2 on, not "1"` + see},
		{[]string{"send", "--change", "x"}, `--change: want a whole number, not "x"` + see},
		{[]string{"send", "--wait", "1"}, `--wait: want a duration such as 90s, 10m or 24h, not "1"` + see},
		{[]string{"send", "--wait", "soon"}, `--wait: want a duration such as 90s, 10m or 24h, not "soon"` + see},
		{[]string{"send", "--colour"}, "unknown flag --colour" + see},
	} {
		if _, said, err := parse(c.args...); err == nil || err.Error() != c.want || said != "" {
			t.Errorf("%q: got %v, want %s; printed %q", c.args, err, c.want, said)
		}
	}
	if _, _, err := parse("snd"); err == nil || !strings.HasSuffix(err.Error(), "; see post --help") {
		t.Errorf("unknown command: %v", err)
	}
}

func TestNumbers(t *testing.T) {
	g, _, err := parse("send", "--days", "400", "--seed", "18446744073709551615", "--small", "65535", "--change", "-7", "--dry", "--wait", "-90s", "--file", "-5", "x")
	s := g.Send
	if err != nil || s.Days != 400 || s.Seed != 1<<64-1 || s.Small == nil || *s.Small != 65535 || s.Change != -7 || !s.Dry || s.Wait != -90*time.Second || s.File != "-5" || s.Where != "x" {
		t.Errorf("got %+v, %v", s, err)
	}
}

func TestEnvironment(t *testing.T) {
	t.Setenv("COMMANDLINE_TEST_FILE", "")
	if _, _, err := parse("send"); err == nil || !strings.Contains(err.Error(), "--file: the environment's COMMANDLINE_TEST_FILE is set to an empty value") {
		t.Errorf("empty variable: %v", err)
	}
	if g, _, err := parse("send", "--file", "x"); err != nil || g.Send.File != "x" {
		t.Errorf("a flag beside an empty variable: %v, %+v", err, g.Send)
	}
	t.Setenv("COMMANDLINE_TEST_FILE", "there")
	if g, _, err := parse("send"); err != nil || g.Send.File != "there" {
		t.Errorf("variable: %v, %+v", err, g.Send)
	}
}

func TestHelp(t *testing.T) {
	_, said, err := parse("send", "--help")
	said = strings.Join(strings.Fields(said), " ")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"How long (1..400; default: 3).", "Where ($COMMANDLINE_TEST_FILE; default: here).", "Small (2..).", "--version Print which build"} {
		if !strings.Contains(said, want) {
			t.Errorf("help has no %q:\n%s", want, said)
		}
	}
}

func TestJoinNegative(t *testing.T) {
	for _, c := range []struct{ args, want []string }{
		{[]string{"a", "--to", "-1", "b"}, []string{"a", "--to=-1", "b"}},
		{[]string{"--usd", "-.5"}, []string{"--usd=-.5"}},
		{[]string{"--plot", "--hash", "-1"}, []string{"--plot", "--hash=-1"}},
		{[]string{"--to=2", "-1"}, []string{"--to=2", "-1"}},
		{[]string{"--", "--to", "-1"}, []string{"--", "--to", "-1"}},
		{[]string{"--to"}, []string{"--to"}},
	} {
		if got := joinNegative(c.args); !slices.Equal(got, c.want) {
			t.Errorf("%q is %q, want %q", c.args, got, c.want)
		}
	}
}

func TestVersion(t *testing.T) {
	if _, said, err := parse("--version"); err != nil || !strings.HasPrefix(said, "post ") || strings.Count(said, "\n") != 1 {
		t.Errorf("--version: %q, %v", said, err)
	}
	of := func(v string, settings ...debug.BuildSetting) *debug.BuildInfo {
		return &debug.BuildInfo{Main: debug.Module{Version: v}, Settings: settings}
	}
	revision, dirty := debug.BuildSetting{Key: "vcs.revision", Value: "abc"}, debug.BuildSetting{Key: "vcs.modified", Value: "true"}
	for want, b := range map[string]*debug.BuildInfo{
		"built from sources whose revision was not recorded (go": of("(devel)"),
		"v1.2.3 (go":                             of("v1.2.3"),
		"revision abc (go":                       of("(devel)", revision),
		"v1.3.0, revision abc, with changes (go": of("v1.3.0", revision, dirty),
	} {
		if got := version(b, true); !strings.HasPrefix(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	if got := version(nil, false); !strings.HasPrefix(got, "of an unrecorded build (go") {
		t.Errorf("got %q", got)
	}
}
