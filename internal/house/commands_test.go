package house

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// proof says how we know that a documented command works.
type proof struct {
	// test names a test that runs it, as "folder TestName"; it must exist.
	test string
	// help runs the command's --help and looks for each flag that the documentation
	// uses: for commands with placeholders in them.
	help bool
	// run runs it as it stands, in the repository's folder.
	run bool
	// exempt says why nothing runs it.
	exempt string
}

// documented holds every command of a ```sh block in any *.md file of the repository.
var documented = map[string]proof{
	"make demo":               {test: "internal/demo TestDemo"},
	"make test":               {exempt: "it runs this test"},
	"make bench":              {exempt: "benchmarks are no tests, and take minutes"},
	"make bench BENCH=Ingest": {exempt: "benchmarks are no tests, and take minutes"},
	"go run ./internal/payoutbench -payees 1000000 -naive 4000 -lanes 64": {exempt: "benchmarks are no tests, and take minutes"},
	"ionet-localnet": {test: "cmd/ionet-localnet TestRunServesUntilCancelled"},
	"ionetd genesis --dir keys --store published --rpc http://127.0.0.1:8899 --name mynet --start-in 2m --airdrop --policy policy.toml":         {help: true},
	"ionet-worker run --server http://127.0.0.1:8080 --keypair wallet.json --simulate 2":                                                        {help: true},
	"ionet deposit --server http://127.0.0.1:8080 --keypair keys/allocation-community.json --amount 1000 --rpc http://127.0.0.1:8899 --airdrop": {help: true},
	"make release": {test: "cmd/ionet-worker TestReleaseNeedsOldGlibcOnly"},
	"ionet-worker init --server https://<service> --provider <wallet>":                                        {help: true},
	"ionet-worker doctor --server https://<service>":                                                          {help: true},
	"ionet emissions --by month --to 12":                                                                      {run: true},
	"ionet emissions --at 2031-05-01":                                                                         {run: true},
	"ionet emissions --plot supply.svg":                                                                       {test: "cmd/ionet TestScripts"},
	"ionet emissions --vector emissions.bin --hash":                                                           {test: "cmd/ionet TestScripts"},
	"ionetd genesis --dir keys --store published --rpc <url> --name mynet --start-in 10m":                     {help: true},
	"ionetd serve --dir keys --store published --rpc <url> --database <url> --listen 0.0.0.0:8080":            {help: true},
	"ionet keygen --out wallet.json":                                                                          {help: true},
	"ionet-worker run --server https://<service> --keypair wallet.json":                                       {help: true},
	"ionet earnings --server https://<service> --provider <wallet> --csv":                                     {help: true},
	"ionet claim --server https://<service> --keypair wallet.json":                                            {help: true},
	"ionet claim --server https://<service> --pay-url":                                                        {test: "cmd/ionet TestSolanaPay"},
	"ionetd payouts --dir keys --store published --rpc <url> --database <url>":                                {test: "cmd/ionetd TestServe"},
	"ionet deposit --server https://<service> --keypair wallet.json --amount 50 --rpc <url>":                  {help: true},
	"ionet session open --server https://<service> --keypair wallet.json --key-out session.json --reserve 20": {help: true},
	"ionet offers --server https://<service>":                                                                 {help: true},
	"ionet proxy --server https://<service> --session session.json":                                           {help: true},
	"ionet receipt <job> --server https://<service> --verify --rpc <url>":                                     {help: true},
	"ionet session close --server https://<service> --session session.json":                                   {help: true},
	"ionet withdraw --server https://<service> --keypair wallet.json --amount 30":                             {help: true},
	"ionet-audit --rpc https://api.mainnet-beta.solana.com --mint <mint> --store https://<service>/files":     {help: true},
}

func TestDocumentedCommands(t *testing.T) {
	found := map[string]bool{}
	walk(t, ".md", func(rel string, text []byte) {
		for _, c := range shellCommands(string(text)) {
			found[c] = true
			if _, known := documented[c]; !known {
				t.Errorf("%s shows `%s`, which no test runs: say in commands_test.go how we know that it works", rel, c)
			}
		}
	})
	bin := binaries(t)
	for command, p := range documented {
		if !found[command] {
			t.Errorf("no file shows `%s` any more: take it out of commands_test.go", command)
			continue
		}
		t.Run(command, func(t *testing.T) { p.check(t, command, bin) })
	}
}

