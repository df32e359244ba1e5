package emissions

import (
	"fmt"

	"github.com/ionet-settlement/ionet"
)

// maxScheduleBytes bounds a schedule file.
const maxScheduleBytes = 1 << 16

// ParseSchedule parses a file with a schedule of one's own (FORMAT.md, section
// 1.3) and returns its parameters and the token's decimals. It is strict: a key
// that the format does not know, a missing key and a value outside its range are
// errors that name the key and what is allowed there.
func ParseSchedule(file []byte) (p Params, decimals int, err error) {
	if len(file) > maxScheduleBytes {
		return Params{}, 0, fmt.Errorf("schedule has %d bytes, more than %d", len(file), maxScheduleBytes)
	}
	s := readTOML(file, &err)
	s.need("decimals", "genesis", "cap", "epochs", "first_year_rate", "steps_per_year", "decay")
	decimals = int(s.integer("decimals", 0, ionet.MaxDecimals, 0))
	p = Params{
		Genesis:       s.positive("genesis"),
		Cap:           s.amount("cap"),
		Epochs:        s.integer("epochs", 1, MaxEpochs, 0),
		FirstYearRate: s.decimal("first_year_rate"),
		StepsPerYear:  s.integer("steps_per_year", 1, MaxEpochs, 0),
		Decay:         s.decimal("decay"),
		EpochsPerStep: s.integer("epochs_per_step", 1, MaxEpochs, 1),
	}
	s.end()
	if err == nil {
		_, err = p.exact()
	}
	if err != nil {
		return Params{}, 0, fmt.Errorf("schedule: %w", err)
	}
	return p, decimals, nil
}
