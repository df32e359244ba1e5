package house

// A room is a package, or a few that live under the same rule.
type room struct {
	path string // below the module; "" is package ionet itself
	// may lists the rooms that its code may import. Tests may import what they need.
	may []string
	// never lists packages and modules that must not be reached from its code at
	// all, however indirectly.
	never []string
	// pure rooms repeat anywhere: they read no clock, file, network or environment.
	pure bool
}

// What rooms keep away from: a module or package path with everything below it.
var (
	database = []string{"database/sql", "github.com/jackc", "github.com/pressly/goose/v3", module + "/migrations"}
	network  = []string{"net", "github.com/gorilla/websocket"}
	money    = []string{module + "/settlement"}
	nvml     = []string{"github.com/NVIDIA/go-nvml"}
	devChain = []string{module + "/chain/localnet"}
	charts   = []string{"github.com/prometheus/client_golang"}
)

// rooms is the architecture. A package that is not in the table fails the test, so
// that a new one states its rule; internal/ is its own and the tests', but for the rooms named here.
var rooms = []room{
	{path: "", pure: true, never: join(database, network)},
	{path: "emissions", may: []string{""}, pure: true, never: join(database, network)},
	{path: "proofs", may: []string{"", "emissions"}, pure: true, never: join(database, network)},
	{path: "chain", may: []string{"", "proofs"}, never: join(database, money)},
	{path: "chain/rpc", may: []string{"", "chain"}, never: join(database, money)},
	{path: "chain/localnet", may: []string{"", "chain", "internal/nodedeps"}, never: join(database, money)},
	{path: "publish", may: []string{"", "proofs"}, never: join(database, money, devChain)},
	// A client of buckets is for who writes there; readers use plain HTTP.
	{path: "publish/s3", may: []string{"publish"}, never: join(money, devChain)},
	{path: "proofs/audit", may: []string{"", "emissions", "proofs", "chain", "chain/rpc", "publish"}, never: join(database, money, devChain, charts)},
	{path: "settlement/ledger", may: []string{""}, never: join(devChain, nvml)},
	// What holds the keys reaches nothing but those who ask it.
	{path: "settlement/signer", may: []string{"", "emissions", "proofs", "chain"}, never: join(database, devChain, nvml, charts)},
	{path: "settlement", may: []string{"", "emissions", "proofs", "chain", "chain/rpc", "publish", "settlement/ledger", "settlement/signer"}, never: join(devChain, nvml)},
	{path: "settlement/genesis", may: []string{"", "emissions", "proofs", "chain", "chain/rpc", "publish"}, never: join(database, devChain, nvml)},
	{path: "migrations", never: join(money, devChain)},
	{path: "client", may: []string{"", "proofs"}, never: join(database, money, devChain, nvml)},
	{path: "worker", may: []string{"", "proofs", "chain/rpc", "client", "worker/framed"}, never: join(database, money, devChain)},
	{path: "worker/framed", pure: true, never: join(database, network)},
	{path: "worker/meter", may: []string{"", "proofs", "client", "worker/framed"}, never: join(database, money, devChain, nvml)},
	{path: "web", may: []string{"", "emissions", "proofs", "chain", "publish", "client", "settlement", "settlement/ledger"}, never: join(devChain, nvml)},

	{path: "cmd/ionetd", may: []string{"", "internal/commandline", "emissions", "proofs", "chain", "chain/rpc", "publish", "publish/s3", "settlement", "settlement/genesis", "settlement/ledger", "settlement/signer", "migrations", "client", "web"}, never: join(devChain, nvml)},
	// ionet checks with its own RPC what it is asked to sign.
	{path: "cmd/ionet", may: []string{"", "internal/commandline", "emissions", "proofs", "chain", "chain/rpc", "client"}, never: join(database, money, devChain, nvml)},
	{path: "cmd/ionet-worker", may: []string{"", "internal/commandline", "proofs", "chain", "chain/rpc", "client", "worker", "worker/meter"}, never: join(database, money, devChain)},
	{path: "cmd/ionet-audit", may: []string{"", "internal/commandline", "chain/rpc", "proofs/audit", "publish"}, never: join(database, money, devChain, nvml)},
	{path: "cmd/ionet-localnet", may: []string{"", "internal/commandline", "chain", "chain/localnet"}, never: join(database, money)},

	// All commands read their command lines alike.
	{path: "internal/commandline", never: join(database, money)},
	{path: "internal/nodedeps"},
	{path: "internal/devdb", may: []string{"internal/nodedeps"}, never: money},
	{path: "internal/pgtest", may: []string{"internal/devdb", "migrations"}, never: money},
	{path: "internal/wires", never: money},
	{path: "internal/storetest", may: []string{"proofs", "publish"}, never: money},
	{path: "internal/schemadump", may: []string{"internal/devdb", "migrations"}, never: money},
	{path: "internal/house"},
	// The simulation has everything in one process, and nothing of the product has it.
	{path: "internal/sim", may: []string{"", "emissions", "proofs", "proofs/audit", "chain", "chain/rpc", "chain/localnet", "publish", "settlement", "settlement/genesis", "settlement/ledger", "migrations", "internal/wires", "internal/devdb"}},
	// The demo plays every part, by the doors that everybody uses.
	{path: "internal/payoutbench", may: []string{"", "emissions", "chain", "chain/rpc", "chain/localnet", "publish", "settlement", "settlement/genesis", "settlement/ledger", "migrations", "internal/devdb"}},
	{path: "internal/demo", may: []string{"", "emissions", "proofs", "chain", "chain/rpc", "chain/localnet", "publish", "client", "internal/devdb", "internal/openaiclient"}},
	{path: "internal/demo/backend"},
	{path: "internal/openaiclient", may: []string{"internal/nodedeps"}, never: join(database, money)},
}

func join(lists ...[]string) (all []string) {
	for _, l := range lists {
		all = append(all, l...)
	}
	return all
}
