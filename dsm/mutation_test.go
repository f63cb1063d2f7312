package dsm_test

import (
	"os"
	"testing"

	"pagemesh/coherence/mutation"
)

// TestMutationsApply keeps the mutations in step with what they are planted in.
func TestMutationsApply(t *testing.T) { mutation.Check(t) }

// TestMutations plants faults in the way of a mapped access, which attached programs find, and in that of a
// release region.
func TestMutations(t *testing.T) {
	if os.Getenv("PAGEMESH_LONG") == "" {
		t.Skip("builds this package many times: set PAGEMESH_LONG=1")
	}
	if raceEnabled {
		t.Skip("it builds without the race detector, once is enough")
	}
	_, _ = serving(t, 1) // or skip
	mutation.Run(t, "Test(MappedHistories|LostPagesOfPrograms|PagesWithoutRoomAreAnError|EvictionsThatViewsDelayMakeNoRoom|"+
		"AFaultCountsOnce|RegionsAreMappedAgain|AttachedProgramsCountExactly|NodeOfAnotherUser|ProgramOfAnotherUser|MappedLitmus)", "Test(MappedWritersOfOnePage|MappedViewAcrossAnAcquire|AWriteWhileAPageIsKeptNoMore|AWriteBehindTheLook|MappedReleaseRegion|ReleaseRegion|SeveralWritersOfOnePage|AViewAcrossABarrier|WritesStayUnderAnAcquire|ChangesMoveHomeWhenMemoryIsShort|MutexesOnLoan)",
		"Test(Deadlocks.*|LockStorms.*|HeldLocks|HandedOverLocks.*)",
		"Test(RaceIsNamed|OrderedWritesAreNoRace|RacesAcrossMembers|RacesOnce|DetectRacesIsAgreedOn|MappedRaceIsNamed|"+
			"WritesBeforeAnAcquire)")
}
