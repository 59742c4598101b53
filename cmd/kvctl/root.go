package main

import (
	"bytes"
	"cmp"
	"strings"

	"github.com/cockroachdb/errors"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// helpTemplate puts the examples first: they are what most people look for.
const helpTemplate = `{{.Short}}
{{with .Example}}
Examples:
{{.}}
{{end}}{{with .Long}}
{{.}}
{{end}}
Usage:
  {{.UseLine}}{{if .HasAvailableSubCommands}}
  {{.CommandPath}} COMMAND --help

Commands:{{range .Commands}}{{if .IsAvailableCommand}}
  {{rpad .Name .NamePadding}} {{.Short}}{{end}}{{end}}{{end}}{{if .HasAvailableLocalFlags}}

Flags:
{{.LocalFlags.FlagUsages | trimTrailingWhitespaces}}{{end}}{{if .HasAvailableInheritedFlags}}

Flags of all commands:
{{.InheritedFlags.FlagUsages | trimTrailingWhitespaces}}{{end}}
`

func newRootCommand() *cobra.Command {
	cobra.EnableCommandSorting = false
	root := &cobra.Command{
		Use:   "kvctl COMMAND",
		Short: "kvctl reads and writes sharekv stores, also while other programs use them.",
		Example: `  kvctl demo                              # see it work: four processes, one store
  kvctl -s app.kv put greeting hello
  kvctl -s app.kv get greeting
  kvctl -s app.kv del greeting
  kvctl -s app.kv scan --prefix user/ | head
  kvctl -s app.kv put --bucket services/web port 8080
  kvctl -s app.kv buckets -r
  kvctl -s app.kv scan -r > all.tsv
  kvctl -s new.kv load -r all.tsv
  kvctl -s app.kv readers                 # who has it open?`,
		Long: `Exit codes: 0 done, 1 error, 2 wrong usage, 3 key or bucket not found, 4 damaged
or not a store, 5 busy (somebody else has the write lock), 6 a condition of put failed.`,
		Version:               version(),
		Args:                  knownCommand,
		RunE:                  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		SilenceUsage:          true,
		SilenceErrors:         true,
		DisableFlagsInUseLine: true,
	}
	root.SetHelpTemplate(helpTemplate)
	root.SetHelpFunc(quietHelp(root.HelpFunc()))
	root.SetVersionTemplate("kvctl {{.Version}}\n")
	root.SetFlagErrorFunc(flagError)
	var s storeFlags
	s.register(root)
	root.AddCommand(
		newPutCommand(&s),
		newGetCommand(&s),
		newDelCommand(&s),
		newScanCommand(&s),
		newCountCommand(&s),
		newBucketsCommand(&s),
		newLoadCommand(&s),
		newHoldCommand(&s),
		newMutexCommand(&s),
		newObjectsCommand(),
		newStatCommand(&s),
		newReadersCommand(&s),
		newCheckCommand(&s),
		newDemoCommand(),
		newDemoWorkerCommand(&s),
		newVersionCommand(),
	)
	return root
}

// quietHelp writes the help in one piece and does not mind if its reader has gone,
// as head does.
func quietHelp(help func(*cobra.Command, []string)) func(*cobra.Command, []string) {
	return func(cmd *cobra.Command, args []string) {
		var text bytes.Buffer
		out := cmd.OutOrStdout()
		cmd.SetOut(&text)
		help(cmd, args)
		cmd.SetOut(out)
		_, _ = out.Write(text.Bytes())
	}
}

// knownCommand is reached with arguments only where the first names no command.
func knownCommand(root *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	err := usageErrorf("%q is not a command of kvctl", args[0])
	root.SuggestionsMinimumDistance = 2
	if near := root.SuggestionsFor(args[0]); len(near) > 0 {
		return errors.WithHintf(err, "did you mean %s?", strings.Join(near, " or "))
	}
	return errors.WithHint(err, "kvctl --help lists the commands")
}

func flagError(cmd *cobra.Command, err error) error {
	var unknown *pflag.NotExistError
	if errors.As(err, &unknown) && strings.Contains(cmd.Use, "KEY") {
		err = errors.WithHint(err, "put -- before a key or value that begins with -")
	}
	return errors.WithHintf(&usageError{err}, "%s --help lists the flags", cmd.CommandPath())
}

// wants requires exactly the named arguments, or at least them if the last name
// ends in dots.
func wants(names ...string) cobra.PositionalArgs {
	want := cmp.Or(strings.Join(names, " "), "no arguments")
	more := strings.HasSuffix(want, "...")
	return func(cmd *cobra.Command, args []string) error {
		if len(args) == len(names) || more && len(args) > len(names) {
			return nil
		}
		err := usageErrorf("%s: want %s, got %q", cmd.Name(), want, args)
		if len(names) == 0 && cmd.Flags().Lookup("bucket") != nil {
			return errors.WithHint(err, "--bucket names a bucket, --prefix the beginning of keys")
		}
		return errors.WithHintf(err, "%s --help shows examples", cmd.CommandPath())
	}
}

// wantsAtMostOne requires the named argument, or none.
func wantsAtMostOne(name string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) <= 1 {
			return nil
		}
		err := usageErrorf("%s: want %s, got %q", cmd.Name(), name, args)
		return errors.WithHintf(err, "%s --help shows examples", cmd.CommandPath())
	}
}

// exclusive returns an error if more than one of the flags was given.
func exclusive(cmd *cobra.Command, names ...string) error {
	given := ""
	for _, name := range names {
		if !cmd.Flags().Changed(name) {
			continue
		}
		if given != "" {
			return usageErrorf("--%s and --%s exclude each other", given, name)
		}
		given = name
	}
	return nil
}
