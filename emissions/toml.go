package emissions

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2"

	"github.com/ionet-settlement/ionet"
)

// section reads one TOML table key by key. The first error of any section of a
// file is kept in fail, and every read after it returns zero: the caller asks
// once, at the end.
type section struct {
	path  string // of this table with a dot after it, "" for the file
	keys  map[string]any
	known []string // keys that were asked for
	fail  *error
}

// readTOML parses file into its outermost section.
func readTOML(file []byte, fail *error) *section {
	keys := map[string]any{}
	if err := toml.Unmarshal(file, &keys); err != nil {
		where := ""
		if at := (*toml.DecodeError)(nil); errors.As(err, &at) {
			row, column := at.Position()
			where = fmt.Sprintf(", line %d, column %d", row, column)
		}
		*fail = fmt.Errorf("parse TOML%s: %s", where, cut(err.Error(), 200))
	}
	return &section{keys: keys, fail: fail}
}

// refuse keeps the first error, which names the key.
func (s *section) refuse(name, format string, args ...any) {
	if *s.fail == nil {
		*s.fail = fmt.Errorf("%s%s: %s", s.path, name, fmt.Sprintf(format, args...))
	}
}

// take returns the value of a key; ok is false where there is none.
func (s *section) take(name string) (value any, ok bool) {
	s.known = append(s.known, name)
	value, ok = s.keys[name]
	return value, ok && *s.fail == nil
}

// end refuses a key that nobody asked for, the alphabet's first of several.
func (s *section) end() {
	for _, name := range slices.Sorted(maps.Keys(s.keys)) {
		if !slices.Contains(s.known, name) {
			slices.Sort(s.known)
			s.refuse(name, "unknown key; allowed here are %s", strings.Join(s.known, ", "))
			return
		}
	}
}

// need refuses a missing key, and names one that may be it, misspelt.
func (s *section) need(names ...string) {
	for _, name := range names {
		if _, ok := s.keys[name]; ok {
			continue
		}
		for _, other := range slices.Sorted(maps.Keys(s.keys)) {
			if !slices.Contains(names, other) && resemble(name, other) {
				s.refuse(name, "missing; is %s meant?", show(other))
			}
		}
		s.refuse(name, "missing")
	}
}

// resemble reports whether one or two slips of the pen, or other capitals, lead
// from a to b: letters changed, left out or put in.
func resemble(a, b string) bool {
	a, b = strings.ToLower(a), strings.ToLower(b)
	row := make([]int, len(b)+1) // slips from a[:i] to each start of b
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0]++
		for j := range len(b) {
			slips := diagonal
			if a[i] != b[j] {
				slips = 1 + min(diagonal, row[j], row[j+1])
			}
			diagonal, row[j+1] = row[j+1], slips
		}
	}
	return row[len(b)] <= min(2, len(a)/2)
}

// integer reads a whole number in low..high; fallback stands for a missing one.
func (s *section) integer(name string, low, high, fallback uint64) uint64 {
	value, ok := s.take(name)
	if !ok {
		return fallback
	}
	n, ok := value.(int64)
	if !ok || n < 0 || uint64(n) < low || uint64(n) > high {
		s.refuse(name, "%s is not a whole number in %d..%d", show(value), low, high)
		return 0
	}
	return uint64(n)
}

// flag reads true or false; fallback stands for a missing one.
func (s *section) flag(name string, fallback bool) bool {
	value, ok := s.take(name)
	if !ok {
		return fallback
	}
	b, ok := value.(bool)
	if !ok {
		s.refuse(name, "%s is neither true nor false", show(value))
	}
	return b
}

// text reads a string; fallback stands for a missing one.
func (s *section) text(name, fallback string) string {
	value, ok := s.take(name)
	if !ok {
		return fallback
	}
	t, ok := value.(string)
	if !ok {
		s.refuse(name, "%s is not a string", show(value))
	}
	return t
}

