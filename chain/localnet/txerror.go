package localnet

import (
	"encoding/json"
	"fmt"
)

// transactionErrors are Solana's TransactionError variants without fields, by the
// numbers that LiteSVM gives them.
var transactionErrors = [...]string{
	"AccountInUse", "AccountLoadedTwice", "AccountNotFound", "ProgramAccountNotFound",
	"InsufficientFundsForFee", "InvalidAccountForFee", "AlreadyProcessed", "BlockhashNotFound",
	"CallChainTooDeep", "MissingSignatureForFee", "InvalidAccountIndex", "SignatureFailure",
	"InvalidProgramForExecution", "SanitizeFailure", "ClusterMaintenance", "AccountBorrowOutstanding",
	"WouldExceedMaxBlockCostLimit", "UnsupportedVersion", "InvalidWritableAccount",
	"WouldExceedMaxAccountCostLimit", "WouldExceedAccountDataBlockLimit", "TooManyAccountLocks",
	"AddressLookupTableNotFound", "InvalidAddressLookupTableOwner", "InvalidAddressLookupTableData",
	"InvalidAddressLookupTableIndex", "InvalidRentPayingAccount", "WouldExceedMaxVoteCostLimit",
	"WouldExceedAccountDataTotalLimit", "MaxLoadedAccountsDataSizeExceeded", "ResanitizationNeeded",
	"InvalidLoadedAccountsDataSizeLimit", "UnbalancedTransaction", "ProgramCacheHitMaxLimit", "CommitCancelled",
}

// instructionErrors are the InstructionError variants without fields, likewise.
var instructionErrors = [...]string{
	"GenericError", "InvalidArgument", "InvalidInstructionData", "InvalidAccountData",
	"AccountDataTooSmall", "InsufficientFunds", "IncorrectProgramId", "MissingRequiredSignature",
	"AccountAlreadyInitialized", "UninitializedAccount", "UnbalancedInstruction", "ModifiedProgramId",
	"ExternalAccountLamportSpend", "ExternalAccountDataModified", "ReadonlyLamportChange",
	"ReadonlyDataModified", "DuplicateAccountIndex", "ExecutableModified", "RentEpochModified",
	"NotEnoughAccountKeys", "AccountDataSizeChanged", "AccountNotExecutable", "AccountBorrowFailed",
	"AccountBorrowOutstanding", "DuplicateAccountOutOfSync", "InvalidError", "ExecutableDataModified",
	"ExecutableLamportChange", "ExecutableAccountNotRentExempt", "UnsupportedProgramId", "CallDepth",
	"MissingAccount", "ReentrancyNotAllowed", "MaxSeedLengthExceeded", "InvalidSeeds", "InvalidRealloc",
	"ComputationalBudgetExceeded", "PrivilegeEscalation", "ProgramEnvironmentSetupFailure",
	"ProgramFailedToComplete", "ProgramFailedToCompile", "Immutable", "IncorrectAuthority",
	"AccountNotRentExempt", "InvalidAccountOwner", "ArithmeticOverflow", "UnsupportedSysvar",
	"IllegalOwner", "MaxAccountsDataAllocationsExceeded", "MaxAccountsExceeded",
	"MaxInstructionTraceLengthExceeded", "BuiltinProgramsMustConsumeComputeUnits", "BorshIoError",
}

// txError is Solana's TransactionError in the JSON form of a validator, such as
// "BlockhashNotFound" or {"InstructionError":[0,{"Custom":1}]}.
type txError struct {
	value any
	text  string // as a validator words it in messages
}

var (
	errBlockhashNotFound = &txError{"BlockhashNotFound", "Blockhash not found"}
	errAlreadyProcessed  = &txError{"AlreadyProcessed", "This transaction has already been processed"}
	errSignatureFailure  = &txError{"SignatureFailure", "Transaction did not pass signature verification"}
)

