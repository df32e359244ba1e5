package publish_test

import (
	"testing"

	"github.com/ionet-settlement/ionet/internal/storetest"
	"github.com/ionet-settlement/ionet/publish"
)

func TestFolder(t *testing.T) {
	storetest.Run(t, func(t *testing.T) publish.Store {
		f, err := publish.NewFolder(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		return f
	})
}
