package ionet

import (
	"bytes"
	"fmt"
	"reflect"
	"strings"
	"testing"
)

func testNetwork() Network {
	key := func(n byte) Key { return Key{31: n} }
	return Network{
		Version: 1, Name: "test-net", Cluster: key(1), Mint: key(2), Decimals: 8, Start: 1_795_000_000, EpochSeconds: 3600, Samples: 60,
		Policy: Hash{1},
		Schedule: ScheduleInfo{
			Genesis: MustAmount(500), Cap: MustAmount(800), Epochs: 175_319, FirstYearRate: "0.08", StepsPerYear: 8760,
			Decay: "0.0000138869523959793", EpochsPerStep: 1, Hash: Hash{2},
		},
		Keys:        NetworkKeys{Operator: key(3), Fees: key(4), Service: key(5), Lane: key(6)},
		Vaults:      Vaults{Reward: key(7), Fee: key(8)},
		Authorities: Authorities{Mint: key(20), Reward: key(3), Fee: key(21)},
		Multisigs: []Multisig{
			{Address: key(20), M: 2, Members: []Key{key(22), key(23), key(24)}},
			{Address: key(21), M: 1, Members: []Key{key(3)}},
		},
		Allocation: []Allocation{
			{Category: "seed", Owner: key(9), Account: key(10), Amount: MustAmount(200), Unlock: "tranches:13..36"},
			{Category: "series_a", Owner: key(11), Account: key(12), Amount: MustAmount(300), Unlock: "immediate"},
		},
		Lanes: []Lane{{"epoch", key(13)}, {"seal", key(14)}, {"pay-0", key(15)}, {"pay-1", key(16)}, {"claim-0", key(17)}},
	}
}

func TestNetworkRoundTrip(t *testing.T) {
	want := testNetwork()
	file, err := EncodeNetwork(want)
	if err != nil {
		t.Fatal(err)
	}
	n, err := ParseNetwork(file)
	if err != nil {
		t.Fatal(err)
	}
	if n.ID() != HashOf(file) {
		t.Errorf("id: got %s, want the hash of the file", n.ID())
	}
	want.id = n.id
	if !reflect.DeepEqual(*n, want) {
		t.Errorf("got  %+v\nwant %+v", *n, want)
	}
	if lane, ok := n.Lane("pay-1"); !ok || lane != want.Lanes[3].Address {
		t.Errorf("lane pay-1: got %s, %v", lane, ok)
	}
	if name, ok := n.LaneName(want.Lanes[4].Address); !ok || name != "claim-0" {
		t.Errorf("lane of claim-0's address: got %q, %v", name, ok)
	}
	if got := n.LanesOf("pay"); len(got) != 2 || got[1].Name != "pay-1" {
		t.Errorf("pay lanes: got %v", got)
	}
	for source, want := range map[Key]Key{n.Mint: n.Multisigs[0].Address, n.Vaults.Reward: n.Keys.Operator, n.Vaults.Fee: n.Multisigs[1].Address, n.Allocation[1].Account: n.Allocation[1].Owner} {
		if got, ok := n.AuthorityOf(source); !ok || got != want {
			t.Errorf("authority of %s: got %s, %v, want %s", source, got, ok, want)
		}
	}
	if _, ok := n.AuthorityOf(n.Lanes[0].Address); ok {
		t.Error("a lane has an authority that the file names")
	}
	if s, ok := n.Multisig(n.Authorities.Mint); !ok || s.M != 2 {
		t.Errorf("multisig: got %+v, %v", s, ok)
	}
	if clock := n.Clock(); clock != (Clock{Start: 1_795_000_000, Length: 3600, Samples: 60}) {
		t.Errorf("clock: got %+v", clock)
	}
}

