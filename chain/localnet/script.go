package localnet

type admin struct{}
type chaos struct{}
type step struct{}

func (n *Node) runScript(uint64) {}
func newAdmin(*Node) *admin      { return nil }
