package localnet

import (
	"bytes"
	"encoding/json"
	"sort"

	"github.com/gagliardetto/solana-go"
	"github.com/mr-tron/base58"
)

// accountConfig is how a caller wants accounts shown.
type accountConfig struct {
	contextConfig
	Encoding  string     `json:"encoding"`
	DataSlice *dataSlice `json:"dataSlice"`
}

type dataSlice struct {
	Offset int `json:"offset"`
	Length int `json:"length"`
}

func getAccountInfo(f *Front, p params) (any, error) {
	key, err := p.key(0)
	if err != nil {
		return nil, err
	}
	var c accountConfig
	if err := p.optional(1, &c); err != nil {
		return nil, err
	}
	return f.read(p, 1, func(v *view, slot uint64) (any, error) {
		shown, err := v.show(key, v.account(key, slot), slot, c)
		return v.context(slot, shown), err
	})
}

func getMultipleAccounts(f *Front, p params) (any, error) {
	var texts []string
	if err := p.into(0, &texts); err != nil {
		return nil, err
	}
	if len(texts) > 100 {
		return nil, rpcErrorf(codeParams, "Too many inputs provided; max 100")
	}
	c := accountConfig{Encoding: "base64"}
	if err := p.optional(1, &c); err != nil {
		return nil, err
	}
	return f.read(p, 1, func(v *view, slot uint64) (any, error) {
		list := make([]any, len(texts))
		for i, t := range texts {
			key, err := parseKey(t)
			if err != nil {
				return nil, err
			}
			if list[i], err = v.show(key, v.account(key, slot), slot, c); err != nil {
				return nil, err
			}
		}
		return v.context(slot, list), nil
	})
}

func getBalance(f *Front, p params) (any, error) {
	key, err := p.key(0)
	if err != nil {
		return nil, err
	}
	return f.read(p, 1, func(v *view, slot uint64) (any, error) {
		var lamports uint64
		if a := v.account(key, slot); a != nil {
			lamports = a.Lamports
		}
		return v.context(slot, lamports), nil
	})
}

// rentOverhead is what the runtime adds to an account's size before it counts rent.
const rentOverhead = 128

func getMinimumBalance(f *Front, p params) (any, error) {
	var size uint64
	if err := p.into(0, &size); err != nil {
		return nil, err
	}
	if size > 10<<20 {
		return nil, invalid("data length %d, at most 10485760", size)
	}
	return (size + rentOverhead) * f.n.bank.rentPerByte, nil
}

// keyedAccount is an account in a list.
type keyedAccount struct {
	Pubkey  solana.PublicKey `json:"pubkey"`
	Account any              `json:"account"`
}

// programConfig is accountConfig and what getProgramAccounts adds.
type programConfig struct {
	accountConfig
	WithContext bool            `json:"withContext"`
	Filters     []accountFilter `json:"filters"`
}

func getProgramAccounts(f *Front, p params) (any, error) {
	owner, err := p.key(0)
	if err != nil {
		return nil, err
	}
	var c programConfig
	if err := p.optional(1, &c); err != nil {
		return nil, err
	}
	if len(c.Filters) > 4 {
		return nil, rpcErrorf(codeParams, "Too many filters provided; max 4")
	}
	return f.read(p, 1, func(v *view, slot uint64) (any, error) {
		list, err := v.showAll(v.ownedBy(owner, slot), slot, c.accountConfig, func(a *Account) bool {
			return matchAll(c.Filters, a)
		})
		if err != nil || !c.WithContext {
			return list, err
		}
		return v.context(slot, list), nil
	})
}

// showAll shows the accounts that keep accepts, in the order of their addresses.
func (b *bank) showAll(all map[solana.PublicKey]*Account, slot uint64, c accountConfig, keep func(*Account) bool) ([]keyedAccount, error) {
	if c.Encoding == "" && len(all) > 0 {
		c.Encoding = "binary"
	}
	list := []keyedAccount{}
	for k, a := range all {
		if !keep(a) {
			continue
		}
		v, err := b.show(k, a, slot, c)
		if err != nil {
			return nil, err
		}
		list = append(list, keyedAccount{k, v})
	}
	sort.Slice(list, func(i, j int) bool {
		return bytes.Compare(list[i].Pubkey[:], list[j].Pubkey[:]) < 0
	})
	return list, nil
}

// accountFilter is one filter of getProgramAccounts and programSubscribe: a size, or
// bytes at an offset.
type accountFilter struct {
	size   *int
	offset int
	bytes  []byte
	token  bool // tokenAccountState
}

func (f *accountFilter) UnmarshalJSON(b []byte) error {
	if string(b) == `"tokenAccountState"` {
		f.token = true
		return nil
	}
	var w struct {
		DataSize *int `json:"dataSize"`
		Memcmp   *struct {
			Offset   int             `json:"offset"`
			Bytes    json.RawMessage `json:"bytes"`
			Encoding string          `json:"encoding"`
		} `json:"memcmp"`
		Token *struct{} `json:"tokenAccountState"`
	}
	if err := json.Unmarshal(b, &w); err != nil {
		return err
	}
	f.size = w.DataSize
	f.token = w.Token != nil
	if w.Memcmp == nil {
		if f.size == nil && !f.token {
			return invalid("filter is neither dataSize nor memcmp")
		}
		return nil
	}
	if w.Memcmp.Offset < 0 {
		return invalid("memcmp offset is negative")
	}
	f.offset = w.Memcmp.Offset
	return f.readBytes(w.Memcmp.Bytes, w.Memcmp.Encoding)
}

func (f *accountFilter) readBytes(raw json.RawMessage, encoding string) (err error) {
	var s string
	if json.Unmarshal(raw, &s) != nil { // a list of numbers
		var list []uint16
		if err := json.Unmarshal(raw, &list); err != nil {
			return invalid("memcmp bytes: %v", err)
		}
		f.bytes = make([]byte, len(list))
		for i, v := range list {
			f.bytes[i] = byte(v)
		}
	} else if encoding == "base64" {
		f.bytes, err = decodeWire(s, "base64")
	} else if f.bytes, err = base58.Decode(s); err != nil {
		err = invalid("memcmp bytes are not base58: %v", err)
	}
	if err == nil && len(f.bytes) > 128 {
		err = invalid("memcmp bytes are %d, at most 128", len(f.bytes))
	}
	if f.bytes == nil {
		f.bytes = []byte{}
	}
	return err
}

func (f *accountFilter) match(a *Account) bool {
	if f.size != nil && len(a.Data) != *f.size {
		return false
	}
	if f.token {
		if _, ok := readTokenAccount(a); !ok {
			return false
		}
	}
	end := f.offset + len(f.bytes)
	return f.bytes == nil || end <= len(a.Data) && bytes.Equal(a.Data[f.offset:end], f.bytes)
}

func matchAll(filters []accountFilter, a *Account) bool {
	for i := range filters {
		if !filters[i].match(a) {
			return false
		}
	}
	return true
}
