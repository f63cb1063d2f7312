package dsm

import (
	"reflect"
	"strings"
	"testing"
	"time"
)

// setEnviron makes env the only description of a node in the environment.
func setEnviron(t *testing.T, env []string) {
	t.Helper()
	for _, e := range append(Config{}.Environ(), env...) {
		name, value, _ := strings.Cut(e, "=")
		t.Setenv(name, value)
	}
}

func TestConfigThroughEnvironment(t *testing.T) {
	for _, c := range []Config{
		{},
		{Cluster: "c", Listen: "127.0.0.1:7", Seeds: []string{"a:1", "b:2"}, Secret: "s = 1", Insecure: true,
			Members: 4, Rank: 3, JoinTimeout: 90 * time.Second, DeadlockAfter: -time.Second},
	} {
		setEnviron(t, c.Environ())
		got, err := ConfigFromEnv()
		if err != nil || !reflect.DeepEqual(got, c) {
			t.Errorf("%+v came back as %+v, %v", c, got, err)
		}
	}
}

func TestBadEnvironment(t *testing.T) {
	for _, bad := range []string{
		EnvMembers + "=many", EnvMembers + "=-1", EnvRank + "=1.5", EnvInsecure + "=perhaps", EnvJoin + "=30", EnvJoin + "=-1s",
		EnvDeadlock + "=never",
	} {
		setEnviron(t, []string{bad})
		name, _, _ := strings.Cut(bad, "=")
		if _, err := ConfigFromEnv(); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: error %v does not name the variable", bad, err)
		}
	}
}