func TestNetworkRefuses(t *testing.T) {
	many := func(n *Network) {
		for i := range maxAccounts {
			n.Lanes = append(n.Lanes, Lane{fmt.Sprint("pay-", i+10), Key{30: byte(i + 1)}})
		}
	}
	for want, change := range map[string]func(*Network){
		"version is 2, not 1":                                func(n *Network) { n.Version = 2 },
		`name "Test" is not 1..32 of a-z 0-9 -`:              func(n *Network) { n.Name = "Test" },
		"decimals is 9, not in 0..8":                         func(n *Network) { n.Decimals = 9 },
		"cluster is missing":                                 func(n *Network) { n.Cluster = Key{} },
		"keys.service is missing":                            func(n *Network) { n.Keys.Service = Key{} },
		"vaults.fee is missing":                              func(n *Network) { n.Vaults.Fee = Key{} },
		"policy is missing":                                  func(n *Network) { n.Policy = Hash{} },
		"schedule.epochs is missing or 0":                    func(n *Network) { n.Schedule.Epochs = 0 },
		"schedule.steps_per_year is missing or 0":            func(n *Network) { n.Schedule.StepsPerYear = 0 },
		"schedule.epochs_per_step is missing or 0":           func(n *Network) { n.Schedule.EpochsPerStep = 0 },
		"schedule.hash is missing":                           func(n *Network) { n.Schedule.Hash = Hash{} },
		"epoch_seconds 3601":                                 func(n *Network) { n.EpochSeconds = 3601 },
		"are 112 accounts, more than 100":                    many,
		"authorities.fee is missing":                         func(n *Network) { n.Authorities.Fee = Key{} },
		"neither " + Key{31: 4}.String() + " nor a multisig": func(n *Network) { n.Authorities.Fee = n.Keys.Operator },
		"vaults.reward and vaults.fee are one":               func(n *Network) { n.Vaults.Fee = n.Vaults.Reward },
		"multisig 1 is 2 of the authorities":                 func(n *Network) { n.Allocation[0].Owner = n.Authorities.Fee },
		"multisig 0 is 0 of the authorities":                 func(n *Network) { n.Authorities.Mint = n.Keys.Operator },
		"multisig 0 is 2 of the authorities":                 func(n *Network) { n.Authorities.Reward = n.Authorities.Mint },
		"multisig 0: want an address, and m":                 func(n *Network) { n.Multisigs[0].M = 4 },
		"multisig 1: want an address, and m":                 func(n *Network) { n.Multisigs[1].Members = make([]Key, 12) },
		"multisig 1: m is 11, more than the 10 signers": func(n *Network) {
			n.Multisigs[1].M = 11
			n.Multisigs[1].Members = nil
			for i := range 11 {
				n.Multisigs[1].Members = append(n.Multisigs[1].Members, Key{0: byte(i + 1)})
			}
		},
		"authorities.reward: m is 5, more than the 4 signers": func(n *Network) {
			s := Multisig{Address: Key{31: 30}, M: 5}
			for i := range 5 {
				s.Members = append(s.Members, Key{0: byte(i + 1)})
			}
			n.Multisigs, n.Authorities.Reward = append(n.Multisigs, s), s.Address
		},
		"there twice, or not in ascending order":      func(n *Network) { n.Multisigs[0].Members[2] = n.Multisigs[0].Members[1] },
		"is zero, there twice":                        func(n *Network) { n.Multisigs[0].Members[0] = Key{} },
		"is keys.service or keys.lane":                func(n *Network) { n.Multisigs[1].Members[0] = n.Keys.Lane },
		`category "a b" is not 1..32 of a-z 0-9 _`:    func(n *Network) { n.Allocation[0].Category = "a b" },
		`category "x\x1b[2J" is not 1..32`:            func(n *Network) { n.Allocation[0].Category = "x\x1b[2J" },
		"allocation 1 lacks owner, account or unlock": func(n *Network) { n.Allocation[1].Unlock = "" },
		"allocation amounts sum to 501":               func(n *Network) { n.Allocation[1].Amount = MustAmount(301) },
		`lane 2: name "pay-01" is none of`:            func(n *Network) { n.Lanes[2].Name = "pay-01" },
		"lane 3 lacks an address, or repeats a name":  func(n *Network) { n.Lanes[3].Name = "pay-0" },
		"lane 4 lacks an address":                     func(n *Network) { n.Lanes[4].Address = n.Lanes[0].Address },
		"lane: want epoch and seal first":             func(n *Network) { n.Lanes[0], n.Lanes[1] = n.Lanes[1], n.Lanes[0] },
		"lane: want at least one pay- and one claim-": func(n *Network) { n.Lanes[4].Name = "pay-2" },
	} {
		n := testNetwork()
		change(&n)
		if _, err := EncodeNetwork(n); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

func TestParseNetworkRefusesFiles(t *testing.T) {
	good, err := EncodeNetwork(testNetwork())
	if err != nil {
		t.Fatal(err)
	}
	for want, file := range map[string][]byte{
		`unknown key "colour"`:            append([]byte("colour = 1\n"), good...),
		`unknown key "schedule.decimal"`:  bytes.Replace(good, []byte("[schedule]\n"), []byte("[schedule]\ndecimal = 1\n"), 1),
		"network file: toml":              []byte("version = 1 = 2"),
		"version is 0, not 1":             nil,
		"65537 bytes are more than 65536": bytes.Repeat([]byte("#"), maxNetworkFile+1),
	} {
		if _, err := ParseNetwork(file); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

func FuzzParseNetwork(f *testing.F) {
	good, err := EncodeNetwork(testNetwork())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte("[[lane]]\nname = 'epoch'"))
	f.Fuzz(func(t *testing.T, file []byte) {
		n, err := ParseNetwork(file)
		if err != nil {
			return
		}
		again, err := EncodeNetwork(*n)
		if err != nil {
			t.Fatalf("parsed, and can't be encoded: %v", err)
		}
		m, err := ParseNetwork(again)
		if err != nil {
			t.Fatal(err)
		}
		m.id = n.id
		if !reflect.DeepEqual(m, n) {
			t.Errorf("got  %+v\nwant %+v", m, n)
		}
	})
}
