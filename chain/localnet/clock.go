package localnet

import "encoding/binary"

// slotsPerEpoch is the length of a Solana epoch, without warm-up: epoch 0 begins in
// slot 0. The leader schedule is made one epoch ahead.
const slotsPerEpoch = 432_000

// clock is the Clock sysvar.
type clock struct {
	slot       uint64
	epochStart int64 // seconds
	epoch      uint64
	schedule   uint64
	now        int64 // seconds
}

// bytes is the sysvar's account data, which is also what the virtual machine takes.
func (c clock) bytes() []byte {
	b := make([]byte, 0, 40)
	b = binary.LittleEndian.AppendUint64(b, c.slot)
	b = binary.LittleEndian.AppendUint64(b, uint64(c.epochStart))
	b = binary.LittleEndian.AppendUint64(b, c.epoch)
	b = binary.LittleEndian.AppendUint64(b, c.schedule)
	return binary.LittleEndian.AppendUint64(b, uint64(c.now))
}
