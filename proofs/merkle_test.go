package proofs

import (
	"fmt"
	"testing"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/ionet-settlement/ionet"
)

func someRecords(n int) [][]byte {
	records := make([][]byte, n)
	for i := range records {
		records[i] = fmt.Append(nil, "record ", i)
	}
	return records
}

// The root is that of x/mod's log, for every size up to a few levels.
func TestRootAgainstLog(t *testing.T) {
	if got, want := Root(nil).String(), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"; got != want {
		t.Errorf("root of nothing: got %s, want %s", got, want)
	}
	records := someRecords(300)
	for n := 1; n <= len(records); n++ {
		want, err := tlog.TreeHash(int64(n), treeOf(records[:n]))
		if err != nil {
			t.Fatal(err)
		}
		if got := Root(records[:n]); got != ionet.Hash(want) {
			t.Fatalf("root of %d: got %s, want %s", n, got, ionet.Hash(want))
		}
	}
}

// Every record has a proof, and the proof holds for nothing else.
func TestInclusion(t *testing.T) {
	for _, n := range []int{1, 2, 3, 7, 8, 33} {
		records := someRecords(n)
		root := Root(records)
		for i := range n {
			proof, err := Prove(records, i)
			if err != nil {
				t.Fatal(err)
			}
			if err := CheckProof(proof, root, n, i, records[i]); err != nil {
				t.Errorf("%d of %d: %v", i, n, err)
			}
			if err := CheckProof(proof, root, n, i, []byte("another")); err == nil {
				t.Errorf("%d of %d: another record passes", i, n)
			}
			if err := CheckProof(proof, root, n, (i+1)%n, records[i]); err == nil && n > 1 {
				t.Errorf("%d of %d: another place passes", i, n)
			}
			for j := range proof {
				proof[j][j%32] ^= 1
				if err := CheckProof(proof, root, n, i, records[i]); err == nil {
					t.Errorf("%d of %d: a changed hash %d passes", i, n, j)
				}
				proof[j][j%32] ^= 1
			}
		}
	}
	if _, err := Prove(someRecords(2), 2); err == nil {
		t.Error("proved a record that is not there")
	}
	if err := CheckProof(nil, ionet.Hash{}, 0, 0, nil); err == nil {
		t.Error("a proof in an empty tree passes")
	}
}
