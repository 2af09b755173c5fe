package resync

import (
	"testing"
	"time"
)

func TestInterval(t *testing.T) {
	tests := map[string]struct{ age, eta, want time.Duration }{
		"at first":              {0, 0, minInterval},
		"after a second":        {time.Second, 0, 250 * time.Millisecond},
		"in the middle":         {time.Hour, time.Hour, maxInterval},
		"speed unknown":         {time.Hour, 0, maxInterval},
		"near the end":          {time.Hour, time.Second, 500 * time.Millisecond},
		"just before the end":   {time.Hour, time.Millisecond, minInterval},
		"young and near an end": {time.Second, 20 * time.Millisecond, minInterval},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if got := interval(test.age, test.eta); got != test.want {
				t.Errorf("interval(%v, %v) = %v, want %v", test.age, test.eta, got, test.want)
			}
		})
	}
}

func TestPercent(t *testing.T) {
	tests := map[string]struct {
		o    Observation
		want int
	}{
		"nothing known":        {Observation{State: Running}, 0},
		"half":                 {Observation{State: Running, Done: 1 << 40, Total: 1 << 41}, 50},
		"never 100":            {Observation{State: Running, Done: 10, Total: 10}, 99},
		"beyond the end":       {Observation{State: Running, Done: 20, Total: 10}, 99},
		"failed":               {Observation{State: Failed, Done: 5, Total: 10}, 0},
		"largest of all":       {Observation{State: Running, Done: 1<<54 - 1, Total: 1<<55 - 1}, 49},
		"less than a kibibyte": {Observation{State: Running, Done: 1, Total: 1}, 0},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if got := test.o.percent(); got != test.want {
				t.Errorf("percent %d, want %d", got, test.want)
			}
		})
	}
}
