package localnet

import (
	"strconv"
	"unicode/utf8"

	"github.com/gagliardetto/solana-go"
)

// parsed is an instruction or an account in words, as the jsonParsed encoding has it.
type parsed struct {
	Info any    `json:"info"`
	Type string `json:"type"`
}

type info = map[string]any

// parsedAccount is the data of an account that its program's parser understands.
type parsedAccount struct {
	Program string `json:"program"`
	Parsed  parsed `json:"parsed"`
	Space   int    `json:"space"`
}

// args reads an instruction's data and accounts. The first thing that is missing sets
// bad, and the instruction is then shown unparsed.
type args struct {
	frame
	keys []solana.PublicKey
	bad  bool
}

// account is the i-th account of the instruction.
func (a *args) account(i int) solana.PublicKey {
	if i >= len(a.keys) {
		a.bad = true
		return solana.PublicKey{}
	}
	return a.keys[i]
}

// optional reads the one-byte tagged key of the token program; nil when absent.
func (a *args) optional() *solana.PublicKey {
	if a.u8() == 0 {
		return nil
	}
	k := a.key()
	return &k
}

// seed reads a u64-prefixed string of the system program.
func (a *args) seed() string { return string(a.take(int(min(a.u64(), 1<<16)))) }

// parseInstruction puts an instruction in words. ok is false for a program without a
// parser and for data that the program would not understand.
func parseInstruction(program solana.PublicKey, keys []solana.PublicKey, data []byte) (name string, shown any, ok bool) {
	a := &args{frame: frame{b: data}, keys: keys}
	var p *parsed
	switch program {
	case memoV1, memoV3:
		if !utf8.Valid(data) {
			return "", nil, false
		}
		return "spl-memo", string(data), true
	case solana.SystemProgramID:
		name, p = "system", parseSystem(a)
	case solana.TokenProgramID:
		name, p = "spl-token", parseToken(a)
	case solana.Token2022ProgramID:
		name, p = "spl-token-2022", parseToken(a)
	case solana.SPLAssociatedTokenAccountProgramID:
		name, p = "spl-associated-token-account", parseATA(a, data)
	}
	if p == nil || a.bad || a.err != nil {
		return "", nil, false
	}
	return name, p, true
}

// parseATA: empty data is the create of old, which fails if the account exists.
func parseATA(a *args, data []byte) *parsed {
	kind := byte(0)
	if len(data) > 0 {
		kind = a.u8()
	}
	switch kind {
	case 0, 1:
		return &parsed{info{
			"source": a.account(0), "account": a.account(1), "wallet": a.account(2),
			"mint": a.account(3), "systemProgram": a.account(4), "tokenProgram": a.account(5),
		}, [...]string{"create", "createIdempotent"}[kind]}
	case 2:
		return &parsed{info{
			"nestedSource": a.account(0), "nestedMint": a.account(1), "destination": a.account(2), "nestedOwner": a.account(3),
			"ownerMint": a.account(4), "wallet": a.account(5), "tokenProgram": a.account(6),
		}, "recoverNested"}
	}
	return nil
}

// parseSystem reads an instruction of the System program: a u32 tag, then fields.
func parseSystem(a *args) *parsed {
	switch a.u32() {
	case 0:
		return &parsed{info{"source": a.account(0), "newAccount": a.account(1), "lamports": a.u64(), "space": a.u64(), "owner": a.key()}, "createAccount"}
	case 1:
		return &parsed{info{"account": a.account(0), "owner": a.key()}, "assign"}
	case 2:
		return &parsed{info{"source": a.account(0), "destination": a.account(1), "lamports": a.u64()}, "transfer"}
	case 3:
		return &parsed{info{"source": a.account(0), "newAccount": a.account(1), "base": a.key(), "seed": a.seed(),
			"lamports": a.u64(), "space": a.u64(), "owner": a.key()}, "createAccountWithSeed"}
	case 4:
		return &parsed{info{"nonceAccount": a.account(0), "recentBlockhashesSysvar": a.account(1), "nonceAuthority": a.account(2)}, "advanceNonce"}
	case 5:
		return &parsed{info{"nonceAccount": a.account(0), "destination": a.account(1), "recentBlockhashesSysvar": a.account(2),
			"rentSysvar": a.account(3), "nonceAuthority": a.account(4), "lamports": a.u64()}, "withdrawFromNonce"}
	case 6:
		return &parsed{info{"nonceAccount": a.account(0), "recentBlockhashesSysvar": a.account(1), "rentSysvar": a.account(2), "nonceAuthority": a.key()}, "initializeNonce"}
	case 7:
		return &parsed{info{"nonceAccount": a.account(0), "nonceAuthority": a.account(1), "newAuthorized": a.key()}, "authorizeNonce"}
	case 8:
		return &parsed{info{"account": a.account(0), "space": a.u64()}, "allocate"}
	case 9:
		return &parsed{info{"account": a.account(0), "base": a.key(), "seed": a.seed(), "space": a.u64(), "owner": a.key()}, "allocateWithSeed"}
	case 10:
		return &parsed{info{"account": a.account(0), "base": a.key(), "seed": a.seed(), "owner": a.key()}, "assignWithSeed"}
	case 11:
		return &parsed{info{"source": a.account(0), "sourceBase": a.account(1), "destination": a.account(2),
			"lamports": a.u64(), "sourceSeed": a.seed(), "sourceOwner": a.key()}, "transferWithSeed"}
	case 12:
		return &parsed{info{"nonceAccount": a.account(0)}, "upgradeNonce"}
	}
	return nil
}