func (p proof) check(t *testing.T, command string, bin func(t *testing.T, name string) string) {
	switch {
	case p.exempt != "":
	case p.test != "":
		dir, name, _ := strings.Cut(p.test, " ")
		checkTestExists(t, dir, name)
	case p.help:
		said := runCommand(t, helpOf(command), bin)
		for _, flag := range flagsIn(command) {
			if !strings.Contains(said, flag) {
				t.Errorf("`%s` has no flag %s:\n%s", helpOf(command), flag, said)
			}
		}
	case p.run:
		if said := runCommand(t, command, bin); said == "" {
			t.Error("it says nothing")
		}
	default:
		t.Error("nothing is known of it")
	}
}

// runCommand runs one of our commands, or another program, and returns what it said.
func runCommand(t *testing.T, command string, bin func(t *testing.T, name string) string) string {
	t.Helper()
	words := strings.Fields(command)
	program := words[0]
	if _, err := os.Stat(filepath.Join(root, "cmd", program)); err == nil {
		program = bin(t, program)
	}
	cmd := exec.Command(program, words[1:]...)
	cmd.Dir = root
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("`%s`: %v\n%s", command, err, out)
	}
	return string(out)
}

// binaries returns a function that builds a command of ours when it is first needed.
func binaries(t *testing.T) func(t *testing.T, name string) string {
	dir := t.TempDir()
	built := map[string]bool{}
	return func(t *testing.T, name string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if built[name] {
			return path
		}
		cmd := exec.Command("go", "build", "-buildvcs=false", "-o", path, "./cmd/"+name)
		cmd.Dir = root
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("build %s: %v\n%s", name, err, out)
		}
		built[name] = true
		return path
	}
}

func checkTestExists(t *testing.T, dir, name string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, dir, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(b), fmt.Sprintf("func %s(", name)) {
			return
		}
	}
	t.Errorf("there is no %s in %s", name, dir)
}

// shellCommands returns the commands of all shell blocks of a Markdown text, a line
// each; comments are left out and lines that end in a backslash are joined.
func shellCommands(text string) (commands []string) {
	fence, shell, open := "", false, ""
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if m := fenceLine.FindStringSubmatch(line); m != nil {
			switch {
			case fence == "":
				fence, shell = m[1], slices.Contains([]string{"sh", "bash", "shell", "console"}, m[2])
			case fence == m[1] && m[2] == "":
				fence, shell = "", false
			}
			continue
		}
		if !shell || line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		if rest, more := strings.CutSuffix(line, "\\"); more {
			open += rest
			continue
		}
		command, _, _ := strings.Cut(open+line, " #")
		commands = append(commands, strings.Join(strings.Fields(strings.TrimPrefix(command, "$ ")), " "))
		open = ""
	}
	return commands
}

var fenceLine = regexp.MustCompile("^(```+|~~~+) *([a-z]*)")

// helpOf is the command's --help: its words up to the first flag or placeholder.
func helpOf(command string) string {
	words := strings.Fields(command)
	end := slices.IndexFunc(words, func(w string) bool { return strings.HasPrefix(w, "-") || strings.HasPrefix(w, "<") })
	if end < 0 {
		end = len(words)
	}
	return strings.Join(append(words[:end:end], "--help"), " ")
}

var flagWord = regexp.MustCompile(`(?:^| )(--?[a-z][a-z-]*)`)

func flagsIn(command string) (flags []string) {
	for _, m := range flagWord.FindAllStringSubmatch(command, -1) {
		flags = append(flags, m[1])
	}
	return flags
}

// The README is read in one sitting.
func TestReadmeIsShort(t *testing.T) {
	b, err := os.ReadFile(root + "/README.md")
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(b), "\n"); n >= 150 {
		t.Errorf("README.md has %d lines, want fewer than 150", n)
	}
}

func TestShellCommands(t *testing.T) {
	text := strings.Join([]string{
		"Words with `make inline`.",
		"```sh", "# a comment", "make demo   # why", "", "ionet claim \\", "  --rpc <url>", "$ make test", "```",
		"```go", "make no", "```",
		"~~~", "make no", "~~~",
		"  ```bash", "  make indented", "  ```",
		"```text", "~~~sh", "make no", "```",
	}, "\n")
	got := shellCommands(text)
	if want := []string{"make demo", "ionet claim --rpc <url>", "make test", "make indented"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestHelpOf(t *testing.T) {
	for command, want := range map[string]string{
		"ionet claim --rpc <url>": "ionet claim --help",
		"ionet-audit <mint>":      "ionet-audit --help",
		"make":                    "make --help",
	} {
		if got := helpOf(command); got != want {
			t.Errorf("helpOf(%q) = %q, want %q", command, got, want)
		}
	}
	if got, want := flagsIn("a --rpc=x -v --mint <b-c> d-e"), []string{"--rpc", "-v", "--mint"}; !slices.Equal(got, want) {
		t.Errorf("flags are %q, want %q", got, want)
	}
}
