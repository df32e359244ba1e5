// Package commandline reads the command lines of all our commands, so that they
// answer alike:
//
//   - --help and --version are there at every command;
//   - a flag that is given with an empty value, or a variable of the environment that
//     is set to one, is an error that names it: an unset variable of a script must
//     never mean the default;
//   - a whole number says its limits, in --help and in errors: a field's tag
//     range:"1..400" or range:"1.."; and a negative one reaches its flag, as in
//     --days -1;
//   - a duration that is none is answered with examples;
//   - --help shows each default, and an error names the --help to look at.
package commandline

import (
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"regexp"
	"runtime/debug"
	"strings"
	"time"

	"github.com/alecthomas/kong"
)

// Program is one command.
type Program struct {
	Name, Help     string
	Stdout, Stderr io.Writer
}

// Parse reads args into a grammar, a pointer to a struct with kong's tags. It
// returns nil without an error where --help or --version was asked for and answered.
func (p Program) Parse(grammar any, args []string) (*kong.Context, error) {
	exited := false
	build, ok := debug.ReadBuildInfo()
	var always struct {
		Version kong.VersionFlag `help:"Print which build this is, and end."`
	}
	options := []kong.Option{
		kong.Name(p.Name), kong.Description(p.Help), kong.Writers(p.Stdout, p.Stderr), kong.Exit(func(int) { exited = true }),
		kong.Embed(&always), kong.Vars{"version": p.Name + " " + version(build, ok)}, kong.ValueFormatter(describe),
	}
	options = append(options, kong.TypeMapper(reflect.TypeFor[time.Duration](), kong.MapperFunc(decodeDuration)))
	for _, k := range []reflect.Kind{reflect.Int, reflect.Int64, reflect.Uint, reflect.Uint16, reflect.Uint32, reflect.Uint64} {
		options = append(options, kong.KindMapper(k, kong.MapperFunc(decodeWhole)))
	}
	parser, err := kong.New(grammar, options...)
	if err != nil {
		return nil, fmt.Errorf("read command line: %w", err)
	}
	args = joinNegative(args)
	parsed, err := parser.Parse(args)
	if exited {
		return nil, nil
	}
	if err == nil {
		err = checkEmpty(parsed, args)
	}
	if err != nil {
		see := p.helpOf(parsed, err) + " --help"
		if strings.HasPrefix(err.Error(), "missing flags") {
			see += ", which names the variables of the environment too"
		}
		return nil, fmt.Errorf("%w; see %s", err, see)
	}
	return parsed, nil
}

// helpOf is the command whose --help explains what was wrong.
func (p Program) helpOf(parsed *kong.Context, err error) string {
	var parse *kong.ParseError
	if errors.As(err, &parse) {
		parsed = parse.Context
	}
	words := []string{p.Name}
	if parsed != nil {
		for _, part := range parsed.Path {
			if part.Command != nil {
				words = append(words, part.Command.Name)
			}
		}
	}
	return strings.Join(words, " ")
}

var (
	longFlag = regexp.MustCompile(`^--[a-z][a-z0-9-]*$`)
	negative = regexp.MustCompile(`^-\.?[0-9]`)
)

// joinNegative writes "--flag -1" as "--flag=-1": no flag of ours is a digit.
func joinNegative(args []string) (joined []string) {
	for i := 0; i < len(args); i++ {
		switch a := args[i]; {
		case a == "--":
			return append(joined, args[i:]...)
		case i+1 < len(args) && longFlag.MatchString(a) && negative.MatchString(args[i+1]):
			i++
			joined = append(joined, a+"="+args[i])
		default:
			joined = append(joined, a)
		}
	}
	return joined
}

// checkEmpty refuses flags, arguments and variables of the environment that were
// given and are empty.
func checkEmpty(parsed *kong.Context, args []string) error {
	given := map[string]bool{}
	for _, part := range parsed.Path {
		switch {
		case part.Flag != nil:
			given[part.Flag.Name] = true
			if isEmpty(part.Flag.Target) || addsNothing(args, part.Flag) {
				return fmt.Errorf("--%s is given with an empty value: give one, or leave the flag out", part.Flag.Name)
			}
		case part.Positional != nil && isEmpty(part.Positional.Target):
			return fmt.Errorf("%s is given as an empty value", part.Positional.Summary())
		}
	}
	for _, f := range parsed.Flags() {
		for _, name := range f.Tag.Envs {
			if value, ok := os.LookupEnv(name); ok && value == "" && !given[f.Name] {
				return fmt.Errorf("--%s: the environment's %s is set to an empty value: give it one, or unset it", f.Name, name)
			}
		}
	}
	return nil
}

// addsNothing reports whether a list is given an empty value among others, which its
// target does not show.
func addsNothing(args []string, f *kong.Flag) bool {
	for i, a := range args {
		if a == "--"+f.Name+"=" || a == "--"+f.Name && f.IsSlice() && i+1 < len(args) && args[i+1] == "" {
			return true
		}
	}
	return false
}

func isEmpty(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.String:
		return v.String() == ""
	case reflect.Slice:
		for i := range v.Len() {
			if isEmpty(v.Index(i)) {
				return true
			}
		}
		return v.Len() == 0
	case reflect.Pointer:
		return v.IsNil() || isEmpty(v.Elem())
	}
	return false
}

// describe is a flag's help with its limits and, where a placeholder hides it, its
// default.
func describe(v *kong.Value) string {
	var notes []string
	if limits := v.Tag.Get("range"); limits != "" && !strings.Contains(v.OrigHelp, limits) {
		notes = append(notes, limits)
	}
	if v.HasDefault && v.Default != "" && v.Flag != nil && v.Flag.PlaceHolder != "" && !strings.Contains(v.OrigHelp, "default") {
		notes = append(notes, "default: "+v.Default)
	}
	help := kong.DefaultHelpValueFormatter(v)
	if len(notes) == 0 {
		return help
	}
	body, stop := strings.CutSuffix(help, ".")
	note := strings.Join(notes, "; ") + ")"
	if open, closed := strings.CutSuffix(body, ")"); closed {
		help = open + "; " + note
	} else {
		help = body + " (" + note
	}
	if stop {
		help += "."
	}
	return help
}
