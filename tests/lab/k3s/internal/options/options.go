package options

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/pflag"
)

// Options holds the settings of one `k3s server` or `k3s agent`.
type Options struct {
	values map[string][]string
}

// Parse merges, weakest first: defaults, environment, configuration file, command line. As in k3s, a
// repeatable flag on the command line replaces the configuration file's list.
func Parse(name string, args []string, getenv func(string) string) (*Options, error) {
	cmd, ok := map[string]command{"server": serverCommand, "agent": agentCommand}[name]
	if !ok {
		return nil, fmt.Errorf("%s: not a command that takes these options", name)
	}
	o := &Options{values: map[string][]string{}}
	for _, opt := range optionsOf(cmd) {
		if opt.value != "" {
			o.values[opt.name] = []string{opt.value}
		}
		if v := envOf(opt, getenv); v != "" {
			o.values[opt.name] = []string{v}
		}
	}
	flags, err := parseFlags(cmd, args)
	if err != nil {
		return nil, err
	}
	file, explicit := o.String("config"), getenv("K3S_CONFIG_FILE") != ""
	if v, ok := flags["config"]; ok {
		file, explicit = v[0], true
	}
	fromFile, err := readConfig(cmd, file, explicit)
	if err != nil {
		return nil, err
	}
	for _, source := range []map[string][]string{fromFile, flags} {
		for k, v := range source {
			o.values[k] = v
		}
	}
	return o, o.validate(cmd)
}

func (o *Options) String(name string) string {
	lookup(name, stringKind)
	return last(o.values[name])
}

func (o *Options) Bool(name string) bool {
	lookup(name, boolKind)
	b, _ := strconv.ParseBool(last(o.values[name]))
	return b
}

func (o *Options) Int(name string) int {
	lookup(name, intKind)
	i, _ := strconv.Atoi(last(o.values[name]))
	return i
}

func (o *Options) List(name string) []string {
	lookup(name, listKind)
	return o.values[name]
}

// Disabled says whether a packaged component was turned off.
func (o *Options) Disabled(component string) bool {
	return slices.Contains(o.List("disable"), component)
}

// Verbosity is the log level of all components; they share a process, and so a logger.
func (o *Options) Verbosity() string {
	if o.Bool("debug") {
		return strconv.Itoa(max(4, o.Int("v")))
	}
	return strconv.Itoa(o.Int("v"))
}

// Set is for settings that the program itself works out (a server tells its own agent where to join).
func (o *Options) Set(name, value string) {
	o.values[name] = []string{value}
}

func parseFlags(cmd command, args []string) (map[string][]string, error) {
	fs := pflag.NewFlagSet("k3s", pflag.ContinueOnError)
	fs.SetOutput(io.Discard)
	for _, opt := range optionsOf(cmd) {
		switch opt.kind {
		case boolKind:
			fs.BoolP(opt.name, opt.shorthand, false, "")
		case listKind:
			fs.StringArrayP(opt.name, opt.shorthand, nil, "")
		default:
			fs.StringP(opt.name, opt.shorthand, "", "")
		}
	}
	for _, arg := range args {
		name, isFlag := strings.CutPrefix(arg, "--")
		name, _, _ = strings.Cut(name, "=")
		if isFlag && name != "" {
			if err := checkName(cmd, name, "--"+name); err != nil {
				return nil, err
			}
		}
	}
	if err := fs.Parse(args); err != nil {
		return nil, err
	}
	if fs.NArg() > 0 {
		return nil, fmt.Errorf("%q: k3s takes options only, no arguments", fs.Arg(0))
	}
	set := map[string][]string{}
	fs.Visit(func(f *pflag.Flag) {
		if list, ok := f.Value.(pflag.SliceValue); ok {
			set[f.Name] = list.GetSlice()
			return
		}
		set[f.Name] = []string{f.Value.String()}
	})
	return set, nil
}

