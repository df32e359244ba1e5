// Package framed has the records that a worker's files are made of. A file is appended
// to, and what a crash left of its last record can be told from damage:
//
//	record = length u32 ‖ CRC-32C of payload u32 ‖ payload
//
// little-endian; the first byte of a payload is its tag, which the file's owner knows.
package framed

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
)

const (
	// Head is what a record has before its payload, in bytes.
	Head = 8
	// MaxPayload bounds a payload: it is above the largest envelope.
	MaxPayload = 1 << 17
)

// ErrTorn is a record that is not whole.
var ErrTorn = errors.New("record is not whole")

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Append appends a record with that tag and payload.
func Append(b []byte, tag byte, payload ...[]byte) []byte {
	at := len(b)
	b = append(b, 0, 0, 0, 0, 0, 0, 0, 0, tag)
	for _, p := range payload {
		b = append(b, p...)
	}
	body := b[at+Head:]
	binary.LittleEndian.PutUint32(b[at:], uint32(len(body)))
	binary.LittleEndian.PutUint32(b[at+4:], crc32.Checksum(body, castagnoli))
	return b
}

// Take takes the payload, its tag first, of the record at the front of b. The payload
// shares b's memory.
func Take(b []byte) (payload, rest []byte, err error) {
	n, ok := length(b)
	if !ok {
		return nil, nil, ErrTorn
	}
	payload, rest = b[Head:Head+n], b[Head+n:]
	if crc32.Checksum(payload, castagnoli) != binary.LittleEndian.Uint32(b[4:]) {
		return nil, nil, ErrTorn
	}
	return payload, rest, nil
}

// WholeAfter reports whether a whole record follows the torn one at the front of b:
// then this is damage in the middle of the file, not an interrupted write.
func WholeAfter(b []byte) bool {
	n, ok := length(b)
	if !ok {
		return false
	}
	_, _, err := Take(b[Head+n:])
	return err == nil
}

// WholeLater reports whether a whole record with that tag begins anywhere behind the front
// of b. Unlike WholeAfter it finds one where a length is what was damaged.
func WholeLater(b []byte, tag byte) bool {
	for len(b) > Head+1 {
		b = b[1:]
		if b[min(Head, len(b)-1)] != tag {
			continue
		}
		if payload, _, err := Take(b); err == nil && payload[0] == tag {
			return true
		}
	}
	return false
}

// length is that of the payload at the front of b, where b has as much.
func length(b []byte) (n int, ok bool) {
	if len(b) < Head {
		return 0, false
	}
	size := binary.LittleEndian.Uint32(b)
	if size == 0 || size > MaxPayload || int(size) > len(b)-Head {
		return 0, false
	}
	return int(size), true
}
