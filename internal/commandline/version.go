package commandline

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"
)

// version says what the build itself recorded and nothing else: the module's version
// where it was installed by one, the revision where version control was stamped in.
// A build from a plain tree of sources has neither, and says so.
func version(build *debug.BuildInfo, ok bool) string {
	platform := fmt.Sprintf("%s, %s/%s", runtime.Version(), runtime.GOOS, runtime.GOARCH)
	if !ok {
		return "of an unrecorded build (" + platform + ")"
	}
	set := map[string]string{}
	for _, s := range build.Settings {
		set[s.Key] = s.Value
	}
	var parts []string
	if v := build.Main.Version; v != "" && v != "(devel)" {
		parts = append(parts, v)
	}
	if revision := set["vcs.revision"]; revision != "" {
		parts = append(parts, "revision "+revision)
		if set["vcs.modified"] == "true" {
			parts = append(parts, "with changes")
		}
	}
	if len(parts) == 0 {
		parts = append(parts, "built from sources whose revision was not recorded")
	}
	return strings.Join(parts, ", ") + " (" + platform + ")"
}
