package emissions

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"strconv"
	"testing"

	"github.com/ionet-settlement/ionet"
)

// testdata/second.mjs was written from FORMAT.md alone, by somebody who had not
// seen this package: where the two agree, the document says enough.

// These are the requests and answers of second.mjs; integers are strings.
type (
	secondSchedule struct {
		Genesis       string   `json:"genesis"`
		Cap           string   `json:"cap"`
		Epochs        string   `json:"epochs"`
		FirstYearRate string   `json:"first_year_rate"`
		StepsPerYear  string   `json:"steps_per_year"`
		Decay         string   `json:"decay"`
		EpochsPerStep string   `json:"epochs_per_step"`
		At            []string `json:"at,omitempty"`
	}
	secondWeight struct {
		UUID   string `json:"uuid"`
		Weight string `json:"weight"`
	}
	secondSplit struct {
		Total   string         `json:"total"`
		Weights []secondWeight `json:"weights"`
	}
	secondAllocation struct {
		Reading string `json:"reading"`
		Genesis string `json:"genesis"`
		Cap     string `json:"cap"`
	}
	secondUnlock struct {
		Text   string   `json:"text"`
		Amount string   `json:"amount"`
		Epochs []string `json:"epochs"`
	}
	secondPools struct {
		Total       string   `json:"total"`
		BasisPoints []string `json:"basis_points"`
	}
	secondDraw struct {
		Share    string   `json:"share"`
		Weights  []string `json:"weights"`
		MicroUSD string   `json:"micro_usd"`
		Price    string   `json:"price,omitempty"`
		Samples  string   `json:"samples"`
		Decimals string   `json:"decimals"`
	}
	secondRequest struct {
		Schedules   []secondSchedule   `json:"schedules,omitempty"`
		Allocations []secondAllocation `json:"allocations,omitempty"`
		Unlocks     []secondUnlock     `json:"unlocks,omitempty"`
		Pools       []secondPools      `json:"pools,omitempty"`
		Draws       []secondDraw       `json:"draws,omitempty"`
		Splits      []secondSplit      `json:"splits,omitempty"`
	}
	secondAnswer struct {
		Schedules []struct {
			Hash       string
			Sum        string
			Cumulative map[string]string
			Refused    string
		}
		Allocations []json.RawMessage
		Unlocks     []json.RawMessage
		Pools       []json.RawMessage
		Draws       []string
		Splits      []json.RawMessage
	}
)

func askSecond(t *testing.T, request secondRequest) secondAnswer {
	t.Helper()
	in, err := json.Marshal(request)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "node", "testdata/second.mjs")
	var stderr bytes.Buffer
	cmd.Stdin, cmd.Stderr = bytes.NewReader(in), &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("run second.mjs: %v\n%s", err, stderr.Bytes())
	}
	var answer secondAnswer
	if err := json.Unmarshal(out, &answer); err != nil {
		t.Fatalf("read what second.mjs says: %v", err)
	}
	return answer
}

func number(n uint64) string { return strconv.FormatUint(n, 10) }

func scheduleRequest(p Params, at ...uint64) secondSchedule {
	s := secondSchedule{
		Genesis: p.Genesis.String(), Cap: p.Cap.String(), Epochs: number(p.Epochs), FirstYearRate: p.FirstYearRate,
		StepsPerYear: number(p.StepsPerYear), Decay: p.Decay, EpochsPerStep: number(p.EpochsPerStep),
	}
	for _, k := range at {
		s.At = append(s.At, number(k))
	}
	return s
}

