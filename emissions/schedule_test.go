package emissions

import (
	"encoding/json"
	"os"
	"strconv"
	"testing"

	"github.com/ionet-settlement/ionet"
)

func hourly(t testing.TB, decimals int) *Schedule {
	t.Helper()
	p, err := Hourly(decimals)
	if err != nil {
		t.Fatal(err)
	}
	s, err := New(p)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func readVector(t *testing.T, name string, v any) {
	t.Helper()
	b, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, v); err != nil {
		t.Fatal(err)
	}
}

func TestHourlyVector(t *testing.T) {
	var v struct {
		Epochs     uint64
		Total      string
		Emission   map[string]ionet.Amount
		Cumulative map[string]ionet.Amount
	}
	readVector(t, "emission_hourly_5b.json", &v)
	s := hourly(t, 8)
	if s.Epochs() != v.Epochs {
		t.Errorf("epochs: got %d, want %d", s.Epochs(), v.Epochs)
	}
	compare := func(kind string, f func(uint64) (ionet.Amount, error), want map[string]ionet.Amount) {
		if len(want) == 0 {
			t.Errorf("vector has no %s", kind)
		}
		for name, w := range want {
			k, err := strconv.ParseUint(name, 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := f(k); err != nil || got != w {
				t.Errorf("%s %d: got %s, %v, want %s", kind, k, got, err, w)
			}
		}
	}
	compare("emission", s.Emission, v.Emission)
	compare("cumulative", s.Cumulative, v.Cumulative)
}
