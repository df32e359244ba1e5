package main

import (
	"strings"
	"testing"

	"github.com/ionet-settlement/ionet/emissions"
)

func TestPolicyIsTheShippedOneMadeShort(t *testing.T) {
	file, err := demoPace.policy()
	if err != nil {
		t.Fatal(err)
	}
	got, err := emissions.ParsePolicy(file)
	if err != nil {
		t.Fatal(err)
	}
	shipped, err := emissions.ParsePolicy(emissions.DefaultPolicy())
	if err != nil {
		t.Fatal(err)
	}
	if got.Samples.Minimum != uint16(demoPace.minimum) || got.Close.GraceSeconds != uint32(demoPace.grace) || !got.SimulatedDevices {
		t.Errorf("policy has minimum %d, grace %d, simulated %t", got.Samples.Minimum, got.Close.GraceSeconds, got.SimulatedDevices)
	}
	if got.Fees.GraceSeconds != uint32(demoPace.feeGrace) || got.Fees.NetworkBasisPoints != networkPart || got.Fees.Record != demoPace.record {
		t.Errorf("policy has fees %+v", got.Fees)
	}
	if text := string(file); strings.Contains(text, "60 samples") || strings.Contains(text, "of 60") || !strings.Contains(text, "minimum = 3     # of 5\n") || !strings.Contains(text, "an epoch is 10 seconds of 5 samples") {
		t.Errorf("comments are not the demo's:\n%.400s", text)
	}
	if len(got.Models) != len(shipped.Models) || got.Payout != shipped.Payout {
		t.Error("models or payout differ from the shipped policy")
	}
}