// secondParams are schedules of every kind: the two profiles for several scales
// of a token, and random ones with steps of several epochs.
func secondParams(t *testing.T, r *rand.Rand) []Params {
	t.Helper()
	var all []Params
	for _, decimals := range []int{0, 3, 8} {
		for _, name := range []string{ProfileHourly, ProfileMonthly} {
			p, err := Profile(name, decimals)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, p)
		}
	}
	for len(all) < 40 {
		per := []uint64{1, 2, 7, 24, 730}[r.IntN(5)]
		p := Params{
			Genesis: ionet.MustAmount(1 + r.Uint64N(1<<uint(r.IntN(60)+1))), Cap: ionet.MustAmount(1<<63 - 1), Epochs: per * (1 + r.Uint64N(40)),
			FirstYearRate: fmt.Sprintf("%d.%0*d", r.IntN(3), 1+r.IntN(9), r.IntN(10)), StepsPerYear: 1 + r.Uint64N(9000),
			Decay: fmt.Sprintf("0.%0*d", 1+r.IntN(18), 1+r.IntN(9)), EpochsPerStep: per,
		}
		reach, err := p.Reach()
		if err != nil {
			continue
		}
		// At the reach, or somewhere below it, where the clamp ends it early.
		p.Cap = ionet.MustAmount(p.Genesis.Base() + r.Uint64N(reach.Base()-p.Genesis.Base()+1))
		if r.IntN(3) == 0 {
			p.Cap = reach
		}
		all = append(all, p)
	}
	return all
}

func TestSecondImplementationOfSchedules(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	all := secondParams(t, r)
	request := secondRequest{}
	var at [][]uint64
	for _, p := range all {
		epochs := []uint64{0, 1, p.Epochs}
		for range 20 {
			epochs = append(epochs, r.Uint64N(p.Epochs+1))
		}
		at = append(at, epochs)
		request.Schedules = append(request.Schedules, scheduleRequest(p, epochs...))
	}
	refused := len(all)
	tooHigh, wrong := all[0], all[0]
	tooHigh.Cap = ionet.MustAmount(tooHigh.Cap.Base() + 1)
	wrong.Decay = ".5"
	odd := all[1]
	odd.EpochsPerStep = 7 * 731
	for _, p := range []Params{tooHigh, wrong, odd} {
		request.Schedules = append(request.Schedules, scheduleRequest(p))
	}
	answer := askSecond(t, request)
	if len(answer.Schedules) != len(request.Schedules) {
		t.Fatalf("got %d schedules, want %d", len(answer.Schedules), len(request.Schedules))
	}
	for i, p := range all {
		s, err := New(p)
		if err != nil {
			t.Fatal(err)
		}
		got := answer.Schedules[i]
		if got.Hash != s.Hash().String() || got.Sum != number(s.limit) {
			t.Errorf("%+v: the other's hash is %s, sum %s %s; ours %s, %d", p, got.Hash, got.Sum, got.Refused, s.Hash(), s.limit)
		}
		for _, k := range at[i] {
			if want := number(s.floor(k)); got.Cumulative[number(k)] != want {
				t.Errorf("%+v, epoch %d: the other has %s, we %s", p, k, got.Cumulative[number(k)], want)
			}
		}
	}
	for i, got := range answer.Schedules[refused:] {
		if got.Refused == "" {
			t.Errorf("the other takes %+v", request.Schedules[refused+i])
		}
	}
}

// randomSplit has what makes splits hard: equal weights, zeros, ties that only
// the UUID decides, sums near 2^64.
func randomSplit(r *rand.Rand) (ionet.Amount, []Weight) {
	weights := make([]Weight, r.IntN(40))
	kinds := 1 + r.IntN(5)
	most := uint64(1) << uint(1+r.IntN(56))
	values := make([]uint64, kinds)
	for i := range values {
		values[i] = r.Uint64N(most)
	}
	for i := range weights {
		weights[i].Weight = values[r.IntN(kinds)]
		if r.IntN(10) == 0 {
			weights[i].Weight = 0
		}
		for j := range weights[i].UUID {
			weights[i].UUID[j] = byte(r.Uint32())
		}
		if r.IntN(2) == 0 { // far to the right, so that the last bytes count
			clear(weights[i].UUID[:12])
		}
	}
	return ionet.MustAmount(r.Uint64N(1 << uint(1+r.IntN(63)))), weights
}

