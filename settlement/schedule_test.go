package settlement

import (
	"testing"
	"time"
)

// Times that a cron expression means, and expressions that mean none.
func TestParsePayoutCron(t *testing.T) {
	at := time.Date(2027, 2, 27, 12, 0, 30, 0, time.UTC) // a Saturday
	for expression, want := range map[string]string{
		"0 3 * * *":                    "2027-02-28T03:00:00Z",
		"30 3 * * mon,thu":             "2027-03-01T03:30:00Z",
		"0 0 1 * *":                    "2027-03-01T00:00:00Z",
		"*/15 * * * *":                 "2027-02-27T12:15:00Z",
		"@daily":                       "2027-02-28T00:00:00Z",
		"@every 2h":                    "2027-02-27T14:00:30Z",
		"CRON_TZ=Asia/Tokyo 0 3 * * *": "2027-02-27T18:00:00Z",
	} {
		s, err := ParsePayoutCron(expression)
		if err != nil {
			t.Errorf("%s: %v", expression, err)
			continue
		}
		if got := s.Next(at).UTC().Format(time.RFC3339); got != want {
			t.Errorf("%s comes at %s, want %s", expression, got, want)
		}
	}
	for _, expression := range []string{"", "daily", "0 3 * *", "0 3 * * * *", "60 3 * * *", "0 0 31 2 *", "CRON_TZ=Nowhere 0 3 * * *"} {
		if s, err := ParsePayoutCron(expression); err == nil {
			t.Errorf("%q is taken, its next time is %s", expression, s.Next(at))
		}
	}
}

// Until the first run the next one does not move: it counts from the start, as the run does.
func TestNextPayoutStandsStill(t *testing.T) {
	m := newMachine(t)
	m.Service.cfg.PayoutEvery = time.Hour
	started := time.Unix(0, m.Service.began.Load())
	m.Service.cfg.Now = func() time.Time { return started.Add(40 * time.Minute) }
	next, err := m.NextPayout(t.Context())
	if err != nil || !next.Equal(started.Add(time.Hour)) {
		t.Errorf("the first run is due at %s, %v, want %s", next, err, started.Add(time.Hour))
	}
}

// Runs by a schedule: one when it comes, one for all that were missed, none while one
// is open, and a restart changes nothing.
func TestScheduledPayouts(t *testing.T) {
	m := newMachine(t)
	m.fenceUp()
	var err error
	if m.Service.cfg.PayoutSchedule, err = ParsePayoutCron("0 * * * *"); err != nil {
		t.Fatal(err)
	}
	runs := func() int { return m.count(`SELECT count(*) FROM payout_runs`) }
	hour := m.now().UTC().Truncate(time.Hour)
	ask := func(now, started time.Time) {
		m.Service.cfg.Now = func() time.Time { return now }
		m.requestOwnPayout(t.Context(), started)
	}
	ask(hour.Add(59*time.Minute), hour.Add(time.Minute))
	if runs() != 0 {
		t.Error("a run was asked for before its hour")
	}
	ask(hour.Add(time.Hour), hour.Add(time.Minute))
	if runs() != 1 {
		t.Fatalf("%d runs at the hour, want 1", runs())
	}
	ask(hour.Add(3*time.Hour), hour)
	if runs() != 1 {
		t.Error("a second run was asked for while one is open")
	}
	m.exec(`UPDATE payout_runs SET done_at = asked_at`)
	ask(hour.Add(3*time.Hour+time.Minute), hour.Add(3*time.Hour)) // started anew: two hours were missed
	ask(hour.Add(3*time.Hour+time.Minute), hour.Add(3*time.Hour))
	if runs() != 2 {
		t.Errorf("%d runs after two missed hours, want 2", runs())
	}
	next, err := m.NextPayout(t.Context())
	if err != nil || !next.Equal(hour.Add(4*time.Hour)) {
		t.Errorf("the next run is due at %s, %v, want %s", next, err, hour.Add(4*time.Hour))
	}
	cfg := m.Service.cfg
	cfg.PayoutEvery = time.Hour
	if _, err := New(t.Context(), cfg); err == nil {
		t.Error("a schedule and an interval are taken together")
	}
}
