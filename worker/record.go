package worker

import (
	"encoding/binary"
	"fmt"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/proofs"
)

// A spool file is a header and records of package framed:
//
//	header = "io-spool/1\n" ‖ network id [32] ‖ worker key [32]
//
// The tags of its records:
//
//	'S' envelope                                a statement; sent only once this is synced
//	'A' envelope                                the service's ack of a statement
//	'R' body of an uptime statement             a reading: its stamp in place of beacon and previous
//	'X' statement id [32] ‖ problem type        the service refused it for good
//	'G' epoch u64 ‖ sample u16                  the reading is given up: it got no beacon
//	'E' epoch u64                               sealed: uptime statements up to it are gone
//	'N' epoch u64 ‖ sample u16                  the key signed up to there, unknown to this spool;
//	                                            0, 0: nothing
//	'B' epoch u64 ‖ sample u16                  time goes back to there: readings of later samples
//	                                            were of a wrong clock
//	'C' id [32] ‖ 2 x (epoch u64 ‖ sample u16)  the last statement, the last sample read and the last
//	                                            one signed, when the records that said so are gone
const (
	tagStatement = 'S'
	tagAck       = 'A'
	tagReading   = 'R'
	tagRefused   = 'X'
	tagGivenUp   = 'G'
	tagSealed    = 'E'
	tagNewLife   = 'N'
	tagBack      = 'B'
	tagChain     = 'C'
)

const (
	spoolMagic  = "io-spool/1\n"
	spoolHeader = len(spoolMagic) + 32 + 32
)

// momentSize is the length of an encoded moment.
const momentSize = 8 + 2

func (m moment) encode() []byte {
	b := binary.LittleEndian.AppendUint64(nil, m.epoch)
	return binary.LittleEndian.AppendUint16(b, m.sample)
}

func momentOf(b []byte) moment {
	return moment{binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint16(b[8:])}
}

// apply changes the state as the record says.
func (s *state) apply(payload []byte) error {
	tag, b := payload[0], payload[1:]
	switch {
	case tag == tagStatement:
		e, err := oneEnvelope(b)
		if err != nil {
			return err
		}
		return s.addStatement(e)
	case tag == tagAck:
		e, err := oneEnvelope(b)
		if err != nil {
			return err
		}
		return s.addAck(e)
	case tag == tagReading:
		u, err := proofs.ParseUptime(b)
		if err != nil {
			return err
		}
		s.addReading(u)
	case tag == tagRefused && len(b) > 32:
		s.refuse(ionet.Hash(b[:32]), string(b[32:]))
	case tag == tagGivenUp && len(b) == momentSize:
		s.dropReading(momentOf(b))
	case tag == tagSealed && len(b) == 8:
		s.seal(binary.LittleEndian.Uint64(b))
	case tag == tagNewLife && len(b) == momentSize:
		s.newLife(momentOf(b))
	case tag == tagBack && len(b) == momentSize:
		s.goBack(momentOf(b))
	case tag == tagChain && len(b) == 32+2*momentSize:
		s.last, s.read, s.signed = ionet.Hash(b[:32]), momentOf(b[32:]), momentOf(b[32+momentSize:])
	default:
		return fmt.Errorf("record %q of %d bytes is unknown", tag, len(b))
	}
	return nil
}

func oneEnvelope(b []byte) (proofs.Envelope, error) {
	e, rest, err := proofs.ParseEnvelope(b)
	if err == nil && len(rest) != 0 {
		err = fmt.Errorf("%d bytes follow an envelope", len(rest))
	}
	return e, err
}
