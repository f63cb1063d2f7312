package dsm

import (
	"fmt"
	"log/slog"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"pagemesh/pagetable/vm"
	"pagemesh/transport"
)

// Config says how a node takes part in a space. The zero Config founds a space of one node on a
// loopback port that the system picks.
type Config struct {
	// Cluster is the name that all nodes of a space agree on, at most 64 bytes. Default "pagemesh".
	Cluster string
	// Listen is the TCP address, host:port, for everything this node receives. Port 0 lets the
	// system pick. Default "127.0.0.1:0". An address other than loopback needs Insecure.
	Listen string
	// Seeds are addresses of members to join through, tried in order. Empty founds a new space.
	Seeds []string
	// Secret is shared by all nodes and is proven, never sent. Default empty: whoever reaches the
	// port and knows the cluster's name may join.
	Secret string
	// Insecure allows an address other than loopback although packets are not encrypted.
	Insecure bool
	// Members makes Open wait until the space has this many members. Default 1.
	Members int
	// Rank is this program's number in its launch, from 0. It is not the node id. Default 0.
	Rank int
	// JoinTimeout bounds how long Open waits for a seed to answer and for Members to be there.
	// Default 15 s.
	JoinTimeout time.Duration
	// FaultTimeout bounds the wait for a page in ReadAt and WriteAt, which take no context, and in
	// calls with context.Background(). Default 30 s.
	FaultTimeout time.Duration
	// ViewWarning is how long a view may delay another node before a warning names its holder.
	// Default 1 s.
	ViewWarning time.Duration
	// DeadlockAfter is how long a wait for a Mutex or an RWMutex lasts before the node asks the others whether it
	// is part of a deadlock, which then ends with ErrDeadlock for one of those who wait. It should be
	// the same at all nodes. Default 1 s; negative: never.
	DeadlockAfter time.Duration
	// MemoryLimit is how many bytes of pages this node keeps. Near it, pages move to their homes, or are
	// forgotten if others have copies, and come again when they are needed; pages homed here stay, and what
	// does not fit beside them is ErrMemory. Default: half of the machine's memory.
	MemoryLimit int64
	// Events is how many events of page traffic this node keeps, the latest ones, for Space.Trace. Each takes 104
	// bytes. It is rounded up to a power of two. Default 32768.
	Events int
	// DetectRaces has this node look for data races in release regions: two nodes that write the same bytes without a
	// lock or barrier in between. They are logged, and returned by Space.Races, see Race. All nodes of a space must
	// agree on it (ErrJoin). It takes memory of about twice the pages that are written at their homes, and time: see
	// NOTES.md, "Release regions". Default false, which costs nothing.
	DetectRaces bool
	// Serve is the path of a Unix socket at which this node serves the programs of this machine that
	// attach to it (Linux only). Default empty: none.
	Serve string
	// OnProgram is told of every program that attaches and detaches, by its process id. If this node dies,
	// programs that wait for a page can't end by themselves: who knows them can end them. Default nil.
	OnProgram func(pid int, attached bool)
	// Attach is the path of the Unix socket of a node on this machine. The program then uses that node
	// instead of becoming one, and of the other fields only JoinTimeout and Logger matter. Default
	// empty: the program becomes a node.
	Attach string
	// Logger receives warnings and membership changes. Default: slog.Default().
	Logger *slog.Logger
	// listen opens the node's endpoint. Default: transport.Listen. Tests put a transport.MemoryNetwork
	// in its place.
	listen func(transport.Config) (transport.Endpoint, error)
}

// Names of the environment variables that ConfigFromEnv reads and that dsm run sets.
const (
	EnvCluster  = "PAGEMESH_CLUSTER"  // Config.Cluster
	EnvListen   = "PAGEMESH_LISTEN"   // Config.Listen
	EnvSeeds    = "PAGEMESH_SEEDS"    // Config.Seeds, separated by commas
	EnvSecret   = "PAGEMESH_SECRET"   // Config.Secret
	EnvInsecure = "PAGEMESH_INSECURE" // Config.Insecure, a boolean
	EnvMembers  = "PAGEMESH_MEMBERS"  // Config.Members
	EnvRank     = "PAGEMESH_RANK"     // Config.Rank
	EnvJoin     = "PAGEMESH_JOIN"     // Config.JoinTimeout, such as 30s
	EnvDeadlock = "PAGEMESH_DEADLOCK" // Config.DeadlockAfter, such as 5s, or -1s for never
	EnvAttach   = "PAGEMESH_ATTACH"   // Config.Attach
	EnvRaces    = "PAGEMESH_RACES"    // Config.DetectRaces, a boolean
)

