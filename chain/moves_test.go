package chain

import (
	"encoding/binary"
	"math/big"
	"testing"

	"github.com/ionet-settlement/ionet"
)

func movesKey(n byte) ionet.Key { return ionet.Key{31: n} }

// tokenInstruction is one of the token program.
func tokenInstruction(tag byte, amount uint64, accounts ...byte) Instruction {
	in := Instruction{Program: tokenProgram, Data: binary.LittleEndian.AppendUint64([]byte{tag}, amount)}
	for _, a := range accounts {
		in.Accounts = append(in.Accounts, Account{Key: movesKey(a)})
	}
	return in
}

func batchOf(parts ...Instruction) Instruction {
	b := Instruction{Program: tokenProgram, Data: []byte{tokenBatch}}
	for _, p := range parts {
		b.Data = append(append(b.Data, byte(len(p.Accounts)), byte(len(p.Data))), p.Data...)
		b.Accounts = append(b.Accounts, p.Accounts...)
	}
	return b
}

func TestMoves(t *testing.T) {
	const source, vault, mint, owner = 1, 2, 3, 4
	cut := func(in Instruction, data, accounts int) Instruction {
		in.Data, in.Accounts = in.Data[:len(in.Data)-data], in.Accounts[:len(in.Accounts)-accounts]
		return in
	}
	foreign := tokenInstruction(tokenTransfer, 5, source, vault, owner)
	foreign.Program = memoProgram
	token2022 := tokenInstruction(tokenTransfer, 5, source, vault, owner)
	token2022.Program = token2022Program
	checked := tokenInstruction(tokenTransferChecked, 7, source, mint, vault, owner)
	checked.Data = append(checked.Data, 8)
	for _, c := range []struct {
		name  string
		outer []Instruction
		inner map[int][]Instruction
		want  []uint64 // credited to the vault, by the places below
		at    []Place
	}{
		{"transfer", []Instruction{tokenInstruction(tokenTransfer, 5, source, vault, owner)}, nil, []uint64{5}, []Place{{}}},
		{"transfer checked", []Instruction{checked}, nil, []uint64{7}, []Place{{}}},
		{"mint", []Instruction{tokenInstruction(tokenMintTo, 9, mint, vault, owner)}, nil, []uint64{9}, []Place{{}}},
		{"the second instruction", []Instruction{foreign, tokenInstruction(tokenTransfer, 5, source, vault, owner)}, nil, []uint64{5}, []Place{{Outer: 1}}},
		{"a batch", []Instruction{batchOf(checked, tokenInstruction(tokenTransfer, 5, source, vault, owner))}, nil, []uint64{7, 5}, []Place{{}, {Sub: 1}}},
		{"a called transfer", []Instruction{foreign}, map[int][]Instruction{0: {foreign, checked}}, []uint64{7}, []Place{{Inner: 2}}},
		{"a called batch", []Instruction{foreign}, map[int][]Instruction{0: {batchOf(checked, checked)}}, []uint64{7, 7}, []Place{{Inner: 1}, {Inner: 1, Sub: 1}}},
		{"another program", []Instruction{foreign}, nil, nil, nil},
		{"Token-2022", []Instruction{token2022}, nil, nil, nil},
		{"nothing", []Instruction{tokenInstruction(tokenTransfer, 0, source, vault, owner)}, nil, nil, nil},
		{"to itself", []Instruction{tokenInstruction(tokenTransfer, 5, vault, vault, owner)}, nil, nil, nil},
		{"an account too few", []Instruction{cut(checked, 0, 1)}, nil, nil, nil},
		{"a byte too few", []Instruction{cut(tokenInstruction(tokenTransfer, 5, source, vault, owner), 1, 0)}, nil, nil, nil},
		{"another instruction", []Instruction{tokenInstruction(4, 5, source, vault, owner)}, nil, nil, nil},
		{"a batch that is cut", []Instruction{cut(batchOf(checked, checked), 1, 0)}, nil, []uint64{7}, []Place{{}}},
		{"an empty batch", []Instruction{batchOf()}, nil, nil, nil},
	} {
		sum := new(big.Int)
		for _, w := range c.want {
			sum.Add(sum, new(big.Int).SetUint64(w))
		}
		got, said, agree := CreditsTo(movesKey(vault), Moves(c.outer, c.inner), sum)
		if len(got) != len(c.want) || !agree {
			t.Errorf("%s: %d credits of %s, want %d", c.name, len(got), said, len(c.want))
			continue
		}
		for i, m := range got {
			if m.Amount != c.want[i] || m.Place != c.at[i] {
				t.Errorf("%s: credit %d is %d at %+v, want %d at %+v", c.name, i, m.Amount, m.Place, c.want[i], c.at[i])
			}
		}
		if _, _, agree := CreditsTo(movesKey(vault), Moves(c.outer, c.inner), sum.Add(sum, big.NewInt(1))); agree {
			t.Errorf("%s: another change of the balance agrees", c.name)
		}
	}
	out := []Instruction{tokenInstruction(tokenTransfer, 5, vault, source, owner), checked}
	if _, said, agree := CreditsTo(movesKey(vault), Moves(out, nil), big.NewInt(2)); agree || said.Int64() != 2 {
		t.Errorf("5 out and 7 in are %s, agree %t; want 2 that nobody is credited with", said, agree)
	}
	out[0] = tokenInstruction(tokenTransfer, 0, vault, source, owner)
	if got, _, agree := CreditsTo(movesKey(vault), Moves(out, nil), big.NewInt(7)); !agree || len(got) != 1 {
		t.Errorf("nothing out and 7 in: %d credits, agree %t", len(got), agree)
	}
}

