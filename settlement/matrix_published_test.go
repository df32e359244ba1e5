package settlement

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// reportName is where the results of the full matrix are published.
const reportName = "../SETTLEMENT-MATRIX.md"

// The published matrix is of the kinds and faults that there are, and nothing failed.
func TestMatrixIsPublished(t *testing.T) {
	text, err := os.ReadFile(reportName)
	if err != nil {
		t.Fatal(err)
	}
	report := string(text)
	for _, f := range matrixFaults() {
		if !strings.Contains(report, "\n| "+f.name+" |") {
			t.Errorf("fault %q is not in %s: make matrix", f.name, reportName)
		}
	}
	head := "\n| fault \\ kind |"
	for _, k := range matrixKinds() {
		head += " " + k.name + " |"
	}
	if !strings.Contains(report, head+"\n") {
		t.Errorf("the kinds in %s are not those of the matrix: make matrix", reportName)
	}
	for _, row := range rowNames(t) {
		if !regexp.MustCompile(`\n\| ` + row[0] + ` \| [^|]* \| [1-9][0-9]* \|`).MatchString(report) {
			t.Errorf("row %s has no cell in %s, or one that failed: make matrix", row[0], reportName)
		}
	}
	if !strings.Contains(report, " passed, 0 failed.**") {
		t.Errorf("%s tells of failed cells", reportName)
	}
}