// ConfigFromEnv returns the Config that the environment describes; a variable that is not set leaves
// the default. An error names the variable and what it should hold. It is the only place where this
// module reads its environment.
func ConfigFromEnv() (Config, error) {
	c := Config{
		Cluster: os.Getenv(EnvCluster),
		Listen:  os.Getenv(EnvListen),
		Secret:  os.Getenv(EnvSecret),
		Attach:  os.Getenv(EnvAttach),
	}
	for s := range strings.SplitSeq(os.Getenv(EnvSeeds), ",") {
		if s = strings.TrimSpace(s); s != "" {
			c.Seeds = append(c.Seeds, s)
		}
	}
	var err error
	for name, dst := range map[string]*bool{EnvInsecure: &c.Insecure, EnvRaces: &c.DetectRaces} {
		if v := os.Getenv(name); v != "" {
			if *dst, err = strconv.ParseBool(v); err != nil {
				return Config{}, fmt.Errorf("%s=%q: want true or false", name, v)
			}
		}
	}
	for name, dst := range map[string]*int{EnvMembers: &c.Members, EnvRank: &c.Rank} {
		if v := os.Getenv(name); v != "" {
			if *dst, err = strconv.Atoi(v); err != nil || *dst < 0 {
				return Config{}, fmt.Errorf("%s=%q: want a whole number from 0", name, v)
			}
		}
	}
	if v := os.Getenv(EnvJoin); v != "" {
		if c.JoinTimeout, err = time.ParseDuration(v); err != nil || c.JoinTimeout < 0 {
			return Config{}, fmt.Errorf("%s=%q: want a duration such as 30s", EnvJoin, v)
		}
	}
	if v := os.Getenv(EnvDeadlock); v != "" {
		if c.DeadlockAfter, err = time.ParseDuration(v); err != nil {
			return Config{}, fmt.Errorf("%s=%q: want a duration such as 5s, or -1s for never", EnvDeadlock, v)
		}
	}
	return c, nil
}

// Environ returns the environment that describes c, in the form "NAME=value". Every variable is in it, so
// that added to an environment it hides what that says of another node.
func (c Config) Environ() []string {
	join, deadlock := "", ""
	if c.JoinTimeout != 0 {
		join = c.JoinTimeout.String()
	}
	if c.DeadlockAfter != 0 {
		deadlock = c.DeadlockAfter.String()
	}
	return []string{
		EnvCluster + "=" + c.Cluster,
		EnvListen + "=" + c.Listen,
		EnvSeeds + "=" + strings.Join(c.Seeds, ","),
		EnvSecret + "=" + c.Secret,
		EnvInsecure + "=" + strconv.FormatBool(c.Insecure),
		EnvMembers + "=" + strconv.Itoa(c.Members),
		EnvRank + "=" + strconv.Itoa(c.Rank),
		EnvJoin + "=" + join,
		EnvDeadlock + "=" + deadlock,
		EnvAttach + "=" + c.Attach,
		EnvRaces + "=" + strconv.FormatBool(c.DetectRaces),
	}
}

// withDefaults returns c with every zero field replaced by its default, or an error that names the
// field that is wrong and what to do.
func (c Config) withDefaults() (Config, error) {
	if c.Cluster == "" {
		c.Cluster = "pagemesh"
	}
	if c.Listen == "" {
		c.Listen = "127.0.0.1:0"
	}
	if c.Members == 0 {
		c.Members = 1
	}
	if c.JoinTimeout == 0 {
		c.JoinTimeout = 15 * time.Second
	}
	if c.FaultTimeout == 0 {
		c.FaultTimeout = 30 * time.Second
	}
	if c.ViewWarning == 0 {
		c.ViewWarning = time.Second
	}
	if c.DeadlockAfter == 0 {
		c.DeadlockAfter = time.Second
	}
	if c.MemoryLimit == 0 {
		c.MemoryLimit = vm.MachineMemory() / 2
	}
	if c.Events == 0 {
		c.Events = defaultEvents
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.listen == nil {
		c.listen = transport.Listen
	}
	return c, c.validate()
}

func (c Config) validate() error {
	if len(c.Cluster) > 64 {
		return fmt.Errorf("config: cluster name has %d bytes, at most 64 are allowed", len(c.Cluster))
	}
	for _, a := range append([]string{c.Listen}, c.Seeds...) {
		if _, _, err := net.SplitHostPort(a); err != nil {
			return fmt.Errorf("config: address %q: want host:port", a)
		}
	}
	if c.Events < 0 || c.Events > maxKeptEvents {
		return fmt.Errorf("config: Events is %d: want 0 to %d", c.Events, maxKeptEvents)
	}
	if c.Members < 0 || c.Rank < 0 || c.JoinTimeout < 0 || c.FaultTimeout < 0 || c.ViewWarning < 0 {
		return fmt.Errorf("config: Members, Rank, JoinTimeout, FaultTimeout and ViewWarning must not be negative")
	}
	return nil
}
