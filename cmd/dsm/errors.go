package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"pagemesh/cmd/dsm/internal/launch"
	"pagemesh/cmd/dsm/internal/nearest"
)

// Exit statuses.
const (
	statusFailed = 1
	statusUsage  = 2
)

// usageError says what is wrong with the command line and what would be right.
type usageError struct{ text string }

func (e *usageError) Error() string { return e.text }

func usagef(format string, args ...any) error { return &usageError{fmt.Sprintf(format, args...)} }

// remedies are what to do about errors of the system, which name none themselves.
var remedies = []struct {
	cause error
	text  string
}{
	{errUnreachable, "name a node that runs with --node"},
	{syscall.EADDRNOTAVAIL, "give an address of this machine with --listen"},
	{exec.ErrNotFound, "give the path of the program (./NAME for one in this directory)"},
	{syscall.EISDIR, "give the path of a program"},
	{syscall.ENOEXEC, "give a program that is built for this machine"},
	{fs.ErrNotExist, "give a path that exists"},
	{fs.ErrPermission, "give what this user may use"},
}

// describe returns the exit status of an error and the line that reports it, "" if none is needed.
func describe(err error) (status int, line string) {
	if err == nil {
		return 0, ""
	}
	line = strings.ReplaceAll(err.Error(), "\n", "; ")
	if exit, ok := errors.AsType[*launch.ExitError](err); ok {
		if exit.Passed {
			return exit.Status, "" // whoever sent the signal knows
		}
		return exit.Status, line
	}
	if _, ok := errors.AsType[*usageError](err); ok {
		return statusUsage, line
	}
	for _, r := range remedies {
		if errors.Is(err, r.cause) {
			return statusFailed, line + ": " + r.text
		}
	}
	return statusFailed, line
}

// describePanic returns the one sentence on a fault of this program. Its details go to a file.
func describePanic(p any, stack []byte) string {
	where := "the output of dsm version"
	if f, err := os.CreateTemp("", "dsm-fault-*.txt"); err == nil {
		_, _ = fmt.Fprintf(f, "%v\n\n%s", p, stack)
		where += " and the file " + f.Name()
		_ = f.Close()
	}
	what, _, _ := strings.Cut(fmt.Sprint(p), "\n")
	return fmt.Sprintf("internal error (%s): please report it to the maintainers with the command line, %s", what, where)
}

// noArguments is the Args of commands that take none.
func noArguments(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usagef("%s takes no arguments but was given %q: see %[1]s --help", cmd.CommandPath(), args[0])
	}
	return nil
}

// unknownCommand is the Args of commands that only have commands below them.
func unknownCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	return usagef("there is no command %q: %s", cmd.CommandPath()+" "+args[0],
		nearest.Suggest(args[0], commandNames(cmd), "", "see "+cmd.CommandPath()+" --help"))
}

// commandNames returns the commands below cmd that a user may want.
func commandNames(cmd *cobra.Command) []string {
	var names []string
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() {
			names = append(names, c.Name())
		}
	}
	return names
}

// flagError turns an error of the flag parser into one that names the remedy.
func flagError(cmd *cobra.Command, err error) error {
	help := "see " + cmd.CommandPath() + " --help"
	if invalid, ok := errors.AsType[*pflag.InvalidValueError](err); ok {
		return usagef("%s: --%s %s: %s", cmd.CommandPath(), invalid.GetFlag().Name, invalid.GetValue(), wanted(invalid))
	}
	unknown, ok := errors.AsType[*pflag.NotExistError](err)
	if !ok {
		return usagef("%v: %s", err, help)
	}
	name := unknown.GetSpecifiedName()
	if short := unknown.GetSpecifiedShortnames(); short != "" {
		return usagef("%s has no flag -%s: %s", cmd.CommandPath(), name, help)
	}
	var names []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if !f.Hidden {
			names = append(names, f.Name)
		}
	})
	return usagef("%s has no flag --%s: %s", cmd.CommandPath(), name, nearest.Suggest(name, names, "--", help))
}

// wanted says what a flag takes.
func wanted(invalid *pflag.InvalidValueError) string {
	switch invalid.GetFlag().Value.Type() {
	case "int", "int64":
		return "give a whole number"
	case "duration":
		return "give a duration such as 30s"
	case "bool":
		return "give true or false"
	}
	return invalid.Unwrap().Error()
}
