package main

import (
	"io"
	"strings"

	"github.com/spf13/cobra"

	"pagemesh/cmd/dsm/internal/nearest"
)

const completionLong = `Print a script that makes a shell complete commands, flags, names of workloads and, while
a space is running, names of its regions.

  bash   source <(dsm completion bash)
  zsh    source <(dsm completion zsh)
  fish   dsm completion fish | source

Put the line into the file that the shell reads at its start. With bash, the package
bash-completion must be installed.`

func newCompletion() *cobra.Command {
	shells := []string{"bash", "zsh", "fish"}
	return &cobra.Command{
		Use:       "completion bash|zsh|fish",
		Short:     "Print the completion script of a shell",
		Long:      completionLong,
		ValidArgs: shells,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usagef("completion: give one shell: %s", strings.Join(shells, ", "))
			}
			return writeCompletion(cmd.Root(), cmd.OutOrStdout(), args[0])
		},
	}
}

func writeCompletion(root *cobra.Command, w io.Writer, shell string) error {
	switch shell {
	case "bash":
		return root.GenBashCompletionV2(w, true)
	case "zsh":
		return root.GenZshCompletion(w)
	case "fish":
		return root.GenFishCompletion(w, true)
	}
	return usagef("completion for %q: %s", shell,
		nearest.Suggest(shell, []string{"bash", "zsh", "fish"}, "", "there is one for bash, zsh and fish"))
}
