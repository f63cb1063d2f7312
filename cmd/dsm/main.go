// Command dsm runs programs that share memory, runs benchmark workloads, and shows where the pages of
// a running space go. Its help is its documentation: dsm help, dsm help COMMAND.
package main

import "os"

func main() { os.Exit(execute(newRoot(), os.Args[1:])) }
