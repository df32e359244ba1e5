package localnet

import "github.com/gagliardetto/solana-go"

func parseInstruction(program solana.PublicKey, keys []solana.PublicKey, data []byte) (name string, parsed any, ok bool) {
	return "", nil, false
}

func (b *bank) parseAccount(key solana.PublicKey, a *Account, slot uint64) any { return nil }
