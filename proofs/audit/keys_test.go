package audit

import (
	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
)

func key(o *operator, host int) ionet.Key { return chain.PublicOf(o.hosts[host].provider) }
