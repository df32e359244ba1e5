package localnet

import (
	"strconv"
)

// authorities are the kinds of SetAuthority.
var authorities = [...]string{"mintTokens", "freezeAccount", "accountOwner", "closeAccount"}

// parseToken reads an instruction of a token program: a one-byte tag, then fields. A
// batch (255) and the extensions of Token-2022 are shown unparsed.
func parseToken(a *args) *parsed {
	switch tag := a.u8(); tag {
	case 0, 20:
		return parseInitializeMint(a, tag)
	case 1, 16, 18:
		return parseInitializeAccount(a, tag)
	case 2, 19:
		return parseInitializeMultisig(a, tag)
	case 3, 4, 7, 8:
		return parseMove(a, tag)
	case 12, 13, 14, 15:
		return parseMoveChecked(a, tag)
	case 5, 9, 10, 11, 17, 22:
		return parsePlain(a, tag)
	case 6:
		return parseSetAuthority(a)
	case 21:
		return &parsed{info{"mint": a.account(0)}, "getAccountDataSize"}
	case 23:
		return &parsed{info{"mint": a.account(0), "amount": amountText(a.u64())}, "amountToUiAmount"}
	case 24:
		return &parsed{info{"mint": a.account(0), "uiAmount": string(a.take(len(a.b)))}, "uiAmountToAmount"}
	}
	return nil
}

func amountText(n uint64) string { return strconv.FormatUint(n, 10) }

// signed adds who signs: the single signer under its own name, or a multisig under
// another and the signers that follow it.
func signed(a *args, shown info, at int, single, multi string) info {
	if len(a.keys) > at+1 {
		shown[multi] = a.account(at)
		shown["signers"] = a.keys[at+1:]
	} else {
		shown[single] = a.account(at)
	}
	return shown
}

func parseInitializeMint(a *args, tag byte) *parsed {
	shown := info{"mint": a.account(0), "decimals": a.u8(), "mintAuthority": a.key()}
	if freezer := a.optional(); freezer != nil {
		shown["freezeAuthority"] = freezer
	}
	if tag == 20 {
		return &parsed{shown, "initializeMint2"}
	}
	shown["rentSysvar"] = a.account(1)
	return &parsed{shown, "initializeMint"}
}

func parseInitializeAccount(a *args, tag byte) *parsed {
	shown := info{"account": a.account(0), "mint": a.account(1)}
	switch tag {
	case 1:
		shown["owner"], shown["rentSysvar"] = a.account(2), a.account(3)
		return &parsed{shown, "initializeAccount"}
	case 16:
		shown["owner"], shown["rentSysvar"] = a.key(), a.account(2)
		return &parsed{shown, "initializeAccount2"}
	}
	shown["owner"] = a.key()
	return &parsed{shown, "initializeAccount3"}
}

func parseInitializeMultisig(a *args, tag byte) *parsed {
	shown := info{"multisig": a.account(0), "m": a.u8()}
	first, kind := 1, "initializeMultisig2"
	if tag == 2 {
		shown["rentSysvar"] = a.account(1)
		first, kind = 2, "initializeMultisig"
	}
	a.account(first) // at least one signer
	shown["signers"] = a.keys[min(first, len(a.keys)):]
	return &parsed{shown, kind}
}

// parseMove: the forms that name no mint decimals.
func parseMove(a *args, tag byte) *parsed {
	amount := amountText(a.u64())
	switch tag {
	case 3:
		return &parsed{signed(a, info{"source": a.account(0), "destination": a.account(1), "amount": amount}, 2, "authority", "multisigAuthority"), "transfer"}
	case 4:
		return &parsed{signed(a, info{"source": a.account(0), "delegate": a.account(1), "amount": amount}, 2, "owner", "multisigOwner"), "approve"}
	case 7:
		return &parsed{signed(a, info{"mint": a.account(0), "account": a.account(1), "amount": amount}, 2, "mintAuthority", "multisigMintAuthority"), "mintTo"}
	}
	return &parsed{signed(a, info{"account": a.account(0), "mint": a.account(1), "amount": amount}, 2, "authority", "multisigAuthority"), "burn"}
}

func parseMoveChecked(a *args, tag byte) *parsed {
	n := a.u64()
	amount := showAmount(n, a.u8())
	switch tag {
	case 12:
		return &parsed{signed(a, info{"source": a.account(0), "mint": a.account(1), "destination": a.account(2), "tokenAmount": amount}, 3, "authority", "multisigAuthority"), "transferChecked"}
	case 13:
		return &parsed{signed(a, info{"source": a.account(0), "mint": a.account(1), "delegate": a.account(2), "tokenAmount": amount}, 3, "owner", "multisigOwner"), "approveChecked"}
	case 14:
		return &parsed{signed(a, info{"mint": a.account(0), "account": a.account(1), "tokenAmount": amount}, 2, "mintAuthority", "multisigMintAuthority"), "mintToChecked"}
	}
	return &parsed{signed(a, info{"account": a.account(0), "mint": a.account(1), "tokenAmount": amount}, 2, "authority", "multisigAuthority"), "burnChecked"}
}

// parsePlain: the forms without fields.
func parsePlain(a *args, tag byte) *parsed {
	switch tag {
	case 5:
		return &parsed{signed(a, info{"source": a.account(0)}, 1, "owner", "multisigOwner"), "revoke"}
	case 9:
		return &parsed{signed(a, info{"account": a.account(0), "destination": a.account(1)}, 2, "owner", "multisigOwner"), "closeAccount"}
	case 10:
		return &parsed{signed(a, info{"account": a.account(0), "mint": a.account(1)}, 2, "freezeAuthority", "multisigFreezeAuthority"), "freezeAccount"}
	case 11:
		return &parsed{signed(a, info{"account": a.account(0), "mint": a.account(1)}, 2, "freezeAuthority", "multisigFreezeAuthority"), "thawAccount"}
	case 17:
		return &parsed{info{"account": a.account(0)}, "syncNative"}
	}
	return &parsed{info{"account": a.account(0)}, "initializeImmutableOwner"}
}

func parseSetAuthority(a *args) *parsed {
	kind := a.u8()
	if int(kind) >= len(authorities) {
		return nil
	}
	owned := "account"
	if kind < 2 {
		owned = "mint"
	}
	var next any
	if k := a.optional(); k != nil {
		next = *k
	}
	shown := info{owned: a.account(0), "authorityType": authorities[kind], "newAuthority": next}
	return &parsed{signed(a, shown, 1, "authority", "multisigAuthority"), "setAuthority"}
}
