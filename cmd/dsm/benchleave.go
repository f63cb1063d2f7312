package main

import (
	"os"
	"os/signal"
	"syscall"

	"pagemesh/bench"
)

// leaveOnTerm makes SIGTERM ask this rank to leave, until stop is called. If the job can't go on without
// it, the signal ends the process as it always does.
func leaveOnTerm(j *bench.Job) (stop func()) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM)
	done := make(chan struct{})
	go func() {
		select {
		case <-done:
		case s := <-signals:
			if j.Leave() {
				return
			}
			signal.Reset(s)
			if self, err := os.FindProcess(os.Getpid()); err != nil || self.Signal(s) != nil {
				os.Exit(128 + int(syscall.SIGTERM))
			}
		}
	}()
	return func() {
		signal.Stop(signals)
		close(done)
	}
}