// parseAccount puts an account's data in words, or returns nil: token accounts, mints
// and multisigs, lookup tables, and the sysvars that clients read.
func (b *bank) parseAccount(key solana.PublicKey, a *Account, slot uint64) any {
	switch {
	case isToken(a.Owner):
		name := "spl-token"
		if a.Owner == solana.Token2022ProgramID {
			name = "spl-token-2022"
		}
		if p := b.parseTokenAccount(a, slot); p != nil {
			return parsedAccount{name, *p, len(a.Data)}
		}
	case a.Owner == solana.AddressLookupTableProgramID:
		if p := parseTable(a); p != nil {
			return parsedAccount{"address-lookup-table", *p, len(a.Data)}
		}
	case a.Owner == sysvarOwner:
		if p := parseSysvar(key, a); p != nil {
			return parsedAccount{"sysvar", *p, len(a.Data)}
		}
	}
	return nil
}

func parseTable(a *Account) *parsed {
	keys, err := readTable(a, ^uint64(0))
	if err != nil {
		return nil
	}
	f := frame{b: a.Data[4:]}
	shown := info{
		"deactivationSlot": strconv.FormatUint(f.u64(), 10), "lastExtendedSlot": strconv.FormatUint(f.u64(), 10),
		"lastExtendedSlotStartIndex": f.u8(), "addresses": keys,
	}
	if f.u8() == 1 {
		shown["authority"] = f.key()
	}
	return &parsed{shown, "lookupTable"}
}

func parseSysvar(key solana.PublicKey, a *Account) *parsed {
	f := frame{b: a.Data}
	var p *parsed
	switch key {
	case solana.SysVarClockPubkey:
		p = &parsed{info{"slot": f.u64(), "epochStartTimestamp": int64(f.u64()), "epoch": f.u64(),
			"leaderScheduleEpoch": f.u64(), "unixTimestamp": int64(f.u64())}, "clock"}
	case solana.SysVarEpochSchedulePubkey:
		p = &parsed{info{"slotsPerEpoch": f.u64(), "leaderScheduleSlotOffset": f.u64(), "warmup": f.u8() == 1,
			"firstNormalEpoch": f.u64(), "firstNormalSlot": f.u64()}, "epochSchedule"}
	case solana.SysVarRentPubkey: // the threshold's bits are the float 1.0: rent is lamports per byte
		perByte := f.u64()
		f.u64()
		p = &parsed{info{"lamportsPerByteYear": strconv.FormatUint(perByte, 10), "exemptionThreshold": 1, "burnPercent": f.u8()}, "rent"}
	}
	if f.err != nil {
		return nil
	}
	return p
}

// parseTokenAccount puts an account of a token program in words. Extensions of
// Token-2022 are not parsed.
func (b *bank) parseTokenAccount(a *Account, slot uint64) *parsed {
	if t, ok := readTokenAccount(a); ok {
		m, err := b.mintAt(t.mint, slot)
		if err != nil {
			return nil
		}
		return &parsed{showTokenAccount(t, m.decimals), "account"}
	}
	if m, ok := readMint(a); ok {
		return &parsed{info{
			"mintAuthority": m.authority, "supply": strconv.FormatUint(m.supply, 10), "decimals": m.decimals,
			"isInitialized": true, "freezeAuthority": m.freezer,
		}, "mint"}
	}
	if d := a.Data; len(d) == multisigSize && d[2] == 1 {
		var signers []solana.PublicKey
		for i := range min(int(d[1]), 11) {
			signers = append(signers, solana.PublicKeyFromBytes(d[3+32*i:35+32*i]))
		}
		return &parsed{info{"numRequiredSigners": d[0], "numValidSigners": d[1], "isInitialized": true, "signers": signers}, "multisig"}
	}
	return nil
}

func showTokenAccount(t tokenAccount, decimals uint8) info {
	shown := info{
		"mint": t.mint, "owner": t.owner, "tokenAmount": showAmount(t.amount, decimals),
		"state": [...]string{"uninitialized", "initialized", "frozen"}[min(t.state, 2)], "isNative": t.native != nil,
	}
	if t.delegate != nil {
		shown["delegate"], shown["delegatedAmount"] = t.delegate, showAmount(t.delegated, decimals)
	}
	if t.native != nil {
		shown["rentExemptReserve"] = showAmount(*t.native, decimals)
	}
	if t.closeAuthority != nil {
		shown["closeAuthority"] = t.closeAuthority
	}
	return shown
}
