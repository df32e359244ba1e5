package settlement

// AttemptState says what became of a signed transaction.
type AttemptState string

// A live attempt ends in one of the three others and never leaves them.
const (
	AttemptLive AttemptState = "live" // it can land still, or nobody knows
	AttemptWon  AttemptState = "won"  // every content of it is the final winner of its position
	AttemptLost AttemptState = "lost" // another content won one of its positions
	AttemptDead AttemptState = "dead" // its blockhash expired, finally, and its lane did not move
)

// Open reports whether the transaction may land still.
func (s AttemptState) Open() bool { return s == AttemptLive }

// Again reports whether its positions may be tried again because of what happened
// to it: only death allows that.
func (s AttemptState) Again() bool { return s == AttemptDead }

// ContentState says what became of a content.
type ContentState string

// An open content ends in one of the two others with its position.
const (
	ContentOpen ContentState = "open" // its position is open
	ContentWon  ContentState = "won"  // the final winner of its position
	ContentLost ContentState = "lost" // another content is
)

// Final reports whether the position was passed, finally.
func (s ContentState) Final() bool { return s == ContentWon || s == ContentLost }

// PaymentState says where a debt stands that a content carries.
type PaymentState string

// A signed payment ends as paid or freed, with the position of its content.
const (
	PaymentSigned PaymentState = "signed" // a signed transaction carries it, whose outcome is open
	PaymentPaid   PaymentState = "paid"   // its transaction is final
	PaymentFreed  PaymentState = "freed"  // its transaction can't land: the debt stands as before
)

// Open reports whether the debt is on its way.
func (s PaymentState) Open() bool { return s == PaymentSigned }
