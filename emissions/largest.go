package emissions

import (
	"cmp"
	"encoding/binary"
	"math/bits"
	"slices"
)

// candidate is one weight's claim on a unit that rounding down left over. The
// smaller key is served first: the remainder's complement, then the UUID as two
// big-endian words. Keys lie in the candidate so that selection walks memory in
// a straight line.
type candidate struct {
	key   [3]uint64
	index int
}

// candidates lists the weights with a remainder; sum is above every remainder.
// Remainders are shifted to the top of their word, which keeps their order and
// lets the first digit already tell most of them apart.
func candidates(weights []Weight, remainders []uint64, sum uint64) []candidate {
	shift := bits.LeadingZeros64(sum)
	list := make([]candidate, 0, len(weights))
	for i, r := range remainders {
		if r == 0 {
			continue
		}
		id := &weights[i].UUID
		list = append(list, candidate{
			key:   [3]uint64{^(r << shift), binary.BigEndian.Uint64(id[:8]), binary.BigEndian.Uint64(id[8:])},
			index: i,
		})
	}
	return list
}

// selectFirst reorders list so that its first m are the m that are served first,
// in no order of their own. It is a radix selection: each round splits at 8 key
// bits on which the candidates differ and goes on in the one part that holds the
// m-th, so a key has at most 27 rounds however its bits were chosen. Nobody can
// make it slow by choosing UUIDs, as one can with a quickselect's pivots.
func selectFirst(list []candidate, m int, weights []Weight) {
	for 0 < m && m < len(list) {
		word, shift, differ := digit(list)
		if !differ {
			slices.SortFunc(list, func(a, b candidate) int {
				return cmp.Compare(weights[a.index].Weight, weights[b.index].Weight)
			})
			return
		}
		var counts [256]int
		for i := range list {
			counts[byte(list[i].key[word]>>shift)]++
		}
		from, pivot := 0, 0
		for from+counts[pivot] < m {
			from += counts[pivot]
			pivot++
		}
		partition(list, word, shift, byte(pivot))
		list, m = list[from:from+counts[pivot]], m-from
	}
}

// digit returns where the first 8 bits lie on which keys differ: a word and a
// shift within it. All bits of the word above them are equal in every key.
func digit(list []candidate) (word int, shift uint, differ bool) {
	first := list[0].key
	var d [3]uint64
	for i := range list {
		k := &list[i].key
		d[0] |= k[0] ^ first[0]
		d[1] |= k[1] ^ first[1]
		d[2] |= k[2] ^ first[2]
	}
	for word, bitsThatDiffer := range d {
		if n := bits.Len64(bitsThatDiffer); n > 0 {
			return word, uint(max(n-8, 0)), true
		}
	}
	return 0, 0, false
}

// partition moves candidates whose digit is below pivot to the front, those
// above it to the end.
func partition(list []candidate, word int, shift uint, pivot byte) {
	low, high := 0, len(list)
	for i := 0; i < high; {
		switch d := byte(list[i].key[word] >> shift); {
		case d < pivot:
			list[low], list[i] = list[i], list[low]
			low++
			i++
		case d > pivot:
			high--
			list[high], list[i] = list[i], list[high]
		default:
			i++
		}
	}
}