// checkName tells a name k3s does not have from one that only the lab lacks.
func checkName(cmd command, name, shown string) error {
	if slices.ContainsFunc(optionsOf(cmd), func(o option) bool { return o.name == name }) {
		return nil
	}
	for c, names := range notImplemented {
		if c&cmd != 0 && slices.Contains(names, name) {
			return fmt.Errorf("%s is a real k3s option that the lab's k3s does not implement", shown)
		}
	}
	return fmt.Errorf("%s is not an option of k3s %s", shown, map[command]string{serverCommand: "server", agentCommand: "agent"}[cmd])
}

func (o *Options) validate(cmd command) error {
	for _, opt := range optionsOf(cmd) {
		for i, v := range o.values[opt.name] {
			o.values[opt.name][i] = strings.TrimSpace(v)
		}
		v := last(o.values[opt.name])
		switch {
		case opt.kind == boolKind && v != "":
			if _, err := strconv.ParseBool(v); err != nil {
				return fmt.Errorf("%s: %q is not true or false", opt.name, v)
			}
		case opt.kind == intKind && v != "":
			if _, err := strconv.Atoi(v); err != nil {
				return fmt.Errorf("%s: %q is not a number", opt.name, v)
			}
		}
	}
	if o.Bool("selinux") {
		return fmt.Errorf("selinux: true is real k3s that the lab's k3s does not implement")
	}
	if err := o.readTokenFile("token"); err != nil {
		return err
	}
	if cmd == agentCommand {
		return o.validateAgent()
	}
	if err := o.readTokenFile("agent-token"); err != nil {
		return err
	}
	return o.validateServer()
}

func (o *Options) validateServer() error {
	o.values["disable"] = splitCommas(o.values["disable"])
	o.values["tls-san"] = splitCommas(o.values["tls-san"])
	for _, c := range o.List("disable") {
		if !slices.Contains(Components, c) {
			return fmt.Errorf("disable: %q is not one of %s", c, strings.Join(Components, ", "))
		}
	}
	choices := map[string][]string{
		"flannel-backend":      {"none", "vxlan", "host-gw"},
		"egress-selector-mode": {"agent", "cluster", "pod", "disabled"},
	}
	for name, valid := range choices {
		if v := o.String(name); !slices.Contains(valid, v) {
			return fmt.Errorf("%s: the lab's k3s takes one of %s, not %q", name, strings.Join(valid, ", "), v)
		}
	}
	if _, err := strconv.ParseUint(o.String("write-kubeconfig-mode"), 8, 32); err != nil {
		return fmt.Errorf("write-kubeconfig-mode: %q is not an octal file mode such as 0600", o.String("write-kubeconfig-mode"))
	}
	return nil
}

func (o *Options) validateAgent() error {
	if !strings.HasPrefix(o.String("server"), "https://") {
		return fmt.Errorf("server: an agent needs the URL of its server, https://HOST:6443 (or K3S_URL)")
	}
	if o.String("token") == "" {
		return fmt.Errorf("token: an agent needs token, token-file or K3S_TOKEN")
	}
	return nil
}

// readTokenFile fills in a token that was given as a file.
func (o *Options) readTokenFile(name string) error {
	path := last(o.values[name+"-file"])
	if path == "" || last(o.values[name]) != "" {
		return nil
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("%s-file: %w", name, err)
	}
	o.Set(name, strings.TrimSpace(string(b)))
	return nil
}

func optionsOf(cmd command) []option {
	var out []option
	for _, opt := range implemented {
		if opt.commands&cmd != 0 {
			out = append(out, opt)
		}
	}
	return out
}

func envOf(opt option, getenv func(string) string) string {
	if opt.env == "" {
		return ""
	}
	return getenv(opt.env)
}

// lookup catches a misspelt name or the wrong getter in our own code at the first run.
func lookup(name string, k kind) {
	for _, opt := range implemented {
		if opt.name == name && opt.kind == k {
			return
		}
	}
	panic("options: no such option of this kind: " + name)
}

func last(values []string) string {
	if len(values) == 0 {
		return ""
	}
	return values[len(values)-1]
}

func splitCommas(values []string) []string {
	var out []string
	for _, v := range values {
		for _, part := range strings.Split(v, ",") {
			if part = strings.TrimSpace(part); part != "" {
				out = append(out, part)
			}
		}
	}
	return out
}