// name reads a name: 1 to 32 lowercase letters, digits and hyphens.
func (s *section) name(name string) string {
	t := s.text(name, "")
	if _, ok := s.keys[name]; ok && (t == "" || len(t) > 32 || strings.Trim(t, "abcdefghijklmnopqrstuvwxyz0123456789-") != "") {
		s.refuse(name, "%s is not a name of 1..32 lowercase letters, digits and hyphens", show(t))
	}
	return t
}

// products reads a list of at least one NVML product name, each of 1 to 95
// printable ASCII characters: NVML's own buffer holds no more.
func (s *section) products(name string) []string {
	value, ok := s.take(name)
	if !ok {
		return nil
	}
	list, ok := value.([]any)
	if !ok || len(list) == 0 {
		s.refuse(name, "%s is not a list of at least one product name", show(value))
		return nil
	}
	products := make([]string, len(list))
	for i, v := range list {
		t, _ := v.(string)
		isPrintable := !strings.ContainsFunc(t, func(c rune) bool { return c < ' ' || c > '~' })
		if t == "" || len(t) > 95 || !isPrintable {
			s.refuse(fmt.Sprintf("%s[%d]", name, i), "%s is not a string of 1..95 printable ASCII characters", show(v))
			return nil
		}
		products[i] = t
	}
	return products
}

// amount reads base units as a string of digits, zero where there is none.
func (s *section) amount(name string) ionet.Amount {
	value, ok := s.take(name)
	if !ok {
		return ionet.Amount{}
	}
	t, _ := value.(string)
	a, err := ionet.ParseBase(t)
	if err != nil {
		s.refuse(name, "%s is not a string of base units in 0..%d without leading zeros", show(value), uint64(math.MaxInt64))
	}
	return a
}

// key reads a public key in base58.
func (s *section) key(name string) ionet.Key {
	value, ok := s.take(name)
	if !ok {
		return ionet.Key{}
	}
	t, _ := value.(string)
	k, err := ionet.ParseKey(t)
	if err != nil || k.IsZero() {
		s.refuse(name, "%s is not a string with a public key in base58", show(value))
	}
	return k
}

// decimal reads an exact decimal as a string.
func (s *section) decimal(name string) string {
	value, ok := s.take(name)
	if !ok {
		return ""
	}
	t, _ := value.(string)
	if _, err := parseDecimal(name, t); err != nil {
		s.refuse(name, "%s is not a string with an exact decimal of at most %d characters, such as \"0.08\"", show(value), maxDigits)
	}
	return t
}

// positive reads base units of at least one.
func (s *section) positive(name string) ionet.Amount {
	a := s.amount(name)
	if value, ok := s.take(name); ok && a.IsZero() {
		s.refuse(name, "%s is not a string of base units in 1..%d without leading zeros", show(value), uint64(math.MaxInt64))
	}
	return a
}

// section reads a table; a missing one is empty.
func (s *section) section(name string) *section {
	sub := &section{path: s.path + name + ".", fail: s.fail}
	value, ok := s.take(name)
	if !ok {
		return sub
	}
	if sub.keys, ok = value.(map[string]any); !ok {
		s.refuse(name, "%s is not a table", show(value))
	}
	return sub
}

// sections reads an array of tables.
func (s *section) sections(name string) []*section {
	value, ok := s.take(name)
	if !ok {
		return nil
	}
	list, ok := value.([]any)
	if !ok {
		s.refuse(name, "%s is not an array of tables", show(value))
		return nil
	}
	subs := make([]*section, 0, len(list))
	for i, v := range list {
		item := name + "[" + strconv.Itoa(i) + "]"
		keys, ok := v.(map[string]any)
		if !ok {
			s.refuse(item, "%s is not a table", show(v))
			return nil
		}
		subs = append(subs, &section{path: s.path + item + ".", keys: keys, fail: s.fail})
	}
	return subs
}

// show renders a value for an error, cut to a readable length.
func show(value any) string {
	text := fmt.Sprint(value)
	if t, ok := value.(string); ok {
		text = strconv.Quote(t)
	}
	return cut(text, 60)
}

// cut shortens a text that a file's author may have made long.
func cut(text string, length int) string {
	if len(text) > length {
		return text[:length] + "..."
	}
	return text
}