func TestSecondImplementationOfSplits(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(3, 4))
	request, want := secondRequest{}, [][]string{}
	for range 1000 {
		total, weights := randomSplit(r)
		amounts, err := Split(total, weights)
		if err != nil {
			t.Fatal(err)
		}
		split, texts := secondSplit{Total: total.String(), Weights: []secondWeight{}}, make([]string, len(amounts))
		for i, w := range weights {
			split.Weights = append(split.Weights, secondWeight{hex.EncodeToString(w.UUID[:]), number(w.Weight)})
			texts[i] = amounts[i].String()
		}
		request.Splits = append(request.Splits, split)
		want = append(want, texts)
	}
	request.Splits = append(request.Splits, secondSplit{Total: "1", Weights: []secondWeight{
		{"00000000000000000000000000000001", "18446744073709551615"}, {"00000000000000000000000000000002", "1"},
	}})
	answer := askSecond(t, request)
	if len(answer.Splits) != 1001 {
		t.Fatalf("got %d splits, want 1001", len(answer.Splits))
	}
	for i := range want {
		checkTexts(t, fmt.Sprintf("%+v", request.Splits[i]), answer.Splits[i], want[i])
	}
	checkRefused(t, "weights of 2^64", answer.Splits[1000])
}

// checkTexts compares a list of numbers with what the other says.
func checkTexts(t *testing.T, what string, got json.RawMessage, want []string) {
	t.Helper()
	var list []string
	if err := json.Unmarshal(got, &list); err != nil {
		t.Errorf("%s: the other says %s (%v), we %v", what, got, err, want)
		return
	}
	if fmt.Sprint(list) != fmt.Sprint(want) {
		t.Errorf("%s:\nthe other has %v\nwe have       %v", what, list, want)
	}
}

func checkRefused(t *testing.T, what string, got json.RawMessage) {
	t.Helper()
	var answer struct{ Refused string }
	if err := json.Unmarshal(got, &answer); err != nil || answer.Refused == "" {
		t.Errorf("%s: the other says %s, want a refusal", what, got)
	}
}

func TestSecondImplementationOfGenesisAndPools(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(5, 6))
	var request secondRequest
	var checks []func(t *testing.T, a secondAnswer)
	for i := range 200 {
		checks = append(checks, addAllocation(t, r, &request, i), addUnlock(t, r, &request, i), addPools(t, r, &request, i), addDraw(t, r, &request, i))
	}
	bad := []string{"cliff:0", "cliff:01", "tranches:0..3", "tranches:4..3", "linear:3..3", "linear:0..1437", "immediate:1", "weekly:1..2", ""}
	for _, text := range bad {
		request.Unlocks = append(request.Unlocks, secondUnlock{Text: text, Amount: "1", Epochs: []string{"1"}})
	}
	request.Pools = append(request.Pools, secondPools{"5", []string{"5000", "5001"}}, secondPools{"5", []string{"1"}})
	answer := askSecond(t, request)
	if len(answer.Allocations) != 200 || len(answer.Unlocks) != 200+len(bad) || len(answer.Pools) != 202 || len(answer.Draws) != 200 {
		t.Fatalf("got %d allocations, %d unlocks, %d pools, %d draws", len(answer.Allocations), len(answer.Unlocks), len(answer.Pools), len(answer.Draws))
	}
	for _, check := range checks {
		check(t, answer)
	}
	for i, text := range bad {
		checkRefused(t, text, answer.Unlocks[200+i])
	}
	checkRefused(t, "basis points", answer.Pools[200])
	checkRefused(t, "basis points", answer.Pools[201])
}

func addAllocation(t *testing.T, r *rand.Rand, request *secondRequest, i int) func(*testing.T, secondAnswer) {
	limit := ionet.MustAmount(r.Uint64N(1<<63 - 1))
	genesis := ionet.MustAmount(r.Uint64N(limit.Base() + 1))
	reading := []string{OfCap, OfGenesis}[r.IntN(2)]
	request.Allocations = append(request.Allocations, secondAllocation{reading, genesis.String(), limit.String()})
	shares, refusal := Allocate(reading, genesis, limit)
	return func(t *testing.T, a secondAnswer) {
		what := fmt.Sprintf("%+v", request.Allocations[i])
		if refusal != nil {
			checkRefused(t, what, a.Allocations[i])
			return
		}
		var got []struct{ Category, Amount string }
		if err := json.Unmarshal(a.Allocations[i], &got); err != nil || len(got) != len(shares) {
			t.Errorf("%s: the other says %s (%v)", what, a.Allocations[i], err)
			return
		}
		for j, s := range shares {
			if got[j].Category != s.Category || got[j].Amount != s.Amount.String() {
				t.Errorf("%s: the other has %v, we %s %s", what, got[j], s.Category, s.Amount)
			}
		}
	}
}