func TestReferences(t *testing.T) {
	is := func(k ionet.Key) bool { return k[31] >= 100 }
	with := func(references ...byte) Move {
		in := tokenInstruction(tokenTransfer, 5, append([]byte{1, 2, 4}, references...)...)
		return Moves([]Instruction{in}, nil)[0]
	}
	keys := []ionet.Key{movesKey(1), movesKey(2), movesKey(4), movesKey(100), movesKey(101)}
	for _, c := range []struct {
		name string
		list []Move
		keys []ionet.Key
		want []int
	}{
		{"its own", []Move{with(100)}, keys, []int{1}},
		{"twice", []Move{with(100, 100)}, keys, []int{1}},
		{"two", []Move{with(100, 101)}, keys, []int{2}},
		{"one of its own and a signer", []Move{with(50, 100)}, keys, []int{1}},
		{"only the other's", []Move{with(100), with()}, keys, []int{1, 0}},
		{"of the transaction", []Move{with(), with()}, keys[:4], []int{1, 1}},
		{"two of the transaction", []Move{with()}, keys, []int{2}},
		{"none", []Move{with()}, keys[:3], []int{0}},
	} {
		got := References(c.list, c.keys, is)
		for i, want := range c.want {
			if len(got[i]) != want {
				t.Errorf("%s: credit %d names %v, want %d", c.name, i, got[i], want)
			}
		}
	}
}

// Whatever the data of an instruction is, reading it ends, takes no account that the
// instruction does not have, and parts of a batch stay within it.
func FuzzMoves(f *testing.F) {
	f.Add([]byte{3, 5, 0, 0, 0, 0, 0, 0, 0}, 3)
	f.Add(batchOf(tokenInstruction(tokenTransfer, 5, 1, 2, 4), tokenInstruction(tokenTransferChecked, 5, 1, 3, 2, 4)).Data, 7)
	f.Add([]byte{255, 0, 0, 0, 0}, 0)
	f.Add([]byte{255, 255, 255}, 64)
	f.Fuzz(func(t *testing.T, data []byte, accounts int) {
		in := Instruction{Program: tokenProgram, Data: data}
		for i := range max(0, min(accounts, 300)) {
			in.Accounts = append(in.Accounts, Account{Key: ionet.Key{byte(i), byte(i >> 8), 1}})
		}
		used, size := 0, 0
		if len(data) > 0 && data[0] == tokenBatch {
			for _, p := range Unbatch(in) {
				used, size = used+len(p.Accounts), size+2+len(p.Data)
			}
			if used > len(in.Accounts) || size > len(data) {
				t.Fatalf("parts have %d of %d accounts and %d of %d bytes", used, len(in.Accounts), size, len(data))
			}
		}
		has := map[ionet.Key]bool{{}: true}
		for _, a := range in.Accounts {
			has[a.Key] = true
		}
		for _, m := range Moves([]Instruction{in}, map[int][]Instruction{0: {in}}) {
			for _, k := range append([]ionet.Key{m.Source, m.Destination, m.Mint}, m.Extra...) {
				if !has[k] {
					t.Fatalf("move %+v names an account that the instruction does not have", m)
				}
			}
		}
	})
}
