package localnet

import "github.com/gagliardetto/solana-go"

// Addresses that the RPC treats by name.
var (
	memoV3       = solana.MustPublicKeyFromBase58("MemoSq4gqABAXKb96qnH8TysNcWxMyWCqXgDLGmfcHr")
	memoV1       = solana.MustPublicKeyFromBase58("Memo1UhkJRfHyvLMcVucJwxXeuD728EqVDDwQDxFMNo")
	loaderV4     = solana.MustPublicKeyFromBase58("LoaderV411111111111111111111111111111111111")
	zkProof      = solana.MustPublicKeyFromBase58("ZkE1Gama1Proof11111111111111111111111111111")
	secp256r1    = solana.MustPublicKeyFromBase58("Secp256r1SigVerify1111111111111111111111111")
	secp256k1    = solana.MustPublicKeyFromBase58("KeccakSecp256k11111111111111111111111111111")
	ed25519Check = solana.MustPublicKeyFromBase58("Ed25519SigVerify111111111111111111111111111")
	nativeLoader = solana.MustPublicKeyFromBase58("NativeLoader1111111111111111111111111111111")
	configOwner  = solana.MustPublicKeyFromBase58("Config1111111111111111111111111111111111111")
	featureOwner = solana.MustPublicKeyFromBase58("Feature111111111111111111111111111111111111")
	sysvarOwner  = solana.MustPublicKeyFromBase58("Sysvar1111111111111111111111111111111111111")
	epochRewards = solana.MustPublicKeyFromBase58("SysvarEpochRewards1111111111111111111111111")
	lastRestart  = solana.MustPublicKeyFromBase58("SysvarLastRestartS1ot1111111111111111111111")
)

// builtins are the programs whose instructions count 3,000 compute units, not
// 200,000, towards a transaction's default limit.
var builtins = set(solana.SystemProgramID, solana.VoteProgramID, solana.ComputeBudget,
	solana.BPFLoaderProgramID, solana.BPFLoaderDeprecatedProgramID, solana.BPFLoaderUpgradeableProgramID,
	loaderV4, secp256k1, ed25519Check, secp256r1)

// precompiles are the signature programs, each of whose signatures costs a fee.
var precompiles = set(secp256k1, ed25519Check, secp256r1)

// reserved are the addresses that no transaction may write.
var reserved = set(solana.SystemProgramID, solana.VoteProgramID, solana.StakeProgramID, solana.ComputeBudget,
	solana.BPFLoaderProgramID, solana.BPFLoaderDeprecatedProgramID, solana.BPFLoaderUpgradeableProgramID,
	solana.AddressLookupTableProgramID, solana.FeatureProgramID, loaderV4, secp256k1, ed25519Check, secp256r1, zkProof,
	solana.SysVarClockPubkey, solana.SysVarEpochSchedulePubkey, solana.SysVarFeesPubkey, solana.SysVarInstructionsPubkey,
	solana.SysVarRecentBlockHashesPubkey, solana.SysVarRentPubkey, solana.SysVarRewardsPubkey, solana.SysVarSlotHashesPubkey,
	solana.SysVarSlotHistoryPubkey, solana.SysVarStakeHistoryPubkey, epochRewards, lastRestart,
	nativeLoader, configOwner, sysvarOwner)

// genesisOwners are the owners of everything that LiteSVM creates at its start.
var genesisOwners = []solana.PublicKey{
	nativeLoader, sysvarOwner, configOwner, featureOwner,
	solana.SystemProgramID, solana.TokenProgramID, solana.Token2022ProgramID, solana.StakeProgramID,
	solana.BPFLoaderProgramID, solana.BPFLoaderDeprecatedProgramID, solana.BPFLoaderUpgradeableProgramID, loaderV4,
}

func set(keys ...solana.PublicKey) map[solana.PublicKey]bool {
	m := make(map[solana.PublicKey]bool, len(keys))
	for _, k := range keys {
		m[k] = true
	}
	return m
}

// isToken reports whether key is the SPL Token program or Token-2022.
func isToken(key solana.PublicKey) bool {
	return key == solana.TokenProgramID || key == solana.Token2022ProgramID
}