func addUnlock(t *testing.T, r *rand.Rand, request *secondRequest, i int) func(*testing.T, secondAnswer) {
	t.Helper()
	from := 1 + r.IntN(50)
	text := []string{
		"immediate", fmt.Sprintf("cliff:%d", from), fmt.Sprintf("tranches:%d..%d", from, from+r.IntN(40)), fmt.Sprintf("linear:%d..%d", from-1, from+r.IntN(40)),
	}[r.IntN(4)]
	u, err := ParseUnlock(text)
	if err != nil {
		t.Fatal(err)
	}
	amount := ionet.MustAmount(r.Uint64N(1 << uint(1+r.IntN(62))))
	ask := secondUnlock{Text: text, Amount: amount.String()}
	var want []string
	for range 20 {
		k := r.Uint64N(100 * EpochsPerMonth)
		if r.IntN(2) == 0 {
			k = k/EpochsPerMonth*EpochsPerMonth - min(k/EpochsPerMonth, uint64(r.IntN(2)))
		}
		ask.Epochs, want = append(ask.Epochs, number(k)), append(want, u.By(amount, k).String())
	}
	request.Unlocks = append(request.Unlocks, ask)
	return func(t *testing.T, a secondAnswer) { checkTexts(t, fmt.Sprintf("%+v", ask), a.Unlocks[i], want) }
}

func addPools(t *testing.T, r *rand.Rand, request *secondRequest, i int) func(*testing.T, secondAnswer) {
	t.Helper()
	total, left := ionet.MustAmount(r.Uint64N(1<<uint(1+r.IntN(62)))), uint32(wholePool)
	ask := secondPools{Total: total.String()}
	var pools []Pool
	for left > 0 {
		points := min(left, uint32(r.IntN(6000)))
		pools, left = append(pools, Pool{BasisPoints: points}), left-points
		ask.BasisPoints = append(ask.BasisPoints, number(uint64(points)))
	}
	shares, err := PoolShares(total, pools)
	if err != nil {
		t.Fatal(err)
	}
	want := make([]string, len(shares))
	for j, s := range shares {
		want[j] = s.String()
	}
	request.Pools = append(request.Pools, ask)
	return func(t *testing.T, a secondAnswer) { checkTexts(t, fmt.Sprintf("%+v", ask), a.Pools[i], want) }
}

func addDraw(t *testing.T, r *rand.Rand, request *secondRequest, i int) func(*testing.T, secondAnswer) {
	t.Helper()
	target := Target{MicroUSD: 1 + r.Uint64N(1_000_000)}
	o := Observation{MicroUSD: 1 + r.Uint64N(1_000_000_000), Samples: uint16(1 + r.IntN(100)), Decimals: r.IntN(9)}
	ask := secondDraw{MicroUSD: number(target.MicroUSD), Price: number(o.MicroUSD), Samples: number(uint64(o.Samples)), Decimals: number(uint64(o.Decimals)), Weights: []string{}}
	var weights []Weight
	for range r.IntN(5) {
		w := r.Uint64N(1_000_000)
		weights, ask.Weights = append(weights, Weight{Weight: w}), append(ask.Weights, number(w))
	}
	need, err := target.Need(weights, o)
	if err != nil {
		t.Fatal(err)
	}
	share := ionet.MustAmount(r.Uint64N(2*need.Base() + 2))
	want := share
	if need.Cmp(share) < 0 {
		want = need
	}
	if r.IntN(10) == 0 {
		ask.Price, want = "", ionet.Amount{}
	}
	ask.Share = share.String()
	request.Draws = append(request.Draws, ask)
	return func(t *testing.T, a secondAnswer) {
		if a.Draws[i] != want.String() {
			t.Errorf("%+v: the other has %s, we %s", ask, a.Draws[i], want)
		}
	}
}
