package localnet

import (
	"math"

	"github.com/gagliardetto/solana-go"
	"github.com/klauspost/compress/zstd"
	"github.com/mr-tron/base58"
)

// shownAccount is an account as the RPC shows it. Data is a string (the binary
// encoding of old), a pair of text and encoding, or a parsed object.
type shownAccount struct {
	Lamports   uint64           `json:"lamports"`
	Data       any              `json:"data"`
	Owner      solana.PublicKey `json:"owner"`
	Executable bool             `json:"executable"`
	RentEpoch  uint64           `json:"rentEpoch"`
	Space      int              `json:"space"`
}

// maxBase58 is how much account data a validator turns into base58, which is slow.
const maxBase58 = 128

// show encodes an account; nil is null. jsonParsed falls back to base64 for what has
// no parser, as a validator does.
func (b *bank) show(key solana.PublicKey, a *Account, slot uint64, c accountConfig) (any, error) {
	if a == nil {
		return nil, nil
	}
	s := shownAccount{a.Lamports, nil, a.Owner, a.Executable, math.MaxUint64, len(a.Data)}
	data := c.DataSlice.cut(a.Data)
	switch c.Encoding {
	case "", "binary", "base58":
		if len(data) > maxBase58 {
			return nil, rpcErrorf(codeRequest, "Encoded binary (base 58) data should be less than 128 bytes, please use Base64 encoding.")
		}
		s.Data = base58.Encode(data)
		if c.Encoding == "base58" {
			s.Data = [2]string{base58.Encode(data), "base58"}
		}
	case "base64":
		s.Data = [2]string{encodeBase64(data), "base64"}
	case "base64+zstd":
		s.Data = [2]string{encodeBase64(compress(data)), "base64+zstd"}
	case "jsonParsed":
		if parsed := b.parseAccount(key, a, slot); parsed != nil {
			s.Data = parsed
		} else {
			s.Data = [2]string{encodeBase64(data), "base64"}
		}
	default:
		return nil, invalid("unknown encoding %q, expected base58, base64, base64+zstd or jsonParsed", c.Encoding)
	}
	return s, nil
}

func (d *dataSlice) cut(data []byte) []byte {
	if d == nil {
		return data
	}
	if d.Offset < 0 || d.Length < 0 || d.Offset >= len(data) {
		return nil
	}
	return data[d.Offset : d.Offset+min(d.Length, len(data)-d.Offset)]
}

func compress(data []byte) []byte {
	e, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1))
	if err != nil { // only for options that contradict each other
		panic(err)
	}
	defer e.Close()
	return e.EncodeAll(data, nil)
}