// texts words the errors that clients commonly meet; others show their name.
var texts = map[string]string{
	"AccountNotFound":                   "Attempt to debit an account but found no record of a prior credit.",
	"ProgramAccountNotFound":            "Attempt to load a program that does not exist",
	"InsufficientFundsForFee":           "Insufficient funds for fee",
	"InvalidAccountForFee":              "This account may not be used to pay transaction fees",
	"InvalidProgramForExecution":        "This program may not be used for executing instructions",
	"SanitizeFailure":                   "Transaction failed to sanitize accounts offsets correctly",
	"TooManyAccountLocks":               "Transaction locked too many accounts",
	"AddressLookupTableNotFound":        "Transaction loads an address table account that doesn't exist",
	"MaxLoadedAccountsDataSizeExceeded": "Transaction exceeded max loaded accounts data size cap",
	"InvalidArgument":                   "invalid program argument",
	"InvalidInstructionData":            "invalid instruction data",
	"InvalidAccountData":                "invalid account data for instruction",
	"InsufficientFunds":                 "insufficient funds for instruction",
	"MissingRequiredSignature":          "missing required signature for instruction",
	"ComputationalBudgetExceeded":       "Computational budget exceeded",
	"ProgramFailedToComplete":           "Program failed to complete",
	"UnsupportedProgramId":              "Unsupported program id",
	"InvalidAccountOwner":               "Invalid account owner",
	"IncorrectProgramId":                "incorrect program id for instruction",
	"UninitializedAccount":              "instruction requires an initialized account",
	"AccountAlreadyInitialized":         "instruction requires an uninitialized account",
	"IllegalOwner":                      "Provided owner is not allowed",
}

func text(name string) string {
	if t, ok := texts[name]; ok {
		return t
	}
	return name
}

// MarshalJSON gives the validator's form; a nil error is null.
func (e *txError) MarshalJSON() ([]byte, error) {
	if e == nil {
		return []byte("null"), nil
	}
	return json.Marshal(e.value)
}

func (e *txError) String() string { return e.text }

// parseTxError reads the child's form of an error: a number for a variant without
// fields, else an object. null is no error.
func parseTxError(raw json.RawMessage) (*txError, error) {
	var n int
	if string(raw) == "null" || len(raw) == 0 {
		return nil, nil
	}
	if json.Unmarshal(raw, &n) == nil {
		return namedError(n)
	}
	var o struct {
		InstructionError     *[2]json.RawMessage
		DuplicateInstruction *int
		Rent                 *int `json:"InsufficientFundsForRent"`
		Restricted           *int `json:"ProgramExecutionTemporarilyRestricted"`
	}
	if err := json.Unmarshal(raw, &o); err != nil {
		return nil, fmt.Errorf("read transaction error %s: %w", raw, err)
	}
	type account struct {
		Index int `json:"account_index"`
	}
	switch {
	case o.InstructionError != nil:
		return instructionError(o.InstructionError[0], o.InstructionError[1])
	case o.DuplicateInstruction != nil:
		return &txError{map[string]int{"DuplicateInstruction": *o.DuplicateInstruction},
			fmt.Sprintf("Transaction contains a duplicate instruction (%d) that is not allowed", *o.DuplicateInstruction)}, nil
	case o.Rent != nil:
		return &txError{map[string]account{"InsufficientFundsForRent": {*o.Rent}},
			fmt.Sprintf("Transaction results in an account (%d) with insufficient funds for rent", *o.Rent)}, nil
	case o.Restricted != nil:
		return &txError{map[string]account{"ProgramExecutionTemporarilyRestricted": {*o.Restricted}},
			fmt.Sprintf("Execution of the program referenced by account at index %d is temporarily restricted.", *o.Restricted)}, nil
	}
	return nil, fmt.Errorf("read transaction error %s: unknown variant", raw)
}

func namedError(n int) (*txError, error) {
	if n < 0 || n >= len(transactionErrors) {
		return nil, fmt.Errorf("read transaction error: unknown number %d", n)
	}
	name := transactionErrors[n]
	return &txError{name, text(name)}, nil
}

func instructionError(index, inner json.RawMessage) (*txError, error) {
	var i, n int
	if err := json.Unmarshal(index, &i); err != nil {
		return nil, fmt.Errorf("read instruction index %s: %w", index, err)
	}
	wrap := func(v any, words string) *txError {
		return &txError{map[string]any{"InstructionError": []any{i, v}}, fmt.Sprintf("Error processing Instruction %d: %s", i, words)}
	}
	if json.Unmarshal(inner, &n) == nil {
		if n < 0 || n >= len(instructionErrors) {
			return nil, fmt.Errorf("read instruction error: unknown number %d", n)
		}
		return wrap(instructionErrors[n], text(instructionErrors[n])), nil
	}
	var o struct {
		Custom       *uint32
		BorshIoError *string
	}
	if err := json.Unmarshal(inner, &o); err != nil {
		return nil, fmt.Errorf("read instruction error %s: %w", inner, err)
	}
	if o.Custom != nil {
		return wrap(map[string]uint32{"Custom": *o.Custom}, fmt.Sprintf("custom program error: 0x%x", *o.Custom)), nil
	}
	return wrap("BorshIoError", "Failed to serialize or deserialize account data"), nil
}
